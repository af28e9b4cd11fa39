"""A message store on a real database of either engine, filled by its own statements."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db.engine import open_engine
from sipgram.db.migrations import upgrade
from sipgram.db.statements import known_statements
from sipgram.db.writer import Writer
from sipgram.db.writers import writer_for
from sipgram.services.messaging.operator.commands import MessageCommands
from sipgram.services.messaging.operator.records import MessageRecords
from sipgram.services.messaging.sql import MessageRows
from sipgram.services.messaging.store import StoredMessage

WALL = 1_700_000_000.0
BOB = "sip:bob@example.com"
RECORD_S = 600.0
HISTORY_S = 6_000.0


@dataclass
class Shelf:
    """The store, what administrators do to it, and a clock that stands."""

    engine: AsyncEngine
    writer: Writer
    wall: float = WALL

    def __post_init__(self) -> None:
        self.rows = MessageRows(
            self.engine,
            self.writer,
            wall=lambda: self.wall,
            record_s=RECORD_S,
            history_s=HISTORY_S,
        )
        self.records = MessageRecords(self.engine)
        self.commands = MessageCommands(self.engine, wall=lambda: self.wall, record_s=RECORD_S)

    async def did(self, write: Any, *arguments: Any, **named: Any) -> None:
        """Write, and wait until it is on disk."""
        written: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        write(*arguments, done=written.set_result, **named)
        assert await written is None

    async def put(self, id: int, *, is_for_all: bool = True, **more: Any) -> StoredMessage:
        """Keep a message."""
        stored = replace(message(id), **more)
        await self.did(self.rows.put, stored, is_for_all=is_for_all, copies=())
        return stored

    async def ended(self, id: int, state: str, **more: Any) -> None:
        """Keep a message that has ended."""
        await self.put(id, **more)
        await self.did(self.rows.finish, id, state)

    async def all(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        async with self.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(query))]

    async def run(self, statement: str) -> None:
        """Run a statement."""
        async with self.engine.begin() as connection:
            await connection.execute(text(statement))


def message(id: int) -> StoredMessage:
    """Return a message from alice to bob."""
    return StoredMessage(
        id=id,
        aor=BOB,
        account_id=7,
        sender=b"sip:alice@example.com",
        call_id=b"c%d" % id,
        digest=b"d%d" % id,
        content_type=b"text/plain",
        head=b"Call-ID: c%d\r\n" % id,
        body=b"\x00\xffhi",
        received_utc=WALL,
        expires_utc=WALL + 60,
    )


@asynccontextmanager
async def shelf_at(url: str) -> AsyncIterator[Shelf]:
    """Open an empty database."""
    engine = open_engine(url)
    try:
        await upgrade(engine)
        async with writer_for(url, statements=known_statements()) as writer:
            yield Shelf(engine, writer)
    finally:
        await engine.dispose()
