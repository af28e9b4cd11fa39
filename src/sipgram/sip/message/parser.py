"""The way in for bytes: picks the native scanner when it is there (RFC 3261 §7)."""

from collections.abc import Callable
from typing import Final, Protocol

from sipgram.native import scan_enabled
from sipgram.sip.message import digest
from sipgram.sip.message.digest import Credentials
from sipgram.sip.message.message import Message
from sipgram.sip.message.usual import scan_usual


class Parse(Protocol):
    """The shape of ``scan.scan``."""

    def __call__(self, data: bytes, *, bare_lf: bool = False) -> Message:
        """Index one whole message."""


def _pick() -> tuple[Parse, Callable[[bytes], Credentials]]:
    if not scan_enabled():
        return scan_usual, digest.parse_credentials
    from sipgram.sip.message import _scan

    return _scan.scan, _scan.parse_credentials


_PICKED: Final = _pick()

# The functions themselves, with no call in between.
parse: Final[Parse] = _PICKED[0]
"""Index one whole message; see ``scan.scan``."""
parse_credentials: Final = _PICKED[1]
"""Read an Authorization value; see ``digest.parse_credentials``."""


def readdressed(request: Message, uri: bytes) -> Message:
    """Return a request with another Request-URI, all else as it was."""
    method, _, rest = request.raw.split(b" ", 2)
    return parse(b"%b %b %b" % (method, uri, rest), bare_lf=True)
