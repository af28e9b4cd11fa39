"""From the next hop of a dialog to a flow, and names of flows for Record-Route (RFC 3261 §16.6-16.7; RFC 5626 §5.3)."""

import ipaddress
from typing import Protocol

from sipgram.errors import ParseError
from sipgram.identity import Entropy
from sipgram.net.tcp import TcpFlow
from sipgram.net.udp import UdpFlow
from sipgram.sip.message.uri import SipUri
from sipgram.sip.record_route import Course, Side
from sipgram.sip.sink import Flow


class Sockets(Protocol):
    """What is asked of the endpoint."""

    connections: set[TcpFlow]

    def udp_flow(self, host: str, port: int, *, local_port: int = 0) -> UdpFlow | None:
        """Return the flow to an IP address."""


class NoSockets:
    """For a server whose flows come by hand, as in tests."""

    def __init__(self) -> None:
        self.connections: set[TcpFlow] = set()

    def udp_flow(self, host: str, port: int, *, local_port: int = 0) -> UdpFlow | None:
        return None


class Ways:
    """Names flows and finds them again.

    The name of a UDP flow says all of it and holds over a restart; a connection's is a number
    of this process, forgotten when the connection closes.
    """

    def __init__(self, sockets: Sockets, *, entropy: Entropy) -> None:
        self._sockets = sockets
        self._process = entropy.token()[-8:].encode()
        self._names: dict[TcpFlow, bytes] = {}
        self._flows: dict[bytes, TcpFlow] = {}
        self._count = 0

    def side(self, flow: Flow, contact: bytes, *, is_server: bool = False) -> Side:
        """Name the side of us that a flow is on, ``contact`` being the URI of the peer there.

        Flows to servers have no names: they are found by their addresses, any time.
        A UDP peer whose Contact has the address that it sends from needs no name for its flow:
        it is found by that, and by a later Contact of another port too.
        """
        _, protocol, sent_by = flow.via_line.split(b" ", 2)
        address = sent_by.partition(b";")[0]
        transport = protocol.rpartition(b"/")[2].lower()
        if transport == b"wss":
            transport = b"ws"  # RFC 7118 §5.1 knows one word for both.
        if transport != b"udp":
            address += b";transport=" + transport
        return Side(address, b"" if is_server else self._name(flow, contact))

    def flow_of(self, course: Course) -> Flow | None:
        """Return the flow that a course names or leads to; None when there is none yet.

        Raises:
            ParseError: the next hop's URI is malformed, or its scheme is no SIP.
        """
        named = self.named(course)
        if named is not None:
            return named
        found = _hop(course.next_hop)
        if found is None:
            return None  # A name: to be looked up.
        host, port, transport = found
        if transport == "udp":
            return self._sockets.udp_flow(host, port)
        for connection in self._sockets.connections:
            if connection.address == (host, port) and connection.transport == transport:
                return connection if connection.is_open else None
        return None

    def named(self, course: Course) -> Flow | None:
        """Return the flow that a course names by a token of ours, as long as it lives."""
        return self._flow_called(course.flow) if course.flow else None

    def is_named(self, flow: TcpFlow) -> bool:
        """Say whether a dialog was recorded to go by a connection."""
        return flow in self._names

    def _name(self, flow: Flow, contact: bytes) -> bytes:
        if isinstance(flow, TcpFlow):
            return self._names.get(flow) or self._new_name(flow)
        if not isinstance(flow, UdpFlow) or _names_host(contact, flow.host):
            return b""
        host = ipaddress.ip_address(flow.host.decode()).packed.hex()
        return b"u%d-%b-%d" % (flow.listener.port, host.encode(), flow.port)

    def _new_name(self, flow: TcpFlow) -> bytes:
        self._count += 1
        name = b"c%b-%d" % (self._process, self._count)
        self._names[flow] = name
        self._flows[name] = flow
        flow.closed.add_done_callback(lambda _: self._forget(flow))
        return name

    def _forget(self, flow: TcpFlow) -> None:
        del self._flows[self._names.pop(flow)]

    def _flow_called(self, name: bytes) -> Flow | None:
        if name[:1] != b"u":
            return self._flows.get(name)
        local_port, host, port = name[1:].decode().split("-")  # Ours: it came with our token.
        address = str(ipaddress.ip_address(bytes.fromhex(host)))
        return self._sockets.udp_flow(address, int(port), local_port=int(local_port))


def _hop(uri: bytes) -> tuple[str, int, str] | None:
    """Return host, port and transport of the next hop; None for a name (RFC 3263 §4).

    Raises:
        ParseError: the URI is malformed, or its scheme is no SIP.
    """
    parsed = SipUri.parse(uri)
    usual = "tls" if parsed.scheme == b"sips" else "udp"
    transport = (parsed.param(b"transport") or usual.encode()).decode("ascii", "replace").lower()
    if usual == "tls" and transport == "tcp":
        transport = "tls"
    host = (parsed.param(b"maddr") or parsed.host).decode("ascii", "replace").strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return host, parsed.port or (5061 if transport == "tls" else 5060), transport


def _names_host(contact: bytes, host: bytes) -> bool:
    try:
        parsed = SipUri.parse(contact)
    except ParseError:
        return False
    return parsed.host.strip(b"[]") == host and parsed.param(b"transport") in (None, b"udp")
