"""SIP over UDP: batches of datagrams in and out of one socket (RFC 3261 §18)."""

import asyncio
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Final, Protocol

from sipgram.errors import UsageError
from sipgram.native import udp_enabled
from sipgram.net.readiness import Readiness
from sipgram.sip.message.message import Message

BATCH: Final = 32
"""Datagrams handled before a look at what else there is to send."""
BATCHES_PER_WAKE: Final = 4
"""After this many batches timers, HTTP and the writer get their turn."""
ERROR_BATCHES_PER_WAKE: Final = 32
"""As many batches of ICMP errors: more of them can come than datagrams, where a request forks."""
DATAGRAM_BYTES_MAX: Final = 65_535
FLOWS_MAX: Final = 200_000
"""Remote addresses remembered by one listener; beyond that all but the used are forgotten."""
KEEP_ALIVE_BYTES_MAX: Final = 4
"""D27: 0-, 2- and 4-byte datagrams are keep-alives and are ignored."""

Address = tuple[str, int]
"""IP address as text, a link-local one with its zone (``fe80::1%2``), and port."""
Receive = Callable[[bytes, "UdpFlow", float], None]
"""Takes one datagram, where it came from, and the time."""
Refused = Callable[[Collection["UdpFlow"], float], None]
"""Takes the flows whose peers cannot be reached, and the time."""

# Linux keeps ICMP errors of unconnected sockets in a queue when asked to (ip(7), ipv6(7)).
_RECVERR: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, 11),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}
_MSG_ERRQUEUE: Final = getattr(socket, "MSG_ERRQUEUE", 0)
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
"""``struct sock_extended_err``: errno, origin, ICMP type, ICMP code, and three more."""
_UNREACHABLE: Final = frozenset(((2, 3), (2, 12), (3, 1), (3, 4)))
"""Origin and type of "host, network, port or protocol unreachable, or parameter problem"."""


class Send(Protocol):
    """What a flow does with bytes."""

    def __call__(self, data: bytes) -> bool:
        """Hand one datagram to the socket."""


