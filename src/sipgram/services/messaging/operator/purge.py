"""Removes what nobody needs any more, in small steps beside the server (DELIVERY.md D36).

Records whose time is over, bindings that ended long ago, and the mail of accounts that are gone.
Each step is one transaction of few rows, found by an index: it holds neither the loop nor the
writer for more than some milliseconds, however large the tables are.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from sqlalchemy import delete, exists, literal_column, select, tuple_, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sipgram.db import tables
from sipgram.db.engine import unavailable
from sipgram.errors import Unavailable

log = structlog.get_logger("sipgram.messaging")

STEP_ROWS: Final = 200
"""Messages of one transaction."""
PAUSE_S: Final = 0.03
"""Between two steps when there is more to do: others want the database, too."""
EVERY_S: Final = 2.0
BINDINGS_EVERY_S: Final = 3_600.0
"""How often all bindings are looked through for those that ended long ago."""
BINDING_S: Final = 30 * 86_400.0
"""How long a binding that has ended tells which device to wait for (D7)."""


class Purge:
    """Finds and removes; ``wall`` is the time that counts."""

    def __init__(self, engine: AsyncEngine, *, wall: Callable[[], float]) -> None:
        self._engine = engine
        self._wall = wall
        self._binding: tuple[str, bytes] | None = ("", b"")
        self._bindings_at = 0.0
        self.removed = 0

    async def step(self) -> bool:
        """Do a little; True when there is more to do at once."""
        if await self.records() or await self.removals():
            return True
        if self._binding is None and self._wall() - self._bindings_at >= BINDINGS_EVERY_S:
            self._binding = ("", b"")
        return self._binding is not None and await self._bindings()

    async def records(self) -> int:
        """Remove some records whose time is over; return how many."""
        table = tables.messages
        query = select(table.c.id).where(tables.is_over, table.c.due_utc <= self._wall())
        query = query.order_by(table.c.due_utc).limit(STEP_ROWS)
        async with self._transaction() as connection:
            ids = (await connection.execute(query)).scalars().all()
            count = await drop_messages(connection, ids) if ids else 0
        self.removed += count
        return len(ids)

    async def removals(self) -> bool:
        """Remove some of what an account that is gone left behind; False when there is none."""
        gone = tables.removals
        async with self._transaction() as connection:
            row = (await connection.execute(select(gone).limit(1))).first()
            if row is None:
                return False
            if await self._mail_of(connection, row.account_id, row.aor):
                return True
            await connection.execute(
                delete(tables.devices).where(
                    tables.devices.c.aor == row.aor,
                    tables.devices.c.account_id == row.account_id,
                )
            )
            await connection.execute(delete(gone).where(gone.c.account_id == row.account_id))
        return True

    async def _mail_of(self, connection: AsyncConnection, account_id: int, aor: str) -> bool:
        """Remove some messages to it, then those kept because it sent them; False for none."""
        table = tables.messages
        its_own = (table.c.aor == aor, table.c.account_id == account_id)
        for condition in (tables.is_over, tables.is_waiting):
            query = select(table.c.id).where(condition, *its_own).limit(STEP_ROWS)
            if ids := (await connection.execute(query)).scalars().all():
                self.removed += await drop_messages(connection, ids, waiting_too=True)
                return True
        for from_it, _ in from_sender(aor):
            query = select(table.c.id).where(tables.is_over, from_it)
            query = query.where(
                table.c.sender_id == account_id, table.c.kept == tables.KEPT_FOR_SENDER
            ).limit(STEP_ROWS)
            if ids := (await connection.execute(query)).scalars().all():
                self.removed += await drop_messages(connection, ids)
                return True
        # What is still on its way goes out, and is erased then.
        query = select(table.c.id).where(tables.is_waiting, table.c.sender_id == account_id)
        query = query.where(table.c.kept == tables.KEPT_FOR_SENDER).limit(STEP_ROWS)
        if ids := (await connection.execute(query)).scalars().all():
            await connection.execute(update(table).where(table.c.id.in_(ids)).values(kept=0))
        return bool(ids)

    async def _bindings(self) -> bool:
        """Look at the next bindings, in the order of their keys; False after the last."""
        table = tables.bindings
        key = tuple_(table.c.aor, table.c.key)
        assert self._binding is not None
        query = select(table.c.aor, table.c.key, table.c.expires_utc)
        query = query.where(key > self._binding).order_by(table.c.aor, table.c.key).limit(STEP_ROWS)
        before = self._wall() - BINDING_S
        async with self._transaction() as connection:
            rows = (await connection.execute(query)).all()
            for row in rows:
                if row.expires_utc <= before:
                    self.removed += 1
                    await connection.execute(
                        delete(table).where(
                            table.c.aor == row.aor,
                            table.c.key == row.key,
                            table.c.expires_utc <= before,  # It may have come back.
                        )
                    )
        self._binding = (rows[-1].aor, rows[-1].key) if len(rows) == STEP_ROWS else None
        self._bindings_at = self._wall()
        return self._binding is not None

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise unavailable(error) from error


async def drop_messages(
    connection: AsyncConnection, ids: Sequence[int], *, waiting_too: bool = False
) -> int:
    """Remove messages that have ended, and all that is known of them; return how many.

    One that was requeued a moment ago stays: the first statement decides, under its lock.
    """
    table = tables.messages
    statement = delete(table).where(table.c.id.in_(ids))
    if not waiting_too:
        statement = statement.where(tables.is_over)
    count = (await connection.execute(statement)).rowcount
    for child in (tables.attempts, tables.copies):
        is_there = exists().where(table.c.id == child.c.message_id)
        await connection.execute(delete(child).where(child.c.message_id.in_(ids), ~is_there))
    return count


async def drop_over(engine: AsyncEngine, ids: Sequence[int]) -> int:
    """Remove those of some messages that have ended, in one transaction; return how many."""
    try:
        async with engine.begin() as connection:
            return await drop_messages(connection, ids)
    except DBAPIError as error:
        raise unavailable(error) from error


BY_SORTING: Final = (tables.messages.c.id + literal_column("0")).desc()
"""By id, but not by the key: else SQLite walks the whole table to save sorting what it finds."""


def from_sender(aor: str) -> list[tuple[Any, Any]]:
    """Return conditions that a message came from an AoR, each with how to order what it finds.

    The URI may have a port or parameters: ``:`` and ``;`` come one after the other and ``<`` next, a
    range that an index can serve.
    """
    column, uri = tables.messages.c.sender, aor.encode()
    more = (column >= uri + b":") & (column < uri + b"<")
    return [(column == uri, tables.messages.c.id.desc()), (more, BY_SORTING)]


async def keep_house(purge: Purge) -> None:
    """Purge until cancelled; what fails is told and tried again."""
    while True:
        try:
            more = await purge.step()
        except Unavailable as error:
            log.warning("nothing purged", reason=error.reason)
            more = False
        await asyncio.sleep(PAUSE_S if more else EVERY_S)
