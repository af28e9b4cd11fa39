"""The server's wall clock, and the last time that it saw, kept on disk (DELIVERY.md D35)."""

import asyncio
import time
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db.engine import last_seen_utc
from sipgram.db.writer import Writer
from sipgram.errors import Unavailable
from sipgram.services.wall_clock import WallClock

log = structlog.get_logger("sipgram.clock")

KEEP_EVERY_S: Final = 60.0
"""Much less than the hour that makes a step."""


async def build_wall_clock(engine: AsyncEngine) -> WallClock:
    """Return the wall clock, compared with the last time seen."""
    clock = asyncio.get_running_loop().time
    return WallClock(time.time, clock, last_seen_utc=await last_seen_utc(engine))


async def keep_time(wall: WallClock, writer: Writer) -> None:
    """Write the last certain time every minute, for ever."""
    while True:
        _keep(wall, writer)
        await asyncio.sleep(KEEP_EVERY_S)


def _keep(wall: WallClock, writer: Writer) -> None:
    def note(error: Exception | None) -> None:
        if error is not None:
            log.info("the last time seen was not kept", reason=str(error))

    try:
        writer.submit("meta_put", ("last_seen_utc", f"{wall.certain():.3f}"), note)
    except Unavailable as error:
        note(error)
