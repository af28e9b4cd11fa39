"""The schema's history and the way to the newest (Alembic), run by the program itself.

A revision's number is the schema's. ``schema_compat`` in ``meta`` says the oldest number
that a program must know to use the database; a program that knows less refuses it.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db import tables
from sipgram.errors import SettingsError, Unavailable

SCHEMA = 10
"""The newest revision that this program knows."""

SCHEMA_COMPAT = 8
"""The oldest ``SCHEMA`` that can still use what this program writes."""

_LOCK = 0x73697067
"""The number by which two programs that upgrade one PostgreSQL database meet."""


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the database to this program's schema; at once when it is there already.

    Raises ``SettingsError`` for a database that this program is too old for, or that
    cannot be opened.
    """
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except (DBAPIError, Unavailable) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error.reason
        raise SettingsError(f"database cannot be used: {_name(engine)}: {reason}") from error


async def current(engine: AsyncEngine) -> int:
    """Return the database's revision, 0 for an empty one; never changes it."""
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_current)
    except (DBAPIError, Unavailable) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error.reason
        raise SettingsError(f"database cannot be used: {_name(engine)}: {reason}") from error


def _upgrade(connection: Connection) -> None:
    revision = _current(connection)
    compat = _compat(connection) if revision else 0
    if compat > SCHEMA:
        name = connection.engine.url.render_as_string(hide_password=True)
        raise SettingsError(
            f"database needs a newer sipgram: {name} has schema {revision} (compatible down "
            f"to {compat}), this program knows {SCHEMA}"
        )
    if revision >= SCHEMA:
        return
    if connection.dialect.name == "sqlite":
        # The driver begins no transaction before a CREATE: a crash would leave half a schema.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    if _current(connection) != revision:
        return  # Another process was faster.
    # Imported when needed only: it costs a quarter of a second at each start.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.execute(tables.meta.delete().where(tables.meta.c.key == "schema_compat"))
    connection.execute(tables.meta.insert().values(key="schema_compat", value=str(SCHEMA_COMPAT)))


def _current(connection: Connection) -> int:
    if not inspect(connection).has_table("alembic_version"):
        return 0
    return int(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or 0)


def _compat(connection: Connection) -> int:
    query = select(tables.meta.c.value).where(tables.meta.c.key == "schema_compat")
    return int(connection.execute(query).scalar() or 0)


def _name(engine: AsyncEngine) -> str:
    return engine.url.render_as_string(hide_password=True)
