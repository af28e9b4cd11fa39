"""The event package ``message-summary``: messages that wait in the store (RFC 3842)."""

from collections.abc import Callable, Sequence
from typing import Final

from sipgram.errors import Refusal
from sipgram.services.event_package import Published, Watcher
from sipgram.sip.events.header import Content
from sipgram.sip.events.subscription import Phase, Subscription

TYPE: Final = b"application/simple-message-summary"


class MessageSummary:
    """Tells an account how many messages wait for a device of it."""

    name = b"message-summary"
    types: tuple[bytes, ...] = (TYPE,)
    published_types: tuple[bytes, ...] = ()

    def __init__(self, count_of: Callable[[str], int]) -> None:
        self._count_of = count_of

    def admit(self, aor: str, watcher: Watcher) -> Phase:
        if watcher.aor != aor:
            raise Refusal(403, f"Not Your Messages: {aor}")
        return Phase.ACTIVE

    def tail(self, subscription: Subscription, now: float) -> bytes:
        return _tail(subscription.resource, self._count_of(subscription.resource))

    def is_news(self, subscription: Subscription, now: float) -> bool:
        return self.tail(subscription, now) != subscription.known

    def check(self, body: bytes, content_type: bytes) -> None:
        """Nothing is published here."""

    def published(self, aor: str, publications: Sequence[Published], now: float) -> None:
        """Nothing is published here."""

    def watched(self, subscription: Subscription, now: float) -> None:
        """Nothing is remembered of a watcher."""


def _tail(aor: str, count: int) -> bytes:
    """Return the summary; RFC 3842 §5.2: message-context-class lines count new/old."""
    lines = (
        b"Messages-Waiting: " + (b"yes" if count else b"no"),
        b"Message-Account: " + aor.encode(),
        b"Text-Message: %d/0" % count,
    )
    return Content(TYPE, b"\r\n".join(lines) + b"\r\n").tail
