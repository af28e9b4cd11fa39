"""Both UDP listeners, held to the same: batches, queues, refusals (RFC 3261 §18)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final

import pytest

from sipgram.errors import UsageError
from sipgram.net.udp import UdpFlow, UdpListener, packed_address, unpacked_address
from sipgram.sip.message.scan import scan

LOOPBACKS: Final = ("127.0.0.1", "::1")
QUEUE_MAX: Final = 50


def listeners() -> list[type[UdpListener]]:
    """Return the plain listener, and the native one where it was built."""
    try:
        from sipgram.net.udp_batch import NativeUdpListener
    except ImportError:
        return [UdpListener]
    return [UdpListener, NativeUdpListener]


LISTENERS: Final = listeners()


class Station:
    """A listener that notes what comes in, and a socket of a peer."""

    def __init__(self, kind: type[UdpListener], host: str, *, buffer_bytes: int) -> None:
        loop = asyncio.get_running_loop()
        self.came: list[tuple[bytes, UdpFlow]] = []
        self.refused: list[UdpFlow] = []
        self.batches = 0
        self.on_datagram: Callable[[bytes, UdpFlow], object] = lambda data, flow: None
        self._wanted: tuple[Callable[[], bool], asyncio.Future[None]] | None = None
        self.listener = kind(
            receive=self._receive,
            after_batch=self._after_batch,
            loop=loop,
            queue_max=QUEUE_MAX,
            refused=self._refuse,
        )
        self.listener.open(host, 0, advertised="", buffer_bytes=buffer_bytes)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.peer = socket.socket(family, socket.SOCK_DGRAM)
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_194_304)
        self.peer.bind((host, 0))
        self.peer.setblocking(False)
        self.peer_port: int = self.peer.getsockname()[1]

    def flow(self) -> UdpFlow:
        return self.listener.flow((self.listener.host, self.peer_port))

    def tell(self, data: bytes) -> None:
        self.peer.sendto(data, (self.listener.host, self.listener.port))

    async def heard(self, count: int = 1) -> list[bytes]:
        """Return what the peer hears next."""
        loop = asyncio.get_running_loop()
        return [await loop.sock_recv(self.peer, 65_535) for _ in range(count)]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that the listener brings about."""
        if not holds():
            future = asyncio.get_running_loop().create_future()
            self._wanted = (holds, future)
            await future

    def close(self) -> None:
        self.listener.close()
        self.peer.close()

    def _receive(self, data: bytes, flow: UdpFlow, now: float) -> None:
        assert now > 0
        self.came.append((data, flow))
        self.on_datagram(data, flow)
        self._look()

    def _refuse(self, flows: Collection[UdpFlow], now: float) -> None:
        self.refused.extend(flows)
        self._look()

    def _after_batch(self) -> None:
        self.batches += 1
        self._look()

    def _look(self) -> None:
        if self._wanted is not None and self._wanted[0]():
            if not self._wanted[1].done():
                self._wanted[1].set_result(None)
            self._wanted = None


