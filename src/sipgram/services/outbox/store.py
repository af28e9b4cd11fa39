"""The values of the outbox, and what it asks of durable storage."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sipgram.services.answers import Done

State = Literal[
    "scheduled", "queued", "stored", "delivered", "displayed", "failed", "expired", "cancelled"
]
STATES: tuple[State, ...] = (
    "scheduled",
    "queued",
    "stored",
    "delivered",
    "displayed",
    "failed",
    "expired",
    "cancelled",
)
ENDED: frozenset[str] = frozenset(("delivered", "displayed", "failed", "expired", "cancelled"))


@dataclass(slots=True)
class Outgoing:
    """One message to one recipient; the fields are the table's columns, in their order."""

    id: int
    submission: int
    caller: str
    account_id: int
    sender: str
    recipient: str
    content_type: str
    body: bytes
    expires_s: int
    "-1 when nothing was said of it."
    receipts: str
    callback_url: str
    tag: str
    state: State
    status: int
    reason: str
    devices: str
    created_utc: float
    send_at_utc: float | None = None
    sent_utc: float | None = None
    stored_utc: float | None = None
    delivered_utc: float | None = None
    displayed_utc: float | None = None
    ended_utc: float | None = None
    due_utc: float | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """An accepted request, remembered by its Idempotency-Key."""

    id: int
    caller: str
    key: str
    "Empty without one."
    digest: bytes
    status: int
    answer: bytes
    due_utc: float


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages of a list are wanted."""

    senders: tuple[str, ...] | None
    "None for all."
    recipient: str | None = None
    state: str | None = None
    submission: int | None = None
    before: int | None = None
    at_most: int = 50


class OutboxStore(Protocol):
    """Keeps the outbox; writes are told to ``done`` when they are on disk, in their order."""

    def put(self, message: Outgoing, done: Done) -> None:
        """Keep a new message."""

    def submitted(self, submission: Submission, done: Done) -> None:
        """Keep that a request was accepted whole."""

    def sent(self, message: Outgoing) -> None:
        """Keep what became of it when it was sent; its body goes (D36)."""

    def ended(self, id: int, state: State, *, is_delivered: bool, now_utc: float) -> None:
        """Keep what became of it later."""

    def displayed(self, id: int, now_utc: float) -> None:
        """Keep that somebody has read it."""

    def drop(self, id: int) -> None:
        """Forget a message."""

    def withdraw(self, submission: int) -> None:
        """Forget the messages of a request that was not accepted."""

    def forget(self, submission: int) -> None:
        """Forget a request."""

    async def find(self, id: int) -> Outgoing | None:
        """Return one message."""

    async def page(self, wanted: Filter) -> list[Outgoing]:
        """Return the latest messages, the newest first."""

    async def submission(self, caller: str, key: str, now_utc: float) -> Submission | None:
        """Return the request that a caller made under a key."""

    async def due(self, now_utc: float, at_most: int) -> list[Outgoing]:
        """Return messages whose time has come, to be sent or to be forgotten."""

    async def due_submissions(self, now_utc: float, at_most: int) -> list[int]:
        """Return requests that may be forgotten."""

    async def stored(self) -> Sequence[int]:
        """Return the ids of those that wait for devices."""

    async def newest(self) -> int:
        """Return the highest id, 0 when there is none."""

    def unsent(self, now_utc: float) -> AsyncIterator[tuple[Outgoing, str | None]]:
        """Yield what is to be sent by now, in their order, each with its state among stored messages, if it is there."""

    async def orphans(self) -> Sequence[int]:
        """Return the submissions that were never accepted whole."""
