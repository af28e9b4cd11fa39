"""The writer for PostgreSQL: one connection, and one transaction for each batch.

Rows go as parameters of one prepared statement, all in one round trip, in their order: arrays
(``unnest``) would not do for an upsert that meets its key twice in a batch.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import asyncpg

from sipgram.db.engine import connected
from sipgram.db.statements import Statement
from sipgram.db.writer import Answer, Link, Row, Verdict, Writer
from sipgram.errors import Unavailable

_CLOSE_S = 2.0

ROW_FAULTS = ("21", "22", "23")
"""Classes of SQLSTATE that blame the row: cardinality, data, integrity."""


class PostgresWriter(Writer):
    """Commits rows to one PostgreSQL database.

    ``busy_timeout_s`` is how long a statement may wait for another's lock before rows fail,
    ``answer_s`` how long the server may take for a whole batch before it counts as away.
    """

    def __init__(
        self,
        url: str,
        *,
        statements: Iterable[Statement],
        rows_max: int = 20_000,
        busy_timeout_s: float = 2.0,
        answer_s: float = 5.0,
    ) -> None:
        super().__init__(statements, rows_max=rows_max)
        self._url = url
        self._busy_timeout_s = busy_timeout_s
        self._answer_s = answer_s

    def _connect(self, *, answered: Callable[[Answer], None], lost: Callable[[], None]) -> Link:
        settings = {"lock_timeout": f"{int(self._busy_timeout_s * 1000)}ms"}
        return _Session(
            partial(connected, self._url, settings=settings),
            statements=[statement.postgres for statement in self._statements],
            answer_s=self._answer_s,
            answered=answered,
            lost=lost,
        )


class _Session:
    """A connection, and the task that gives it one batch after another."""

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        statements: list[str],
        answer_s: float,
        answered: Callable[[Answer], None],
        lost: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._statements = statements
        self._answer_s = answer_s
        self._answered = answered
        self._lost = lost
        self._rows: list[tuple[int, Row]] = []
        self._news = asyncio.Event()
        self._closing = False
        self.pid = 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def has_ended(self) -> bool:
        """Whether the connection is closed."""
        return self._task.done()

    def send(self, rows: list[tuple[int, Row]]) -> None:
        """Give the task its next batch."""
        self._rows = rows
        self._news.set()

    def can_send(self, row: Row) -> bool:
        """Say yes: what does not fit is told with the other verdicts."""
        return True

    def close(self) -> None:
        """Let the task end after the batch that it has."""
        self._closing = True
        self._news.set()

    async def ended(self) -> None:
        """Wait for the end; one that hangs is cut off."""
        with suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(_CLOSE_S):
                await self._task

    async def _run(self) -> None:
        try:
            connection = await self._connect()
        except Unavailable as error:
            self._answered(("away", error.reason))
            self._lost()
            return
        try:
            connection.add_termination_listener(lambda _: self._news.set())
            await self._serve(connection)
        finally:
            with suppress(OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError):
                await connection.close(timeout=_CLOSE_S)
            connection.terminate()

    async def _serve(self, connection: "asyncpg.Connection[Any]") -> None:
        self.pid = connection.get_server_pid()
        self._answered(None)
        while not self._closing:
            await self._news.wait()
            self._news.clear()
            rows, self._rows = self._rows, []
            if rows and not connection.is_closed():
                answer = await self._committed(connection, rows)
                if not connection.is_closed():
                    self._answered(answer)
            if connection.is_closed() and not self._closing:
                self._lost()
                return

    async def _committed(
        self, connection: "asyncpg.Connection[Any]", rows: list[tuple[int, Row]]
    ) -> list[Verdict]:
        """Commit all rows together; an empty list says that all are."""
        try:
            async with asyncio.timeout(self._answer_s):
                try:
                    await self._write(connection, rows)
                    return []
                except asyncpg.PostgresError as error:
                    if not is_rows_fault(error):
                        raise
                async with connection.transaction():
                    return await self._sifted(connection, rows)
        except TimeoutError:
            connection.terminate()  # Whether it has committed is not known: a new one asks again.
            reason = f"no answer within {self._answer_s:g} s"
        except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
            reason = str(error)
        return [("away", reason)] * len(rows)

    async def _sifted(
        self, connection: "asyncpg.Connection[Any]", rows: list[tuple[int, Row]]
    ) -> list[Verdict]:
        """Write what fits, in order, and find by halves what does not."""
        try:
            await self._write(connection, rows)
        except asyncpg.PostgresError as error:
            if not is_rows_fault(error):
                raise
            if len(rows) == 1:
                return [("row", str(error))]
            half = len(rows) // 2
            before = await self._sifted(connection, rows[:half])
            return before + await self._sifted(connection, rows[half:])
        return [None] * len(rows)

    async def _write(
        self, connection: "asyncpg.Connection[Any]", rows: list[tuple[int, Row]]
    ) -> None:
        """Write all rows or none, under a savepoint when there is a transaction."""
        groups = [
            (index, [row for _, row in group]) for index, group in groupby(rows, itemgetter(0))
        ]
        if len(groups) == 1 and not connection.is_in_transaction():
            await connection.executemany(self._statements[groups[0][0]], groups[0][1])
            return  # One statement for many rows is a transaction, and saves two round trips.
        async with connection.transaction():
            for index, group in groups:
                await connection.executemany(self._statements[index], group)


def is_rows_fault(error: asyncpg.PostgresError) -> bool:
    """Tell whether a row is to blame, and not the database."""
    return (error.sqlstate or "22")[:2] in ROW_FAULTS