class UdpFlow:
    """One remote address as seen from one UDP listener."""

    __slots__ = ("_text", "address", "host", "is_loopback", "listener", "port", "send", "via_line")

    is_reliable = False
    transport = "udp"
    is_open = True

    def __init__(self, listener: "UdpListener", address: Address, *, send: Send) -> None:
        self.listener = listener
        self.send = send  # A slot, so that nothing stands between the caller and the socket.
        self.address = address
        self.host = address[0].partition("%")[0].encode()  # D30: zone ids live in the flow alone.
        self.port = address[1]
        self.is_loopback = self.host.startswith(b"127.") or self.host == b"::1"
        self.via_line = listener.via_line
        self._text = ""

    def reply_flow(self, request: Message) -> "UdpFlow":
        """Return where responses go: the source with rport, else the port in Via (RFC 3581 §4)."""
        if request.rport >= 0:
            return self
        port = request.sent_port or 5060
        return self if port == self.port else self.listener.flow((self.address[0], port))

    def __str__(self) -> str:
        if not self._text:
            self._text = f"udp:{shown_address(self.address)}"
        return self._text


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
        refused: Refused | None = None,
    ) -> None:
        """``refused`` is told of ICMP errors, where the system reports them."""
        self._receive = receive
        self._after_batch = after_batch
        self._loop = loop
        self._refused = refused
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._queue_max = queue_max
        self._flows: dict[Address, UdpFlow] = {}
        self._socket: socket.socket | None = None
        self._readiness: Readiness | None = None
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
            if _MSG_ERRQUEUE:
                sock.setsockopt(*_RECVERR[family], 1)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        self._socket = sock
        self._readiness = Readiness(
            sock, loop=self._loop, on_readable=self._readable, on_writable=self._writable
        )
        self.host, self.port = sock.getsockname()[:2]
        shown = advertised or self.host
        shown = f"[{shown}]" if ":" in shown else shown
        self.via_line = f"Via: SIP/2.0/UDP {shown}:{self.port};branch=".encode()

    @property
    def is_open(self) -> bool:
        """Whether it receives."""
        return self._socket is not None and self._socket.fileno() >= 0

    def close(self) -> None:
        """Stop receiving and drop what could not be sent."""
        if self._readiness is not None:
            self._readiness.close()
            self._readiness = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def flow(self, address: Address) -> UdpFlow:
        """Return the flow to a remote address.

        Raises:
            UsageError: the host is not an IP address of the listener's family.
        """
        flow = self._flows.get(address)
        if flow is None:
            if len(self._flows) >= FLOWS_MAX:
                self._forget_flows()  # Whoever holds a flow goes on with it.
            flow = self._flows[address] = self._new_flow(address)
        return flow

    def _new_flow(self, address: Address) -> UdpFlow:
        packed_address(address, is_v6=":" in self.host)
        return UdpFlow(self, address, send=partial(self._send, address))

    def _forget_flows(self) -> None:
        self._flows.clear()

    def _send(self, address: Address, data: bytes) -> bool:
        """Send one datagram, or queue it while the socket's buffer is full."""
        sock = self._socket
        if sock is None:
            return True
        if not self._queue:
            try:
                sock.sendto(data, address)
                return True
            except OSError:
                if self._send_again(sock, data, address):
                    return True
            self._want_write(True)
        if len(self._queue) < self._queue_max:
            self._queue.append((data, address))
        else:
            self.dropped += 1
        return True

    def _send_again(self, sock: socket.socket, data: bytes, address: Address) -> bool:
        """Say whether the datagram needs no more care: sent now, or refused once more.

        The first refusal may have been that of an earlier datagram, brought by ICMP.
        """
        try:
            sock.sendto(data, address)
        except BlockingIOError:
            return False
        except OSError:
            self.dropped += 1
        return True

    def _writable(self) -> None:
        sock = self._socket
        while self._queue and sock is not None:
            data, address = self._queue[0]
            try:
                sock.sendto(data, address)
            except OSError:
                if not self._send_again(sock, data, address):
                    return
            self._queue.popleft()
        self._want_write(False)

    def _want_write(self, wanted: bool, /) -> None:
        if self._readiness is not None:
            self._readiness.want_write(wanted)

    def _readable(self) -> None:
        now = self._loop.time()
        count = 0
        failed = False
        for _ in range(BATCH * BATCHES_PER_WAKE):
            sock = self._socket
            if sock is None:
                return
            try:
                data, address = sock.recvfrom(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                break
            except OSError:
                failed = True  # An ICMP error of an earlier send.
                continue
            count += 1
            if len(data) > KEEP_ALIVE_BYTES_MAX:
                source = address if len(address) == 2 else _zoned(address)
                self._receive(data, self.flow(source), now)
        if failed or not count:
            self._read_errors(now)
        self._after_batch()

    def _read_errors(self, now: float) -> None:
        """Tell of the peers that ICMP says cannot be reached.

        RFC 3261 §18.4: "Host, network, port or protocol unreachable errors, or parameter problem
        errors SHOULD cause the transport layer to inform the transport user of a failure in
        sending. Source quench and TTL exceeded ICMP errors SHOULD be ignored."
        """
        flows = self._refusing_flows()
        if flows and self._refused is not None:
            self._refused(flows, now)

    def _refusing_flows(self) -> Collection[UdpFlow]:
        """Read the error queue; it shares the receive buffer with the datagrams."""
        flows: dict[Address, UdpFlow] = {}
        sock = self._socket
        if not _MSG_ERRQUEUE or sock is None:
            return ()
        for _ in range(BATCH * ERROR_BATCHES_PER_WAKE):
            try:
                _, ancillary, _, address = sock.recvmsg(0, 256, _MSG_ERRQUEUE)
            except OSError:
                break  # The queue is empty.
            flow = self._flows.get(_zoned(address)) if address else None
            if flow is not None and any(_is_unreachable(data) for _, _, data in ancillary):
                flows[flow.address] = flow
        return flows.values()

    def __str__(self) -> str:
        return f"udp {shown_address((self.host, self.port))}"


def listener_class() -> type[UdpListener]:
    """Return the listener that runs here, native or plain."""
    if not udp_enabled():
        return UdpListener
    from sipgram.net.udp_batch import NativeUdpListener

    return NativeUdpListener


def shown_address(address: Address) -> str:
    """Return HOST:PORT with an IPv6 host in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def packed_address(address: Address, *, is_v6: bool) -> bytes:
    """Return port and IPv4 address, or port, IPv6 address and scope, as a socket address has them.

    Raises:
        UsageError: the host is not an IP address of that family, or its zone is not known.
    """
    host, _, zone = address[0].partition("%")
    try:
        packed = socket.inet_pton(socket.AF_INET6 if is_v6 else socket.AF_INET, host)
        scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
    except OSError as error:
        raise UsageError(f"flow's host is no address of its listener: {address[0]!r}") from error
    key = struct.pack("!H", address[1]) + packed
    return key + struct.pack("=I", scope) if is_v6 else key


def unpacked_address(key: bytes) -> Address:
    """Return what ``packed_address`` was given, the zone as a number."""
    (port,) = struct.unpack_from("!H", key)
    if len(key) == 6:
        return socket.inet_ntop(socket.AF_INET, key[2:]), port
    (scope,) = struct.unpack_from("=I", key, 18)
    return _zoned((socket.inet_ntop(socket.AF_INET6, key[2:18]), port, 0, scope))


def _zoned(address: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """Return what a socket gives as an address, its scope in the host as the zone."""
    if len(address) == 4 and address[3]:
        return f"{address[0].partition('%')[0]}%{address[3]}", address[1]
    return address[0], address[1]


def _is_unreachable(data: bytes) -> bool:
    if len(data) < _EXTENDED_ERROR.size:
        return False
    number, origin, kind, *_ = _EXTENDED_ERROR.unpack_from(data)
    return (origin, kind) in _UNREACHABLE and number != errno.EMSGSIZE
