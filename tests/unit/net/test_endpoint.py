"""Listeners, names and the one timer of an endpoint (RFC 3261 §18)."""

import asyncio
import socket

import pytest

from sipgram.errors import SettingsError
from sipgram.net.endpoint import Address, Endpoint, local_address
from sipgram.settings import TransportSettings
from sipgram.sip.message.parser import parse
from sipgram.sip.timers import Timers

from .answering import Answering, Outcome, endpoint_on, messaged, read_response

LOOPBACKS = ("127.0.0.1", "::1")


# ---- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("udp:127.0.0.1:5060", ("udp", "127.0.0.1", 5060), "udp:127.0.0.1:5060"),
        ("tcp:[::1]:5060", ("tcp", "::1", 5060), "tcp:[::1]:5060"),
        ("udp:[::]", ("udp", "::", 5060), "udp:[::]:5060"),
        ("tcp:example.com", ("tcp", "example.com", 5060), "tcp:example.com:5060"),
        ("udp:127.0.0.1:0", ("udp", "127.0.0.1", 0), "udp:127.0.0.1:0"),
        ("udp:127.0.0.1:65535", ("udp", "127.0.0.1", 65535), "udp:127.0.0.1:65535"),
    ],
)
def test_an_address_is_read_and_written(
    text: str, address: tuple[str, str, int], shown: str
) -> None:
    found = Address.parse(text)

    assert (found.transport, found.host, found.port) == address
    assert str(found) == shown


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ws:127.0.0.1:5080", Address("ws", "127.0.0.1", 5080)),
        ("ws://example.com", Address("ws", "example.com", 80)),
        ("wss://[::1]/sip", Address("wss", "::1", 443, "/sip")),
        ("wss://example.com:8443/a/b", Address("wss", "example.com", 8443, "/a/b")),
    ],
)
def test_a_websockets_address_may_be_a_url(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize(("host", "admitted"), [("192.0.2.1", 2), ("127.0.0.1", 3)])
async def test_connections_of_one_source_are_bounded_but_not_on_loopback(
    host: str, admitted: int
) -> None:
    endpoint = Endpoint(Answering(), limits=TransportSettings(connections_per_source_max=2))
    flows = [endpoint._new_connection() for _ in range(4)]
    for flow in flows:
        flow.host, flow.is_loopback = host.encode(), host == "127.0.0.1"
    flows[3].host = b"192.0.2.9"

    assert sum(map(endpoint.admit, flows[:3])) == admitted
    assert endpoint.admit(flows[3])  # Another source is none of this one's.
    for flow in flows:
        endpoint.on_stream_closed(flow, 0.0)
    assert endpoint.admit(flows[0])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:5060",
        "UDP:127.0.0.1:5060",
        "udp:",
        "udp::5060",
        "udp:127.0.0.1:",
        "udp:127.0.0.1:sip",
        "udp:127.0.0.1:65536",
        "udp:127.0.0.1:-1",
        "udp:127.0.0.1:²",
    ],
)
def test_any_other_text_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Address.parse(text)

    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.evil", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, is_loopback: bool) -> None:
    assert Address("udp", host, 5060).is_loopback is is_loopback


# ---- datagrams ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_a_datagram_is_answered_where_it_came_from(host: str) -> None:
    async with endpoint_on(f"udp:[{host}]:0") as (_, _, (bound,)):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as peer:
            peer.bind((host, 0))
            peer.setblocking(False)
            peer.sendto(messaged(transport="UDP"), (host, bound.port))

            data = await asyncio.get_running_loop().sock_recv(peer, 65_535)

            answer = parse(data)
            assert answer.status == 200
            port = peer.getsockname()[1]
            assert f"rport={port}".encode() in (answer.value(b"via") or b"")
            assert f"received={host}".encode() in (answer.value(b"via") or b"")


async def test_a_request_that_nobody_answers_is_repeated_and_ends() -> None:
    """The endpoint's one timer drives Timers E and F."""
    timers = Timers(t1=0.005, t2=0.02, t4=0.02)
    async with endpoint_on("udp:127.0.0.1:0", timers=timers) as (endpoint, _, _):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            peer.setblocking(False)
            flow = endpoint.udp_flow(*peer.getsockname())
            assert flow is not None
            outcome = Outcome()
            endpoint.table.start_client(
                messaged(),
                branch=b"z9hG4bK-1",
                method=b"MESSAGE",
                flow=flow,
                user=outcome,
                now=asyncio.get_running_loop().time(),
            )
            endpoint.after_batch()

            assert await outcome.ended == "timeout"

            repeats = 0
            while True:
                try:
                    repeats += peer.recv(65_535) == messaged()
                except BlockingIOError:
                    break
            assert repeats > 10


