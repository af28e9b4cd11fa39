"""Bindings in the database: committed by the writer, read once at start (DELIVERY.md D37)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db import tables
from sipgram.db.writer import Writer
from sipgram.errors import Unavailable
from sipgram.services.registrar.location import Binding
from sipgram.services.registrar.store import KeptBinding

PAGE_ROWS = 500
"""Bindings read in one turn of the loop at start."""


class BindingRows:
    """The bindings table."""

    def __init__(self, engine: AsyncEngine, writer: Writer, *, wall: Callable[[], float]) -> None:
        self._engine = engine
        self._writer = writer
        self._wall = wall
        self.failed = 0
        "Refreshes that could not be written behind; the next refresh tries again."

    async def commit(self, *, put: Sequence[Binding], drop: Sequence[Binding], now: float) -> None:
        rows: list[tuple[str, tuple[object, ...]]] = [
            *(("binding_drop", (binding.aor, binding.key)) for binding in drop),
            *(("binding_put", self._row(binding, now)) for binding in put),
        ]
        wait: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = len(rows)

        def note(error: Exception | None) -> None:
            nonlocal left
            left -= 1
            if wait.done():
                return
            if error is not None:
                wait.set_exception(error)
            elif not left:
                wait.set_result(None)

        try:
            for statement, row in rows:
                self._writer.submit(statement, row, note)
        except Unavailable:
            wait.cancel()  # Nobody waits for those that were taken.
            raise
        await wait

    def write_behind(self, binding: Binding, now: float) -> None:
        """Write a refresh when less than half of it is still true on disk."""
        if binding.kept_until - now > (binding.expires - now) / 2:
            return
        expires_utc = self._wall() + binding.expires - now
        row = (binding.call_id, binding.cseq, expires_utc, binding.aor, binding.key)
        before, binding.kept_until = binding.kept_until, binding.expires

        def note(error: Exception | None) -> None:
            if error is not None:
                self.failed += 1
                binding.kept_until = before

        try:
            self._writer.submit("binding_refresh", row, note)
        except Unavailable as error:
            note(error)

    async def load(self) -> AsyncIterator[KeptBinding]:
        """Yield every binding that has not expired."""
        table = tables.bindings
        columns = (
            table.c.aor,
            table.c.key,
            table.c.contact,
            table.c.call_id,
            table.c.cseq,
            table.c.flow,
            table.c.expires_utc,
        )
        query = select(*columns).where(table.c.expires_utc > self._wall())
        async with self._engine.connect() as connection:
            async for row in await connection.stream(query.execution_options(yield_per=PAGE_ROWS)):
                yield KeptBinding(
                    row.aor, row.contact, row.call_id, row.cseq, row.flow, row.expires_utc
                )

    def _row(self, binding: Binding, now: float) -> tuple[object, ...]:
        wall = self._wall()
        account_id = binding.entry.account_id if binding.entry is not None else 0
        return (
            binding.aor,
            binding.key,
            account_id or None,  # Nobody has an account under --auth none.
            binding.value,
            binding.instance,
            0,
            binding.call_id,
            binding.cseq,
            b"",
            str(binding.flow),
            b"",
            b",".join(sorted(binding.methods)),
            round(binding.q * 1000),
            wall,
            wall + binding.expires - now,
        )
