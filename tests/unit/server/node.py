"""The server without its sockets: what comes in by hand, what goes out is written down."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, cast

from sipgram.identity import AccountId, NodeId
from sipgram.net.resolver import Resolver
from sipgram.net.tcp import TcpFlow
from sipgram.net.udp import UdpFlow
from sipgram.server.admission import Gate
from sipgram.server.calls import Calls, build_calls
from sipgram.server.dispatch import Dispatcher, Service
from sipgram.server.limits.tally import Tally
from sipgram.server.parts.lists import build_lists
from sipgram.server.parts.receipts import build_receipts
from sipgram.server.routing.next_hops import NextHops
from sipgram.server.routing.outward import Outward
from sipgram.server.routing.peers import Peers
from sipgram.server.ways import NoSockets, Sockets, Ways
from sipgram.services.auth.service import Authenticator
from sipgram.services.auth.store import Account
from sipgram.services.messaging.history import NOBODYS, History
from sipgram.services.messaging.mailroom import Mailroom
from sipgram.services.messaging.service import Messaging
from sipgram.services.messaging.store import MessageStore
from sipgram.services.registrar.gruu import Gruus
from sipgram.services.registrar.location import Binding, Locations
from sipgram.services.registrar.residents import Accounts, OpenAccounts
from sipgram.services.registrar.service import Registrar
from sipgram.services.registrar.store import NoBindingStore
from sipgram.services.registrar.streams import Opened
from sipgram.services.wall_clock import WallClock
from sipgram.settings import (
    LimitSettings,
    ListSettings,
    MessagingSettings,
    RegistrarSettings,
    RoutingSettings,
    Settings,
)
from sipgram.sip.branch import Brancher
from sipgram.sip.loops import LoopGuard
from sipgram.sip.message import digest
from sipgram.sip.message.message import Message
from sipgram.sip.message.nonce import NonceMint
from sipgram.sip.message.parser import parse
from sipgram.sip.message.uri import Aor, SipUri
from sipgram.sip.proxy import ForkTimes, Proxy
from sipgram.sip.push import Push
from sipgram.sip.sink import Flow
from sipgram.sip.timers import Timers
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing.clock import ManualClock
from sipgram.testing.entropy import CountingEntropy
from sipgram.testing.messages import request
from sipgram.testing.recording import RecordingFlow

DOMAIN = "example.com"
PASSWORD = "secret"
SECRET = b"s" * 32
LOOPS = LoopGuard(SECRET, node=NodeId("n1"))
EPOCH = 1_700_000_000.0
"""The wall clock's lead over the monotonic one."""


class Household:
    """alice, bob and carol, whose password is the same; alice has a telephone number."""

    def __init__(self) -> None:
        self.by_name = {
            (user, DOMAIN): Account(AccountId(n), user, DOMAIN, (f"sip:{user}@{DOMAIN}",))
            for n, user in enumerate(("alice", "bob", "carol"), 1)
        }
        self.groups: dict[str, tuple[str, ...]] = {}
        "Members by the user part of a group's AoR."
        self.by_name["+15550100", ""] = self.by_name["alice", DOMAIN]

    def account_of(self, user: str, domain: str) -> Account | None:
        return self.by_name.get((user, domain))

    def account_id_of(self, aor: Aor) -> int | None:
        account = self.account_of(aor.user, aor.domain)
        return None if account is None else account.id

    def owner(self, aor: Aor) -> tuple[int, Aor] | None:
        account = self.account_of(aor.user, aor.domain)
        return None if account is None else (account.id, Aor(account.user, account.domain))

    def members_of(self, aor: Aor) -> list[Aor]:
        return [Aor(name, DOMAIN) for name in self.groups.get(aor.user, ())]

    def ha1_of(self, username: str, realm: str, algorithm: str) -> tuple[Account, str] | None:
        account = self.by_name.get((username.partition("@")[0], realm))
        if account is None:
            return None
        return account, digest.ha1(username, realm, PASSWORD, algorithm)


