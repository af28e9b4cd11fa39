"""Backups: one SQLite file of everything, from either engine and into either (DELIVERY.md D36).

A backup of SQLite is what ``VACUUM INTO`` makes of one snapshot, without the pages of what was
erased; one of PostgreSQL is read in one repeatable-read transaction. Both go on while a server
serves. Beside our tables the file holds ``backup_info`` and, in ``backup_files``, the certificates
that lie in the data folder. It is its owner's alone: HA1s and private keys are in it.
"""

import asyncio
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sipgram.db import http_tables, tables
from sipgram.db.engine import open_engine, sqlite_path, unavailable
from sipgram.db.migrations import SCHEMA, current, upgrade
from sipgram.errors import SettingsError

METADATA: Final = http_tables.api_keys.metadata
"""All tables: those that other modules add, too."""
assert METADATA is tables.metadata

PAGE_ROWS: Final = 500
FORMAT: Final = "sipgram backup 1"
FILES_FOLDER: Final = "tls"
"""The folder within the data folder whose files are kept, too."""
FILE_BYTES_MAX: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backup holds, or what was restored."""

    file: str
    schema: int
    bytes: int
    rows: Mapping[str, int]
    files: Sequence[str]


async def back_up(url: str, file: Path, *, folder: Path, now_utc: float) -> Summary:
    """Write a backup of a database, and of the certificates in the data folder, to ``file``.

    Raises:
        SettingsError: the file is there already or cannot be written, or there is no database.
        Unavailable: the database does not answer.
    """
    with _new_file(file) as part:
        if make_url(url).get_backend_name() == "sqlite":
            await asyncio.to_thread(_vacuum, sqlite_path(url), part)
        else:
            await _copy_out(url, part)
        kept = _files_in(folder)
        schema = await asyncio.to_thread(_finish, part, kept, now_utc)
        rows = _counts(part)
        return Summary(str(file), schema, part.stat().st_size, rows, sorted(kept))


async def restore(file: Path, url: str, *, folder: Path, is_forced: bool) -> Summary:
    """Put a backup in the place of a database that nobody serves from; the caller holds its locks.

    Raises:
        SettingsError: it is no backup, or one of a newer program, or there is data already.
        Unavailable: the database does not answer.
    """
    kept = await asyncio.to_thread(_checked, file)
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    target = sqlite_path(url) if is_sqlite else folder / "restored.db"
    if is_sqlite and target.exists() and target.stat().st_size and not is_forced:
        raise SettingsError(f"there is data already: {target} (--force replaces it)")
    part = target.with_name(f"{target.name}.part")
    try:
        await asyncio.to_thread(_unpack, file, part)
        engine = open_engine(_url(part))
        try:
            await upgrade(engine)
            schema = await current(engine)
            if not is_sqlite:
                await _copy_in(engine, url, is_forced=is_forced)
        finally:
            await engine.dispose()
        rows, size = _counts(part), part.stat().st_size
        if is_sqlite:
            _put_in_place(part, target)
        _put_files(kept, folder)
    finally:
        for leftover in (part, *_beside(part)):
            leftover.unlink(missing_ok=True)
    return Summary(str(file), schema, size, rows, sorted(kept))


# ---- the file ------------------------------------------------------------------------------


@contextmanager
def _new_file(file: Path) -> Iterator[Path]:
    """Give a file to write, for its owner alone, that gets its name when it is whole."""
    if file.exists():
        raise SettingsError(f"backup is there already: {file}")
    part = file.with_name(f"{file.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            yield part
            _sync(part)
            os.replace(part, file)
            _sync(file.parent)
        finally:
            for leftover in (part, *_beside(part)):
                leftover.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"backup cannot be written: {file}: {error.strerror}") from error


def _vacuum(source: Path, part: Path) -> None:
    if not source.exists():
        raise SettingsError(f"no database yet: {source} does not exist")
    try:
        with _opened(source) as database:
            database.execute("VACUUM INTO ?", (str(part),))
    except sqlite3.Error as error:
        raise SettingsError(f"backup of {source} failed: {error}") from error


def _finish(part: Path, kept: Mapping[str, bytes], now_utc: float) -> int:
    """Add what is not in our tables; return the schema."""
    with _opened(part) as database:
        row = database.execute("SELECT version_num FROM alembic_version").fetchone()
        database.execute("CREATE TABLE backup_info (key TEXT PRIMARY KEY, value TEXT)")
        database.execute("CREATE TABLE backup_files (path TEXT PRIMARY KEY, content BLOB)")
        info = {"format": FORMAT, "made_utc": str(now_utc), "schema": row[0]}
        database.executemany("INSERT INTO backup_info VALUES (?, ?)", info.items())
        database.executemany("INSERT INTO backup_files VALUES (?, ?)", kept.items())
        database.commit()
        database.execute("PRAGMA journal_mode = DELETE")
    return int(row[0])


def _checked(file: Path) -> dict[str, bytes]:
    """Return the files in a backup; ``SettingsError`` when it cannot be used."""
    if not file.is_file():
        raise SettingsError(f"backup does not exist: {file}")
    try:
        with _opened(file) as database:
            info = dict(database.execute("SELECT key, value FROM backup_info").fetchall())
            if info.get("format") != FORMAT:
                raise SettingsError(f"backup has an unknown form: {file}: {info.get('format')}")
            fault = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            kept = dict(database.execute("SELECT path, content FROM backup_files").fetchall())
    except sqlite3.Error as error:
        raise SettingsError(f"{file} is no backup of sipgram: {error}") from error
    if fault != "ok":
        raise SettingsError(f"backup is damaged: {file}: {fault}")
    schema = int(info["schema"])
    if schema > SCHEMA:
        raise SettingsError(
            f"backup needs a newer sipgram: {file} has schema {schema}, this program knows {SCHEMA}"
        )
    return kept


def _unpack(file: Path, part: Path) -> None:
    """Copy a backup without what is no table of ours."""
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for leftover in (part, *_beside(part)):
        leftover.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as copy, file.open("rb") as source:
        while chunk := source.read(1_048_576):
            copy.write(chunk)
    with _opened(part) as database:
        database.execute("DROP TABLE backup_files")
        database.execute("DROP TABLE backup_info")
        database.commit()


def _put_in_place(part: Path, target: Path) -> None:
    with _opened(part) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA journal_mode = DELETE")
    _sync(part)
    for leftover in _beside(target):
        leftover.unlink(missing_ok=True)
    os.replace(part, target)
    _sync(target.parent)


def _files_in(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted((folder / FILES_FOLDER).glob("*")):
        if path.is_file() and path.stat().st_size <= FILE_BYTES_MAX:
            found[f"{FILES_FOLDER}/{path.name}"] = path.read_bytes()
    return found


def _put_files(kept: Mapping[str, bytes], folder: Path) -> None:
    for name, content in kept.items():
        path = folder / FILES_FOLDER / Path(name).name  # Whatever the name says: nowhere else.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)


def _beside(file: Path) -> list[Path]:
    return [file.with_name(file.name + end) for end in ("-wal", "-shm", "-journal")]


def _url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file.absolute()}"


def _counts(file: Path) -> dict[str, int]:
    with _opened(file) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        ours = sorted({name for (name,) in names} & set(METADATA.tables))
        return {
            name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in ours
        }


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(file, timeout=30.0)
    try:
        yield database
    finally:
        database.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # Some file systems do not sync folders.
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---- PostgreSQL ----------------------------------------------------------------------------


async def _copy_out(url: str, part: Path) -> None:
    source = open_engine(url)
    copy = open_engine(_url(part))
    try:
        if not await current(source):
            raise SettingsError(f"no database yet: {source.url.render_as_string()} is empty")
        await upgrade(source)  # So that the tables are those that this program knows.
        await upgrade(copy)
        isolated = source.execution_options(isolation_level="REPEATABLE READ")
        async with isolated.connect() as there, copy.begin() as here:
            await there.execute(text("SET TRANSACTION READ ONLY"))
            await here.execute(tables.meta.delete())
            await _copy_tables(there, here)
            for table in _counted():
                last = await _sequence(there, table)
                await here.execute(
                    text(
                        "INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq) VALUES "
                        "((SELECT rowid FROM sqlite_sequence WHERE name = :name), :name, :seq)"
                    ),
                    {"name": table.name, "seq": last},
                )
    except DBAPIError as error:
        raise unavailable(error) from error
    finally:
        await source.dispose()
        await copy.dispose()


async def _copy_in(source: AsyncEngine, url: str, *, is_forced: bool) -> None:
    target = open_engine(url)
    try:
        if await current(target) and not is_forced:
            shown = target.url.render_as_string(hide_password=True)
            raise SettingsError(f"there is data already: {shown} (--force replaces it)")
        await upgrade(target)
        async with source.connect() as there, target.begin() as here:
            for table in reversed(METADATA.sorted_tables):
                await here.execute(table.delete())
            await _copy_tables(there, here)
            for table in _counted():
                query = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
                last = (await there.execute(query, {"name": table.name})).scalar() or 0
                (key,) = table.primary_key.columns
                await here.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{key.name}'), "
                        ":last, :is_used)"
                    ),
                    {"last": max(1, last), "is_used": last > 0},
                )
    except DBAPIError as error:
        raise unavailable(error) from error
    finally:
        await target.dispose()


def _counted() -> list[Table]:
    """Return the tables whose numbers are never used again (D4)."""
    return [t for t in METADATA.sorted_tables if t.dialect_options["sqlite"]["autoincrement"]]


async def _sequence(connection: AsyncConnection, table: Table) -> int:
    (key,) = table.primary_key.columns
    name = (
        await connection.execute(
            text("SELECT pg_get_serial_sequence(:table, :key)"),
            {"table": table.name, "key": key.name},
        )
    ).scalar()
    row = (await connection.execute(text(f"SELECT last_value, is_called FROM {name}"))).one()
    return int(row.last_value) if row.is_called else 0


async def _copy_tables(there: AsyncConnection, here: AsyncConnection) -> None:
    for table in METADATA.sorted_tables:
        query = select(table).execution_options(yield_per=PAGE_ROWS)
        async for page in (await there.stream(query)).partitions(PAGE_ROWS):
            rows: list[dict[str, Any]] = [dict(row._mapping) for row in page]
            await here.execute(table.insert(), rows)
