"""The wall clock of the whole server is stepped, by libfaketime (DELIVERY.md D35)."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from .people import house

DAY_S = 86_400
TICKS_S = 3.0
"""The server looks for what has expired once a second."""


class SteppedClock:
    """A wall clock that a test moves; the monotonic one goes on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.step(0)

    def step(self, days: int) -> None:
        """Set it so many days away from the truth."""
        self._file.write_text(f"{days * DAY_S:+d}")

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


def library() -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing = "libfaketime is missing: scripts/install-faketime"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return str(found[0])


def received(data: Path) -> list[float]:
    with sqlite3.connect(data / "sipgram.db") as database:
        rows = database.execute("SELECT received_utc FROM messages ORDER BY id").fetchall()
    database.close()
    return [row[0] for row in rows]


@pytest.mark.timeout(90)
async def test_d35_a_stepped_clock_ends_nothing_and_no_restart_forgets_it(tmp_path: Path) -> None:
    clock = SteppedClock(tmp_path / "clock")
    data = tmp_path / "data"
    async with house(data, environment=clock.environment) as people:
        await people.write_to_carol()

        clock.step(30)
        await people.write_to_carol()
        await asyncio.sleep(TICKS_S)
        await people.relay()
        before, after = received(data)
        assert before < time.time() + DAY_S
        assert after > time.time() + 29 * DAY_S  # The server does live with the stepped clock.

        await people.server.kill()
        await people.server.start()
        await people.relay()  # bob's binding has not expired.
        await asyncio.sleep(TICKS_S)

        clock.step(-400)
        await people.write_to_carol()
        await people.server.kill()
        await people.server.start()
        await asyncio.sleep(TICKS_S)
        await people.relay()
        await people.check_promises()