class Base(NamedTuple):
    """What the list service is built on."""

    accounts: Household
    locations: Locations
    mailroom: Mailroom
    settings: Settings = Settings(lists=ListSettings(recipients_max=5))


class SourceRoutes:
    """Every contact is reached where its REGISTER came from."""

    def flow_to(self, contact: SipUri, source: Flow) -> Flow:
        return source

    def watch(self, flow: Flow, closed: Callable[[], None]) -> None:
        return None

    def reopen(self, hop: SipUri, flow: Flow, opened: Opened) -> Flow | None:
        return None


class Outside:
    """The sockets towards other servers: UDP alone, to IP addresses, and written down."""

    table: TransactionTable

    def __init__(self) -> None:
        self.flows: dict[tuple[str, int], RecordingFlow] = {}

    def udp_flow(self, host: str, port: int, *, local_port: int = 0) -> UdpFlow | None:
        flow = RecordingFlow(host=host.encode(), port=port)
        return cast(UdpFlow, self.flows.setdefault((host, port), flow))

    async def connect(self, host: str, port: int, *, timeout_s: float) -> TcpFlow:
        raise ConnectionRefusedError(f"{host}:{port} takes no connection")

    async def connect_tls(self, host: str, port: int, *, domain: str, timeout_s: float) -> TcpFlow:
        raise ConnectionRefusedError(f"{host}:{port} of {domain} takes no connection")

    def listens(self) -> list[tuple[str, str, int]]:
        return [("udp", "192.0.2.100", 5060), ("tls", "192.0.2.100", 5061)]

    def after_batch(self) -> None:
        return None

    def sent(self) -> list[tuple[str, Message]]:
        """Return whom what was sent to since the last call."""
        return [(host, parse(raw)) for (host, _), f in self.flows.items() for raw in f.take()]


