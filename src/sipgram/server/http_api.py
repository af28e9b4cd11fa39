"""The HTTP API, built and wired: keys, the outbox, and the routes of every feature."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import structlog
from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db.writer import Writer
from sipgram.errors import PeerError, Refusal, SettingsError, Unavailable
from sipgram.http.caller import Buckets, Guard
from sipgram.identity import Entropy
from sipgram.services.auth.table import AccountTable
from sipgram.services.directory import Resident
from sipgram.services.keys.service import KeyRing
from sipgram.services.keys.sql import KeyRows
from sipgram.services.messaging.injection import Injector
from sipgram.services.messaging.ledger import MessageNews
from sipgram.services.messaging.mailroom import Mailroom
from sipgram.services.messaging.operator.records import MessageRecords
from sipgram.services.messaging.service import Messaging
from sipgram.services.outbox import http as outbox_http
from sipgram.services.outbox.desk import Desk
from sipgram.services.outbox.service import Outbox
from sipgram.services.outbox.sql import OutboxRows
from sipgram.services.policy.service import Police
from sipgram.services.registrar.location import Locations
from sipgram.settings import Settings
from sipgram.sip.proxy import Proxy

log = structlog.get_logger("sipgram.http")

KEYS_EVERY_S: Final = 0.5
TICK_S: Final = 1.0
CALLERS_MAX: Final = 20_000


class Residents:
    """Who lives here (``services.directory.Directory``)."""

    def __init__(self, locations: Locations, accounts: AccountTable | None) -> None:
        self._locations = locations
        self._accounts = accounts

    def resident(self, uri: str) -> Resident | None:
        """Return who is called so, None when nobody here is."""
        try:
            entry = self._locations.find(uri.encode())
        except (Refusal, PeerError):
            return None
        aor = str(entry.aor)
        if self._accounts is None:
            return Resident(aor, 0, (aor,))
        account = self._accounts.account_of(entry.aor.user, entry.aor.domain)
        return None if account is None else Resident(aor, account.id, account.aors)


class Foundation(NamedTuple):
    """What the API is built on."""

    settings: Settings
    engine: AsyncEngine
    writer: Writer
    accounts: AccountTable | None
    secret: bytes
    entropy: Entropy
    locations: Locations
    mailroom: Mailroom


class Api:
    """The running parts of the API."""

    def __init__(self, base: Foundation, injector: Injector) -> None:
        loop, settings = asyncio.get_running_loop(), base.settings.http
        domains = base.settings.server.domains
        self.directory = Residents(base.locations, base.accounts)
        self.keys = KeyRing(
            KeyRows(base.engine),
            accounts=base.accounts,
            domains=domains,
            entropy=base.entropy,
            wall=time.time,
        )
        self.guard = Guard(
            self.keys,
            buckets=Buckets(loop.time, per_minute=settings.per_minute, callers_max=CALLERS_MAX),
            refusals=Buckets(
                loop.time, per_minute=settings.wrong_keys_per_minute, callers_max=CALLERS_MAX
            ),
            clock=loop.time,
            query_key=settings.key_in_query,
            origins=settings.origins,
        )
        self.outbox = Outbox(
            OutboxRows(base.engine, base.writer, record_s=settings.record_s),
            injector,
            ids=base.mailroom.ids,
            secret=base.secret,
            domain=domains[0],
            settings=settings,
            clock=loop.time,
            wall=time.time,
            cancel=base.mailroom.cancel,
        )
        self.desk = Desk(
            self.outbox,
            directory=self.directory,
            body_bytes_max=base.settings.messaging.body_bytes_max,
            default_domain=domains[0],
        )
        self._records = MessageRecords(base.engine)

    def routers(self) -> tuple[APIRouter, ...]:
        """Return the routes of every feature."""
        return (outbox_http.routes(self.desk, self._records),)

    async def load(self) -> None:
        """Read what is kept, before anybody is served."""
        await self.keys.refresh()
        waiting = await self.outbox.load()
        if waiting:
            log.info("messages wait to be sent", count=waiting)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow keys and clocks while the server runs."""
        self.outbox.start()
        tasks = [
            asyncio.create_task(_every(KEYS_EVERY_S, self.keys.refresh)),
            asyncio.create_task(_every(TICK_S, self.outbox.tick)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def build_api(
    base: Foundation,
    messaging: Messaging | Police,
    proxy: Proxy,
    rearm: Callable[[], None],
    is_closed: Callable[[], bool],
) -> Api | None:
    """Return the API, whose messages take the way of all others; None when HTTP is not served."""
    if base.settings.server.http == "none":
        return None
    clock = asyncio.get_running_loop().time
    injector = Injector(messaging.handle, ids=base.mailroom.ids, clock=clock)
    injector.attach(proxy, rearm=rearm, is_closed=is_closed)
    return Api(base, injector)


def news_of(api: Api | None) -> tuple[MessageNews, ...]:
    """Return who hears what becomes of messages that wait."""
    return () if api is None else (api.outbox.on_news,)


async def _every(period_s: float, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    while True:
        await asyncio.sleep(period_s)
        try:
            await work()
        except (Unavailable, SettingsError) as error:
            log.warning("not refreshed", what=work.__qualname__, reason=str(error))
