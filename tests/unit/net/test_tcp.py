"""Connections: framing, limits, and peers that behave badly (RFC 3261 §18.3, RFC 5626; D27, D28)."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from sipgram.errors import PeerError
from sipgram.net.tcp import HIGH_WATER_BYTES, TcpFlow
from sipgram.settings import TransportSettings
from sipgram.testing.messages import request

MESSAGE = request(body=b"Hello world.")
LIMITS = TransportSettings(half_message_s=10.0, write_bytes_max=1_000, write_stall_s=20.0)


class ManualLoop:
    """As much of a loop as a connection asks for; time stands still until ``advance``."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[ManualTimer] = []

    def time(self) -> float:
        return self.now

    def create_future(self) -> "asyncio.Future[None]":
        return asyncio.get_running_loop().create_future()

    def call_later(self, delay: float, callback: Callable[[], None]) -> "ManualTimer":
        timer = ManualTimer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def advance(self, by_s: float) -> None:
        self.now += by_s
        for timer in [timer for timer in self.timers if timer.due <= self.now]:
            self.timers.remove(timer)
            if not timer.is_cancelled:
                timer.callback()


class ManualTimer:
    """A handle that remembers that it was cancelled."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class PipeTransport:
    """A transport whose peer reads when the test says so."""

    def __init__(self, peer: object = ("192.0.2.9", 40_000)) -> None:
        self.extra = {"peername": peer, "sockname": ("fe80::1%eth0", 5060, 0, 2)}
        self.unread = b""
        self.is_closed = self.is_aborted = False

    def get_extra_info(self, name: str) -> object:
        return self.extra.get(name)

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == HIGH_WATER_BYTES

    def get_write_buffer_size(self) -> int:
        return len(self.unread)

    def write(self, data: bytes) -> None:
        self.unread += data

    def is_closing(self) -> bool:
        return self.is_closed or self.is_aborted

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True


class Listener:
    """The connection's user: notes what it is told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.faults: list[tuple[bytes, str]] = []
        self.closed = 0
        self.batches = 0
        self.room = 1

    def on_stream_message(self, data: bytes, flow: TcpFlow, now: float) -> None:
        self.messages.append(data)

    def on_stream_fault(
        self, remainder: bytes, error: PeerError | None, flow: TcpFlow, now: float
    ) -> None:
        self.faults.append((remainder, "" if error is None else error.reason))

    def on_stream_closed(self, flow: TcpFlow, now: float) -> None:
        self.closed += 1

    def after_batch(self) -> None:
        self.batches += 1

    def admit(self, flow: TcpFlow) -> bool:
        self.room -= 1
        return self.room >= 0


class Connection:
    """One TcpFlow with everything around it in the test's hand."""

    def __init__(self, *, transport: PipeTransport | None = None) -> None:
        self.loop = ManualLoop()
        self.user = Listener()
        self.transport = transport or PipeTransport()
        self.flow = TcpFlow(
            user=self.user,
            limits=LIMITS,
            via_line=lambda flow: f"Via: {flow.local[0]}".encode(),
            loop=cast(Any, self.loop),  # It asks for no more than ManualLoop has.
        )
        self.flow.connection_made(cast(Any, self.transport))


# ---- framing -----------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "18.3")
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 10_000])
async def test_messages_are_cut_out_however_they_are_read(size: int) -> None:
    connection = Connection()
    stream = MESSAGE + b"\r\n" + MESSAGE + MESSAGE

    for at in range(0, len(stream), size):
        connection.flow.data_received(stream[at : at + size])

    assert connection.user.messages == [MESSAGE] * 3
    assert connection.user.faults == []


@pytest.mark.rfc("5626", "4.4.1")
@pytest.mark.parametrize("reads", [[b"\r\n\r\n"], [b"\r\n", b"\r\n"], [b"\r", b"\n\r", b"\n"]])
async def test_a_ping_is_answered_with_a_pong(reads: list[bytes]) -> None:
    connection = Connection()

    for data in reads:
        connection.flow.data_received(data)

    assert connection.transport.unread == b"\r\n"
    assert connection.user.messages == []


async def test_pings_between_messages_are_answered_too() -> None:
    connection = Connection()

    connection.flow.data_received(b"\r\n\r\n" + MESSAGE + b"\r\n\r\n\r\n\r\n" + MESSAGE)

    assert connection.transport.unread == b"\r\n" * 3
    assert connection.user.messages == [MESSAGE] * 2


async def test_a_lone_crlf_is_no_ping() -> None:
    connection = Connection()

    connection.flow.data_received(b"\r\n" + MESSAGE)

    assert connection.transport.unread == b""
    assert connection.user.messages == [MESSAGE]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"MESSAGE sip:b@c SIP/2.0\r\nTo: x\r\n\r\n", "Content-Length is missing"),
        (b"MESSAGE sip:b@c SIP/2.0\r\nContent-Length: x\r\n\r\n", "is not a length"),
        (b"MESSAGE sip:b@c SIP/2.0\r\nl: 99999\r\n\r\n", "over 65535"),
        (b"x" * 70_000, "headers are longer"),
    ],
)
async def test_a_stream_that_cannot_be_followed_is_told_and_closed(
    stream: bytes, reason: str
) -> None:
    connection = Connection()

    connection.flow.data_received(stream)

    ((remainder, told),) = connection.user.faults
    assert remainder == stream
    assert reason in told
    assert connection.transport.is_closed


# ---- half a message ----------------------------------------------------------------------------


@pytest.mark.parametrize(("after_s", "is_cut"), [(9.9, False), (10.0, True)])
async def test_d27_half_a_message_has_its_own_limit(after_s: float, is_cut: bool) -> None:
    connection = Connection()
    connection.flow.data_received(MESSAGE[:-1])

    connection.loop.advance(after_s)

    assert connection.user.faults == ([(MESSAGE[:-1], "")] if is_cut else [])
    assert connection.transport.is_closed == is_cut


