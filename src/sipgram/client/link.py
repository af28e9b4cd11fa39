"""The flow between a client and its server, and the sockets under it (RFC 3261 §18)."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Final

from sipgram.client.messages import NoAnswer
from sipgram.client.settings import ClientSettings
from sipgram.errors import UsageError
from sipgram.net.endpoint import Address, Endpoint, Trace
from sipgram.net.tcp import TcpFlow
from sipgram.net.tls import client_context
from sipgram.net.udp import UdpFlow, shown_address
from sipgram.settings import TransportSettings
from sipgram.sip.message.message import Message
from sipgram.sip.sink import ClientUser, Flow
from sipgram.sip.transaction.client_request import ClientRequestTransaction

DATAGRAM_BYTES_MAX: Final = 1300
"""RFC 3261 §18.1.1: a request larger than this goes over a stream when the server has one."""
STREAM_TRIAL_S: Final = 1.0
"""How long the server's TCP port may take to answer when the flow is UDP."""
Answer = Callable[[Message, Flow], bytes | None]
"""Gives the response to a request that came in on a flow; None for none."""
_LIMITS: Final = TransportSettings(socket_buffer_bytes=262_144)


class _Authorities:
    """The context of connections that a client opens."""

    def __init__(self, ca: str) -> None:
        self._ca = ca

    def server_context(self) -> ssl.SSLContext:
        raise UsageError("a client has no TLS listener")

    def client_context(self) -> ssl.SSLContext:
        return client_context(ca=self._ca)


class Link:
    """One flow with an endpoint of its own; what comes in on it is answered on it."""

    flow: UdpFlow | TcpFlow
    local: tuple[str, int]
    "Where the server sees us, when nobody translates addresses on the way."

    def __init__(
        self, answer: Answer, *, domain: str, settings: ClientSettings, trace: Trace | None
    ) -> None:
        """``domain`` is what the server's certificate must be for (RFC 5922)."""
        self._answer = answer
        self._domain = domain
        self._settings = settings
        self._trace = trace
        self._endpoint = Endpoint(
            self,
            timers=settings.timers,
            limits=_LIMITS,
            trace=trace,
            tls=_Authorities(settings.tls_ca),
        )
        self._stream: TcpFlow | None = None
        self._has_stream = False
        self._is_open = True
        self._broken = asyncio.Event()

    async def open(self, server: Address) -> None:
        """Open the flow.

        Raises:
            OSError: the server's name is unknown, or nothing listens there.
        """
        wait_s = self._settings.connect_s
        if server.transport != "udp":
            self.flow = await self._connected(server, wait_s)
            self.local = self.flow.local
            self.flow.closed.add_done_callback(lambda _: self._broken.set())
            return
        address = await _resolve(server.host, server.port)
        bound = await self._endpoint.listen(Address("udp", _local_host(address), 0))
        self.flow = self._endpoint.udp[0].flow(address)
        self.local = (bound.host, bound.port)
        self._has_stream = True

    async def _connected(self, server: Address, wait_s: float) -> TcpFlow:
        endpoint, domain = self._endpoint, self._domain
        if server.transport == "tcp":
            return await endpoint.connect(server.host, server.port, timeout_s=wait_s)
        if server.transport == "tls":
            host, port = server.host, server.port
            return await endpoint.connect_tls(host, port, domain=domain, timeout_s=wait_s)
        return await endpoint.connect_web(server, domain=domain, timeout_s=wait_s)

    @property
    def is_alive(self) -> bool:
        """Whether requests can leave here; a datagram socket dies when our address changes."""
        if not self._is_open or not self.flow.is_open:
            return False
        return isinstance(self.flow, TcpFlow) or _local_host(self.flow.address) == self.local[0]

    def contact(self, user: bytes) -> bytes:
        """Return the Contact URI of ``user`` here."""
        if isinstance(self.flow, UdpFlow):
            return b"sip:%b@%b" % (user, shown_address(self.local).encode())
        if self.flow.transport in ("ws", "wss"):  # The name in its Via, and one word for both.
            name = self.flow.via_line.rpartition(b" ")[2].partition(b";")[0]
            return b"sip:%b@%b;transport=ws" % (user, name)
        local, transport = shown_address(self.local).encode(), self.flow.transport.encode()
        return b"sip:%b@%b;transport=%b" % (user, local, transport)

    async def broke_within(self, wait_s: float) -> bool:
        """Wait for the flow to break; False when it has not after ``wait_s``."""
        try:
            async with asyncio.timeout(wait_s):
                await self._broken.wait()
        except TimeoutError:
            return False
        return True

    async def stream(self) -> TcpFlow | None:
        """Return a flow for what is too large for a datagram; None when the server has none."""
        if self._has_stream and (self._stream is None or not self._stream.is_open):
            host, port = self.flow.address
            try:
                self._stream = await self._endpoint.connect(host, port, timeout_s=STREAM_TRIAL_S)
            except OSError:
                self._has_stream = False
        return self._stream

    def request(
        self, data: bytes, *, branch: bytes, method: bytes, flow: Flow, user: ClientUser
    ) -> ClientRequestTransaction:
        """Send a request; ``user`` hears of its end."""
        if self._trace is not None:
            self._trace(">", data, str(flow))
        transaction = self._endpoint.table.start_client(
            data, branch=branch, method=method, flow=flow, user=user, now=_now()
        )
        self._endpoint.after_batch()
        return transaction

    async def close(self) -> None:
        """Fail what is under way and close the sockets."""
        self._is_open = False
        self._broken.set()
        for flow in (self.flow, self._stream):
            if flow is not None:
                self._endpoint.table.transport_failed((flow,), _now())
        await self._endpoint.close()

    # ---- the endpoint's user ---------------------------------------------------------------

    def on_request(self, request: Message, flow: Flow, now: float) -> None:
        """Answer a new request."""
        response = self._answer(request, flow)
        if response is None:
            return
        if self._trace is not None:
            self._trace(">", response, str(flow))
        table = self._endpoint.table
        if request.faults:  # It has no key to be known by.
            flow.reply_flow(request).send(response)
        elif request.method != b"INVITE":
            table.answer(request, flow, response, now)
        elif not table.invites.is_full:  # Who calls hears nothing then, and asks again.
            table.invites.answer(request, flow, int(response[8:11]), response, now)

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        """Drop a response that nobody waits for."""


