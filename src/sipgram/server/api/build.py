"""The HTTP API, built and wired: keys, the outbox, and the routes of every feature."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import structlog
from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db.writer import Writer
from sipgram.errors import PeerError, Refusal, SettingsError, Unavailable
from sipgram.http.caller import Buckets, Guard
from sipgram.identity import Entropy
from sipgram.server.admission import Gate
from sipgram.server.api import statistics
from sipgram.server.api.announcer import Announcer
from sipgram.services.auth import http as auth_http
from sipgram.services.auth.sql import AccountRows
from sipgram.services.auth.table import AccountTable
from sipgram.services.directory import Resident
from sipgram.services.keys import http as keys_http
from sipgram.services.keys.service import KeyRing
from sipgram.services.keys.sql import KeyRows
from sipgram.services.listeners import http as listeners_http
from sipgram.services.listeners.hub import Hub
from sipgram.services.listeners.service import Listeners
from sipgram.services.listeners.sql import EventRows
from sipgram.services.messaging.injection import Injector
from sipgram.services.messaging.ledger import MessageNews
from sipgram.services.messaging.mailroom import Mailroom
from sipgram.services.messaging.operator.records import Filter, MessageRecords, Record, State
from sipgram.services.messaging.service import Messaging
from sipgram.services.outbox import http as outbox_http
from sipgram.services.outbox.desk import Desk
from sipgram.services.outbox.service import Outbox
from sipgram.services.outbox.sql import OutboxRows
from sipgram.services.policy.service import Police
from sipgram.services.registrar import http as registrar_http
from sipgram.services.registrar.location import Binding, Locations
from sipgram.services.webhooks import http as webhooks_http
from sipgram.services.webhooks.caller import WebhookCaller
from sipgram.services.webhooks.rules import check_url, new_secret
from sipgram.services.webhooks.service import Webhooks
from sipgram.services.webhooks.sql import WebhookRows
from sipgram.settings import HttpSettings, Settings
from sipgram.sip.message.message import Message
from sipgram.sip.proxy import Proxy
from sipgram.sip.sink import Flow
from sipgram.sip.transaction.table import TransactionTable

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

    def leading(self, uri: str) -> str:
        """Return the first name of who is called so; of others what they are called."""
        resident = self.resident(uri)
        return uri if resident is None else resident.aor


class StoredMessages:
    """What the message store knows, as the routes ask for it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._records = MessageRecords(engine)

    async def page(
        self,
        *,
        before: int | None = None,
        aor: str | None = None,
        state: State | None = None,
        at_most: int = 50,
    ) -> list[Record]:
        """Return the latest messages to an account, to anybody when None."""
        return await self._records.page(Filter(to=aor, state=state), before=before, at_most=at_most)

    async def find(self, id: int) -> Record | None:
        """Return a message with its copies and failed attempts."""
        return await self._records.find(id)

    async def devices(self, aor: str | None = None) -> list[Record]:
        """Return the devices that are away."""
        return await self._records.devices(aor)


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
    gate: Gate | None


