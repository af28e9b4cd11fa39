"""Reads tables of any database that SQLAlchemy has a driver for, a page at a time."""

from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import ColumnClause, Connection, Engine, Select, create_engine, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.sql import column, table

from sipgram.errors import SettingsError

PAGE_ROWS: Final = 500
USUAL: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mysql+aiomysql",
}
"""Drivers for URLs that name none."""


class Source:
    """Another server's database, opened by ``async with``; nothing is ever written to it."""

    def __init__(self, url: str) -> None:
        """Raises ``SettingsError`` for a URL or driver that cannot be used."""
        try:
            parsed = make_url(url)
            parsed = parsed.set(drivername=USUAL.get(parsed.drivername, parsed.drivername))
            is_async = parsed.get_dialect().is_async
            self._engine: AsyncEngine | Engine = (
                create_async_engine(parsed) if is_async else create_engine(parsed)
            )
        except (ArgumentError, NoSuchModuleError) as error:
            raise SettingsError(f"--from is no URL of a database: {error}") from None
        except ImportError as error:
            raise SettingsError(f"database driver is not installed: {error.name}") from error
        self.name = parsed.render_as_string(hide_password=True)

    async def __aenter__(self) -> Self:
        """Look which tables there are."""
        try:
            if isinstance(self._engine, AsyncEngine):
                async with self._engine.connect() as connection:
                    self._columns = await connection.run_sync(_columns)
            else:
                with self._engine.connect() as there:
                    self._columns = _columns(there)
        except (DBAPIError, OSError) as error:
            raise SettingsError(f"database cannot be read: {self.name}: {error}") from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        if isinstance(self._engine, AsyncEngine):
            await self._engine.dispose()
        else:
            self._engine.dispose()

    def has(self, name: str, *columns: str) -> bool:
        """Say whether there is such a table with such columns."""
        return set(columns) <= self._columns.get(name, set()) and name in self._columns

    async def rows(
        self, name: str, *columns: str, order: str = "id"
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield a table's rows; a column that is not there is None.

        Raises ``SettingsError`` when the database does not answer.
        """
        there = self._columns[name]
        wanted: list[ColumnClause[Any]] = [column(each) for each in columns if each in there]
        query: Select[Any] = select(*wanted).select_from(table(name))
        if order in there:
            query = query.order_by(column(order))
        query = query.execution_options(yield_per=PAGE_ROWS)
        missing: dict[str, Any] = dict.fromkeys(each for each in columns if each not in there)
        try:
            if isinstance(self._engine, AsyncEngine):
                async with self._engine.connect() as connection:
                    async for row in await connection.stream(query):
                        yield {**missing, **row._mapping}
            else:
                with self._engine.connect() as here:
                    for row in here.execute(query):
                        yield {**missing, **row._mapping}
        except DBAPIError as error:
            raise SettingsError(f"table cannot be read: {name}: {error.orig}") from error


def _columns(connection: Connection) -> dict[str, set[str]]:
    found = inspect(connection)
    return {name: set(_names(found.get_columns(name))) for name in found.get_table_names()}


def _names(columns: Sequence[Any]) -> Iterator[str]:
    for each in columns:
        yield each["name"]


def as_text(value: object) -> str:
    """Return a cell as text; SQLite may have kept it as bytes."""
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode(errors="replace")
    return str(value)


def as_bytes(value: object) -> bytes:
    """Return a cell as bytes."""
    if value is None:
        return b""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return str(value).encode()
