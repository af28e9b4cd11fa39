"""What commands do to messages and devices: one transaction each, with news for a running server.

A command writes to the database itself, so that it needs no server; one that runs reads the
news (``news.py``) and changes its memory. Races end well: a device that takes a message while
it is being cancelled makes it delivered (``message_finish``).
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import case, delete, func, insert, literal_column, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sipgram.db import tables
from sipgram.db.engine import unavailable
from sipgram.errors import SettingsError

NEWS_KEPT_S: Final = 3_600.0
"""A server that runs follows within a second; one that starts reads everything."""
NEWS_ROWS: Final = 200
"""News taken in one turn of the loop."""
GRACE_S: Final = 60.0
"""The record of what a command ended stays at least so long, for the server to read."""

Kind = Literal["cancel", "end", "requeue", "forget", "read"]
"""``end``: the server itself is to end a message, whose sender asked to be told (D15)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One piece of news."""

    seq: int
    kind: Kind
    message_id: int
    aor: str
    device: bytes


class MessageCommands:
    """Cancels, requeues, forgets."""

    def __init__(
        self, engine: AsyncEngine, *, wall: Callable[[], float], record_s: float = 604_800.0
    ) -> None:
        """``record_s``: how long the record of a message that is cancelled stays."""
        self._engine = engine
        self._wall = wall
        self._record_s = record_s

    async def cancel(self, id: int) -> None:
        """End a message that waits; ``SettingsError`` when it does not."""
        async with self._transaction() as connection:
            row = await self._message(connection, id)
            if not await self._cancel(connection, [(id, row.aor, row.wants_failure)]):
                raise SettingsError(f"message {id} does not wait, it is {row.state}")

    async def requeue(self, id: int) -> str:
        """Have a message tried again at once, also by devices that refused it.

        Returns the state that it had. ``SettingsError`` when it was delivered, or when its body
        was erased as it ended.
        """
        table, now = tables.messages, self._wall()
        async with self._transaction() as connection:
            row = await self._message(connection, id)
            if row.state == "delivered":
                raise SettingsError(f"message {id} was delivered")
            if row.state != "waiting":
                if not row.head:
                    raise SettingsError(
                        f"message {id} is {row.state} and its body was erased: no history is kept"
                    )
                if row.due_utc <= now:
                    raise SettingsError(f"message {id} is {row.state} and about to be removed")
                expires_utc = now + max(60.0, row.expires_utc - row.received_utc)
                result = await connection.execute(
                    update(table)
                    .where(table.c.id == id, table.c.state == row.state)
                    .values(
                        state="waiting",
                        finished_utc=None,
                        expires_utc=expires_utc,
                        due_utc=expires_utc,
                    )
                )
                if not result.rowcount:
                    raise SettingsError(f"message {id} is {row.state} no more: look at it again")
            await self._reopen(connection, id, is_for_all=row.is_for_all)
            await self._tell(connection, "requeue", id, row.aor)
        return str(row.state)

    async def forget(self, aor: str, device: bytes) -> bool:
        """Wait for a device no more; False when it is registered, and so known again when it goes.

        Raises ``SettingsError`` when nobody knows it.
        """
        devices, copies, bindings = tables.devices, tables.copies, tables.bindings
        async with self._transaction() as connection:
            away = delete(devices).where(devices.c.aor == aor, devices.c.device == device)
            found = (await connection.execute(away)).rowcount
            its_bindings = (bindings.c.aor == aor) & (bindings.c.instance == device)
            live = its_bindings & (bindings.c.expires_utc > self._wall())
            is_bound = (await connection.execute(select(bindings.c.key).where(live))).first()
            if is_bound is None:
                found += (await connection.execute(delete(bindings).where(its_bindings))).rowcount
            elif not found:
                found = 1
            its_messages = select(tables.messages.c.id).where(
                tables.is_waiting, tables.messages.c.aor == aor
            )
            await connection.execute(
                delete(copies).where(
                    copies.c.message_id.in_(its_messages),
                    copies.c.device == device,
                    copies.c.state == "waiting",
                )
            )
            if not found:
                shown = device.decode(errors="replace") or "(no instance)"
                raise SettingsError(f"{aor} has no device that is waited for: {shown}")
            await self._tell(connection, "forget", 0, aor, device)
        return is_bound is None

    async def cancel_many(self, ids: list[int]) -> int:
        """End those of some messages that wait; return how many did."""
        table = tables.messages
        async with self._transaction() as connection:
            query = select(table.c.id, table.c.aor, table.c.wants_failure)
            query = query.where(table.c.id.in_(ids), tables.is_waiting)
            found = [tuple(row) for row in await connection.execute(query)]
            return await self._cancel(connection, found)

    async def body(self, id: int, *, who: str) -> bytes:
        """Return a message's body, and note who has read it (D36)."""
        table = tables.messages
        async with self._transaction() as connection:
            row = await self._message(connection, id)
            if not row.head:
                raise SettingsError(f"message {id} is {row.state} and its body was erased")
            reading = {"message_id": id, "who": who, "at_utc": self._wall()}
            await connection.execute(insert(tables.readings).values(reading))
            await self._tell(connection, "read", id, row.aor, who.encode())
            query = select(table.c.body).where(table.c.id == id)
            return bytes((await connection.execute(query)).scalar_one())

    # ---- news ------------------------------------------------------------------------------

    async def newest(self) -> int:
        """Return the number of the newest change, 0 when there is none."""
        async with self._transaction() as connection:
            query = select(func.max(tables.message_changes.c.seq))
            return (await connection.execute(query)).scalar() or 0

    async def news(self, after: int) -> list[Change]:
        """Return what changed since, at most ``NEWS_ROWS``, in order."""
        table = tables.message_changes
        columns = (table.c.seq, table.c.kind, table.c.message_id, table.c.aor, table.c.device)
        query = select(*columns).where(table.c.seq > after).order_by(table.c.seq).limit(NEWS_ROWS)
        async with self._transaction() as connection:
            return [Change(*row) for row in await connection.execute(query)]

    async def ended(self, id: int) -> tuple[str, bytes, int] | None:
        """Return an ended message's AoR, sender and size."""
        table = tables.messages
        query = select(table.c.aor, table.c.sender, table.c.size)
        async with self._transaction() as connection:
            row = (await connection.execute(query.where(table.c.id == id, tables.is_over))).first()
        return None if row is None else (row.aor, row.sender, row.size)

    async def tell_stored(self, connection: AsyncConnection, id: int, aor: str) -> None:
        """A message was put into the database from elsewhere: have it delivered."""
        await self._tell(connection, "requeue", id, aor)

    # ---- parts -----------------------------------------------------------------------------

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise unavailable(error) from error

    async def _message(self, connection: AsyncConnection, id: int) -> Any:
        table = tables.messages
        columns = ("aor", "state", "is_for_all", "wants_failure")
        times = ("received_utc", "expires_utc", "due_utc")
        has_head = (func.length(table.c.head) > 0).label("head")
        query = select(*(table.c[name] for name in (*columns, *times)), has_head).where(
            table.c.id == id
        )
        row = (await connection.execute(query)).first()
        if row is None:
            raise SettingsError(f"no message has this id: {id}")
        return row

    async def _cancel(
        self, connection: AsyncConnection, messages: Sequence[tuple[int, str, bool]]
    ) -> int:
        """End those that wait, given with AoR and whether the sender asked to be told; count them.

        Of one that is to be told the body stays for the server, which ends it: when none runs, the
        next does, since its time is over.
        """
        table, now = tables.messages, self._wall()
        is_kept = table.c.kept != literal_column("0")
        ended = {
            "state": "cancelled",
            "finished_utc": now,
            "due_utc": now + max(GRACE_S, self._record_s),
            "head": case((is_kept, table.c.head), else_=b""),
            "body": case((is_kept, table.c.body), else_=b""),
        }
        count = 0
        for id, aor, is_told in messages:
            statement = update(table).where(table.c.id == id, tables.is_waiting)
            values = {"expires_utc": now, "due_utc": now} if is_told else ended
            if (await connection.execute(statement.values(values))).rowcount:
                count += 1
                await self._tell(connection, "end" if is_told else "cancel", id, aor)
        return count

    async def _reopen(self, connection: AsyncConnection, id: int, *, is_for_all: bool) -> None:
        copies = tables.copies
        refused = (copies.c.message_id == id) & (copies.c.state == "refused")
        if is_for_all:
            await connection.execute(delete(copies).where(refused))
        else:
            await connection.execute(update(copies).where(refused).values(state="waiting"))

    async def _tell(
        self, connection: AsyncConnection, kind: Kind, id: int, aor: str, device: bytes = b""
    ) -> None:
        changes, now = tables.message_changes, self._wall()
        if connection.dialect.name == "postgresql":
            # Else a change could be seen before one with a lower number, which a follower misses.
            await connection.execute(text("LOCK TABLE message_changes IN EXCLUSIVE MODE"))
        values = {"kind": kind, "message_id": id, "aor": aor, "device": device, "at_utc": now}
        await connection.execute(insert(changes).values(values))
        await connection.execute(delete(changes).where(changes.c.at_utc < now - NEWS_KEPT_S))
