"""The whole server, built and wired in one place."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db.engine import database_url, open_engine, secret_of
from sipgram.db.migrations import upgrade
from sipgram.db.statements import known_statements
from sipgram.db.writer import Writer
from sipgram.db.writers import writer_for
from sipgram.errors import Error, SettingsError
from sipgram.identity import Entropy, NodeId, SystemEntropy
from sipgram.net.certificates import Certificates
from sipgram.net.endpoint import Address, Endpoint
from sipgram.net.ws.server import WebSockets
from sipgram.server.admission import Gate
from sipgram.server.api.build import Api, Foundation, build_api, news_of
from sipgram.server.calls import Calls, build_calls
from sipgram.server.contacts import Contacts, build_contacts
from sipgram.server.dispatch import Dispatcher, Service
from sipgram.server.limits.tally import Tally
from sipgram.server.parts.edges import build_police, build_web, news_of_police
from sipgram.server.parts.keeping import Keeping, build_keeping
from sipgram.server.parts.lists import build_lists
from sipgram.server.parts.presence import PresenceParts, build_presence
from sipgram.server.parts.push import PushParts, build_push
from sipgram.server.parts.receipts import build_receipts
from sipgram.server.parts.time_keeping import build_wall_clock
from sipgram.server.routing.build import build_outward, build_peers
from sipgram.server.routing.outward import Outward
from sipgram.server.routing.peers import Peers
from sipgram.server.ways import Ways
from sipgram.services.auth.service import Authenticator
from sipgram.services.auth.sql import AccountRows
from sipgram.services.auth.table import AccountTable
from sipgram.services.messaging.mailroom import Mailroom
from sipgram.services.messaging.service import Messaging
from sipgram.services.policy.service import Police
from sipgram.services.push.service import Pusher
from sipgram.services.registrar.gruu import Gruus
from sipgram.services.registrar.location import Locations
from sipgram.services.registrar.residents import OpenAccounts, Waiting
from sipgram.services.registrar.service import Registrar
from sipgram.services.registrar.sql import BindingRows
from sipgram.services.wall_clock import WallClock
from sipgram.settings import Settings
from sipgram.sip.branch import Brancher
from sipgram.sip.keep_alive import KeepAlives
from sipgram.sip.loops import LoopGuard
from sipgram.sip.message.nonce import NonceMint
from sipgram.sip.message.uri import Aor
from sipgram.sip.proxy import ForkTimes, Proxy
from sipgram.sip.sink import Carrier
from sipgram.sip.timers import Timers

log = structlog.get_logger("sipgram.server")

WRITER_CLOSE_S = 1.0
"""How long the last commits may hold up the end."""


class AccountsByAor:
    """The account table as the registrar asks it."""

    def __init__(self, table: AccountTable) -> None:
        self._table = table

    def account_id_of(self, aor: Aor) -> int | None:
        account = self._table.account_of(aor.user, aor.domain)
        return None if account is None else account.id

    def owner(self, aor: Aor) -> tuple[int, Aor] | None:
        account = self._table.account_of(aor.user, aor.domain)
        return None if account is None else (account.id, Aor(account.user, account.domain))

    def members_of(self, aor: Aor) -> list[Aor]:
        return [Aor(m.user, m.domain) for m in self._table.members_of(aor.user, aor.domain)]


@dataclass(slots=True)
class Server:
    """The running parts that others look at."""

    settings: Settings
    endpoint: Endpoint
    dispatcher: Dispatcher
    locations: Locations
    accounts: AccountTable | None
    gate: Gate | None
    engine: AsyncEngine
    writer: Writer
    wall: WallClock
    keeping: Keeping
    calls: Calls
    keep_alives: KeepAlives
    pusher: Pusher
    contacts: Contacts
    presence: PresenceParts
    certificates: Certificates | None
    api: Api | None
    web: WebSockets
    outward: Outward
    messaging: Messaging | Police
    listeners: tuple[Address, ...] = ()

    @property
    def mailroom(self) -> Mailroom:
        """Who keeps messages."""
        return self.keeping.mailroom

    def close_idle(self, now: float) -> None:
        """Close connections that hold neither a binding nor a dialog and are long silent (D27)."""
        is_bound, is_named = self.locations.is_held, self.calls.ways.is_named
        self.endpoint.close_idle(lambda flow: is_bound(flow) or is_named(flow), now)

    async def close(self) -> None:
        """Close sockets, then the database."""
        self.contacts.routes.is_over = True
        await self.outward.hops.close()
        await self.endpoint.close()
        with suppress(TimeoutError):
            # A writer that hangs dies with this process; what it holds was answered by no 2xx.
            async with asyncio.timeout(WRITER_CLOSE_S):
                await self.writer.__aexit__(None, None, None)
        await self.engine.dispose()


async def build(
    settings: Settings, *, timers: Timers | None = None, entropy: Entropy | None = None
) -> Server:
    """Build the server and open its listeners.

    Raises:
        SettingsError: a setting cannot be used, a listener's address cannot be bound, or the
            database is not ours.
    """
    entropy, loop = entropy or SystemEntropy(), asyncio.get_running_loop()
    own_addresses: set[tuple[str, int]] = set()
    kept = await _open_database(settings, entropy)
    brancher = Brancher(kept.secret, node=NodeId(settings.server.node))
    keeping = build_keeping(kept.engine, kept.writer, kept.wall, settings, brancher)
    mailroom = keeping.mailroom
    locations = _locations(settings, kept, own_addresses, mailroom)
    peers, tally = build_peers(settings, locations), Tally(loop.time)
    gate = _gate(settings, kept, locations, entropy, peers, tally)
    loops = LoopGuard(kept.secret, node=NodeId(settings.server.node))
    messaging = _messaging(settings, locations, mailroom, loops)
    policed = build_police(settings, messaging)
    routes: dict[bytes, Service] = {b"MESSAGE": policed, b"OPTIONS": messaging}
    dispatcher = _dispatcher(locations, gate, brancher, routes, mailroom)
    certificates, web = _certificates(settings), build_web(settings, locations)
    endpoint = _endpoint(settings, dispatcher, certificates, timers, web)
    outward = build_outward(settings, endpoint, locations, peers, entropy, tally)
    rows = BindingRows(kept.engine, kept.writer, wall=kept.wall, certain=kept.wall.certain)
    keep_alives = _keep_alives(settings, endpoint)
    contacts = build_contacts(endpoint, on_stream=locations.on_stream, clock=loop.time)
    push = build_push(settings.push, clock=loop.time, wall=kept.wall)
    routes[b"REGISTER"] = registrar = _registrar(
        settings, locations, rows, entropy, mailroom, keep_alives, contacts, push
    )
    carrier, rearm = contacts.dialler, endpoint.after_batch
    proxy = _proxy(settings, endpoint, brancher, locations, mailroom, carrier, loops)
    parts = Foundation(settings, *kept[:4], entropy, locations, mailroom, gate)
    api = build_api(parts, policed, messaging, proxy, rearm, lambda: dispatcher.is_draining)
    mailroom.attach(
        *(endpoint.table, locations.find, locations),
        carrier=carrier,
        rearm=rearm,
        wake=push.pusher.wake,
        news=(*news_of(api), *news_of_police(policed)),
    )
    build_lists(
        *(parts, messaging, proxy, dispatcher), clock=loop.time, rearm=rearm, handle=policed.handle
    )
    calls = _calls(kept, settings, endpoint, locations, entropy, carrier, outward)
    dispatcher.attach(endpoint.table, proxy, calls, outward=outward, rearm=endpoint.rearm)
    presence = build_presence(parts, endpoint, brancher, calls.ways, contacts.routes)
    routes |= presence.routes
    server = Server(
        *(settings, endpoint, dispatcher, locations, kept.accounts, gate, kept.engine, kept.writer),
        kept.wall,
        *(keeping, calls, keep_alives, push.pusher, contacts),
        *(presence, certificates, api, web),
        outward=outward,
        messaging=policed,
    )
    return await _start(server, registrar, rows, own_addresses, tally)


async def _start(
    server: Server,
    registrar: Registrar,
    rows: BindingRows,
    own_addresses: set[tuple[str, int]],
    tally: Tally,
) -> Server:
    """Open the listeners, and take back what was kept."""
    server.endpoint.on_refused = tally.note_connection
    if server.api is not None:
        await server.api.listeners.load()  # Before the location table is asked for anybody.
    await server.keeping.load()
    await _listen(server)
    own_addresses.update(server.endpoint.own_addresses())
    await _restore(server, registrar, rows)
    await server.presence.restore()
    return server


def _dispatcher(
    locations: Locations,
    gate: Gate | None,
    brancher: Brancher,
    routes: dict[bytes, Service],
    mailroom: Mailroom,
) -> Dispatcher:
    return Dispatcher(
        locations=locations,
        gate=gate,
        brancher=brancher,
        routes=routes,
        clock=asyncio.get_running_loop().time,
        late=mailroom.on_stray,
    )


def _messaging(
    settings: Settings, locations: Locations, mailroom: Mailroom, loops: LoopGuard
) -> Messaging:
    deposits = mailroom.deposits
    return Messaging(locations.find, settings=settings.messaging, deposits=deposits, loops=loops)


def _proxy(
    settings: Settings,
    endpoint: Endpoint,
    brancher: Brancher,
    locations: Locations,
    mailroom: Mailroom,
    carrier: Carrier,
    loops: LoopGuard,
) -> Proxy:
    return Proxy(
        endpoint.table,
        brancher,
        times=ForkTimes(settings.messaging.answer_s, settings.messaging.fork_s),
        user=locations,
        keeper=mailroom.deposits,
        carrier=carrier,
        loops=loops,
        adapter=build_receipts(mailroom, clock=asyncio.get_running_loop().time, wall=time.time),
        follow=locations.follow,
    )


def _registrar(
    settings: Settings,
    locations: Locations,
    rows: BindingRows,
    entropy: Entropy,
    mailroom: Mailroom,
    keep_alives: KeepAlives,
    contacts: Contacts,
    push: PushParts,
) -> Registrar:
    return Registrar(
        locations,
        routes=contacts.routes,
        settings=settings.registrar,
        entropy=entropy,
        store=rows,
        on_bound=(mailroom.on_bound,),
        on_moved=(contacts.moves.add,),
        keep_alive=keep_alives.add,
        push=push.terms,
        on_push=push.pusher.watch,
    )


def _keep_alives(settings: Settings, endpoint: Endpoint) -> KeepAlives:
    return KeepAlives(
        interval_s=settings.transport.keep_alive_s,
        wake=endpoint.table.wake,
        clock=asyncio.get_running_loop().time,
    )


def _calls(
    kept: "_Kept",
    settings: Settings,
    endpoint: Endpoint,
    locations: Locations,
    entropy: Entropy,
    carrier: Carrier,
    outward: Outward,
) -> Calls:
    return build_calls(
        endpoint.table.invites,
        secret=kept.secret,
        node=NodeId(settings.server.node),
        locations=locations,
        ways=Ways(endpoint, entropy=entropy),
        settings=settings.calls,
        carrier=carrier,
        hops=outward.hops,
        leads_to_trunk=outward.leads_to_trunk,
        answer_s=settings.messaging.answer_s,
        clock=asyncio.get_running_loop().time,
        rearm=endpoint.after_batch,
    )


def _locations(
    settings: Settings,
    kept: "_Kept",
    own_addresses: set[tuple[str, int]],
    waiting: Waiting,
) -> Locations:
    accounts = kept.accounts
    return Locations(
        settings.server.domains,
        accounts=OpenAccounts() if accounts is None else AccountsByAor(accounts),
        bindings_max=settings.registrar.bindings_max,
        own_addresses=own_addresses,
        waiting=waiting,
        gruus=Gruus(kept.secret),
    )


async def _listen(server: Server) -> None:
    for text in server.settings.server.listen:
        try:
            server.listeners += (await server.endpoint.listen(Address.parse(text)),)
        except OSError as error:
            await server.close()
            raise SettingsError(f"cannot listen on {text}: {error.strerror or error}") from error


class _Kept(NamedTuple):
    """What the data folder holds, opened."""

    engine: AsyncEngine
    writer: Writer
    accounts: AccountTable | None
    secret: bytes
    wall: WallClock


async def _open_database(settings: Settings, entropy: Entropy) -> _Kept:
    url = settings.server.database or database_url(Path(settings.server.data))
    engine = open_engine(url)
    try:
        await upgrade(engine)
        secret = await secret_of(engine, entropy)
        accounts = None
        if settings.auth.mode == "digest":
            accounts = AccountTable(AccountRows(engine), algorithms=settings.auth.algorithms)
            await accounts.load()
        wall = await build_wall_clock(engine)
        writer = writer_for(url, statements=known_statements())
        await writer.__aenter__()
    except BaseException:
        await engine.dispose()
        raise
    return _Kept(engine, writer, accounts, secret, wall)


def _endpoint(
    settings: Settings,
    dispatcher: Dispatcher,
    certificates: Certificates | None,
    timers: Timers | None,
    web: WebSockets,
) -> Endpoint:
    return Endpoint(
        dispatcher,
        timers=timers,
        limits=settings.transport,
        tls=certificates,
        handshake_s=settings.tls.handshake_s,
        handshakes_max=settings.tls.handshakes_max,
        web=web,
    )


def _certificates(settings: Settings) -> Certificates | None:
    """Load what TLS listeners show; none is made when there is no such listener."""
    addresses = [Address.parse(text) for text in settings.server.listen]
    hosts = [address.host for address in addresses if address.transport in ("tls", "wss")]
    if not hosts:
        return None
    return Certificates(
        settings.tls,
        folder=Path(settings.server.data) / "tls",
        domains=settings.server.domains,
        hosts=hosts,
        wall=time.time,
    )


def _gate(
    settings: Settings,
    kept: _Kept,
    locations: Locations,
    entropy: Entropy,
    peers: Peers,
    tally: Tally,
) -> Gate | None:
    """Build the check of who sent a request; none when every From is believed."""
    if kept.accounts is None:
        return None
    mint = NonceMint(
        kept.secret,
        node=NodeId(settings.server.node),
        process=entropy.secret()[:4],
        lifetime_s=settings.auth.nonce_s,
    )
    authenticator = Authenticator(
        kept.accounts, mint=mint, decoy=entropy.secret(), algorithms=settings.auth.algorithms
    )
    return Gate(
        authenticator,
        accounts=kept.accounts,
        locations=locations,
        peers=peers,
        limits=settings.limits,
        tally=tally,
    )


async def _restore(server: Server, registrar: Registrar, rows: BindingRows) -> None:
    """Take back the bindings of UDP phones; connections ended with the process that had them."""
    restored = 0
    longest_s = server.settings.registrar.expires_max_s
    endpoint, now = server.endpoint, asyncio.get_running_loop().time()
    async for kept in rows.load():
        if not kept.flow.startswith("udp:"):
            continue
        try:
            text, _, ours = kept.flow.partition(" ")
            address = Address.parse(text)
            local_port = int(ours) if ours.isdigit() else 0
            flow = endpoint.udp_flow(address.host, address.port, local_port=local_port)
            if flow is None:
                continue
            # D35: what ended by a clock that is in doubt has not ended.
            left_s = kept.expires_utc - server.wall.certain()
            registrar.restore(kept, flow, left_s=min(left_s, longest_s), now=now)
        except Error as error:
            log.info("binding not restored", aor=kept.aor, reason=str(error))
        else:
            restored += 1
    if server.api is not None:
        await server.api.load()
    endpoint.after_batch()  # Their keep-alives have begun.
    if restored:
        log.info("bindings restored", count=restored)
    server.mailroom.revive()
