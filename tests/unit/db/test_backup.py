"""Backups while rows come in, and back into either engine."""

import asyncio
import json
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sipgram.cli.main import main
from sipgram.db.backup import METADATA, back_up, restore
from sipgram.db.engine import database_url, open_engine
from sipgram.db.locks import alone_in, alone_on
from sipgram.db.migrations import SCHEMA, upgrade
from sipgram.db.statements import known_statements
from sipgram.db.writers import writer_for
from sipgram.errors import SettingsError
from sipgram.services.auth.rules import parse_name
from sipgram.services.auth.sql import AccountRows

BODY = bytes(range(256))


def message(id: int) -> tuple[Any, ...]:
    head = (id, "sip:bob@example.com", 1, b"sip:alice@example.com", b"c", b"d", b"text/plain")
    return (*head, b"H: 1\r\n", BODY, 262, 1.5, 2.5, "waiting", True, None, 2.5, b"", False, 0, 0)


def copy(id: int) -> tuple[Any, ...]:
    return (id, b"<urn:a>", "waiting", 0, b"", 1.5, "")


async def filled(url: str) -> None:
    """An account that is gone, whose number must not be used again, and one that is there."""
    engine = open_engine(url)
    await upgrade(engine)
    rows = AccountRows(engine)
    for user in ("alice", "bob"):
        name = parse_name(f"{user}@example.com")
        await rows.add(name, password="secret", now_utc=1.0)
    await rows.remove(parse_name("bob@example.com"))
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO meta VALUES ('secret', 'ab')"))
    await engine.dispose()


async def rows_of(url: str) -> dict[str, list[Any]]:
    engine = open_engine(url)
    async with engine.connect() as connection:
        found = {
            table.name: sorted(map(repr, (await connection.execute(table.select())).all()))
            for table in METADATA.sorted_tables
        }
    await engine.dispose()
    return found


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("b.*"))


@pytest.fixture(params=["sqlite", "postgresql"])
def other_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return database_url(tmp_path / "other")
    url: str = request.getfixturevalue("postgres").new_database()
    return url


async def test_everything_comes_back_on_either_engine(
    database_address: str, other_address: str, tmp_path: Path
) -> None:
    await filled(database_address)
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "key.pem").write_bytes(b"key")
    async with writer_for(database_address, statements=known_statements()) as writer:
        writer.submit("message_put", message(1 << 60), lambda error: None)
    file, folder = tmp_path / "b.sipgram", tmp_path / "other"

    made = await back_up(database_address, file, folder=tmp_path, now_utc=1.0)
    back = await restore(file, other_address, folder=folder, is_forced=False)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert made.rows == back.rows
    assert (made.rows["accounts"], made.rows["messages"], made.schema) == (1, 1, SCHEMA)
    assert await rows_of(other_address) == await rows_of(database_address)
    assert (folder / "tls" / "key.pem").read_bytes() == b"key"
    assert names_in(tmp_path) == ["b.sipgram"]
    engine = open_engine(other_address)
    third = await AccountRows(engine).add(
        parse_name("carol@example.com"), password="secret", now_utc=1.0
    )
    await engine.dispose()
    assert third == 3  # D4: never bob's.


async def test_a_backup_under_load_is_of_one_moment(database_address: str, tmp_path: Path) -> None:
    """Each message and its copy go to disk together, before and after what the backup holds."""
    await filled(database_address)
    file, other = tmp_path / "b", database_url(tmp_path / "other")
    on_disk = 0

    def note(error: Exception | None) -> None:
        nonlocal on_disk
        assert error is None
        on_disk += 1
        room.release()
        if on_disk == 200:
            has_begun.set()

    room, has_begun, is_over = asyncio.Semaphore(500), asyncio.Event(), asyncio.Event()
    async with writer_for(database_address, statements=known_statements()) as writer:
        sent = 0

        async def load() -> None:
            nonlocal sent
            while not is_over.is_set():
                await room.acquire()
                sent += 1
                writer.submit("message_put", message(sent), lambda error: None)
                writer.submit("copy_put", copy(sent), note)

        task = asyncio.create_task(load())
        await has_begun.wait()
        before = on_disk
        await back_up(database_address, file, folder=tmp_path, now_utc=1.0)
        after = sent
        is_over.set()
        await task

    back = await restore(file, other, folder=tmp_path / "other", is_forced=False)

    count = back.rows["messages"]
    assert before <= count <= after
    assert abs(back.rows["copies"] - count) <= 1  # A batch may end between the two.
    engine = open_engine(other)
    async with engine.connect() as connection:
        ids = (await connection.execute(text("SELECT id FROM messages ORDER BY id"))).scalars()
        assert list(ids) == list(range(1, count + 1))
    await engine.dispose()


