"""Messages in the database: written by the writer, read in pages off the synchronous path (D10)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import Select, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db import tables
from sipgram.db.writer import LastOf, Writer
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
from sipgram.sip.push import Push

log = structlog.get_logger("sipgram.messaging")

PAGE_ROWS: Final = 500
"""Rows read in one turn of the loop at start."""


_WAITING: Final = select(
    tables.messages.c.id,
    tables.messages.c.aor,
    tables.messages.c.account_id,
    tables.messages.c.sender,
    tables.messages.c.digest,
    tables.messages.c.imdn_key,
    tables.messages.c.size,
    tables.messages.c.received_utc,
    tables.messages.c.is_for_all,
    tables.messages.c.wants_failure,
).where(tables.is_waiting)
_COPIES: Final = select(
    tables.copies.c.message_id,
    tables.copies.c.device,
    tables.copies.c.state,
    tables.copies.c.status,
    tables.copies.c.contact,
)


class MessageRows:
    """The tables messages, copies, attempts and devices (``store.MessageStore``)."""

    def __init__(
        self,
        engine: AsyncEngine,
        writer: Writer,
        *,
        wall: Callable[[], float],
        record_s: float,
        history_s: float = 0.0,
    ) -> None:
        """``record_s``: how long the record of a finished message is kept, without its body.

        ``history_s``: how long after its receipt one that is in a history is kept.
        """
        self._engine = engine
        self._writer = writer
        self._wall = wall
        self._record_s = record_s
        self._history_s = history_s
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- writing ---------------------------------------------------------------------------

    def put(
        self,
        message: StoredMessage,
        *,
        is_for_all: bool,
        copies: Sequence[CopyOutcome],
        done: Done,
    ) -> None:
        row = (
            message.id,
            message.aor,
            message.account_id,
            message.sender,
            message.call_id,
            message.digest,
            message.content_type,
            message.head,
            message.body,
            message.size,
            message.received_utc,
            message.expires_utc,
            "waiting",
            is_for_all,
            None,
            message.expires_utc,
            message.imdn_key,
            message.wants_failure,
            message.kept,
            message.sender_id,
        )
        if not copies:
            self._writer.submit("message_put", row, done)
            return
        last = LastOf(len(copies) + 1, done)
        self._writer.submit("message_put", row, last)
        self._copies(copies, last)

    def share(self, message_id: int, *, is_for_all: bool, done: Done) -> None:
        self._writer.submit("message_share", (is_for_all, message_id), done)

    def note(self, copies: Sequence[CopyOutcome], done: Done) -> None:
        self._copies(copies, LastOf(len(copies), done))

    def _copies(self, copies: Sequence[CopyOutcome], last: LastOf) -> None:
        at_utc = self._wall()
        for copy in copies:
            statement = "copy_wait" if copy.state == "waiting" else "copy_put"
            head = (copy.message_id, copy.device, copy.state, copy.status, copy.contact)
            self._writer.submit(statement, (*head, at_utc, copy.flow), last)

    def finish(self, message_id: int, state: MessageState, done: Done) -> None:
        now = self._wall()
        row = (b"", b"", state, now, self._history_s, now + self._record_s, message_id)
        self._writer.submit("message_finish", row, done)

    def attempt(self, attempt: FailedAttempt) -> None:
        its_copy = (attempt.message_id, attempt.device)
        row = (
            *its_copy,
            *its_copy,
            *its_copy,
            self._wall(),
            attempt.contact,
            attempt.flow,
            attempt.status,
            attempt.reason,
        )
        self._writer.submit("attempt_put", row, _ignore)

    def away(self, device: AwayDevice, done: Done) -> None:
        push = None if device.push is None else device.push.packed()
        row = (device.aor, device.device, device.account_id, device.is_page, device.seen_utc, push)
        self._writer.submit("device_put", row, done)

    def back(self, aor: str, device: bytes, done: Done) -> None:
        self._writer.submit("device_drop", (aor, device), done)

    def drop(self, message_id: int, done: Done) -> None:
        last = LastOf(3, done)
        for statement in ("attempts_drop", "copies_drop", "message_drop"):
            self._writer.submit(statement, (message_id,), last)

    # ---- reading ---------------------------------------------------------------------------

    def read(
        self, ids: Sequence[int], done: Callable[[Sequence[StoredMessage] | None], None]
    ) -> None:
        self._start(self._read(ids, done))

    async def _read(
        self, ids: Sequence[int], done: Callable[[Sequence[StoredMessage] | None], None]
    ) -> None:
        table = tables.messages
        query = select(
            table.c.id,
            table.c.aor,
            table.c.account_id,
            table.c.sender,
            table.c.call_id,
            table.c.digest,
            table.c.content_type,
            table.c.head,
            table.c.body,
            table.c.received_utc,
            table.c.expires_utc,
            table.c.imdn_key,
            table.c.wants_failure,
        ).where(table.c.id.in_(ids), tables.is_waiting)
        try:
            rows = await self._all(query.order_by(table.c.id))
        except (DBAPIError, Unavailable) as error:
            log.warning("messages not read", reason=str(error))
            done(None)
        else:
            done([StoredMessage(*row) for row in rows])

    def due(
        self,
        now_utc: float,
        at_most: int,
        done: Callable[[Sequence[DueMessage]], None],
    ) -> None:
        self._start(self._due(now_utc, at_most, done))

    async def _due(
        self,
        now_utc: float,
        at_most: int,
        done: Callable[[Sequence[DueMessage]], None],
    ) -> None:
        table = tables.messages
        query = (
            select(table.c.id, table.c.aor, table.c.sender, table.c.size, table.c.wants_failure)
            .where(tables.is_waiting, table.c.due_utc <= now_utc)
            .order_by(table.c.due_utc)
            .limit(at_most)
        )
        try:
            rows = await self._all(query)
        except (DBAPIError, Unavailable) as error:
            log.warning("expired messages not read", reason=str(error))
            rows = []
        done([DueMessage(*row) for row in rows])

    async def load_devices(self) -> AsyncIterator[AwayDevice]:
        table = tables.devices
        columns = (
            table.c.aor,
            table.c.account_id,
            table.c.device,
            table.c.is_page,
            table.c.seen_utc,
            table.c.push,
        )
        async for row in self._stream(select(*columns)):
            push = None if row.push is None else Push.unpacked(row.push)
            yield AwayDevice(row.aor, row.account_id, row.device, row.is_page, row.seen_utc, push)

    async def load_bound(self) -> AsyncIterator[AwayDevice]:
        """Yield the devices whose bindings are kept, expired ones too."""
        table = tables.bindings
        columns = (
            table.c.aor,
            table.c.account_id,
            table.c.instance,
            table.c.expires_utc,
            table.c.flow,
            table.c.contact,
        )
        async for aor, account_id, instance, expires_utc, flow, contact in self._stream(
            select(*columns)
        ):
            # Refreshes do not write when a device registered, but how long that is good for.
            seen_utc = min(expires_utc, self._wall())
            is_page = flow.startswith(("ws:", "wss:"))
            push = Push.of_contact(contact)
            yield AwayDevice(aor, account_id or 0, instance, is_page, seen_utc, push)

    async def load_waiting(self) -> AsyncIterator[WaitingMessage]:
        table = tables.messages
        async for row in self._stream(_WAITING.order_by(table.c.id)):
            yield WaitingMessage(*row)

    async def load_one(self, id: int) -> tuple[WaitingMessage, list[CopyOutcome]] | None:
        rows = await self._all(_WAITING.where(tables.messages.c.id == id))
        if not rows:
            return None
        copies = await self._all(_COPIES.where(tables.copies.c.message_id == id))
        return WaitingMessage(*rows[0]), [CopyOutcome(*copy) for copy in copies]

    async def load_copies(self) -> AsyncIterator[CopyOutcome]:
        table, messages = tables.copies, tables.messages
        query = _COPIES.join_from(table, messages, messages.c.id == table.c.message_id)
        query = query.where(tables.is_waiting)
        async for row in self._stream(query.order_by(table.c.message_id)):
            yield CopyOutcome(*row)

    async def _stream(self, query: Select[Any]) -> AsyncIterator[Any]:
        async with self._engine.connect() as connection:
            async for row in await connection.stream(query.execution_options(yield_per=PAGE_ROWS)):
                yield row

    async def _all(self, query: Select[Any]) -> Sequence[Any]:
        async with self._engine.connect() as connection:
            rows: Sequence[Any] = (await connection.execute(query)).all()
            return rows

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ignore(error: Exception | None) -> None:
    """A failed attempt that is not on disk is missed by nobody's phone."""
