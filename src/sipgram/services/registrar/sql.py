"""Bindings in the database: committed by the writer, read once at start (DELIVERY.md D37)."""

from collections.abc import AsyncIterator, Callable, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db import tables
from sipgram.db.writer import LastOf, Writer
from sipgram.errors import Unavailable
from sipgram.net.udp import UdpFlow
from sipgram.services.answers import Done
from sipgram.services.registrar.location import Binding
from sipgram.services.registrar.store import KeptBinding
from sipgram.sip.sink import Flow

PAGE_ROWS = 500
"""Bindings read in one turn of the loop at start."""


class BindingRows:
    """The bindings table."""

    def __init__(
        self,
        engine: AsyncEngine,
        writer: Writer,
        *,
        wall: Callable[[], float],
        certain: Callable[[], float] | None = None,
    ) -> None:
        """``wall`` is the time to stamp with, ``certain`` that by which things end (D35)."""
        self._certain = certain or wall
        self._engine = engine
        self._writer = writer
        self._wall = wall
        self.failed = 0
        "Refreshes and ends that could not be written behind; the next refresh tries again."

    def commit(
        self, *, put: Sequence[Binding], drop: Sequence[Binding], now: float, done: Done
    ) -> None:
        submit = self._writer.submit
        if len(put) == 1 and not drop:
            submit("binding_put", self._row(put[0], now), done)
            return
        last = LastOf(len(put) + 2 * len(drop), done)
        wall = self._wall()
        try:
            for binding in drop:
                # D7: its device is waited for, even when this process ends now.
                row = (
                    binding.aor,
                    binding.instance,
                    binding.account_id,
                    binding.is_page,
                    wall,
                    None,
                )
                submit("device_put", row, last)
                submit("binding_drop", (binding.aor, binding.key), last)
            for binding in put:
                submit("binding_put", self._row(binding, now), last)
        except Unavailable:
            last.is_told = True  # By the error itself, whatever becomes of those that were taken.
            raise

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

    def forget(self, binding: Binding) -> None:
        def note(error: Exception | None) -> None:
            if error is not None:
                self.failed += 1

        try:
            self._writer.submit("binding_drop", (binding.aor, binding.key), note)
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
            table.c.path,
            table.c.reg_id,
        )
        query = select(*columns).where(table.c.expires_utc > self._certain())
        async with self._engine.connect() as connection:
            async for row in await connection.stream(query.execution_options(yield_per=PAGE_ROWS)):
                yield KeptBinding(
                    row.aor,
                    row.contact,
                    row.call_id,
                    row.cseq,
                    row.flow,
                    row.expires_utc,
                    row.path,
                    row.reg_id,
                )

    def _row(self, binding: Binding, now: float) -> tuple[object, ...]:
        wall = self._wall()
        return (
            binding.aor,
            binding.key,
            binding.account_id or None,  # Nobody has an account under --auth none.
            binding.value,
            binding.instance,
            binding.reg_id,
            binding.call_id,
            binding.cseq,
            binding.path,
            _written(binding.flow),
            b"",
            b",".join(sorted(binding.methods)) if binding.methods else b"",
            1000 if binding.q == 1.0 else round(binding.q * 1000),
            wall,
            wall + binding.expires - now,
        )


def _written(flow: Flow) -> str:
    """Return the flow as text, a datagram's with our own port: it leaves from there again (D27)."""
    return f"{flow} {flow.listener.port}" if isinstance(flow, UdpFlow) else str(flow)
