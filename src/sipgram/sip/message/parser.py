"""The way in for bytes: picks the native scanner when it is there (RFC 3261 §7)."""

from typing import Final, Protocol

from sipgram.native import scan_enabled
from sipgram.sip.message.message import Message
from sipgram.sip.message.scan import scan as scan_plain


class Parse(Protocol):
    """The shape of ``scan.scan``."""

    def __call__(self, data: bytes, *, bare_lf: bool = False) -> Message:
        """Index one whole message."""


def _pick() -> Parse:
    if not scan_enabled():
        return scan_plain
    from sipgram.sip.message._scan import scan as scan_native

    return scan_native


parse: Final[Parse] = _pick()
"""Index one whole message; see ``scan.scan``. The scanner itself, without a call in between."""
