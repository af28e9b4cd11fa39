"""What event notification asks of durable storage (DELIVERY.md D37)."""

from collections.abc import AsyncIterator
from typing import Protocol

from sipgram.services.answers import Done
from sipgram.services.events.publication import Publication
from sipgram.sip.events.subscription import Subscription


class KeptSubscription(Protocol):
    """A row of the table ``subscriptions``."""

    tag: bytes
    event: bytes
    aor: str
    account_id: int
    watcher: str
    call_id: bytes
    remote_tag: bytes
    local: bytes
    remote: bytes
    target: bytes
    routes: bytes
    accepted: bytes
    flow: str
    phase: bytes
    local_cseq: int
    "Higher than every CSeq that was used."
    remote_cseq: int
    since_utc: float
    expires_utc: float


class EventStore(Protocol):
    """Keeps subscriptions and publications over a restart."""

    def put_subscription(self, subscription: Subscription, now: float, done: Done) -> None:
        """Write a new or changed subscription.

        Raises:
            Unavailable: nothing can be written now; ``done`` is not called.
        """

    def note_subscription(self, subscription: Subscription, now: float) -> None:
        """Write it behind, some time: a refresh, its phase, its reserved numbers."""

    def drop_subscription(self, subscription: Subscription) -> None:
        """Forget it, some time."""

    def put_publication(self, publication: Publication, now: float, done: Done) -> None:
        """Write a new or changed publication.

        Raises:
            Unavailable: nothing can be written now; ``done`` is not called.
        """

    def drop_publication(self, publication: Publication, done: Done) -> None:
        """Remove it; raises Unavailable as ``put_publication`` does."""

    def subscriptions(self) -> AsyncIterator[KeptSubscription]:
        """Yield those that have not expired."""

    def publications(self, now: float) -> AsyncIterator[Publication]:
        """Yield those that have not expired."""


class NoEventStore:
    """For servers whose subscriptions may end with them, as in tests."""

    def put_subscription(self, subscription: Subscription, now: float, done: Done) -> None:
        done(None)

    def note_subscription(self, subscription: Subscription, now: float) -> None:
        return None

    def drop_subscription(self, subscription: Subscription) -> None:
        return None

    def put_publication(self, publication: Publication, now: float, done: Done) -> None:
        done(None)

    def drop_publication(self, publication: Publication, done: Done) -> None:
        done(None)

    async def subscriptions(self) -> AsyncIterator[KeptSubscription]:
        return
        yield

    async def publications(self, now: float) -> AsyncIterator[Publication]:
        return
        yield
