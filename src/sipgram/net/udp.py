"""SIP over UDP: batches of datagrams in and out of one socket (RFC 3261 §18)."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from sipgram.sip.message.message import Message

BATCH: Final = 32
"""Datagrams handled before a look at what else there is to send."""
BATCHES_PER_WAKE: Final = 4
"""After this many batches timers, HTTP and the writer get their turn."""
DATAGRAM_BYTES_MAX: Final = 65_535
FLOWS_MAX: Final = 200_000
"""Remote addresses remembered by one listener; beyond that all but the used are forgotten."""
KEEP_ALIVE_BYTES_MAX: Final = 4
"""D27: 0-, 2- and 4-byte datagrams are keep-alives and are ignored."""

Address = tuple[str, int]
Receive = Callable[[bytes, "UdpFlow", float], None]
"""Takes one datagram, where it came from, and the time."""


class UdpFlow:
    """One remote address as seen from one UDP listener."""

    __slots__ = ("address", "host", "is_loopback", "listener", "port", "via_line")

    is_reliable = False
    transport = "udp"
    is_open = True

    def __init__(self, listener: "UdpListener", address: Address) -> None:
        self.listener = listener
        self.address = address
        self.host = address[0].partition("%")[0].encode()  # D30: zone ids live in the flow alone.
        self.port = address[1]
        self.is_loopback = self.host.startswith(b"127.") or self.host == b"::1"
        self.via_line = listener.via_line

    def send(self, data: bytes) -> bool:
        self.listener.send(data, self.address)
        return True

    def reply_flow(self, request: Message) -> "UdpFlow":
        """Return where responses go: the source with rport, else the port in Via (RFC 3581 §4)."""
        if request.rport >= 0:
            return self
        port = request.sent_port or 5060
        return self if port == self.port else self.listener.flow((self.address[0], port))

    def __str__(self) -> str:
        return f"udp:{shown_address(self.address)}"


class UdpListener:
    """One bound UDP socket on the running loop."""

    transport = "udp"

    def __init__(
        self,
        *,
        receive: Receive,
        after_batch: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        queue_max: int,
    ) -> None:
        self._receive = receive
        self._after_batch = after_batch
        self._loop = loop
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._queue_max = queue_max
        self._flows: dict[Address, UdpFlow] = {}
        self._socket: socket.socket | None = None
        self.dropped = 0
        "Datagrams not sent because the queue was full."
        self.host = ""
        self.port = 0
        self.via_line = b""

    def open(self, host: str, port: int, *, advertised: str, buffer_bytes: int) -> None:
        """Bind and begin to receive.

        ``advertised`` is the host that peers see in Via, when it is not the bound one.

        Raises:
            OSError: the address cannot be bound.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # D30
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, buffer_bytes)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        self._socket = sock
        self.host, self.port = sock.getsockname()[:2]
        shown = advertised or self.host
        shown = f"[{shown}]" if ":" in shown else shown
        self.via_line = f"Via: SIP/2.0/UDP {shown}:{self.port};branch=".encode()
        self._loop.add_reader(sock, self._readable)

    def close(self) -> None:
        """Stop receiving and drop what could not be sent."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None

    def flow(self, address: Address) -> UdpFlow:
        """Return the flow to a remote address."""
        flow = self._flows.get(address)
        if flow is None:
            if len(self._flows) >= FLOWS_MAX:
                self._flows.clear()  # Whoever holds a flow goes on with it.
            flow = self._flows[address] = UdpFlow(self, address)
        return flow

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram, or queue it while the socket's buffer is full."""
        sock = self._socket
        if sock is None:
            return
        if not self._queue:
            try:
                sock.sendto(data, address)
                return
            except BlockingIOError:
                self._loop.add_writer(sock, self._writable)
            except OSError:
                self.dropped += 1  # Refused by the system: lost like any datagram.
                return
        if len(self._queue) < self._queue_max:
            self._queue.append((data, address))
        else:
            self.dropped += 1

    def _writable(self) -> None:
        sock = self._socket
        while self._queue and sock is not None:
            data, address = self._queue[0]
            try:
                sock.sendto(data, address)
            except BlockingIOError:
                return
            except OSError:
                self.dropped += 1
            self._queue.popleft()
        if sock is not None:
            self._loop.remove_writer(sock)

    def _readable(self) -> None:
        now = self._loop.time()
        for _ in range(BATCH * BATCHES_PER_WAKE):
            sock = self._socket
            if sock is None:
                return
            try:
                data, address = sock.recvfrom(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                break
            except OSError:
                continue  # An ICMP error of an earlier send: the retransmission tries again.
            if len(data) > KEEP_ALIVE_BYTES_MAX:
                self._receive(data, self.flow(address[:2]), now)
        self._after_batch()

    def __str__(self) -> str:
        return f"udp {shown_address((self.host, self.port))}"


def shown_address(address: Address) -> str:
    """Return HOST:PORT with an IPv6 host in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
