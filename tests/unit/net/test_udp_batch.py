"""What the batching UDP socket does with a buffer that is full; UNIX sockets have one at hand."""

import socket
from collections.abc import Iterator

import pytest

pytest.importorskip("sipgram.net._udp", reason="the native parts were not built")

from sipgram.net._udp import UdpBatch
from sipgram.net.udp import UdpFlow

QUEUE_MAX = 100


class Wire:
    """A batch on one end of a pair of sockets, and what came out of the other end."""

    def __init__(self) -> None:
        near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        # The least that the system allows: a few datagrams fill it.
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        self._near = near
        self._far.setblocking(False)
        self.wakes = 0
        self.batch = UdpBatch(
            near.fileno(),
            is_v6=False,
            receive=lambda data, flow, now: None,
            new_flow=self._no_flow,
            wake=self._wake,
            queue_max=QUEUE_MAX,
        )
        self.send = self.batch.sender(b"").send

    def read(self) -> list[int]:
        """Return the numbers that have come, which makes room for others."""
        numbers = []
        while True:
            try:
                numbers.append(int(self._far.recv(100)))
            except BlockingIOError:
                return numbers

    def close(self) -> None:
        self.batch.close()
        self._near.close()
        self._far.close()

    def _wake(self) -> None:
        self.wakes += 1

    def _no_flow(self, key: bytes) -> UdpFlow:
        raise AssertionError(key)


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def test_one_wake_for_many_sends(wire: Wire) -> None:
    for number in range(5):
        wire.send(b"%d" % number)

    assert (wire.wakes, wire.read()) == (1, [])
    wire.batch.flush()
    assert wire.read() == [0, 1, 2, 3, 4]
    wire.send(b"5")
    assert wire.wakes == 2


def test_what_does_not_fit_waits_in_order(wire: Wire) -> None:
    for number in range(QUEUE_MAX):
        wire.send(b"%d" % number)
    wire.batch.flush()
    assert wire.batch.queued > 0

    numbers = []
    while wire.batch.queued:
        numbers += wire.read()
        wire.batch.drain()
    numbers += wire.read()

    assert numbers == list(range(QUEUE_MAX))
    assert wire.batch.dropped == 0


@pytest.mark.parametrize(("more", "dropped"), [(-1, 0), (0, 0), (1, 1)])
def test_queue_has_a_bound(wire: Wire, more: int, dropped: int) -> None:
    for number in range(32):
        wire.send(b"%d" % number)  # A whole batch flushes itself.
    room = QUEUE_MAX - wire.batch.queued
    assert 0 < room < QUEUE_MAX

    for number in range(32, 32 + room + more):
        wire.send(b"%d" % number)

    assert wire.batch.queued == QUEUE_MAX + min(more, 0)
    assert wire.batch.dropped == dropped


def test_closing_sends_what_can_be_sent_and_then_nothing(wire: Wire) -> None:
    wire.send(b"1")

    wire.batch.close()

    assert wire.send(b"2")
    assert wire.read() == [1]
    assert wire.batch.pump({}, 0.0, 4) == 0


def test_gone_peer_costs_the_datagram_and_says_so(wire: Wire) -> None:
    wire.send(b"1")
    wire._far.close()

    wire.batch.flush()

    assert (wire.batch.dropped, wire.batch.failed) == (1, True)


def test_key_of_another_family_is_refused(wire: Wire) -> None:
    with pytest.raises(ValueError, match="key"):
        wire.batch.sender(bytes(22))
