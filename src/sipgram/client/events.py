"""What happens to a client, in order and bounded: messages, and whether it can be reached."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sipgram.client.messages import Message
from sipgram.client.presence import PresenceUpdate, WatcherUpdate
from sipgram.payload.imdn import Status


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """The client can or cannot be reached from now on."""

    state: Literal["registered", "lost"]
    reason: str = ""
    "Why it was lost."


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message that was sent (RFC 5438)."""

    message_id: str
    "The id of what ``send`` returned; of a plain message its Call-ID."
    status: Status
    sender: str
    "AoR of who says so."
    sent_at: datetime
    "In UTC."


@dataclass(frozen=True, slots=True)
class Typing:
    """Somebody begins or ends to write (RFC 3994)."""

    sender: str
    active: bool


Event = Message | ConnectionState | Receipt | Typing | PresenceUpdate | WatcherUpdate


class EventQueue(AsyncIterator[Event]):
    """Events until they are read; the iteration ends when the client has ended.

    States are never refused: one that nobody has read yet makes way for the next.
    """

    def __init__(self, *, waiting_max: int, messages_max: int | None) -> None:
        self._waiting: deque[Event] = deque()
        self._waiting_max = waiting_max
        self._messages = 0
        self._messages_left = messages_max
        self._state: ConnectionState | None = None
        self._changed = asyncio.Event()
        self._is_open = True
        self._error: BaseException | None = None

    def offer(self, event: Message | Receipt) -> bool:
        """Queue what must not be lost; False when there is no room for it."""
        if not self._is_open or self._messages >= self._waiting_max or self._messages_left == 0:
            return False
        if self._messages_left is not None and isinstance(event, Message):
            self._messages_left -= 1
        self._messages += 1
        self._append(event)
        return True

    def note(self, typing: Typing | PresenceUpdate | WatcherUpdate) -> None:
        """Queue what may be lost: it is, when too much waits."""
        if self._is_open and len(self._waiting) < self._waiting_max:
            self._append(typing)

    def tell(self, state: ConnectionState) -> None:
        """Queue a state, unless it is told already.

        The first comes before all messages: one that came in the same packet as the registrar's
        200 is in the queue before the client has looked at that.
        """
        if self._state is None:
            self._state = state
            self._waiting.appendleft(state)
            self._changed.set()
            return
        if self._state.state == state.state:
            return
        self._state = state
        if self._waiting and isinstance(self._waiting[-1], ConnectionState):
            self._waiting.pop()
        self._append(state)

    def close(self, error: BaseException | None = None) -> None:
        """Take no more; what waits can still be read, then ``error`` is raised if there is one."""
        self._is_open = False
        self._error = self._error or error
        self._changed.set()

    async def __anext__(self) -> Event:
        while not self._waiting:
            if not self._is_open:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        event = self._waiting.popleft()
        if isinstance(event, Message | Receipt):
            self._messages -= 1
        return event

    def _append(self, event: Event) -> None:
        self._waiting.append(event)
        self._changed.set()
