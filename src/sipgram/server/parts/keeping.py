"""Builds what keeps messages: the store, what delivers from it, and what keeps its house."""

import asyncio
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db.writer import Writer
from sipgram.services.messaging.history import History
from sipgram.services.messaging.mailroom import Mailroom
from sipgram.services.messaging.operator.commands import MessageCommands
from sipgram.services.messaging.operator.news import News, refreshed
from sipgram.services.messaging.operator.purge import Purge
from sipgram.services.messaging.sql import MessageRows
from sipgram.services.wall_clock import WallClock
from sipgram.settings import Settings
from sipgram.sip.branch import Brancher

log = structlog.get_logger("sipgram.server")

DAY_S = 86_400.0
NEWS_EVERY_S = 0.5
"""What a command did counts within a second."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """The message store and its keepers."""

    mailroom: Mailroom
    news: News
    purge: Purge

    async def load(self) -> None:
        """Read back what waits, before anybody is served: order depends on it (D16)."""
        await self.news.start()
        if waiting := await self.mailroom.load():
            log.info("messages wait", count=waiting)

    async def follow(self) -> None:
        """Take in what commands do, until cancelled."""
        while True:
            more = await refreshed(self.news)
            await asyncio.sleep(0 if more else NEWS_EVERY_S)


def build_keeping(
    engine: AsyncEngine, writer: Writer, wall: WallClock, settings: Settings, brancher: Brancher
) -> Keeping:
    """Build the store on an open database."""
    record_s = settings.messaging.record_s
    history = settings.history
    rows = MessageRows(engine, writer, wall=wall, record_s=record_s, history_s=history.days * DAY_S)
    mailroom = Mailroom(
        rows,
        settings=settings.messaging,
        brancher=brancher,
        clock=asyncio.get_running_loop().time,
        wall=wall,
        certain=wall.certain,
        history=History(domains=history.domains, accounts=history.accounts),
    )
    commands = MessageCommands(engine, wall=wall, record_s=record_s)
    news = News(commands, rows, mailroom, on_change=mailroom.rearm)
    return Keeping(mailroom, news, Purge(engine, wall=wall.certain))