class Line:
    """The way to the server: opened when first needed, and again after it broke."""

    def __init__(
        self,
        server: Address,
        *,
        domain: str,
        answer: Answer,
        settings: ClientSettings,
        trace: Trace | None,
    ) -> None:
        self._server = server
        self._domain = domain
        self._answer = answer
        self._settings = settings
        self._trace = trace
        self._link: Link | None = None
        self._opening = asyncio.Lock()

    async def link(self) -> Link:
        """Return a link that is alive.

        Raises:
            NoAnswer: the server's name or port cannot be reached.
        """
        async with self._opening:
            if self._link is None or not self._link.is_alive:
                await self.close()
                link = Link(
                    self._answer, domain=self._domain, settings=self._settings, trace=self._trace
                )
                try:
                    await link.open(self._server)
                except OSError as error:
                    raise NoAnswer(f"cannot reach {self._server}: {_reason(error)}") from error
                self._link = link
            return self._link

    async def close(self) -> None:
        """Close the link there is."""
        if self._link is not None:
            link, self._link = self._link, None
            await link.close()


def _reason(error: OSError) -> str:
    """Say why a connection failed, in the system's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message or error}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return error.strerror or "unknown name"
    return os.strerror(error.errno or errno.ETIMEDOUT)


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _resolve(host: str, port: int) -> tuple[str, int]:
    """Return an IP address, IPv4 before IPv6: a datagram that leads nowhere tells nobody."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    found.sort(key=lambda entry: entry[0] == socket.AF_INET6)
    first = found[0][4]
    return str(first[0]), int(first[1])


def _local_host(peer: tuple[str, int]) -> str:
    """Return the address of ours that reaches ``peer``, empty when none does."""
    family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(peer)  # A UDP connect sends nothing: it only picks the route.
        except OSError:
            return ""
        return str(probe.getsockname()[0])
