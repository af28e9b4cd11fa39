"""The whole of store and forward as a process, on SQLite and on PostgreSQL (D9 to D18, D37)."""

import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db.engine import open_engine
from sipgram.services.messaging.operator.records import MessageRecords

from .running import Serve, refused
from .test_commands import Phones, took

OPEN = ("--auth", "none", "--domain", "example.com", "--http", "none")


def arguments(url: str, port: int = 0) -> tuple[str, ...]:
    return (*OPEN, "--database", url, "--listen", f"udp:127.0.0.1:{port}")


@pytest.mark.timeout(60)
async def test_d37_stored_killed_started_drained(database_address: str, tmp_path: Path) -> None:
    """Two devices, one of which takes each message at once; the other is away over a SIGKILL."""
    engine = open_engine(database_address)
    with ExitStack() as stack:
        async with Serve(*arguments(database_address), data=tmp_path) as first:
            await first.ready()
            phones = Phones(first, stack)
            here, away = phones.new(), phones.new()
            await phones.register(here, b"a")
            await phones.register(away, b"b")
            await phones.register(away, b"b", expires=0)
            for body in (b"1", b"2", b"3"):
                phones.post(body)
                assert (await took(here)).body == body
                assert (await phones.alice.read()).status == 200
            while await taken(engine) < 3:
                pass  # What is not on disk yet would come once more.
            first.process.kill()
            await first.process.wait()
            port = first.port("udp")
        async with Serve(*arguments(database_address, port), data=tmp_path) as second:
            await second.ready()
            phones.post(b"4")  # The phone that was there is still bound.
            assert (await took(here)).body == b"4"
            assert (await phones.alice.read()).status == 200

            await phones.register(away, b"b")
            got = [await took(away) for _ in range(4)]

            assert [message.body for message in got] == [b"1", b"2", b"3", b"4"]
            await second.stop()
    states = {record["state"] for record in await MessageRecords(engine).page()}
    assert (states, await taken(engine)) == ({"delivered"}, 8)
    await engine.dispose()


async def taken(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        query = text("SELECT count(*) FROM copies WHERE state = 'taken'")
        return (await connection.execute(query)).scalar() or 0


async def test_a_history_shows_each_device(database_address: str, tmp_path: Path) -> None:
    environment = {"SIPGRAM_HISTORY__DOMAINS": "example.com"}
    async with Serve(*arguments(database_address), data=tmp_path, environment=environment) as serve:
        await serve.ready()
        with ExitStack() as stack:
            phones = Phones(serve, stack)
            bob = phones.new()
            await phones.register(bob, b"a")
            phones.post(b"hello")
            await took(bob)
            assert (await phones.alice.read()).status == 200
        log = await serve.stop()
    engine = open_engine(database_address)
    (record,) = await MessageRecords(engine).page()
    found = await MessageRecords(engine).find(record["id"])
    await engine.dispose()

    assert found is not None
    assert (found["state"], found["copies"][0]["state"]) == ("delivered", "taken")
    assert found["copies"][0]["flow"] == f"udp:127.0.0.1:{bob.port}"
    assert "hello" not in log
    assert json.dumps(found)  # All of it can be printed.


async def test_two_servers_do_not_share_a_database(database_address: str, tmp_path: Path) -> None:
    """Their data folders differ."""
    async with Serve(*arguments(database_address), data=tmp_path / "one") as first:
        await first.ready()
        began = time.monotonic()

        line = await refused(*arguments(database_address), data=tmp_path / "two")

        assert line.startswith("sipgram: another sipgram serves from ")
        assert time.monotonic() - began < 10
        await first.stop()
    async with Serve(*arguments(database_address), data=tmp_path / "two") as second:
        await second.ready()
        await second.stop()
