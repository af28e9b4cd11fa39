"""Listeners, connections and the one timer of an endpoint, over real sockets (RFC 3261 §18)."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from sipgram.errors import SettingsError
from sipgram.net.endpoint import Address, Endpoint, local_address
from sipgram.settings import TransportSettings
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.reply import build
from sipgram.sip.sink import Cause, ClientSide, Flow
from sipgram.sip.timers import Timers
from sipgram.testing.messages import request

LOOPBACKS = ("127.0.0.1", "::1")


class Answering:
    """An endpoint's user that keeps each request and answers 200."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[tuple[Message, Flow]] = asyncio.Queue()
        self.endpoint: Endpoint
        self.body = b""

    def on_request(self, request: Message, flow: Flow, now: float) -> None:
        self.requests.put_nowait((request, flow))
        status = request.fault_status if request.faults else 200
        data = build(
            request,
            status,
            to_tag=b"t",
            host=flow.host,
            port=flow.port,
            reason="; ".join(request.faults),
            body=self.body,
        )
        self.endpoint.table.answer(request, flow, data, now)

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        """Nobody waits for it."""


class Outcome:
    """The user of one client transaction."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[int | str] = asyncio.get_running_loop().create_future()

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        if response.status >= 200:
            self.ended.set_result(response.status)

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        self.ended.set_result(cause)

    def on_waiting(self, now: float) -> None:
        """The test waits."""


@asynccontextmanager
async def endpoint_on(
    *listeners: str, limits: TransportSettings | None = None, timers: Timers | None = None
) -> AsyncIterator[tuple[Endpoint, Answering, list[Address]]]:
    user = Answering()
    user.endpoint = endpoint = Endpoint(user, limits=limits, timers=timers)
    bound = [await endpoint.listen(Address.parse(text)) for text in listeners]
    try:
        yield endpoint, user, bound
    finally:
        await endpoint.close()


def messaged(branch: int = 1, *, transport: str = "TCP", body: bytes = b"hi") -> bytes:
    via = f"Via: SIP/2.0/{transport} 192.0.2.9:5060;rport;branch=z9hG4bK-{branch}"
    return request(via=via.encode(), body=body)


async def read_response(reader: asyncio.StreamReader) -> Message:
    head = await reader.readuntil(b"\r\n\r\n")
    length = parse(head).content_length
    return parse(head + await reader.readexactly(length))


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something has come to pass; the suite's timeout ends it."""
    loop = asyncio.get_running_loop()
    while not condition():
        await loop.run_in_executor(None, lambda: None)


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
    "text",
    [
        "",
        "127.0.0.1:5060",
        "tls:127.0.0.1:5061",
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


# ---- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_a_request_over_a_connection_is_answered_on_it(host: str) -> None:
    async with endpoint_on(f"tcp:[{host}]:0") as (_, user, (bound,)):
        reader, writer = await asyncio.open_connection(host, bound.port)

        writer.write(messaged(1)[:40])
        await writer.drain()
        writer.write(messaged(1)[40:] + messaged(2))

        first, second = [await read_response(reader) for _ in range(2)]
        assert (first.status, first.branch) == (200, b"z9hG4bK-1")
        assert second.branch == b"z9hG4bK-2"
        message, flow = user.requests.get_nowait()
        assert message.body == b"hi"
        assert flow.host == host.encode()
        writer.close()
        await writer.wait_closed()


async def test_a_ping_is_answered() -> None:
    async with endpoint_on("tcp:127.0.0.1:0") as (_, _, (bound,)):
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)

        writer.write(b"\r\n\r\n")

        assert await reader.readexactly(2) == b"\r\n"
        writer.close()
        await writer.wait_closed()


async def test_half_a_message_is_a_400_and_the_end() -> None:
    limits = TransportSettings(half_message_s=0.05)
    async with endpoint_on("tcp:127.0.0.1:0", limits=limits) as (endpoint, _, (bound,)):
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)

        writer.write(messaged()[:-1])

        answer = await read_response(reader)
        assert answer.status == 400
        assert answer.reason == b"Content-Length is 2 but 1 bytes of body came"
        assert await reader.read() == b""
        await until(lambda: not endpoint.connections)
        writer.close()


