"""The way in for bytes: picks the native scanner when it is there (RFC 3261 §7)."""

from sipgram.sip.message.message import Message
from sipgram.sip.message.scan import scan as scan_plain


def parse(data: bytes, *, bare_lf: bool = False) -> Message:
    """Index one whole message; see ``scan.scan``."""
    return scan_plain(data, bare_lf=bare_lf)
