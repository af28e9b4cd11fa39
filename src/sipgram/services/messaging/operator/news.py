"""A running server takes in what commands did, each within a second (D22: nothing counts twice)."""

from collections.abc import Callable
from typing import Protocol

import structlog

from sipgram.errors import Unavailable
from sipgram.services.messaging.ledger import Ledger
from sipgram.services.messaging.operator.commands import NEWS_ROWS, Change, MessageCommands
from sipgram.services.messaging.store import CopyOutcome, MessageStore, WaitingMessage

log = structlog.get_logger("sipgram.messaging")

TRIES_MAX = 4
"""A message that memory does not have yet is looked for so often."""


class Memory(Protocol):
    """What a server has in memory of messages and devices."""

    ledger: Ledger

    def requeue(self, message: WaitingMessage, copies: list[CopyOutcome]) -> None:
        """Have a message delivered, whether memory has it already or not."""


class Ended:
    """A message that a command has ended."""

    wants_failure = False

    def __init__(self, id: int, sender: bytes, size: int) -> None:
        self.id = id
        self.sender = sender
        self.size = size


class News:
    """Follows the changes that commands made."""

    def __init__(
        self,
        commands: MessageCommands,
        store: MessageStore,
        memory: Memory,
        *,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_change`` is called when memory has changed outside of a turn of the endpoint."""
        self._commands = commands
        self._store = store
        self._memory = memory
        self._on_change = on_change
        self._seen = 0
        self._again: list[tuple[Change, int]] = []

    async def start(self) -> None:
        """Leave out what is in the database already; call before messages are loaded."""
        self._seen = await self._commands.newest()

    async def refresh(self) -> bool:
        """Take in what is new; True when there may be more at once."""
        again, self._again = self._again, []
        for change, tries in again:
            await self._take(change, tries)
        changes = await self._commands.news(self._seen)
        for change in changes:
            await self._take(change, TRIES_MAX)
            self._seen = change.seq
        if changes or again:
            self._on_change()
        return len(changes) == NEWS_ROWS

    async def _take(self, change: Change, tries: int) -> None:
        match change.kind:
            case "cancel":
                await self._cancelled(change, tries)
            case "end":
                await self._end(change, tries)
            case "requeue":
                found = await self._store.load_one(change.message_id)
                if found is not None:
                    self._memory.requeue(*found)
            case "forget":
                self._forgotten(change)
            case "read":
                who = change.device.decode(errors="replace")
                log.info("body read by an administrator", message=change.message_id, who=who)

    async def _cancelled(self, change: Change, tries: int) -> None:
        found = await self._commands.ended(change.message_id)
        ledger = self._memory.ledger
        inbox = ledger.find(change.aor)
        if found is None or inbox is None:
            return  # Requeued or delivered since.
        _, sender, size = found
        if ledger.withdraw(inbox, Ended(change.message_id, sender, size), "cancelled"):
            log.info("message cancelled", message=change.message_id)
        elif inbox.committing and tries:
            self._again.append((change, tries - 1))  # The writer's answer is still on its way.

    async def _end(self, change: Change, tries: int) -> None:
        """End a message whose sender hears of it (D15)."""
        found = await self._store.load_one(change.message_id)
        inbox = self._memory.ledger.find(change.aor)
        if found is None or inbox is None:
            return  # It has ended since.
        if inbox.holds(change.message_id):
            self._memory.ledger.end(inbox, found[0], "cancelled")
            log.info("message cancelled", message=change.message_id)
        elif inbox.committing and tries:
            self._again.append((change, tries - 1))

    def _forgotten(self, change: Change) -> None:
        ledger = self._memory.ledger
        inbox = ledger.find(change.aor)
        device = None if inbox is None else inbox.devices.get(change.device)
        if device is not None:
            ledger.forget(device)
            log.info("device forgotten", aor=change.aor, device=change.device)


async def refreshed(news: News) -> bool:
    """Refresh once; a database that is away is told, and tried again the next time."""
    try:
        return await news.refresh()
    except Unavailable as error:
        log.warning("commands not taken in", reason=error.reason)
        return False
