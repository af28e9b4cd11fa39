"""The disk is full, the database locked or gone: 500, relaying goes on, nothing promised is lost.

DELIVERY.md D11. Everything here is a real process, and time passes.
"""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from sipgram.db.own_postgres import PostgresServer

from .disks import Full, SmallDisk, SmallQuota, small_file_system
from .people import House, house

LOCKED_S = 10.0

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    folder = tmp_path / "small"
    with small_file_system(folder) as is_mounted:
        yield folder if is_mounted else None


async def live_through(people: House, disk: Full) -> None:
    await people.write_to_carol()
    disk.fill()

    async with asyncio.timeout(20):
        while not people.refused:  # What is left of a page or a WAL may take some.
            await people.write_to_carol()
    for _ in range(5):
        await people.relay()
        assert (await people.write_to_carol()).status == 500
    assert await people.bob.register() == 200  # A refresh needs no disk.

    disk.free()
    await people.until_stored()
    await people.relay()
    await people.check_promises()


async def test_d11_a_full_file_system_is_500_until_there_is_room(small_disk: Path | None) -> None:
    if small_disk is None:
        pytest.skip("mounting is not allowed; the test beside this one fills a quota")
    async with house(small_disk / "data") as people:
        await live_through(people, SmallDisk(small_disk))


async def test_d11_a_writer_beyond_its_quota_is_500_until_there_is_room(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as people:
        (writer,) = people.server.children
        await live_through(people, SmallQuota(writer))


async def test_d11_a_server_killed_on_a_full_disk_keeps_what_it_promised(
    small_disk: Path | None,
) -> None:
    if small_disk is None:
        pytest.skip("mounting is not allowed; the chaos run kills on disks with room")
    disk = SmallDisk(small_disk)
    async with house(small_disk / "data") as people:
        for _ in range(20):
            await people.write_to_carol()
        disk.fill()
        while not people.refused:
            await people.write_to_carol()
        await people.server.kill()
        disk.free()
        await people.server.start()
        await people.check_promises()


async def test_d11_a_database_locked_for_ten_seconds(tmp_path: Path) -> None:
    """Another process, a backup or an administrator's shell, holds the write lock."""
    async with house(tmp_path / "data") as people:
        await people.write_to_carol()
        other = sqlite3.connect(tmp_path / "data" / "sipgram.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        locked_at = time.monotonic()
        slowest = 0.0
        while time.monotonic() < locked_at + LOCKED_S:
            waiting = asyncio.create_task(people.write_to_carol())
            while not waiting.done():
                began = time.monotonic()
                await people.relay()
                slowest = max(slowest, time.monotonic() - began)
                await asyncio.sleep(0.05)
            await waiting
        other.execute("ROLLBACK")
        other.close()

        assert people.refused > 0
        assert slowest < 1.0
        await people.until_stored()
        await people.check_promises()


async def test_d11_a_postgresql_that_is_stopped_and_started(
    tmp_path: Path, own_postgres: PostgresServer
) -> None:
    async with house(tmp_path / "data", database=own_postgres.new_database()) as people:
        for _ in range(5):
            await people.write_to_carol()
        await asyncio.to_thread(own_postgres.stop)

        for _ in range(5):
            await people.relay()
            assert (await people.write_to_carol()).status == 500

        await asyncio.to_thread(own_postgres.start)
        await people.until_stored()
        await people.check_promises()


async def test_d11_a_postgresql_whose_table_is_locked_for_ten_seconds(
    tmp_path: Path, own_postgres: PostgresServer
) -> None:
    url = make_url(own_postgres.new_database())
    async with house(tmp_path / "data", database=str(url)) as people:
        await people.write_to_carol()
        other = await asyncpg.connect(host=url.query["host"], user="sipgram", database=url.database)
        await other.execute("BEGIN")
        await other.execute("LOCK TABLE messages IN EXCLUSIVE MODE")
        locked_at = time.monotonic()
        while time.monotonic() < locked_at + LOCKED_S:
            await people.write_to_carol()
            await people.relay()
        await other.execute("ROLLBACK")
        await other.close()

        assert people.refused > 0
        await people.until_stored()
        await people.check_promises()
