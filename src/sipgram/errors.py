"""The one error tree: whose fault it is decides what becomes of it.

    Error
    ├── PeerError      the peer broke the protocol; ``status`` and ``reason`` are our answer
    │   ├── ParseError   the bytes are not what the grammar allows
    │   └── TooLarge     a limit of ours was passed
    ├── Refusal        nothing is broken, we decline: 403, 404, 480 …
    ├── Ignored        there is to be no answer
    ├── Unavailable    something that we depend on is away: 500 with Retry-After (D11)
    ├── SettingsError  the operator's settings are wrong; one line says which and why
    └── UsageError     the caller's mistake in our own API; never sent to a peer

A fresh instance is raised each time. ``server/dispatch.py`` maps the tree to SIP.
"""

from collections.abc import Sequence


class Error(Exception):
    """Everything that sipgram raises on purpose."""


class PeerError(Error):
    """The peer broke the protocol; ``status`` and ``reason`` say so to it."""

    def __init__(self, reason: str, *, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ParseError(PeerError):
    """Bytes that the grammar does not allow (RFC 3261 §25)."""


class TooLarge(PeerError):
    """A limit of ours was passed; 513 unless said otherwise."""

    def __init__(self, reason: str, *, status: int = 513) -> None:
        super().__init__(reason, status=status)


class Refusal(Error):
    """We understood and decline.

    ``reason`` is the reason phrase, empty for the usual one of the status. ``headers`` are
    whole header lines without CRLF, put into the answer as they are.
    """

    def __init__(self, status: int, reason: str, headers: Sequence[bytes] = ()) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.headers = tuple(headers)


class Ignored(Error):
    """Who asks gets no answer: it would only learn that somebody is here."""


class Unavailable(Error):
    """Something that we depend on is away for a while; ``retry_after_s`` is whole seconds."""

    def __init__(self, reason: str, *, retry_after_s: int = 5) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class SettingsError(Error):
    """A setting is unknown, out of bounds or contradicts another; the text is one line."""


class UsageError(Error):
    """Our own API was called against its rules."""