@pytest.mark.rfc("3261", "18.4")
async def test_a_port_where_nobody_listens_fails_at_once() -> None:
    async with endpoint_on("udp:127.0.0.1:0") as (endpoint, _, _):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            address = gone.getsockname()
        flow = endpoint.udp_flow(*address)
        assert flow is not None
        outcome = Outcome()
        endpoint.table.start_client(
            messaged(),
            branch=b"z9hG4bK-1",
            method=b"MESSAGE",
            flow=flow,
            user=outcome,
            now=asyncio.get_running_loop().time(),
        )

        assert await outcome.ended == "transport-error"


# ---- names of our own --------------------------------------------------------------------------


async def test_d30_ipv6_listeners_leave_ipv4_alone() -> None:
    async with endpoint_on("udp:0.0.0.0:0", "tcp:0.0.0.0:0") as (endpoint, _, (udp, tcp)):
        for transport, port in (("udp", udp.port), ("tcp", tcp.port)):
            bound = await endpoint.listen(Address.parse(f"{transport}:[::]:{port}"))
            assert bound.port == port


async def test_a_taken_port_is_an_error() -> None:
    async with endpoint_on("udp:127.0.0.1:0", "tcp:127.0.0.1:0") as (endpoint, _, bound):
        for address in bound:
            with pytest.raises(OSError, match="in use"):
                await endpoint.listen(address)


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
async def test_via_of_a_wildcard_listener_names_an_address_that_peers_reach(wildcard: str) -> None:
    async with endpoint_on(f"udp:[{wildcard}]:0", f"tcp:[{wildcard}]:0") as (endpoint, user, bound):
        udp, tcp = bound
        shown = local_address(wildcard)
        in_via = f"[{shown}]" if ":" in shown else shown
        target = "::1" if ":" in wildcard else "127.0.0.1"

        flow = endpoint.udp_flow(target, 5060)
        assert flow is not None
        assert flow.via_line == f"Via: SIP/2.0/UDP {in_via}:{udp.port};branch=".encode()
        ours = {(host, port) for host in (shown, target) for port in (udp.port, tcp.port)}
        assert endpoint.own_addresses() == ours

        _, writer = await asyncio.open_connection(target, tcp.port)
        writer.write(messaged())
        _, stream = await user.requests.get()
        in_via = f"[{target}]" if ":" in target else target
        assert stream.via_line == f"Via: SIP/2.0/TCP {in_via}:{tcp.port};branch=".encode()
        writer.close()


async def test_an_advertised_name_stands_in_every_via() -> None:
    user = Answering()
    user.endpoint = endpoint = Endpoint(user, advertised="sip.example.com")
    udp = await endpoint.listen(Address("udp", "127.0.0.1", 0))
    flow = endpoint.udp_flow("127.0.0.1", 5060)

    assert flow is not None
    assert flow.via_line == f"Via: SIP/2.0/UDP sip.example.com:{udp.port};branch=".encode()
    assert ("sip.example.com", udp.port) in endpoint.own_addresses()
    await endpoint.close()


async def test_a_connection_that_we_open_names_our_listener() -> None:
    """§18.1.1: a response on a new connection comes to the port in sent-by."""
    async with endpoint_on("tcp:127.0.0.1:0") as (endpoint, _, (bound,)):
        flow = await endpoint.connect(bound.host, bound.port)

        assert flow.via_line == f"Via: SIP/2.0/TCP 127.0.0.1:{bound.port};branch=".encode()


async def test_there_is_no_flow_in_a_family_without_listener() -> None:
    async with endpoint_on("udp:127.0.0.1:0") as (endpoint, _, _):
        assert endpoint.udp_flow("::1", 5060) is None


async def test_what_goes_in_and_out_can_be_watched() -> None:
    seen: list[tuple[str, bytes]] = []
    user = Answering()
    user.endpoint = endpoint = Endpoint(
        user, trace=lambda way, data, flow: seen.append((way, data))
    )
    bound = await endpoint.listen(Address("tcp", "127.0.0.1", 0))
    reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)

    writer.write(messaged())
    await read_response(reader)

    assert ("<", messaged()) in seen
    writer.close()
    await endpoint.close()
