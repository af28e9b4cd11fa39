"""Events and listeners in the database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sipgram.db.engine import unavailable
from sipgram.db.http_tables import events, listeners
from sipgram.db.writer import Writer
from sipgram.errors import Unavailable
from sipgram.services.answers import Done
from sipgram.services.listeners.store import Event

PAGE_ROWS: Final = 200


class EventRows:
    """The tables events and listeners (``store.EventStore``)."""

    def __init__(self, engine: AsyncEngine, writer: Writer, *, keep_s: float) -> None:
        self._engine = engine
        self._writer = writer
        self._keep_s = keep_s

    def put(self, event: Event, done: Done) -> None:
        due_utc = (event.id >> 20) / 1000 + self._keep_s  # Ids are made of the time.
        self._writer.submit(
            "event_put", (event.id, event.aor, event.kind, event.data, due_utc), done
        )

    def used(self, aor: str, account_id: int, now_utc: float) -> None:
        self._write("listener_put", (aor, account_id, now_utc))

    def forget(self, aor: str) -> None:
        self._write("listener_drop", (aor,))
        self._write("events_drop", (aor,))

    def drop(self, id: int) -> None:
        self._write("event_drop", (id,))

    def _write(self, statement: str, row: tuple[Any, ...]) -> None:
        try:
            self._writer.submit(statement, row, lambda error: None)
        except Unavailable:
            return  # Done again: it is looked at once a second, or used once more.

    async def listeners(self) -> Sequence[tuple[str, int, float]]:
        query = select(listeners.c.aor, listeners.c.account_id, listeners.c.used_utc)
        return [(row.aor, row.account_id, row.used_utc) for row in await self._all(query)]

    async def since(self, id: int, aors: Sequence[str] | None) -> AsyncIterator[Event]:
        query = select(events.c.id, events.c.aor, events.c.kind, events.c.data)
        if aors is not None:
            query = query.where(events.c.aor.in_(aors))
        while True:
            page = query.where(events.c.id > id).order_by(events.c.id).limit(PAGE_ROWS)
            rows = await self._all(page)
            for row in rows:
                yield Event(*row)
            if len(rows) < PAGE_ROWS:
                return
            id = rows[-1].id

    async def due(self, now_utc: float, at_most: int) -> Sequence[int]:
        query = select(events.c.id).where(events.c.due_utc <= now_utc).limit(at_most)
        return [row.id for row in await self._all(query)]

    async def newest(self) -> int:
        rows = await self._all(select(func.max(events.c.id)))
        return rows[0][0] or 0

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
