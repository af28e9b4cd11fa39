"""Receipts that the client sends, as far as senders ask for them (RFC 5438)."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Final, Literal

from sipgram.client.messages import Message
from sipgram.errors import UsageError
from sipgram.identity import Entropy
from sipgram.payload import media_type
from sipgram.payload.imdn import Imdn, Status, enclosed

Wanted = Literal["delivered", "displayed", "failed"]

WISHES: Final[dict[str, tuple[str, ...]]] = {
    # Who wants to know that it arrived wants to know that it did not.
    "delivered": ("positive-delivery", "negative-delivery"),
    "failed": ("negative-delivery",),
    "displayed": ("display",),
}
TOLD_MAX: Final = 1_024
"""Messages remembered, so that a receipt is sent once."""

Send = Callable[[str, bytes, str], Awaitable[None]]
"""Sends a body of a type to an AoR."""


class Receipts:
    """Says of messages that came in what became of them."""

    def __init__(
        self,
        aor: str,
        send: Send,
        *,
        entropy: Entropy,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._aor = aor
        self._send = send
        self._entropy = entropy
        self._clock = clock
        self._told: OrderedDict[tuple[str, str, Status], None] = OrderedDict()

    async def tell(self, message: Message, status: Literal["delivered", "displayed"]) -> None:
        """Send one, unless its sender did not ask for it or has had it.

        Raises:
            Rejected: it was refused.
            NoAnswer: nobody knows whether it was taken.
        """
        key = (message.sender, message.id, status)
        if status not in message.wants or key in self._told:
            return
        self._told[key] = None
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        notice = Imdn.of(message.id, status, recipient_uri=self._aor, date_time=message.date_time)
        body = enclosed(
            notice,
            message_id=self._entropy.token(),
            sender=self._aor,
            to=message.sender,
            date_time=date_time(self._clock()),
        )
        await self._send(message.sender, bytes(body), media_type.CPIM)


class Arrivals:
    """Receipts that came in, for those who wait for one."""

    def __init__(self) -> None:
        self._came: OrderedDict[tuple[str, Status], None] = OrderedDict()
        self._waiting: dict[tuple[str, Status], asyncio.Event] = {}

    def note(self, message_id: str, status: Status) -> None:
        """One came; often before the answer to the message itself."""
        key = (message_id, status)
        self._came[key] = None
        if len(self._came) > TOLD_MAX:
            self._came.popitem(last=False)
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            waiting.set()

    async def wait(self, message_id: str, status: Status) -> None:
        """Return when it is there."""
        key = (message_id, status)
        if key not in self._came:
            await self._waiting.setdefault(key, asyncio.Event()).wait()


def wishes(want: Collection[str]) -> frozenset[str]:
    """Return what CPIM says for what a caller wants.

    Raises:
        UsageError: there is no such receipt.
    """
    unknown = sorted(set(want) - WISHES.keys())
    if unknown:
        raise UsageError(f"receipt is none of {', '.join(sorted(WISHES))}: {unknown[0]!r}")
    return frozenset(wish for word in want for wish in WISHES[word])


def wanted(asked: Iterable[str]) -> frozenset[str]:
    """Return what a sender wants, for what its CPIM says."""
    words = {
        "positive-delivery": "delivered",
        "negative-delivery": "failed",
        "display": "displayed",
    }
    return frozenset(words[wish] for wish in asked if wish in words)


def date_time(at: datetime) -> str:
    """Write an instant as CPIM has it (RFC 3339)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
