"""The outbox in the database: written by the writer, read off the synchronous path."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, fields
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sipgram.db.engine import unavailable
from sipgram.db.http_tables import outbox, submissions
from sipgram.db.tables import messages
from sipgram.db.writer import Writer
from sipgram.errors import Unavailable
from sipgram.services.answers import Done
from sipgram.services.outbox.store import Filter, Outgoing, State, Submission

PAGE_ROWS: Final = 200
LIFETIME_MAX_S: Final = 8 * 86_400
"""No message waits for so long (D21)."""
_COLUMNS: Final = tuple(outbox.c[field.name] for field in fields(Outgoing))
_ROW: Final = attrgetter(*(column.name for column in outbox.columns))


class OutboxRows:
    """The tables outbox and submissions (``store.OutboxStore``)."""

    def __init__(self, engine: AsyncEngine, writer: Writer, *, record_s: float) -> None:
        """``record_s``: how long the record of an ended message is kept, without its body."""
        self._engine = engine
        self._writer = writer
        self._record_s = record_s
        self.lost = 0

    # ---- writing ---------------------------------------------------------------------------

    def put(self, message: Outgoing, done: Done) -> None:
        self._writer.submit("outbox_put", _ROW(message), done)

    def submitted(self, submission: Submission, done: Done) -> None:
        self._writer.submit("submission_put", astuple(submission), done)

    def sent(self, message: Outgoing) -> None:
        due = None if message.state == "queued" else self._until(message)
        row = (
            message.body if message.state == "queued" else b"",
            message.state,
            message.status,
            message.reason,
            message.devices,
            message.sent_utc,
            message.stored_utc,
            message.delivered_utc,
            message.ended_utc,
            due,
            message.id,
        )
        self._write("outbox_sent", row)

    def _until(self, message: Outgoing) -> float | None:
        """Return when the record may go; a stored message has ended by then, whatever became of it."""
        if message.ended_utc is not None:
            return message.ended_utc + self._record_s
        return (message.stored_utc or message.created_utc) + LIFETIME_MAX_S + self._record_s

    def ended(self, id: int, state: State, *, is_delivered: bool, now_utc: float) -> None:
        due = now_utc + self._record_s
        if is_delivered:
            self._write("outbox_delivered", (state, now_utc, now_utc, due, id))
        else:
            self._write("outbox_ended", (state, now_utc, due, id))

    def displayed(self, id: int, now_utc: float) -> None:
        self._write("outbox_displayed", ("displayed", now_utc, id))

    def drop(self, id: int) -> None:
        self._write("outbox_drop", (id,))

    def withdraw(self, submission: int) -> None:
        self._write("outbox_drop_all", (submission,))

    def forget(self, submission: int) -> None:
        self._write("submission_drop", (submission,))

    def _write(self, statement: str, row: tuple[Any, ...]) -> None:
        def done(error: Exception | None) -> None:
            if isinstance(error, Unavailable):
                self.lost += 1

        try:
            self._writer.submit(statement, row, done)
        except Unavailable:
            self.lost += 1

    # ---- reading ---------------------------------------------------------------------------

    async def find(self, id: int) -> Outgoing | None:
        found = await self._messages(select(*_COLUMNS).where(outbox.c.id == id))
        return found[0] if found else None

    async def page(self, wanted: Filter) -> list[Outgoing]:
        query = select(*_COLUMNS)
        if wanted.senders is not None:
            query = query.where(outbox.c.sender.in_(wanted.senders))
        if wanted.recipient is not None:
            query = query.where(outbox.c.recipient == wanted.recipient)
        if wanted.state is not None:
            query = query.where(outbox.c.state == wanted.state)
        if wanted.submission is not None:
            query = query.where(outbox.c.submission == wanted.submission)
        if wanted.before is not None:
            query = query.where(outbox.c.id < wanted.before)
        return await self._messages(query.order_by(outbox.c.id.desc()).limit(wanted.at_most))

    async def submission(self, caller: str, key: str, now_utc: float) -> Submission | None:
        query = select(submissions).where(
            submissions.c.caller == caller,
            submissions.c.idempotency_key == key,
            submissions.c.due_utc > now_utc,
        )
        rows = await self._all(query)
        return Submission(*rows[0]) if rows else None

    async def due(self, now_utc: float, at_most: int) -> list[Outgoing]:
        query = select(*_COLUMNS).where(outbox.c.due_utc <= now_utc).order_by(outbox.c.due_utc)
        return await self._messages(query.limit(at_most))

    async def due_submissions(self, now_utc: float, at_most: int) -> list[int]:
        query = select(submissions.c.id).where(submissions.c.due_utc <= now_utc).limit(at_most)
        return [row.id for row in await self._all(query)]

    async def stored(self) -> Sequence[int]:
        query = select(outbox.c.id).where(outbox.c.state == "stored")
        return [row.id for row in await self._all(query)]

    async def newest(self) -> int:
        rows = await self._all(select(func.max(outbox.c.id)))
        return rows[0][0] or 0

    async def unsent(self, now_utc: float) -> AsyncIterator[tuple[Outgoing, str | None]]:
        query = (
            select(*_COLUMNS, messages.c.state)
            .join_from(outbox, messages, messages.c.id == outbox.c.id, isouter=True)
            .where(
                or_(
                    outbox.c.state == "queued",
                    and_(outbox.c.state == "scheduled", outbox.c.due_utc <= now_utc),
                )
            )
            .order_by(outbox.c.id)
        )
        async with self._connection() as connection:
            rows = await connection.stream(query.execution_options(yield_per=PAGE_ROWS))
            async for row in rows:
                *columns, state = row
                yield Outgoing(*columns), state

    async def orphans(self) -> Sequence[int]:
        query = (
            select(outbox.c.submission)
            .join_from(outbox, submissions, submissions.c.id == outbox.c.submission, isouter=True)
            .where(
                outbox.c.submission != 0,
                outbox.c.state.in_(("queued", "scheduled")),
                submissions.c.id.is_(None),
            )
            .distinct()
        )
        return [row.submission for row in await self._all(query)]

    async def _messages(self, query: Select[Any]) -> list[Outgoing]:
        return [Outgoing(*row) for row in await self._all(query)]

    async def _all(self, query: Select[Any]) -> Sequence[Any]:
        async with self._connection() as connection:
            rows: Sequence[Any] = (await connection.execute(query)).all()
            return rows

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise unavailable(error) from error
