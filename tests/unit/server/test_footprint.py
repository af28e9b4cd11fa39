"""What 10,000 relayed messages leave behind: no cycle, and little memory (DESIGN.md §2)."""

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from sipgram.testing.messages import response
from sipgram.testing.recording import RecordingFlow

from .node import Node, texted

MESSAGES = 10_000
BYTES_MAX = 700
"""DESIGN.md §2: "key, response bytes, deadline, in a FIFO per deadline"."""


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Let nothing be collected but when the test says so."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Line:
    """alice writes to bob, whose phone says 200, again and again."""

    def __init__(self) -> None:
        self.node = Node(has_digest=False)
        self.bob = self.node.bind("bob")
        self._count = 0

    def relay(self, count: int) -> None:
        for _ in range(count):
            self._count += 1
            self.node.receive(texted(branch=b"z9hG4bK-branch-%d" % self._count))
            self.node.receive(response(_only(self.bob), 200), flow=self.bob)
            assert _only(self.node.flow).startswith(b"SIP/2.0 200 OK")
            self._pass_time(0.0005)

    def settle(self) -> None:
        """Let the timers of what has ended go by, and no more."""
        self._pass_time(1.0)

    def _pass_time(self, by_s: float) -> None:
        now = self.node.clock.advance(by_s)
        if self.node.table.next_due <= now:
            self.node.table.advance(now)


def _only(flow: RecordingFlow) -> bytes:
    (data,) = flow.take()
    return data


@pytest.mark.usefixtures("no_collection")
def test_relayed_messages_leave_no_reference_cycle() -> None:
    line = Line()
    line.relay(100)
    gc.collect()

    line.relay(MESSAGES)

    assert gc.collect() == 0
    assert line.node.table.answered_count == MESSAGES + 100


@pytest.mark.usefixtures("no_collection")
def test_a_finished_transaction_is_small() -> None:
    line = Line()
    line.relay(100)
    line.settle()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()

    line.relay(MESSAGES)
    line.settle()

    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert line.node.table.answered_count == MESSAGES + 100
    assert line.node.table.open_count == 0
    assert (after - before) / MESSAGES <= BYTES_MAX


@pytest.mark.usefixtures("no_collection")
def test_timer_j_gives_all_of_it_back() -> None:
    line = Line()
    line.relay(1_000)
    line.settle()

    for _ in range(33):
        line.settle()

    assert line.node.table.answered_count == 0
    assert gc.collect() == 0