async def test_d27_the_limit_counts_from_its_first_octet() -> None:
    """Else a peer holds a connection for ever by an octet now and then."""
    connection = Connection()
    for octet in range(10):
        connection.flow.data_received(MESSAGE[octet : octet + 1])
        connection.loop.advance(1.0)

    assert len(connection.user.faults) == 1


async def test_d27_a_whole_message_ends_the_limit() -> None:
    connection = Connection()
    connection.flow.data_received(MESSAGE[:50])
    connection.loop.advance(9.0)
    connection.flow.data_received(MESSAGE[50:])

    connection.loop.advance(100.0)

    assert connection.user.faults == []
    assert not connection.transport.is_closed


async def test_d27_a_busy_connection_is_not_half_a_message() -> None:
    """Each read ends in the middle of a message, and none of them is slow."""
    connection = Connection()
    connection.flow.data_received(MESSAGE[:50])
    for _ in range(30):
        connection.loop.advance(1.0)
        connection.flow.data_received(MESSAGE[50:] + MESSAGE[:50])
    assert connection.user.faults == []
    assert len(connection.user.messages) == 30

    connection.loop.advance(9.9)
    assert connection.user.faults == []
    connection.loop.advance(0.1)
    assert len(connection.user.faults) == 1


async def test_line_ends_are_no_half_message() -> None:
    connection = Connection()
    connection.flow.data_received(b"\r\n\r")

    connection.loop.advance(100.0)

    assert connection.user.faults == []


async def test_half_a_message_and_the_end_of_the_stream_is_told_at_once() -> None:
    connection = Connection()
    connection.flow.data_received(MESSAGE[:-1])

    connection.flow.eof_received()

    assert connection.user.faults == [(MESSAGE[:-1], "")]


# ---- peers that do not read --------------------------------------------------------------------


@pytest.mark.parametrize(("size", "is_sent"), [(499, True), (500, True), (501, False)])
async def test_d28_a_slow_reader_is_cut_at_the_limit(size: int, is_sent: bool) -> None:
    connection = Connection()
    assert connection.flow.send(b"x" * 500)

    assert connection.flow.send(b"x" * size) is is_sent

    assert connection.transport.is_aborted is not is_sent


@pytest.mark.parametrize(("after_s", "is_cut"), [(19.9, False), (20.0, True)])
async def test_d28_a_peer_that_stops_reading_is_cut_after_20_s(
    after_s: float, is_cut: bool
) -> None:
    connection = Connection()
    connection.flow.pause_writing()

    connection.loop.advance(after_s)

    assert connection.transport.is_aborted is is_cut


async def test_d28_a_peer_that_reads_again_is_spared() -> None:
    connection = Connection()
    connection.flow.pause_writing()
    connection.loop.advance(19.0)
    connection.flow.resume_writing()

    connection.loop.advance(100.0)

    assert not connection.transport.is_aborted


@pytest.mark.parametrize("unread", [b"", b"x"])
async def test_a_closing_connection_does_not_wait_for_its_reader_for_ever(unread: bytes) -> None:
    connection = Connection()
    connection.transport.unread = unread
    connection.flow.close()

    connection.loop.advance(20.0)

    assert connection.transport.is_aborted is bool(unread)


async def test_nothing_is_sent_on_a_closing_or_closed_connection() -> None:
    connection = Connection()
    connection.flow.close()
    assert not connection.flow.send(b"x")

    connection.flow.connection_lost(None)

    assert not connection.flow.send(b"x")
    assert not connection.flow.is_open
    assert connection.flow.closed.done()
    assert connection.user.closed == 1
    connection.flow.close()
    connection.flow.abort()


async def test_a_closed_connection_leaves_no_timer() -> None:
    connection = Connection()
    connection.flow.data_received(MESSAGE[:50])
    connection.flow.pause_writing()

    connection.flow.connection_lost(None)

    assert all(timer.is_cancelled for timer in connection.loop.timers)


# ---- coming and going --------------------------------------------------------------------------


async def test_a_connection_over_the_limit_is_closed_at_once() -> None:
    connection = Connection()
    connection.user.room = 0

    connection.flow.connection_made(cast(Any, connection.transport))

    assert connection.transport.is_aborted


async def test_a_connection_that_is_gone_before_it_is_seen_is_dropped() -> None:
    connection = Connection(transport=PipeTransport(peer=None))

    assert connection.transport.is_aborted
    assert not connection.flow.is_open
    connection.flow.connection_lost(ConnectionResetError())
    assert connection.user.closed == 1


@pytest.mark.parametrize(
    ("peer", "host", "shown", "is_loopback"),
    [
        (("192.0.2.9", 4), b"192.0.2.9", "tcp:192.0.2.9:4", False),
        (("127.9.9.9", 4), b"127.9.9.9", "tcp:127.9.9.9:4", True),
        (("::1", 4, 0, 0), b"::1", "tcp:[::1]:4", True),
        (("fe80::9%eth0", 4, 0, 2), b"fe80::9", "tcp:[fe80::9%eth0]:4", False),
    ],
)
async def test_d30_zones_live_in_the_flow_alone(
    peer: tuple[object, ...], host: bytes, shown: str, is_loopback: bool
) -> None:
    flow = Connection(transport=PipeTransport(peer=peer)).flow

    assert (flow.host, str(flow), flow.is_loopback) == (host, shown, is_loopback)
    assert flow.via_line == b"Via: fe80::1"


async def test_responses_go_back_on_the_connection() -> None:
    flow = Connection().flow

    assert flow.reply_flow(cast(Any, None)) is flow
