"""What webhooks ask of durable storage."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sipgram.services.answers import Done
from sipgram.services.webhooks.rules import Webhook

State = Literal["waiting", "dead"]


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """Something to be told; the fields are the table's columns, in their order."""

    id: int
    webhook_id: str
    "Empty for the callback of a single message, whose ``url`` stands for itself."
    url: str
    lane: str
    event_id: str
    body: bytes
    state: State
    tries: int
    status: int
    reason: str
    created_utc: float
    due_utc: float


@dataclass(frozen=True, slots=True)
class Place:
    """What memory keeps of something to be told."""

    id: int
    lane: str
    due_utc: float


class WebhookStore(Protocol):
    """Keeps webhooks and what they are to be told."""

    async def add(self, webhook: Webhook) -> None:
        """Keep a webhook, or its news."""

    async def remove(self, id: str) -> None:
        """Forget a webhook and what it was to be told."""

    async def all(self) -> Sequence[Webhook]:
        """Return every webhook."""

    def put(self, event: QueuedEvent, done: Done) -> None:
        """Keep something to be told."""

    def tried(self, event: QueuedEvent, done: Done | None = None) -> None:
        """Keep what came of an attempt; without ``done`` it may be lost and tried once more."""

    def drop(self, id: int) -> None:
        """It was told."""

    async def read(self, id: int) -> QueuedEvent | None:
        """Return something to be told."""

    def waiting(self) -> AsyncIterator[Place]:
        """Yield what is to be told, in its order."""

    async def dead(
        self, webhook_ids: Sequence[str], *, before: int | None, at_most: int
    ) -> Sequence[QueuedEvent]:
        """Return what could not be told, the latest first."""
