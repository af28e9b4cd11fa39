"""The engine that reads and administrates: SQLAlchemy Core on SQLite, or on PostgreSQL.

Never used on the synchronous path: what a MESSAGE needs is in memory (DESIGN §2).
"""

import os
import sqlite3
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from sipgram.db import tables
from sipgram.errors import SettingsError, Unavailable
from sipgram.identity import Entropy

DRIVERS = ("sqlite+aiosqlite", "postgresql+asyncpg")
FILE_NAME = "sipgram.db"

CONNECT_S = 5.0
"""How long a database server may take to let us in."""


def database_url(data: Path) -> str:
    """Return the URL of the database in the data folder."""
    return f"sqlite+aiosqlite:///{data.absolute() / FILE_NAME}"


def sqlite_path(url: str) -> Path:
    """Return the file that a SQLite URL names; ``SettingsError`` for any other URL."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise SettingsError(f"database is not a SQLite file: {_shown(url)}")
    return Path(parsed.database)


def open_engine(url: str, *, busy_timeout_s: float = 5.0) -> AsyncEngine:
    """Return an engine for ``url``; makes the folder of a SQLite file, for its owner alone.

    Connects to nothing yet. Raises ``SettingsError`` for a URL that names no known driver
    or a folder that cannot be made. The caller disposes of it.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsError("database is not a URL such as sqlite+aiosqlite:///FILE") from None
    if parsed.drivername not in DRIVERS:
        known = " or ".join(DRIVERS)
        raise SettingsError(f"database driver is not {known}: {parsed.drivername}")
    if parsed.get_backend_name() != "sqlite":
        try:
            return create_async_engine(parsed, async_creator=partial(connected, url))
        except ImportError as error:
            raise SettingsError(f"database driver is not installed: {error.name}") from error
    folder = sqlite_path(url).parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"data folder cannot be made: {folder}: {error.strerror}") from error
    _guard(sqlite_path(url))
    engine = create_async_engine(parsed)

    def prepare(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(busy_timeout_s * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # A 2xx is a promise: D11.
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    event.listen(engine.sync_engine, "connect", prepare)
    return engine


async def connected(url: str, *, settings: Mapping[str, str] | None = None) -> Any:
    """Return a new asyncpg connection whose commits are durable; ``Unavailable`` if none."""
    import asyncpg  # It need not be there for SQLite.

    parsed = make_url(url)
    arguments = parsed.get_dialect()().create_connect_args(parsed)[1]
    try:
        connection = await asyncpg.connect(
            **{"timeout": CONNECT_S, **arguments}, server_settings=dict(settings or {})
        )
        if await connection.fetchval("SHOW synchronous_commit") == "off":
            await connection.execute("SET synchronous_commit TO on")  # A 2xx is a promise: D11.
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or f"no connection within {CONNECT_S:g} s"
        raise Unavailable(f"the database is not available: {reason}") from error
    return connection


def _guard(file: Path) -> None:
    """Make the file its owner's alone, and so those that SQLite puts beside it: HA1 is in it."""
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        file.chmod(0o600)
    except OSError as error:
        raise SettingsError(f"database cannot be used: {file}: {error.strerror}") from error


async def secret_of(engine: AsyncEngine, entropy: Entropy) -> bytes:
    """Return this installation's 32 secret bytes, made at the first call and kept for good."""
    async with engine.begin() as connection:
        found = await _meta(connection, "secret")
        if found is None:
            found = entropy.secret().hex()
            await connection.execute(tables.meta.insert().values(key="secret", value=found))
    return bytes.fromhex(found)


async def last_seen_utc(engine: AsyncEngine) -> float | None:
    """Return the last certain time of the program's last run, None before the first (D35)."""
    async with engine.connect() as connection:
        found = await _meta(connection, "last_seen_utc")
    return None if found is None else float(found)


async def _meta(connection: AsyncConnection, key: str) -> str | None:
    query = select(tables.meta.c.value).where(tables.meta.c.key == key)
    return (await connection.execute(query)).scalar()


def unavailable(error: DBAPIError) -> Unavailable:
    """Return what a failed statement means to a service: try again later."""
    return Unavailable(f"the database is not available: {error.orig}")


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