async def test_nothing_is_overwritten_unasked(other_address: str, tmp_path: Path) -> None:
    source, file = database_url(tmp_path), tmp_path / "b"
    await filled(source)
    await back_up(source, file, folder=tmp_path, now_utc=1.0)
    await filled(other_address)

    with pytest.raises(SettingsError, match="backup is there already"):
        await back_up(source, file, folder=tmp_path, now_utc=1.0)
    with pytest.raises(SettingsError, match="there is data already"):
        await restore(file, other_address, folder=tmp_path / "other", is_forced=False)

    await restore(file, other_address, folder=tmp_path / "other", is_forced=True)
    assert await rows_of(other_address) == await rows_of(source)


async def test_what_is_no_backup_is_named(tmp_path: Path) -> None:
    url = database_url(tmp_path / "other")
    (tmp_path / "text").write_bytes(b"no database at all" * 100)
    await filled(database_url(tmp_path))
    await back_up(database_url(tmp_path), tmp_path / "new", folder=tmp_path, now_utc=1.0)
    with sqlite3.connect(tmp_path / "new") as database:
        database.execute("UPDATE backup_info SET value = '99' WHERE key = 'schema'")
    database.close()

    for name, fault in (
        ("none", "backup does not exist"),
        ("text", "is no backup of sipgram"),
        ("sipgram.db", "is no backup of sipgram"),
        ("new", "needs a newer sipgram: .* has schema 99, this program knows"),
    ):
        with pytest.raises(SettingsError, match=fault):
            await restore(tmp_path / name, url, folder=tmp_path / "other", is_forced=False)
    with pytest.raises(SettingsError, match="no database yet"):
        await back_up(url, tmp_path / "b", folder=tmp_path, now_utc=1.0)
    assert not (tmp_path / "b").exists()


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(filled(database_url(tmp_path / "a")))
    file, there = str(tmp_path / "b"), str(tmp_path / "c")

    assert ended("backup", file, "--data", str(tmp_path / "a"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"]["accounts"] == 1
    assert ended("restore", file, "--data", there) == 0
    assert "restored from" in capsys.readouterr().out
    assert ended("restore", file, "--data", there) == 2
    assert "--force replaces it" in capsys.readouterr().err
    with alone_in(tmp_path / "c"):
        assert ended("restore", file, "--data", there, "--force") == 2
    assert "another sipgram serves from this data folder" in capsys.readouterr().err
    assert ended("db", "current", "--data", there) == 0
    assert ended("db", "upgrade", "--data", there) == 0
    assert capsys.readouterr().out == (
        f"{SCHEMA} (this program knows {SCHEMA})\n{SCHEMA}: nothing to do\n"
    )
    assert ended("db", "upgrade", "--data", str(tmp_path / "d"), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "before": 0,
        "current": SCHEMA,
        "newest": SCHEMA,
    }
    with sqlite3.connect(tmp_path / "d" / "sipgram.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0099'")
        database.execute("UPDATE meta SET value = '99' WHERE key = 'schema_compat'")
    database.close()
    assert ended("db", "upgrade", "--data", str(tmp_path / "d")) == 2
    assert "database needs a newer sipgram" in capsys.readouterr().err
    assert ended("db", "current", "--data", str(tmp_path / "e")) == 2
    assert "no database yet" in capsys.readouterr().err


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


async def test_two_servers_do_not_share_a_database(database_address: str) -> None:
    async with alone_on(database_address):
        with pytest.raises(SettingsError, match="another sipgram serves from"):
            async with alone_on(database_address):
                pass
    async with alone_on(database_address):
        pass


async def test_a_lost_lock_is_got_again_or_ends_the_server(postgres: Any) -> None:
    url: str = postgres.new_database()
    engine = open_engine(url)
    ended = asyncio.Event()
    kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    async with alone_on(url) as lock, engine.connect() as connection:
        assert lock is not None
        watch = asyncio.create_task(lock.watch(ended.set))
        await connection.execute(text(kill))
        while not (await connection.execute(text(held))).scalar():
            pass
        assert not ended.is_set()
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid), pg_advisory_lock(1936289896) FROM pg_locks WHERE locktype = 'advisory'"
            )
        )
        await ended.wait()
        await watch
    await engine.dispose()
