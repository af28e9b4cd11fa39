"""The engine and the schema on a real file."""

import stat
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db import http_tables
from sipgram.db.engine import database_url, open_engine, secret_of, sqlite_path
from sipgram.db.migrations import SCHEMA, current, upgrade
from sipgram.errors import SettingsError


class CountingEntropy:
    """Secrets that differ from call to call."""

    def __init__(self) -> None:
        self.count = 0

    def token(self) -> str:
        return self.secret().hex()[:16]

    def secret(self) -> bytes:
        self.count += 1
        return bytes([self.count]) * 32

    def fraction(self) -> float:
        return 0.5


async def execute(engine: AsyncEngine, sql: str) -> object:
    async with engine.begin() as connection:
        result = await connection.execute(text(sql))
        return result.scalar() if result.returns_rows else None


async def test_commits_are_durable_and_keys_hold(tmp_path: Path) -> None:
    engine = open_engine(database_url(tmp_path), busy_timeout_s=1.5)

    pragmas = [
        await execute(engine, f"PRAGMA {name}")
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    ]
    await engine.dispose()

    assert pragmas == ["wal", 2, 1, 1500]


async def test_the_data_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"

    engine = open_engine(database_url(folder))
    await engine.dispose()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sqlite_path(database_url(folder)) == folder / "sipgram.db"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("nonsense", "database is not a URL"),
        ("mysql://localhost/x", "database driver is not sqlite\\+aiosqlite or postgresql"),
    ],
)
def test_other_databases_are_refused(url: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        open_engine(url)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)  # As if it were not installed.

    with pytest.raises(SettingsError, match="driver is not installed: asyncpg"):
        open_engine("postgresql+asyncpg://localhost/x")


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(SettingsError, match=r"data folder cannot be made: .*data"):
        open_engine(database_url(tmp_path / "data"))


def test_only_sqlite_has_a_path() -> None:
    with pytest.raises(
        SettingsError, match=r"not a SQLite file: postgresql\+asyncpg://u:\*\*\*@h/d"
    ):
        sqlite_path("postgresql+asyncpg://u:secret@h/d")


async def test_migrations_make_what_the_tables_say(database_address: str) -> None:
    engine = open_engine(database_address)
    before = await current(engine)

    await upgrade(engine)
    await upgrade(engine)

    def differences(connection: Connection) -> list[object]:
        return list(
            compare_metadata(MigrationContext.configure(connection), http_tables.api_keys.metadata)
        )

    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    after = await current(engine)
    await engine.dispose()
    assert (before, after, found) == (0, SCHEMA, [])


@pytest.mark.parametrize("compat", [SCHEMA, SCHEMA + 1])
async def test_a_schema_of_the_future_is_used_when_it_says_so(
    database_address: str, compat: int
) -> None:
    engine = open_engine(database_address)
    await upgrade(engine)
    await execute(engine, "UPDATE alembic_version SET version_num = '0099'")
    await execute(engine, f"UPDATE meta SET value = '{compat}' WHERE key = 'schema_compat'")

    try:
        if compat <= SCHEMA:
            await upgrade(engine)
        else:
            with pytest.raises(SettingsError, match=r"newer sipgram: .* has schema 99 ") as caught:
                await upgrade(engine)
            assert "\n" not in str(caught.value)
        assert await current(engine) == 99
    finally:
        await engine.dispose()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "sipgram.db").write_bytes(b"not a database, but long enough to be one" * 20)
    engine = open_engine(database_url(tmp_path))

    for step in (upgrade, current):
        with pytest.raises(SettingsError, match="database cannot be used"):
            await step(engine)
    await engine.dispose()


async def test_the_secret_is_made_once(database_address: str) -> None:
    entropy = CountingEntropy()
    engine = open_engine(database_address)
    await upgrade(engine)

    secrets = [await secret_of(engine, entropy) for _ in range(2)]
    await engine.dispose()

    assert secrets == [b"\x01" * 32] * 2


@pytest.mark.parametrize("is_there", [False, True])
async def test_the_file_is_its_owners_alone_in_whatever_folder(
    tmp_path: Path, is_there: bool
) -> None:
    """HA1 is as good as a password, and the folder may have been there before."""
    file = sqlite_path(database_url(tmp_path))
    if is_there:
        file.touch(mode=0o644)
    engine = open_engine(database_url(tmp_path))

    await upgrade(engine)

    modes = modes_in(tmp_path)
    await engine.dispose()
    assert set(modes.values()) == {0o600}, modes


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("sipgram.db*")}