class Node:
    """Dispatcher, transactions and services of example.com; 192.0.2.100:5060 is its address."""

    def __init__(
        self,
        *,
        has_digest: bool = True,
        trust: Iterable[str] = (),
        routes: Mapping[bytes, Service] | None = None,
        sockets: Sockets | None = None,
        store: MessageStore | None = None,
        messaging: MessagingSettings | None = None,
        routing: RoutingSettings | None = None,
        limits: LimitSettings | None = None,
        history: History = NOBODYS,
    ) -> None:
        """With ``store`` messages are kept for devices that are away; ``routing`` leads outside."""
        self.routing = routing or RoutingSettings()
        self.limits = limits or LimitSettings()
        self.outside = Outside()
        self.clock = ManualClock(1_000.0)
        self.wall_lead = EPOCH
        self.woken: list[tuple[str, Push]] = []
        self.household = Household()
        accounts: Accounts = self.household if has_digest else OpenAccounts()
        brancher = Brancher(SECRET, node=NodeId("n1"))
        settings = messaging or MessagingSettings()
        self.mailroom = (
            None if store is None else self._mailroom(store, settings, brancher, history)
        )
        self.locations = self._locations(accounts)
        self.tally = Tally(self.clock)
        self.peers = Peers(trust, self.routing, is_ours=self.locations.is_ours)
        self.gate = self._gate() if has_digest else None
        deposits = None if self.mailroom is None else self.mailroom.deposits
        service = Messaging(self.locations.find, settings=settings, deposits=deposits, loops=LOOPS)
        self.services: dict[bytes, Service] = {
            b"MESSAGE": service,
            b"OPTIONS": service,
            b"REGISTER": self._registrar(),
            **(routes or {}),
        }
        gate, clock, late = self.gate, self.clock, self._late
        self.dispatcher = Dispatcher(
            self.locations,
            gate=gate,
            brancher=brancher,
            routes=self.services,
            clock=clock,
            late=late,
        )
        self.table = TransactionTable(self.dispatcher, timers=Timers())
        proxy = self._proxy(brancher)
        outward = self._outward() if routing is not None else None
        calls = self._calls(sockets or NoSockets(), outward)
        self.dispatcher.attach(self.table, proxy, calls, outward=outward)
        self._add_lists(service, proxy)
        self.flow = RecordingFlow(host=b"192.0.2.9")

    def _locations(self, accounts: Accounts) -> Locations:
        return Locations(
            (DOMAIN,),
            accounts=accounts,
            bindings_max=1_000,
            own_addresses={("192.0.2.100", 5060)},
            waiting=self.mailroom,
            gruus=Gruus(SECRET),
        )

    def _calls(self, sockets: Sockets, outward: Outward | None) -> Calls:
        return build_calls(
            self.table.invites,
            secret=SECRET,
            node=NodeId("n1"),
            locations=self.locations,
            ways=Ways(sockets, entropy=CountingEntropy()),
            clock=self.clock,
            hops=None if outward is None else outward.hops,
            leads_to_trunk=(lambda uri: False) if outward is None else outward.leads_to_trunk,
        )

    def _outward(self) -> Outward:
        self.outside.table = self.table
        hops = NextHops(
            self.outside,
            Resolver(entropy=CountingEntropy(), clock=self.clock),
            settings=self.routing,
            is_own=self.locations.is_own_address,
            clock=self.clock,
        )
        return Outward(
            self.routing,
            peers=self.peers,
            locations=self.locations,
            hops=hops,
            answer_s=5.0,
            tally=self.tally,
        )

    def _mailroom(
        self,
        store: MessageStore,
        settings: MessagingSettings,
        brancher: Brancher,
        history: History,
    ) -> Mailroom:
        wall = WallClock(lambda: self.clock.now + self.wall_lead, self.clock)
        return Mailroom(
            store,
            settings=settings,
            brancher=brancher,
            clock=self.clock,
            history=history,
            wall=wall,
            certain=wall.certain,
        )

    def _proxy(self, brancher: Brancher) -> Proxy:
        times, mailroom = ForkTimes(), self.mailroom
        user, follow = self.locations, self.locations.follow
        if mailroom is None:
            return Proxy(self.table, brancher, times=times, user=user, follow=follow, loops=LOOPS)
        parts = (self.table, self.locations.find, self.locations)
        mailroom.attach(*parts, wake=lambda *woken: self.woken.append(woken))
        return Proxy(
            self.table,
            brancher,
            times=times,
            user=self.locations,
            keeper=mailroom.deposits,
            follow=follow,
            loops=LOOPS,
            adapter=build_receipts(mailroom, clock=self.clock, wall=lambda: self.clock.now + EPOCH),
        )

    def _add_lists(self, messaging: Messaging, proxy: Proxy) -> None:
        if self.mailroom is not None:
            self.lists = build_lists(
                Base(self.household, self.locations, self.mailroom),
                messaging,
                proxy,
                self.dispatcher,
                clock=self.clock,
                rearm=lambda: None,
            )

    def _registrar(self) -> Registrar:
        return Registrar(
            self.locations,
            routes=SourceRoutes(),
            settings=RegistrarSettings(spread=False),
            entropy=CountingEntropy(),
            store=NoBindingStore(),
            on_bound=() if self.mailroom is None else (self.mailroom.on_bound,),
        )

    def _late(self, response: Message, now: float) -> bool:
        return self.mailroom is not None and self.mailroom.on_stray(response, now)

    def _gate(self) -> Gate:
        mint = NonceMint(SECRET, node=NodeId("n1"), process=b"run1", lifetime_s=300.0)
        return Gate(
            Authenticator(self.household, mint=mint, decoy=b"decoy"),
            accounts=self.household,
            locations=self.locations,
            peers=self.peers,
            limits=self.limits,
            tally=self.tally,
        )

    def bind(
        self,
        user: str,
        *,
        port: int = 5060,
        is_reliable: bool = False,
        instance: bytes = b"",
        for_s: float = 3600,
        push: Push | None = None,
        is_page: bool = False,
    ) -> RecordingFlow:
        """Register a phone of ``user``; return the flow to it."""
        entry = self.locations.find(f"sip:{user}@{DOMAIN}".encode())
        uri = f"sip:{user}@198.51.100.1:{port}".encode()
        flow = RecordingFlow(host=b"198.51.100.1", port=port, is_reliable=is_reliable or is_page)
        if is_page:
            flow.via_line = b"Via: SIP/2.0/WS proxy.example.com;branch="
        binding = Binding(
            aor=str(entry.aor),
            value=b"<" + uri + b">",
            uri=uri,
            flow=flow,
            expires=self.clock.now + for_s,
            call_id=b"c",
            cseq=1,
            updated=self.clock.now,
            instance=instance,
            push=push,
        )
        self.locations.attach(entry, binding)
        if entry.has_inbox and self.mailroom is not None:
            self.mailroom.on_bound(entry, binding)
        return flow

    def unbind(self, user: str, *, port: int = 5060) -> None:
        """End the binding of a phone, whose device is away from now on."""
        entry = self.locations.find(f"sip:{user}@{DOMAIN}".encode())
        for binding in [b for b in entry.bindings if b.uri.endswith(b":%d" % port)]:
            self.locations.lose(entry, binding)

    def advance(self, by_s: float) -> None:
        """Let time go by, deadline after deadline."""
        end = self.clock.now + by_s
        while self.table.next_due <= end:
            self.table.advance(self.clock.move_to(max(self.clock.now, self.table.next_due)))
        self.table.advance(self.clock.move_to(end))

    def receive(self, raw: bytes, *, flow: RecordingFlow | None = None) -> None:
        """Let bytes come in."""
        self.table.receive(parse(raw), flow or self.flow, self.clock.now)

    def ask(self, raw: bytes, *, flow: RecordingFlow | None = None) -> Message:
        """Let a request come in; return the one response that it gets at once."""
        flow = flow or self.flow
        self.receive(raw, flow=flow)
        (response,) = flow.take()
        return parse(response)

    async def answer(self, raw: bytes) -> Message:
        """Let a request come in; return the one response that it gets, soon."""
        self.receive(raw)
        await turns()
        (response,) = self.flow.take()
        return parse(response)

    def authorized(self, raw: bytes, *, user: str = "alice", password: str = PASSWORD) -> bytes:
        """Return the request with the right answer to the challenge that it gets."""
        return with_credentials(raw, self.ask(raw), user=user, password=password)


