"""Next hops that are found by name: located, connected to, tried in turn (RFC 3263; DELIVERY.md D33).

Connections are opened when something is sent on them and serve all that goes to the same place;
the endpoint closes those that are long idle.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from sipgram.errors import Refusal, Unavailable
from sipgram.net.attempts import Attempts, FailedHops
from sipgram.net.records import Family
from sipgram.net.resolver import TRANSPORTS, Hop, HopTransport, Resolver
from sipgram.net.tcp import TcpFlow
from sipgram.net.udp import UdpFlow, shown_address
from sipgram.server.contacts import LARGE_BYTES, Dialled
from sipgram.settings import RoutingSettings
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import SipUri
from sipgram.sip.proxy import Target
from sipgram.sip.sink import Flow
from sipgram.sip.transaction.table import TransactionTable

GROWTH_BYTES: Final = 300
"""What our own lines add to a request, about."""
IN_USE_S: Final = 32.0
"""A connection that brought something within this may have a transaction on it."""

Key = tuple[HopTransport, str, int, str]
"""Transport, address, port, and for TLS the domain that the peer has proved to be."""


class Sockets(Protocol):
    """What is asked of the endpoint."""

    table: TransactionTable

    def udp_flow(self, host: str, port: int, *, local_port: int = 0) -> UdpFlow | None:
        """Return the flow to an IP address."""

    async def connect(self, host: str, port: int, *, timeout_s: float) -> TcpFlow:
        """Open a TCP connection."""

    async def connect_tls(self, host: str, port: int, *, domain: str, timeout_s: float) -> TcpFlow:
        """Open a TLS connection to a server of a domain."""

    def listens(self) -> Iterable[tuple[str, str, int]]:
        """Return transport, the host that peers see, and port of each listener."""

    def after_batch(self) -> None:
        """Something may have become due."""


class Destination(NamedTuple):
    """One URI whose servers may take a request, and what they get as Request-URI."""

    server: SipUri
    uri: bytes
    transports: tuple[HopTransport, ...] = TRANSPORTS
    routes: bytes = b""


class _Like(NamedTuple):
    host: bytes
    is_reliable: bool
    via_line: bytes


@dataclass(slots=True)
class HopTarget:
    """One hop as a target of the proxy."""

    uri: bytes
    flow: Flow
    name: bytes
    is_silent: bool = False
    instance: bytes = b""
    routes: bytes = b""
    cannot_read: frozenset[bytes] = frozenset()


class Trail:
    """The hops of one request, made targets one by one: ``sip.routing.hunt.Hops``."""

    def __init__(
        self,
        owner: "NextHops",
        hops: dict[Hop, Destination],
        *,
        now: float,
        within_s: float,
    ) -> None:
        self._owner = owner
        self._hops = hops
        self._attempts = Attempts(
            hops, failed=owner.failed, now=now, within_s=within_s, hop_s=owner.settings.hop_s
        )

    def next(self, now: float) -> Target | None:
        return self._usable(self._attempts.next(now), now)

    def wait_s(self, now: float) -> float:
        return self._attempts.wait_s(now)

    def failed(self, now: float, *, retry_after_s: float | None = None) -> Target | None:
        return self._usable(self._attempts.failed(now, retry_after_s=retry_after_s), now)

    def succeeded(self) -> None:
        self._attempts.succeeded()

    def _usable(self, hop: Hop | None, now: float) -> Target | None:
        while hop is not None:
            destination = self._hops[hop]
            flow = self._owner.flow_to(hop, _domain(destination.server))
            if flow is not None:
                name = b"%b %b" % (destination.uri, str(hop).encode())
                return HopTarget(destination.uri, flow, name, routes=destination.routes)
            hop = self._attempts.failed(now)
        return None


class NextHops:
    """Finds the hops of URIs and keeps the connections to them."""

    def __init__(
        self,
        sockets: Sockets,
        resolver: Resolver,
        *,
        settings: RoutingSettings,
        is_own: Callable[[str, int], bool],
        clock: Callable[[], float],
    ) -> None:
        """``is_own`` says whether what is sent to an address would come back to us."""
        self._sockets = sockets
        self._resolver = resolver
        self.settings = settings
        self._is_own = is_own
        self._clock = clock
        self.failed = FailedHops()
        self._streams: OrderedDict[Key, TcpFlow | Dialled] = OrderedDict()
        self._opening: dict[Dialled, asyncio.Task[TcpFlow | None]] = {}
        self.refused = 0
        "Connections that were not opened, since there were too many."

    async def trail(
        self,
        destinations: Sequence[Destination],
        *,
        request: Message,
        within_s: float,
        since: float,
    ) -> Trail:
        """Locate the hops of some destinations, in their order.

        Raises:
            Refusal: 480 when there is none, 482 when it is this server.
        """
        hops: dict[Hop, Destination] = {}
        is_own = False
        for destination in destinations:
            for hop in await self._located(destination, within_s):
                if self._is_own(hop.host, hop.port):
                    is_own = True
                    continue
                is_large = len(request.raw) + GROWTH_BYTES > LARGE_BYTES
                if hop.transport == "udp" and is_large and "tcp" in self._transports(destination):
                    # D26, RFC 3261 §18.1.1: TCP, and the datagram when that is refused.
                    hops.setdefault(Hop("tcp", hop.host, hop.port, hop.name), destination)
                hops.setdefault(hop, destination)
        if not hops and is_own:
            raise Refusal(482, "Loop Detected: the next hop is this server")
        if not hops:
            shown = ", ".join(str(d.server.host, "ascii", "replace") for d in destinations)
            raise Refusal(480, f"No Server Is Known For: {shown}", (b"Retry-After: 30",))
        return Trail(self, hops, now=since, within_s=within_s)

    async def flow(self, destination: Destination, *, request: Message) -> Flow | None:
        """Return an open flow for what has no transaction: the ACK of a 2xx.

        Raises:
            Refusal: as ``trail``.
        """
        now = self._clock()
        trail = await self.trail(
            (destination,), request=request, within_s=self.settings.connect_s, since=now
        )
        target = trail.next(now)
        while target is not None:
            if not isinstance(target.flow, Dialled):
                return target.flow
            target.flow.send(b"")  # Begins to connect, unless that is under way.
            opening = self._opening.get(target.flow)
            stream = None if opening is None else await asyncio.shield(opening)
            if stream is not None:
                return stream
            target = trail.failed(self._clock())
        return None

    def flow_to(self, hop: Hop, domain: str) -> Flow | None:
        """Return the flow to a hop, which may have to be opened when it is used."""
        if hop.transport == "udp":
            return self._sockets.udp_flow(hop.host, hop.port)
        key = (hop.transport, hop.host, hop.port, domain if hop.transport == "tls" else "")
        known = self._streams.get(key)
        if known is not None and known.is_open:
            self._streams.move_to_end(key)
            return known
        via_line = self._via_line(hop)
        if via_line is None or not self._has_room():
            return None
        like = _Like(hop.host.encode(), True, via_line)

        def dial(dialled: Dialled) -> bool:
            task = asyncio.get_running_loop().create_task(self._open(key, dialled))
            self._opening[dialled] = task
            task.add_done_callback(lambda _: self._opening.pop(dialled, None))
            return True

        dialled = self._streams[key] = Dialled(like, (hop.host, hop.port), dial)
        self._streams.move_to_end(key)
        return dialled

    @property
    def connections_count(self) -> int:
        """How many connections to next hops there are, or are being opened."""
        return len(self._streams)

    async def close(self) -> None:
        """Give up what is being asked and opened."""
        tasks = list(self._opening.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._resolver.close()

    # ---- locating --------------------------------------------------------------------------

    async def _located(self, destination: Destination, within_s: float) -> list[Hop]:
        families = {6 if ":" in host else 4 for _, host, _ in self._sockets.listens()}
        try:
            async with asyncio.timeout(within_s):
                return await self._resolver.locate(
                    destination.server,
                    transports=self._transports(destination),
                    families=tuple(family for family in _FAMILIES if family in families),
                )
        except (Unavailable, TimeoutError):
            return []  # D33: the sender hears 480, as of any other server out of reach.

    def _transports(self, destination: Destination) -> tuple[HopTransport, ...]:
        ours = {transport for transport, _, _ in self._sockets.listens()}
        return tuple(t for t in destination.transports if t in ours)

    # ---- connections -----------------------------------------------------------------------

    async def _open(self, key: Key, dialled: Dialled) -> TcpFlow | None:
        transport, host, port, domain = key
        table, timeout_s = self._sockets.table, self.settings.connect_s
        stream: TcpFlow | None = None
        try:
            if transport == "tls":
                stream = await self._sockets.connect_tls(
                    host, port, domain=domain, timeout_s=timeout_s
                )
            else:
                stream = await self._sockets.connect(host, port, timeout_s=timeout_s)
        except OSError:
            dialled.is_open = False
            self._forget(key, dialled)
            table.transport_failed((dialled,), self._clock())
        else:
            self._has_opened(key, dialled, stream)
        self._sockets.after_batch()
        return stream

    def _has_opened(self, key: Key, dialled: Dialled, stream: TcpFlow) -> None:
        dialled.is_open = False
        self._streams[key] = stream
        stream.closed.add_done_callback(lambda _: self._forget(key, stream))

        def mover(request: bytes) -> tuple[Flow, bytes]:
            return stream, request.replace(dialled.via_line, stream.via_line, 1)

        self._sockets.table.move({dialled: mover}, self._clock())

    def _forget(self, key: Key, what: TcpFlow | Dialled) -> None:
        if self._streams.get(key) is what:
            del self._streams[key]

    def _has_room(self) -> bool:
        """Make room by closing the connection that was used longest ago, when that is idle."""
        if len(self._streams) < self.settings.connections_max:
            return True
        for key, stream in self._streams.items():
            if isinstance(stream, TcpFlow) and stream.heard + IN_USE_S < self._clock():
                stream.close()
                self._forget(key, stream)
                return True
        self.refused += 1
        return False

    def _via_line(self, hop: Hop) -> bytes | None:
        for transport, host, port in self._sockets.listens():
            if transport == hop.transport and (":" in host) == (":" in hop.host):
                shown = shown_address((host, port))
                return f"Via: SIP/2.0/{transport.upper()} {shown};branch=".encode()
        return None


_FAMILIES: Final[tuple[Family, ...]] = (4, 6)


def _domain(uri: SipUri) -> str:
    return uri.host.decode("ascii")
