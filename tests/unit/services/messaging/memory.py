"""A message store in memory, which commits when the test says so."""

from collections.abc import AsyncIterator, Callable, Sequence

from sipgram.errors import Unavailable
from sipgram.services.answers import Done
from sipgram.services.messaging.store import (
    AwayDevice,
    CopyOutcome,
    DueMessage,
    FailedAttempt,
    MessageState,
    StoredMessage,
    WaitingMessage,
)


class MemoryStore:
    """What a database would hold; ``is_slow`` holds commits back until ``commit()``."""

    def __init__(self) -> None:
        self.messages: dict[int, StoredMessage] = {}
        self.states: dict[int, MessageState] = {}
        self.for_all: dict[int, bool] = {}
        self.due_utc: dict[int, float] = {}
        self.copies: dict[tuple[int, bytes], CopyOutcome] = {}
        self.attempts: list[FailedAttempt] = []
        self.devices: dict[tuple[str, bytes], AwayDevice] = {}
        self.bound: list[AwayDevice] = []
        self.is_slow = False
        self.looks = 0
        "How often it was asked what is due."
        self.is_away = False
        self._waiting: list[Callable[[], None]] = []

    def commit(self) -> None:
        """Let everything that waits reach the disk."""
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            write()

    def fail(self) -> None:
        """Let everything that waits fail."""
        self.is_away = True
        self.commit()
        self.is_away = False

    def _write(self, write: Callable[[], None], done: Done) -> None:
        if self.is_away:
            raise Unavailable("the disk is full")

        def commit() -> None:
            if self.is_away:
                done(Unavailable("the disk is full"))
                return
            write()
            done(None)

        if self.is_slow:
            self._waiting.append(commit)
        else:
            commit()

    def put(
        self,
        message: StoredMessage,
        *,
        is_for_all: bool,
        copies: Sequence[CopyOutcome],
        done: Done,
    ) -> None:
        def write() -> None:
            self.messages[message.id] = message
            self.states[message.id] = "waiting"
            self.for_all[message.id] = is_for_all
            self.due_utc[message.id] = message.expires_utc
            self._note(copies)

        self._write(write, done)

    def share(self, message_id: int, *, is_for_all: bool, done: Done) -> None:
        def write() -> None:
            self.for_all[message_id] = is_for_all

        self._write(write, done)

    def note(self, copies: Sequence[CopyOutcome], done: Done) -> None:
        self._write(lambda: self._note(copies), done)

    def _note(self, copies: Sequence[CopyOutcome]) -> None:
        for copy in copies:
            key = (copy.message_id, copy.device)
            if copy.state != "waiting" or key not in self.copies:
                self.copies[key] = copy

    def finish(self, message_id: int, state: MessageState, done: Done) -> None:
        def write() -> None:
            self.states[message_id] = state

        self._write(write, done)

    def attempt(self, attempt: FailedAttempt) -> None:
        self.attempts.append(attempt)

    def away(self, device: AwayDevice, done: Done) -> None:
        def write() -> None:
            self.devices[device.aor, device.device] = device

        self._write(write, done)

    def back(self, aor: str, device: bytes, done: Done) -> None:
        def write() -> None:
            self.devices.pop((aor, device), None)

        self._write(write, done)

    def read(
        self, ids: Sequence[int], done: Callable[[Sequence[StoredMessage] | None], None]
    ) -> None:
        if self.is_away:
            done(None)
        else:
            done([self.messages[id] for id in ids if self.states.get(id) == "waiting"])

    async def load_one(self, id: int) -> tuple[WaitingMessage, list[CopyOutcome]] | None:
        async for message in self.load_waiting():
            if message.id == id:
                return message, [copy async for copy in self.load_copies() if copy.message_id == id]
        return None

    def due(
        self,
        now_utc: float,
        at_most: int,
        done: Callable[[Sequence[DueMessage]], None],
    ) -> None:
        self.looks += 1
        ids = [
            i for i, at in self.due_utc.items() if at <= now_utc and self.states.get(i) == "waiting"
        ]
        found = [
            DueMessage(i, m.aor, m.sender, m.size, m.wants_failure)
            for i in ids[:at_most]
            for m in [self.messages[i]]
            if self.states[i] == "waiting"
        ]
        done(found)

    def drop(self, message_id: int, done: Done) -> None:
        def write() -> None:
            self.messages.pop(message_id, None)
            self.states.pop(message_id, None)

        self._write(write, done)

    async def load_devices(self) -> AsyncIterator[AwayDevice]:
        for device in list(self.devices.values()):
            yield device

    async def load_bound(self) -> AsyncIterator[AwayDevice]:
        for device in self.bound:
            yield device

    async def load_waiting(self) -> AsyncIterator[WaitingMessage]:
        for id, m in list(self.messages.items()):
            if self.states[id] == "waiting":
                yield WaitingMessage(
                    m.id,
                    m.aor,
                    m.account_id,
                    m.sender,
                    m.digest,
                    m.imdn_key,
                    m.size,
                    m.received_utc,
                    self.for_all[id],
                )

    async def load_copies(self) -> AsyncIterator[CopyOutcome]:
        for copy in list(self.copies.values()):
            if self.states.get(copy.message_id) == "waiting":
                yield copy