async def turns(count: int = 10) -> None:
    """Let tasks that wait for nothing more come to their end."""
    for _ in range(count):
        await asyncio.sleep(0)


def with_credentials(
    raw: bytes, challenged: Message, *, user: str = "alice", password: str = PASSWORD
) -> bytes:
    """Add the answer to a 401 or 407, with the same branch and CSeq, as libpurple does."""
    is_proxy = challenged.status == 407
    assert challenged.status in (401, 407), challenged.raw
    kind = b"proxy-authenticate" if is_proxy else b"www-authenticate"
    (challenge,) = digest.parse_challenges(challenged.values(kind))
    asked = parse(raw)
    value = digest.answer(
        challenge,
        method=asked.method,
        uri=asked.uri,
        username=user,
        password=password,
        nc=1,
        cnonce="c",
    )
    name = b"Proxy-Authorization: " if is_proxy else b"Authorization: "
    return with_line(raw, name + value)


def with_line(raw: bytes, line: bytes) -> bytes:
    """Add a header line before Content-Length."""
    return raw.replace(b"Content-Length:", line + b"\r\nContent-Length:", 1)


def texted(
    *headers: bytes,
    sender: bytes = b"<sip:alice@example.com>;tag=a1",
    uri: bytes = b"sip:bob@example.com",
    branch: bytes = b"z9hG4bK-1",
    body: bytes = b"hi",
    max_forwards: int = 70,
) -> bytes:
    """Return a MESSAGE from 192.0.2.9."""
    return request(
        b"MESSAGE",
        uri,
        via=b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=" + branch,
        sender=sender,
        to=b"<" + uri + b">",
        headers=headers,
        body=body,
        max_forwards=max_forwards,
    )