@pytest.fixture(params=LISTENERS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[UdpListener]:
    found: type[UdpListener] = request.param
    return found


@pytest.fixture(params=LOOPBACKS)
def host(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
async def station(kind: type[UdpListener], host: str) -> AsyncIterator[Station]:
    try:
        made = Station(kind, host, buffer_bytes=4_194_304)
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")
    yield made
    made.close()


async def test_datagram_comes_with_its_flow(station: Station, host: str) -> None:
    station.tell(b"hello")
    station.tell(b"again")

    await station.until(lambda: len(station.came) == 2)

    (first, flow), (second, same) = station.came
    assert (first, second) == (b"hello", b"again")
    assert flow is same is station.flow()
    assert flow.address == (host, station.peer_port)
    assert (flow.host, flow.port) == (host.encode(), station.peer_port)
    assert flow.is_loopback
    assert not flow.is_reliable
    shown = f"[{host}]" if ":" in host else host
    assert str(flow) == f"udp:{shown}:{station.peer_port}"
    assert flow.via_line == f"Via: SIP/2.0/UDP {shown}:{station.listener.port};branch=".encode()


async def test_answer_leaves_in_the_same_turn(station: Station) -> None:
    station.on_datagram = lambda data, flow: flow.send(data.upper())

    station.tell(b"hello")

    assert await station.heard() == [b"HELLO"]


async def test_sending_outside_a_batch_needs_no_datagram(station: Station) -> None:
    for number in range(3):
        assert station.flow().send(b"%d" % number)

    assert await station.heard(3) == [b"0", b"1", b"2"]


async def test_hundred_datagrams_keep_their_order(station: Station) -> None:
    station.on_datagram = lambda data, flow: flow.send(data)
    sent = [b"datagram %d" % number for number in range(100)]

    for data in sent:
        station.tell(data)

    assert await station.heard(100) == sent
    assert [data for data, _ in station.came] == sent
    assert station.listener.dropped == 0


async def test_one_datagram_forked_to_a_hundred(station: Station) -> None:
    """More answers than one system call takes."""

    def fork(data: bytes, flow: UdpFlow) -> None:
        for number in range(100):
            flow.send(b"copy %d" % number)

    station.on_datagram = fork
    station.tell(b"hello")

    assert await station.heard(100) == [b"copy %d" % number for number in range(100)]


async def test_big_datagrams_are_whole(station: Station) -> None:
    station.on_datagram = lambda data, flow: flow.send(data[::-1])
    big = bytes(number % 251 for number in range(60_000))

    station.tell(big)
    station.tell(big)

    assert await station.heard(2) == [big[::-1]] * 2


@pytest.mark.parametrize("keep_alive", [b"", b"\0\0", b"\r\n\r\n"])
async def test_keep_alives_are_ignored(station: Station, keep_alive: bytes) -> None:
    """D27: 0-, 2- and 4-byte datagrams are keep-alives."""
    station.tell(keep_alive)
    station.tell(b"hello")

    await station.until(lambda: bool(station.came))

    assert [data for data, _ in station.came] == [b"hello"]


async def test_too_big_a_datagram_is_dropped_alone(station: Station) -> None:
    flow = station.flow()

    for data in (b"before", b"x" * 65_536, b"after"):
        flow.send(data)

    assert await station.heard(2) == [b"before", b"after"]
    await station.until(lambda: station.listener.dropped == 1)


async def test_rest_of_a_batch_outlives_a_failing_receiver(station: Station) -> None:
    loop = asyncio.get_running_loop()
    raised: list[object] = []
    loop.set_exception_handler(lambda loop, context: raised.append(context["exception"]))

    def fail(data: bytes, flow: UdpFlow) -> None:
        flow.send(data)
        if data == b"datagram 2":
            raise ZeroDivisionError

    station.on_datagram = fail
    sent = [b"datagram %d" % number for number in range(5)]
    for data in sent:
        station.tell(data)

    assert await station.heard(5) == sent
    assert len(raised) == 1


async def test_closing_while_receiving_is_quiet(station: Station) -> None:
    def close(data: bytes, flow: UdpFlow) -> None:
        flow.send(b"bye")
        station.listener.close()
        flow.send(b"too late")

    station.on_datagram = close
    for number in range(5):
        station.tell(b"datagram %d" % number)

    assert await station.heard() == [b"bye"]
    assert len(station.came) == 1
    assert station.flow().send(b"too late")


async def test_unreachable_peer_is_told_once(station: Station) -> None:
    """§18.4: ICMP errors "SHOULD cause the transport layer to inform the transport user"."""
    flow = station.flow()
    gone = socket.socket(station.peer.family, socket.SOCK_DGRAM)
    gone.bind((station.listener.host, 0))
    refusing = station.listener.flow((station.listener.host, gone.getsockname()[1]))
    gone.close()

    refusing.send(b"is anybody there?")
    flow.send(b"not lost")
    flow.send(b"nor this")

    await station.until(lambda: bool(station.refused))
    assert await station.heard(2) == [b"not lost", b"nor this"]
    assert station.refused == [refusing]
    assert station.listener.dropped == 0
    station.tell(b"still listening")
    await station.until(lambda: bool(station.came))


async def test_unreachable_peers_do_not_keep_the_loop_busy(station: Station) -> None:
    with socket.socket(station.peer.family, socket.SOCK_DGRAM) as gone:
        gone.bind((station.listener.host, 0))
        port = gone.getsockname()[1]
    refusing = station.listener.flow((station.listener.host, port))
    for _ in range(50):
        refusing.send(b"is anybody there?")
    await station.until(lambda: bool(station.refused))
    station.tell(b"a sign that all before is done")
    await station.until(lambda: bool(station.came))

    batches = station.batches
    station.tell(b"one more")
    await station.until(lambda: len(station.came) == 2)
    for _ in range(100):
        await asyncio.sleep(0)

    assert station.batches <= batches + 3


async def test_many_unreachable_peers_leave_room_for_datagrams(station: Station) -> None:
    """Errors wait in the receive buffer: each wake-up must read about as many as it caused."""
    sockets = [socket.socket(station.peer.family, socket.SOCK_DGRAM) for _ in range(40)]
    refusing = []
    for gone in sockets:
        gone.bind((station.listener.host, 0))
        refusing.append(station.listener.flow((station.listener.host, gone.getsockname()[1])))
    for gone in sockets:
        gone.close()

    def fork(data: bytes, flow: UdpFlow) -> None:
        for dead in refusing:
            dead.send(data)
        flow.send(data)

    station.on_datagram = fork
    for number in range(300):
        station.tell(b"datagram %d" % number)

    assert await station.heard(300) == [b"datagram %d" % number for number in range(300)]
    await station.until(lambda: set(station.refused) == set(refusing))


@pytest.mark.parametrize("kind", LISTENERS, indirect=True)
async def test_flow_to_a_name_is_refused(kind: type[UdpListener]) -> None:
    station = Station(kind, "127.0.0.1", buffer_bytes=65_536)
    try:
        with pytest.raises(UsageError, match="localhost"):
            station.listener.flow(("localhost", 5060))
        with pytest.raises(UsageError, match="::1"):
            station.listener.flow(("::1", 5060))
    finally:
        station.close()


async def test_responses_go_to_the_source_or_the_port_in_via(station: Station) -> None:
    """RFC 3581 §4 with rport, RFC 3261 §18.2.2 without."""
    flow = station.flow()
    via = "SIP/2.0/UDP 192.0.2.9:%s;branch=z9hG4bK1%s"

    def reply_address(port: str, rport: str) -> tuple[str, int]:
        text = f"OPTIONS sip:a@b SIP/2.0\r\nVia: {via % (port, rport)}\r\n\r\n"
        return flow.reply_flow(scan(text.encode())).address

    assert reply_address("5999", ";rport") == flow.address
    assert reply_address("5999", "") == (flow.address[0], 5999)


@pytest.mark.parametrize("address", [("127.0.0.1", 5060), ("::1", 1), ("fe80::1%7", 65_535)])
def test_addresses_survive_packing(address: tuple[str, int]) -> None:
    is_v6 = ":" in address[0]

    key = packed_address(address, is_v6=is_v6)

    assert len(key) == (22 if is_v6 else 6)
    assert unpacked_address(key) == address


@pytest.mark.parametrize("host", ["::1"], indirect=True)
async def test_d30_a_zone_lives_in_the_flow_alone(station: Station) -> None:
    """Two links may have one address: the flows differ, and no header can tell."""
    one, two = (station.listener.flow((f"fe80::9%{zone}", 5060)) for zone in (1, 2))

    assert one is not two
    assert (one.host, two.host) == (b"fe80::9", b"fe80::9")
    assert b"%" not in one.via_line
    assert str(one) == "udp:[fe80::9%1]:5060"
