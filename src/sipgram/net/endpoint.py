"""Drives the transaction table: listeners and connections below, one timer beside (RFC 3261 §18).

Bytes come up synchronously, from the reader callback to the table and on to its user; what is
sent on the way goes out in the same turn of the loop.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from sipgram.errors import PeerError, SettingsError, UsageError
from sipgram.net.sip_identity import is_among
from sipgram.net.tcp import StreamUser, TcpFlow
from sipgram.net.tls import HANDSHAKE_S, HANDSHAKES_MAX, SHUTDOWN_S, TlsListener
from sipgram.net.udp import UdpFlow, UdpListener, listener_class, shown_address
from sipgram.settings import TransportSettings
from sipgram.sip import stun
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.sink import Flow
from sipgram.sip.timers import NEVER, Timers
from sipgram.sip.transaction.table import RequestUser, TransactionTable

Transport = Literal["udp", "tcp", "tls", "ws", "wss"]
_PORTS: Final[dict[Transport, int]] = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}
STUN_BELOW: Final = 4
"""The first octet of STUN is 0 to 3 (RFC 7983 §7), that of SIP a letter or the CR of a CRLF."""
LOOPBACK_OF: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""The wildcard addresses, and where this machine reaches itself through them."""
Trace = Callable[[str, bytes, str], None]
"""Takes "<" (came in) or ">" (went out), the bytes, and the flow as text."""


class Contexts(Protocol):
    """Where TLS contexts come from, asked for each connection: ``net.certificates.Certificates``."""

    def server_context(self) -> ssl.SSLContext:
        """For a connection that somebody opens to us."""

    def client_context(self) -> ssl.SSLContext:
        """For a connection that we open."""


class WebConnections(Protocol):
    """Who makes the WebSockets that others open: ``net.ws.server.WebSockets``."""

    def connection(
        self,
        *,
        user: StreamUser,
        via_line: Callable[[TcpFlow], bytes],
        loop: asyncio.AbstractEventLoop,
        transport: Literal["ws", "wss"],
    ) -> TcpFlow:
        """Return the protocol of one connection."""