async def test_half_a_message_and_the_end_of_the_stream_is_a_400_at_once() -> None:
    """As of netcat, which has no more to send."""
    async with endpoint_on("tcp:127.0.0.1:0") as (_, _, (bound,)):
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)

        writer.write(messaged()[:-1])
        writer.write_eof()

        assert (await read_response(reader)).status == 400
        assert await reader.read() == b""
        writer.close()


async def test_a_stream_that_cannot_be_followed_is_a_400_and_the_end() -> None:
    async with endpoint_on("tcp:127.0.0.1:0") as (_, _, (bound,)):
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)

        writer.write(messaged().replace(b"Content-Length: 2\r\n", b""))

        answer = await read_response(reader)
        assert answer.reason == b"Content-Length is missing, which a stream needs"
        assert await reader.read() == b""
        writer.close()


async def test_garbage_is_not_answered_and_ends_the_connection() -> None:
    async with endpoint_on("tcp:127.0.0.1:0") as (_, user, (bound,)):
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)

        writer.write(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")

        assert await reader.read() == b""
        assert user.requests.empty()
        writer.close()


async def test_connections_are_bounded() -> None:
    limits = TransportSettings(connections_max=2)
    async with endpoint_on("tcp:127.0.0.1:0", limits=limits) as (endpoint, _, (bound,)):
        streams = [await asyncio.open_connection("127.0.0.1", bound.port) for _ in range(2)]
        await until(lambda: len(endpoint.connections) == 2)

        reader, third = await asyncio.open_connection("127.0.0.1", bound.port)

        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert endpoint.refused == 1
        third.close()
        streams.pop()[1].close()
        await until(lambda: len(endpoint.connections) == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)
        writer.write(messaged())
        assert (await read_response(reader)).status == 200
        writer.close()
        streams.pop()[1].close()


async def test_a_peer_that_resets_fails_what_waits_on_its_connection() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    async with endpoint_on() as (endpoint, _, _):
        flow = await endpoint.connect(*listener.getsockname())
        peer, _ = await loop.sock_accept(listener)
        outcome = Outcome()
        endpoint.table.start_client(
            messaged(),
            branch=b"z9hG4bK-1",
            method=b"MESSAGE",
            flow=flow,
            user=outcome,
            now=loop.time(),
        )

        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

        assert await outcome.ended == "transport-error"
        assert not endpoint.connections
        assert not flow.send(b"x")
    listener.close()


async def test_a_peer_that_resets_does_not_hurt_the_others() -> None:
    async with endpoint_on("tcp:127.0.0.1:0") as (endpoint, _, (bound,)):
        rude = socket.create_connection(("127.0.0.1", bound.port))
        rude.sendall(messaged()[:-1])
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)
        await until(lambda: len(endpoint.connections) == 2)

        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.close()

        writer.write(messaged())
        assert (await read_response(reader)).status == 200
        await until(lambda: len(endpoint.connections) == 1)
        writer.close()


async def test_d28_a_peer_that_does_not_read_is_cut_at_the_limit() -> None:
    limits = TransportSettings(write_bytes_max=200_000)
    async with endpoint_on("tcp:127.0.0.1:0", limits=limits) as (endpoint, user, (bound,)):
        user.body = b"x" * 50_000
        loop = asyncio.get_running_loop()
        with socket.create_connection(("127.0.0.1", bound.port)) as peer:
            peer.setblocking(False)
            await until(lambda: bool(endpoint.connections))
            (flow,) = endpoint.connections

            with suppress(OSError):
                for n in range(1_000):
                    await loop.sock_sendall(peer, messaged(n))

            await flow.closed
            assert not endpoint.connections


async def test_what_was_queued_goes_out_before_the_close() -> None:
    async with endpoint_on("tcp:127.0.0.1:0") as (endpoint, user, (bound,)):
        user.body = b"x" * 60_000
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)
        for n in range(10):
            writer.write(messaged(n))
        for _ in range(10):
            await user.requests.get()

        closing = asyncio.create_task(endpoint.close())
        everything = await reader.read()
        while more := await reader.read():
            everything += more
        await closing

        assert everything.count(b"SIP/2.0 200 ") == 10
        assert len(everything) > 600_000
        writer.close()


async def test_to_connect_to_nobody_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname()
    async with endpoint_on() as (endpoint, _, _):
        with pytest.raises(ConnectionRefusedError):
            await endpoint.connect(host, port)
        assert not endpoint.connections


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
        assert endpoint.own_addresses() == {(shown, udp.port), (shown, tcp.port)}

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
