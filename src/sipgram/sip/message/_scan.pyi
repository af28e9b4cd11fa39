"""Types of the native scanner; it gives what ``scan.py`` and ``digest.py`` give (RFC 3261 §7)."""

from sipgram.sip.message.digest import Credentials
from sipgram.sip.message.message import Message

def scan(data: bytes, *, bare_lf: bool = False) -> Message: ...
def parse_credentials(value: bytes) -> Credentials: ...