class Api:
    """The running parts of the API."""

    def __init__(self, base: Foundation, injector: Injector) -> None:
        settings = base.settings.http
        domains = base.settings.server.domains
        self.directory = Residents(base.locations, base.accounts)
        self.keys = KeyRing(
            KeyRows(base.engine),
            accounts=base.accounts,
            domains=domains,
            entropy=base.entropy,
            wall=time.time,
        )
        self.guard = _guard(self.keys, settings)
        self.outbox = self._outbox(base, injector)
        self.listeners = Listeners(
            EventRows(base.engine, base.writer, keep_s=settings.events_s),
            hub=Hub(streams_max=settings.streams_max, events_max=settings.stream_events_max),
            ids=base.mailroom.ids,
            wall=time.time,
            via_host=domains[0],
            listeners_max=settings.listeners_max,
        )
        hooks = base.settings.webhooks
        self._webhook_caller = WebhookCaller(
            may_be_private=hooks.allow_private, timeout_s=hooks.timeout_s
        )
        self.webhooks = Webhooks(
            WebhookRows(base.engine, base.writer),
            self._webhook_caller,
            ids=base.mailroom.ids,
            settings=hooks,
            callback_secret=self._callback_secret,
            wall=time.time,
        )
        self.announcer = Announcer(self.listeners, self.webhooks, self.outbox, self.directory)
        self.outbox.news = (self.announcer.on_outgoing,)
        self.desk = Desk(
            self.outbox,
            directory=self.directory,
            body_bytes_max=base.settings.messaging.body_bytes_max,
            default_domain=domains[0],
            check_url=lambda url: check_url(url, may_be_private=hooks.allow_private),
        )
        self._records = StoredMessages(base.engine)
        self._base = base

    def _outbox(self, base: Foundation, injector: Injector) -> Outbox:
        settings = base.settings.http
        return Outbox(
            OutboxRows(base.engine, base.writer, record_s=settings.record_s),
            injector,
            ids=base.mailroom.ids,
            secret=base.secret,
            domain=base.settings.server.domains[0],
            settings=settings,
            clock=asyncio.get_running_loop().time,
            wall=time.time,
            cancel=base.mailroom.cancel,
            leading=self.directory.leading,
        )

    def routers(self) -> tuple[APIRouter, ...]:
        """Return the routes of every feature."""
        clock = asyncio.get_running_loop().time
        return (
            outbox_http.routes(self.desk, self._records),
            auth_http.routes(AccountRows(self._base.engine), refresh=self._refresh, wall=time.time),
            registrar_http.routes(self._base.locations, self._records, clock),
            keys_http.routes(self.keys),
            statistics.routes(self.figures),
            listeners_http.routes(self.listeners, self.directory),
            webhooks_http.routes(
                self.webhooks,
                self.directory,
                entropy=self._base.entropy,
                use=self.listeners.use,
                wall=time.time,
                callback=self._callback_secret,
            ),
        )

    def attach(
        self,
        *,
        locations: Locations,
        mailroom: Mailroom,
        messaging: Messaging,
        table: TransactionTable,
        rearm: Callable[[], None],
    ) -> None:
        """Let the accounts that listen be devices (D8)."""
        loop = asyncio.get_running_loop()

        def answered(response: Message, flow: Flow) -> None:
            table.receive(response, flow, loop.time())
            rearm()

        def watch(hear: Callable[[Message], None]) -> None:
            messaging.on_sent = hear

        self.listeners.attach(
            find=locations.find,
            answered=answered,
            later=loop.call_soon,
            on_device=mailroom.on_bound,
            told=(self.webhooks.on_event,),
            on_receipt=self.announcer.on_receipt,
            watch=watch,
        )
        locations.listener_of = self.listeners.device_of

    def _callback_secret(self, caller: str) -> str:
        """Return what signs the callbacks of a caller's messages."""
        key = blake2b(b"callback " + caller.encode(), key=self._base.secret[:32], digest_size=32)
        return new_secret(key.digest())

    async def _refresh(self) -> None:
        """Let the location table and the check of senders know of changed accounts, at once."""
        if self._base.accounts is not None and await self._base.accounts.refresh():
            if self._base.gate is not None:
                self._base.gate.forget()
            self._base.locations.forget_accounts()

    def figures(self) -> dict[str, int]:
        """Return what operators ask for first."""
        base = self._base
        ledger = base.mailroom.ledger
        return {
            "accounts": 0 if base.accounts is None else len(base.accounts),
            "bindings": base.locations.bindings_count,
            "messages_waiting": ledger.waiting_count,
            "messages_stored": base.mailroom.deposits.stored,
            "copies_taken": ledger.taken,
            "copies_refused": ledger.refused,
            "devices_away": ledger.away_count,
            "outbox_waiting": len(self.outbox),
            "outbox_accepted": self.outbox.accepted,
            "keys": len(self.keys),
            "listeners": len(self.listeners),
            "streams": self.listeners.hub.count,
            "webhook_events_waiting": self.webhooks.waiting,
            "webhook_events_told": self.webhooks.told,
            "webhook_events_given_up": self.webhooks.died,
        }

    def _hear_bindings(self) -> None:
        """Tell listeners of bindings, from now on; whoever asked before hears them as well."""
        locations = self._base.locations
        before, ours = locations.on_change, self.listeners.on_binding

        def heard(binding: Binding) -> None:
            before(binding)
            ours(binding)

        locations.on_change = heard

    async def load(self) -> None:
        """Read what is kept, before anybody is served."""
        await self.keys.refresh()
        await self.webhooks.load()
        self._hear_bindings()
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
            asyncio.create_task(_every(TICK_S, self._tick)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.webhooks.close()
            await self._webhook_caller.close()

    async def _tick(self) -> None:
        for hook in self.webhooks.of(None):
            resident = self.directory.resident(hook.aor)
            if resident is None or resident.account_id != hook.account_id:
                await self.webhooks.refresh()  # Its account is gone, and so is its row (D36).
                continue
            if "message.received" in hook.kinds:  # It is a use of the listener.
                self.listeners.use(hook.aor, hook.account_id)
        await self.listeners.tick()


def _guard(keys: KeyRing, settings: HttpSettings) -> Guard:
    clock = asyncio.get_running_loop().time
    return Guard(
        keys,
        buckets=Buckets(clock, per_minute=settings.per_minute, callers_max=CALLERS_MAX),
        refusals=Buckets(clock, per_minute=settings.wrong_keys_per_minute, callers_max=CALLERS_MAX),
        clock=clock,
        query_key=settings.key_in_query,
        origins=settings.origins,
    )


def build_api(
    base: Foundation,
    policed: Messaging | Police,
    messaging: Messaging,
    proxy: Proxy,
    rearm: Callable[[], None],
    is_closed: Callable[[], bool],
) -> Api | None:
    """Return the API, whose messages take the way of all others; None when HTTP is not served.

    ``policed`` is what requests of phones meet, ``messaging`` behind it if there is a policy.
    """
    if base.settings.server.http == "none":
        return None
    clock = asyncio.get_running_loop().time
    injector = Injector(policed.handle, ids=base.mailroom.ids, clock=clock)
    injector.attach(proxy, rearm=rearm, is_closed=is_closed)
    api = Api(base, injector)
    api.attach(
        locations=base.locations,
        mailroom=base.mailroom,
        messaging=messaging,
        table=proxy.table,
        rearm=rearm,
    )
    return api


def news_of(api: Api | None) -> tuple[MessageNews, ...]:
    """Return who hears what becomes of messages that wait."""
    return () if api is None else (api.announcer.on_news,)


async def _every(period_s: float, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    while True:
        await asyncio.sleep(period_s)
        try:
            await work()
        except (Unavailable, SettingsError) as error:
            log.warning("not refreshed", what=work.__qualname__, reason=str(error))
