"""What became of messages, read for people (DELIVERY.md D36: bodies are not among it)."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db import tables

Record = dict[str, Any]
"""Column name to value; bytes are read as UTF-8 with replacements."""


class MessageRecords:
    """Reads messages, copies, attempts and devices that are away."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self,
        *,
        before: int | None = None,
        aor: str | None = None,
        state: str | None = None,
        at_most: int = 50,
    ) -> list[Record]:
        """Return the latest messages, those with ids under ``before``, the newest first."""
        table = tables.messages
        query = select(*_SHOWN).order_by(table.c.id.desc()).limit(at_most)
        if before is not None:
            query = query.where(table.c.id < before)
        if aor is not None:
            query = query.where(table.c.aor == aor)
        if state is not None:
            query = query.where(table.c.state == state)
        return await self._records(query)

    async def find(self, id: int) -> Record | None:
        """Return one message with its copies and failed attempts."""
        copies, attempts = tables.copies, tables.attempts
        found = await self._records(select(*_SHOWN).where(tables.messages.c.id == id))
        if not found:
            return None
        its_copies = select(
            copies.c.device, copies.c.state, copies.c.status, copies.c.contact, copies.c.at_utc
        ).where(copies.c.message_id == id)
        its_attempts = select(
            attempts.c.device,
            attempts.c.at_utc,
            attempts.c.contact,
            attempts.c.flow,
            attempts.c.status,
            attempts.c.reason,
        ).where(attempts.c.message_id == id)
        return {
            **found[0],
            "copies": await self._records(its_copies.order_by(copies.c.at_utc)),
            "attempts": await self._records(its_attempts.order_by(attempts.c.at_utc)),
        }

    async def devices(self, aor: str | None = None) -> list[Record]:
        """Return the devices that are away and waited for (D7)."""
        table = tables.devices
        query = select(table.c.aor, table.c.device, table.c.is_page, table.c.seen_utc)
        if aor is not None:
            query = query.where(table.c.aor == aor)
        return await self._records(query.order_by(table.c.aor, table.c.seen_utc))

    async def _records(self, query: Select[Any]) -> list[Record]:
        async with self._engine.connect() as connection:
            rows: Sequence[Any] = (await connection.execute(query)).all()
        return [{name: _text(value) for name, value in row._mapping.items()} for row in rows]


_SHOWN = (
    tables.messages.c.id,
    tables.messages.c.aor,
    tables.messages.c.sender,
    tables.messages.c.state,
    tables.messages.c.content_type,
    tables.messages.c.size,
    tables.messages.c.call_id,
    tables.messages.c.received_utc,
    tables.messages.c.expires_utc,
    tables.messages.c.finished_utc,
)


def _text(value: object) -> object:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
