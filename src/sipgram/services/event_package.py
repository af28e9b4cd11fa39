"""What an event package is to the framework: one small class each (RFC 6665 §5)."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from sipgram.sip.events.subscription import Phase, Subscription


class Published(Protocol):
    """One publication, as a package reads it."""

    content_type: bytes
    body: bytes
    published_utc: float
    "When its state was last set, not merely refreshed."
    contact: bytes
    "URI of the binding that its publisher has, empty when that is not known."


class Watcher(NamedTuple):
    """Who subscribes."""

    aor: str
    account_id: int | None
    "None for a trusted peer or under ``--auth none``."


class EventPackage(Protocol):
    """One package; ``aor`` is always the leading name of an account, as text."""

    name: bytes
    types: tuple[bytes, ...]
    "Media types that it can write, the default first."
    published_types: tuple[bytes, ...]
    "Media types that PUBLISH may bring; empty when there is no such PUBLISH."

    def admit(self, aor: str, watcher: Watcher) -> Phase:
        """Decide about a watcher; TERMINATED is said to it as a rejection.

        Raises:
            Refusal: it may not even ask.
        """

    def tail(self, subscription: Subscription, now: float) -> bytes:
        """Return what its next NOTIFY ends with (``Content.tail``)."""

    def is_news(self, subscription: Subscription, now: float) -> bool:
        """Say whether that is not what the watcher knows or is being told already."""

    def check(self, body: bytes, content_type: bytes) -> None:
        """Look at what a PUBLISH brings.

        Raises:
            PeerError: it is not what the type says.
        """

    def published(self, aor: str, publications: Sequence[Published], now: float) -> None:
        """The publications of an AoR are these now."""

    def watched(self, subscription: Subscription, now: float) -> None:
        """A subscription has begun, or has changed its phase, or is over."""
