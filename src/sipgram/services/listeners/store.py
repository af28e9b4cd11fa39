"""The events of accounts, and what the listeners ask of durable storage."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sipgram.services.answers import Done

KINDS: tuple[str, ...] = (
    "message.received",
    "message.sent",
    "message.read",
    "message.stored",
    "message.delivered",
    "message.displayed",
    "message.failed",
    "message.expired",
    "message.cancelled",
    "message.receipt",
    "typing",
    "binding.added",
    "binding.ended",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to an account; ``id`` is 0 for what is not kept."""

    id: int
    aor: str
    kind: str
    data: bytes
    "JSON of the whole event."


class EventStore(Protocol):
    """Keeps events; writes are told to ``done`` when they are on disk, in their order."""

    def put(self, event: Event, done: Done) -> None:
        """Keep an event."""

    def used(self, aor: str, account_id: int, now_utc: float) -> None:
        """Keep that an account has a listener."""

    def forget(self, aor: str) -> None:
        """An account has no listener any more: its inbox goes."""

    def drop(self, id: int) -> None:
        """Forget an event."""

    async def listeners(self) -> Sequence[tuple[str, int, float]]:
        """Return the accounts with a listener, and when it was used."""

    def since(self, id: int, aors: Sequence[str] | None) -> AsyncIterator[Event]:
        """Yield the events of accounts after one, of all when None."""

    async def due(self, now_utc: float, at_most: int) -> Sequence[int]:
        """Return events that may be forgotten."""

    async def newest(self) -> int:
        """Return the highest id, 0 when there is none."""