@dataclass(frozen=True, slots=True)
class Address:
    """One listener or server as it is written: TRANSPORT:HOST:PORT."""

    transport: Transport
    host: str
    port: int
    path: str = ""
    "Of a WebSocket's URL."

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``udp:127.0.0.1:5060``, ``tcp:[::1]:5060``, ``tls:127.0.0.1`` (port 5061) or a URL.

        A URL is that of a WebSocket: ``wss://example.com/sip``.

        Raises:
            SettingsError: naming what is wrong.
        """
        transport, _, rest = text.partition(":")
        kind = next((known for known in _PORTS if known == transport), None)
        if kind is None:
            raise SettingsError(f"transport is not one of {', '.join(_PORTS)}: {text!r}")
        path = ""
        if kind in ("ws", "wss") and rest.startswith("//"):
            rest, slash, path = rest[2:].partition("/")
            path = slash + path
        host, colon, port = rest.rpartition(":")
        if rest.endswith("]") or not colon:
            host, port = rest, str(_PORTS[kind])
        if not (port.isascii() and port.isdigit()) or int(port) > 65535 or not host:
            raise SettingsError(f"address is not TRANSPORT:HOST:PORT: {text!r}")
        return cls(kind, host.strip("[]"), int(port), path)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"{self.transport}:{shown_address((self.host, self.port))}"


class Endpoint:
    """The sockets of one SIP element and its transactions."""

    def __init__(
        self,
        user: RequestUser,
        *,
        timers: Timers | None = None,
        limits: TransportSettings | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        advertised: str = "",
        trace: Trace | None = None,
        tls: Contexts | None = None,
        handshake_s: float = HANDSHAKE_S,
        handshakes_max: int = HANDSHAKES_MAX,
        web: WebConnections | None = None,
    ) -> None:
        """``web`` is needed for WebSockets that others open."""
        self._tls = tls
        self._web = web
        self._handshake_s = handshake_s
        self._handshakes_max = handshakes_max
        self._tls_listeners: list[TlsListener] = []
        self._loop = loop or asyncio.get_running_loop()
        self._limits = limits or TransportSettings()
        self._advertised = advertised
        self._trace = trace
        self._armed = NEVER
        self._is_rearming = False
        self._timer: asyncio.TimerHandle | None = None
        self._servers: list[asyncio.Server] = []
        self._listening: list[tuple[Address, Callable[[], bool]]] = []
        self.table = TransactionTable(user, timers=timers or Timers())
        self.udp: list[UdpListener] = []
        self.tcp: list[Address] = []
        "Stream listeners, TLS too."
        self.connections: set[TcpFlow] = set()
        self.refused = 0
        "Connections closed at once because there were too many."
        self.on_refused: Callable[[TcpFlow], None] = lambda flow: None
        "Hears of each of them."
        self._sources: Counter[bytes] = Counter()

    # ---- opening and closing ---------------------------------------------------------------

    async def listen(self, address: Address) -> Address:
        """Open a listener; return its address with the port that 0 became.

        Raises:
            OSError: the address cannot be bound.
            UsageError: a TLS address, and no certificates; a WebSocket's, and no ``web``.
        """
        if address.transport in ("tls", "wss"):
            return await self._listen_tls(address)
        if address.transport == "udp":
            listener = listener_class()(
                receive=self._on_datagram,
                after_batch=self.after_batch,
                loop=self._loop,
                queue_max=self._limits.datagram_queue_max,
                refused=self.table.transport_failed,
            )
            listener.open(
                address.host,
                address.port,
                advertised=self._advertised_for(address.host),
                buffer_bytes=self._limits.socket_buffer_bytes,
            )
            self.udp.append(listener)
            return Address("udp", listener.host, listener.port)
        server = await self._loop.create_server(
            self.web_connection if address.transport == "ws" else self._new_connection,
            address.host,
            address.port,
            backlog=1024,
            reuse_address=True,
        )
        self._servers.append(server)
        host, port = server.sockets[0].getsockname()[:2]
        bound = Address(address.transport, host, port)
        self._listening.append((bound, server.is_serving))
        self.tcp.append(bound)
        return bound

    async def _listen_tls(self, address: Address) -> Address:
        is_web = address.transport == "wss"
        listener = TlsListener(
            connection=lambda: (
                self.web_connection("wss") if is_web else self._new_connection(transport="tls")
            ),
            context=self._contexts().server_context,
            loop=self._loop,
            handshake_s=self._handshake_s,
            handshakes_max=self._handshakes_max,
        )
        host, port = await listener.open(address.host, address.port)
        self._tls_listeners.append(listener)
        bound = Address(address.transport, host, port)
        self._listening.append((bound, lambda: listener.is_open))
        self.tcp.append(bound)
        return bound

    async def connect(self, host: str, port: int, *, timeout_s: float = 2.0) -> TcpFlow:
        """Open a TCP connection.

        Raises:
            OSError: refused, unreachable or timed out.
        """
        async with asyncio.timeout(timeout_s):
            _, flow = await self._loop.create_connection(self._new_connection, host, port)
        return flow

    async def connect_tls(
        self, host: str, port: int, *, domain: str, timeout_s: float = 4.0
    ) -> TcpFlow:
        """Open a TLS connection to a server of ``domain``, the host part of the URI (RFC 5922 §7.3).

        Raises:
            OSError: refused, unreachable, timed out, or its certificate is not for the domain.
            UsageError: there are no certificates.
        """
        async with asyncio.timeout(timeout_s):
            _, flow = await self._loop.create_connection(
                lambda: self._new_connection(transport="tls", domain=domain),
                host,
                port,
                ssl=self._contexts().client_context(),
                server_hostname=domain.strip("[]").removesuffix("."),
                ssl_handshake_timeout=timeout_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        if not is_among(flow.identities, domain):
            flow.abort()  # An empty domain is nobody's: the flow did not look, and is open.
            shown = ", ".join(sorted(flow.identities)) or "nobody"
            raise ssl.SSLCertVerificationError(
                f"certificate of {host} is for {shown}, not for {domain}"
            )
        return flow

    async def connect_web(self, address: Address, *, domain: str, timeout_s: float) -> TcpFlow:
        """Open a WebSocket; over TLS to a server of ``domain``.

        Raises:
            OSError: refused, unreachable, timed out, or it is no WebSocket for SIP.
            UsageError: the library for WebSockets is not installed.
        """
        try:
            from sipgram.net.ws.client import connect
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{address} needs another library: pip install 'sipgram[ws]'"
            ) from error
        async with asyncio.timeout(timeout_s):
            return await connect(
                address,
                user=self,
                limits=self._limits,
                loop=self._loop,
                tls=self._contexts().client_context() if address.transport == "wss" else None,
                domain=domain,
            )

    def _contexts(self) -> Contexts:
        if self._tls is None:
            raise UsageError("an endpoint without certificates was asked for TLS")
        return self._tls

    def udp_flow(self, host: str, port: int, *, local_port: int = 0) -> UdpFlow | None:
        """Return the flow to an IP address from the first listener of its family.

        The listener of ``local_port`` is taken before the first, where there is one.
        """
        family = ":" in host
        listeners = [listener for listener in self.udp if (":" in listener.host) == family]
        listeners.sort(key=lambda listener: listener.port != local_port)
        return listeners[0].flow((host, port)) if listeners else None

    def listens(self) -> list[tuple[str, str, int]]:
        """Return transport, the host that peers see, and port of each listener."""
        found = [("udp", listener.host, listener.port) for listener in self.udp]
        found += [(address.transport, address.host, address.port) for address in self.tcp]
        return [(kind, self._advertised_for(host) or host, port) for kind, host, port in found]

    def own_addresses(self) -> set[tuple[str, int]]:
        """Return every host and port under which peers reach the listeners."""
        bound = [(listener.host, listener.port) for listener in self.udp]
        bound += [(address.host, address.port) for address in self.tcp]
        shown = [(self._advertised_for(host), port) for host, port in bound]
        # A wildcard listener is reached over loopback too.
        here = [(LOOPBACK_OF[host], port) for host, port in bound if host in LOOPBACK_OF]
        return {pair for pair in bound + shown + here if pair[0] not in ("", *LOOPBACK_OF)}

    def deaf(self) -> list[str]:
        """Return the listeners that were opened and do not listen any more."""
        found = [str(listener) for listener in self.udp if not listener.is_open]
        return found + [str(address) for address, listens in self._listening if not listens()]

    @property
    def handshakes_failed(self) -> int:
        """TLS handshakes that failed, took too long or were given up."""
        return sum(listener.failed + listener.given_up for listener in self._tls_listeners)

    async def close(self) -> None:
        """Close listeners and connections; what is open is forgotten."""
        for listener in self.udp:
            listener.close()
        for server in self._servers:
            server.close()
        for listening in self._tls_listeners:
            await listening.close()
        connections = list(self.connections)
        for flow in connections:
            flow.close()
        if connections:
            await asyncio.wait([flow.closed for flow in connections], timeout=1.0)
        for flow in list(self.connections):
            flow.abort()
        if self._timer is not None:
            self._timer.cancel()

    # ---- what comes in ---------------------------------------------------------------------

    def _on_datagram(self, data: bytes, flow: UdpFlow, now: float) -> None:
        if data[0] < STUN_BELOW:
            found = stun.answer(data, flow.address[0].partition("%")[0], flow.port)
            if found is not None:
                flow.send(found)
            return
        if self._trace is not None:
            self._trace("<", data, str(flow))
        self.table.receive(parse(data, bare_lf=flow.is_loopback), flow, now)

    def on_stream_message(self, data: bytes, flow: TcpFlow, now: float) -> None:
        if self._trace is not None:
            self._trace("<", data, str(flow))
        self.table.receive(parse(data, bare_lf=flow.is_loopback), flow, now)

    def on_stream_fault(
        self, remainder: bytes, error: PeerError | None, flow: TcpFlow, now: float
    ) -> None:
        message = parse(remainder, bare_lf=flow.is_loopback)
        if error is not None and error.reason not in message.faults:
            message.faults = (*message.faults, error.reason)
            message.fault_status = error.status
        if message.method and not message.status:
            self.table.receive(message, flow, now)

    def on_stream_closed(self, flow: TcpFlow, now: float) -> None:
        if flow in self.connections:
            self.connections.discard(flow)
            self._sources[flow.host] -= 1
            if not self._sources[flow.host]:
                del self._sources[flow.host]
        self.table.transport_failed((flow,), now)
        self.after_batch()

    def admit(self, flow: TcpFlow) -> bool:
        sources, limits = self._sources, self._limits
        is_over = not flow.is_loopback and sources[flow.host] >= limits.connections_per_source_max
        if is_over or len(self.connections) >= limits.connections_max:
            self.refused += 1
            self.on_refused(flow)
            return False
        sources[flow.host] += 1
        self.connections.add(flow)
        return True

    def close_idle(self, is_held: Callable[[TcpFlow], bool], now: float) -> None:
        """Close connections that nobody needs and that brought nothing for ``stream_idle_s`` (D27)."""
        before = now - self._limits.stream_idle_s
        for flow in [c for c in self.connections if c.heard <= before and not is_held(c)]:
            flow.close()

    # ---- time ------------------------------------------------------------------------------

    def after_batch(self) -> None:
        """Re-arm the one timer when something became due earlier than it."""
        due = self.table.next_due
        if due < self._armed:
            if self._timer is not None:
                self._timer.cancel()
            self._armed = due
            self._timer = self._loop.call_at(due, self._advance)

    def rearm(self) -> None:
        """Do so at the end of this turn, once for all that is done outside of a batch in it."""
        if not self._is_rearming:
            self._is_rearming = True
            self._loop.call_soon(self._rearm)

    def _rearm(self) -> None:
        self._is_rearming = False
        self.after_batch()

    def _advance(self) -> None:
        self._armed = NEVER
        self._timer = None
        self.table.advance(self._loop.time())
        self.after_batch()

    # ---- names of our own ------------------------------------------------------------------

    def web_connection(self, transport: Literal["ws", "wss"] = "ws") -> TcpFlow:
        """Return the protocol of a WebSocket that somebody opens, here or on the HTTP port.

        Raises:
            UsageError: the endpoint was made without ``web``.
        """
        if self._web is None:
            raise UsageError("an endpoint without web was asked for a WebSocket")
        return self._web.connection(
            user=self, via_line=self._stream_via_line, loop=self._loop, transport=transport
        )

    def _new_connection(
        self, transport: Literal["tcp", "tls"] = "tcp", domain: str = ""
    ) -> TcpFlow:
        return TcpFlow(
            user=self,
            limits=self._limits,
            via_line=self._stream_via_line,
            loop=self._loop,
            transport=transport,
            domain=domain,
        )

    def _stream_via_line(self, flow: TcpFlow) -> bytes:
        host, port = flow.local
        for address in self.tcp if flow.transport in ("tcp", "tls") else ():
            if address.transport == flow.transport and (":" in address.host) == (":" in host):
                port = address.port  # §18.1.1: the port where responses and requests find us.
        shown = shown_address((self._advertised_for(host) or host, port))
        return f"Via: SIP/2.0/{flow.transport.upper()} {shown};branch=".encode()

    def _advertised_for(self, host: str) -> str:
        """Return the host that peers see, empty for the bound one."""
        if self._advertised:
            return self._advertised
        return local_address(host) if host in ("0.0.0.0", "::", "") else ""


def local_address(wildcard: str) -> str:
    """Return the address that this machine uses to reach others; loopback when it has none."""
    is_v6 = ":" in wildcard
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    target = "2001:db8::1" if is_v6 else "192.0.2.1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))  # A UDP connect sends nothing: it only picks the route.
        except OSError:
            return "::1" if is_v6 else "127.0.0.1"
        return str(probe.getsockname()[0])


__all__ = ["Address", "Endpoint", "Flow", "Message", "Trace", "Transport", "local_address"]
