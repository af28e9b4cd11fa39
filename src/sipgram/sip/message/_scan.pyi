"""Types of the native scanner; it gives what ``scan.py`` gives (RFC 3261 §7)."""

from sipgram.sip.message.message import Message

def scan(data: bytes, *, bare_lf: bool = False) -> Message: ...
