"""The response context: one answer for the sender, whatever the devices say (DELIVERY.md D9-D15)."""

from collections.abc import Sequence

import pytest

from sipgram.identity import NodeId
from sipgram.sip.branch import Brancher
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.proxy import ENDS_COPY, Fork, ForkTimes, Proxy, Target
from sipgram.sip.sink import Flow
from sipgram.sip.timers import NEVER, Timers
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing import messages
from sipgram.testing.recording import RecordingFlow, RecordingUser

REQUEST = messages.request(body=b"Hello", headers=(b"Content-Type: text/plain", b"X-Else: kept"))


class Device:
    """A contact of bob, and what a phone there was sent."""

    def __init__(self, n: int, *, is_silent: bool = False, is_reliable: bool = False) -> None:
        self.uri = b"sip:bob@192.0.2.%d" % n
        self.name = self.uri
        self.way = RecordingFlow(host=b"192.0.2.%d" % n, is_reliable=is_reliable)
        self.flow: Flow = self.way
        self.is_silent = is_silent
        self.instance = b""
        self.routes = b""
        self.cannot_read: frozenset[bytes] = frozenset()

    @property
    def request(self) -> bytes:
        return self.way.sent[0]


class Outcomes:
    """Writes down what became of each target."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, bytes, int]] = []
        self.other: Device | None = None
        "The next flow to a device, once."

    def on_outcome(self, target: Target, method: bytes, status: int) -> None:
        self.calls.append((target.uri, method, status))

    def fail_over(self, target: Target) -> Target | None:
        other, self.other = self.other, None
        return other


class Given:
    """A MESSAGE of alice that came at 0.0 and was forwarded to these devices."""

    def __init__(self, *devices: Device, times: ForkTimes | None = None) -> None:
        self.devices: Sequence[Device] = devices
        self.sender = RecordingFlow(host=b"192.0.2.9")
        self.user = RecordingUser()
        self.outcomes = Outcomes()
        self.table = TransactionTable(self.user, timers=Timers())
        self.proxy = Proxy(
            self.table,
            Brancher(b"s" * 32, node=NodeId("n1")),
            times=times or ForkTimes(),
            user=self.outcomes,
        )
        request = parse(REQUEST)
        server = self.table.open_server(request, self.sender, 0.0)
        Fork(request, server, self.proxy).start(devices, self.sender, (), 0.0)

    def answer(self, n: int, status: int, now: float) -> None:
        """Let a device answer what it was sent."""
        device = self.devices[n]
        data = messages.response(device.request, status, to_tag=b"b%d" % n)
        self.table.receive(parse(data), device.flow, now)

    def wait(self, until: float) -> None:
        while self.table.next_due <= until:
            self.table.advance(self.table.next_due)

    def answers(self) -> list[Message]:
        """Return what the sender was sent since the last look."""
        return [parse(data) for data in self.sender.take()]

    def statuses(self) -> list[int]:
        return [message.status for message in self.answers()]


# ---- out ---------------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "16.6")
def test_d6_a_message_forks_to_every_device_at_once() -> None:
    given = Given(Device(1), Device(2), Device(3))
    branches = set()
    for device in given.devices:
        assert len(device.way.sent) == 1
        copy = parse(device.request)
        assert copy.faults == ()
        assert copy.uri == device.uri
        assert copy.max_forwards == 69
        assert copy.body == b"Hello"
        assert copy.value(b"x-else") == b"kept"
        assert len(copy.values(b"via")) == 2
        branches.add(copy.branch)
    assert len(branches) == 3


def test_two_contacts_of_one_name_are_one_device() -> None:
    device = Device(1)
    given = Given(device, device)
    assert len(device.way.sent) == 1
    given.answer(0, 200, 0.01)
    assert given.statuses() == [200]


def test_nobody_to_try_is_a_480() -> None:
    given = Given()
    (answer,) = given.answers()
    assert (answer.status, answer.value(b"retry-after")) == (480, b"30")
    assert answer.to_tag


# ---- D9: the answer ----------------------------------------------------------------------------


def test_d9_the_answer_of_the_only_device_goes_up_at_once() -> None:
    given = Given(Device(1))
    given.answer(0, 200, 0.01)
    (answer,) = given.answers()
    assert (answer.status, answer.to_tag) == (200, b"b0")
    assert len(answer.values(b"via")) == 1
    assert answer.branch == b"z9hG4bK-1"
    assert given.table.open_count == 0


def test_d9_a_202_of_a_device_stays_202() -> None:
    given = Given(Device(1))
    given.answer(0, 202, 0.01)
    assert given.statuses() == [202]


def test_d9_the_first_2xx_waits_fork_s_for_the_others() -> None:
    given = Given(Device(1), Device(2))
    given.answer(1, 200, 0.01)
    given.wait(0.1)
    assert given.statuses() == []
    given.wait(0.11)
    (answer,) = given.answers()
    assert (answer.status, answer.to_tag) == (200, b"b1")


def test_d9_the_first_2xx_goes_up_when_every_other_device_has_answered() -> None:
    given = Given(Device(1), Device(2), Device(3))
    given.answer(1, 200, 0.01)
    given.answer(0, 202, 0.02)
    assert given.statuses() == []
    given.answer(2, 486, 0.03)
    (answer,) = given.answers()
    assert (answer.status, answer.to_tag) == (200, b"b1")


def test_d9_fork_s_counts_once() -> None:
    given = Given(Device(1), Device(2), Device(3))
    given.answer(0, 200, 0.01)
    given.answer(1, 200, 0.1)
    given.wait(0.12)
    assert given.statuses() == [200]


def test_d9_fork_s_does_not_outlast_answer_s() -> None:
    given = Given(Device(1), Device(2))
    given.wait(4.95)
    given.sender.take()
    given.answer(0, 200, 4.95)
    given.wait(5.0)
    assert given.statuses() == [200]


def test_d9_a_2xx_comes_before_an_earlier_failure() -> None:
    given = Given(Device(1), Device(2))
    given.answer(0, 403, 0.01)
    assert given.statuses() == []
    given.answer(1, 200, 0.02)
    assert given.statuses() == [200]


@pytest.mark.parametrize("answer_s", [1.0, 5.0, 20.0])
def test_d9_the_sender_is_answered_within_answer_s(answer_s: float) -> None:
    given = Given(Device(1), times=ForkTimes(answer_s=answer_s))
    given.wait(answer_s - 0.01)
    assert given.statuses() in ([], [100])
    given.wait(answer_s)
    assert given.statuses() == [480]


def test_d9_an_answer_after_t1_still_goes_up() -> None:
    given = Given(Device(1))
    given.wait(2.0)
    given.answer(0, 200, 2.0)
    assert given.statuses() == [200]
    given.wait(60.0)
    assert given.statuses() == []


def test_d9_a_silent_binding_is_tried_but_not_waited_for() -> None:
    given = Given(Device(1), Device(2, is_silent=True))
    assert len(given.devices[1].way.sent) == 1
    given.answer(0, 200, 0.01)
    assert given.statuses() == [200]


def test_d9_a_binding_is_silent_until_it_answers_something() -> None:
    given = Given(Device(1), Device(2))
    given.wait(5.0)
    assert [device.is_silent for device in given.devices] == [True, True]
    given.answer(0, 486, 6.0)
    assert [device.is_silent for device in given.devices] == [False, True]


def test_d9_a_device_that_misses_fork_s_is_not_silent_yet() -> None:
    given = Given(Device(1), Device(2))
    given.answer(0, 200, 0.01)
    given.wait(1.0)
    assert not given.devices[1].is_silent


# ---- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(ENDS_COPY))
def test_d9_the_only_device_refuses_for_good(status: int) -> None:
    given = Given(Device(1))
    given.answer(0, status, 0.01)
    assert given.statuses() == [status]
    assert given.outcomes.calls == [(b"sip:bob@192.0.2.1", b"MESSAGE", status)]


@pytest.mark.parametrize("status", [302, 404, 408, 410, 430, 480, 482, 486, 487, 500, 503, 599])
def test_d9_the_only_device_refuses_for_now(status: int) -> None:
    """D11: a 503 does not go up; D13: neither does a 408."""
    given = Given(Device(1))
    given.answer(0, status, 0.01)
    assert given.statuses() == [480]
    assert given.outcomes.calls == [(b"sip:bob@192.0.2.1", b"MESSAGE", status)]


@pytest.mark.rfc("3261", "16.7")
@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ((403, 415), 415),
        ((415, 403), 415),
        ((603, 486), 603),
        ((486, 603), 603),
        ((403, 486), 480),
        ((486, 403), 480),
        ((415, 480, 403), 480),
        ((600, 603), 600),
        ((403, 405), 403),
    ],
)
def test_the_best_of_the_failures(statuses: tuple[int, ...], best: int) -> None:
    """§16.7 step 6; and 480 before a final no, since another device may yet take it (D9)."""
    given = Given(*(Device(n) for n, _ in enumerate(statuses)))
    for n, status in enumerate(statuses):
        given.answer(n, status, 0.01)
    assert given.statuses() == [best]


def test_d15_one_device_refuses_and_another_is_away() -> None:
    """The copy of the second has not ended, so that the answer is not the refusal."""
    given = Given(Device(1), Device(2))
    given.answer(0, 403, 0.01)
    given.wait(5.0)
    assert [s for s in given.statuses() if s != 100] == [480]


def test_a_6xx_is_not_softened_by_a_device_that_is_away() -> None:
    given = Given(Device(1), Device(2))
    given.answer(0, 603, 0.01)
    given.wait(5.0)
    assert [s for s in given.statuses() if s != 100] == [603]


def test_a_dead_flow_is_away_at_once() -> None:
    dead = Device(1)
    dead.way.is_alive = False
    given = Given(dead)
    assert given.statuses() == [480]
    assert given.outcomes.calls == [(b"sip:bob@192.0.2.1", b"MESSAGE", 0)]
    assert given.table.open_count == 0


def test_a_dead_flow_does_not_spoil_the_others() -> None:
    dead = Device(1)
    dead.way.is_alive = False
    given = Given(dead, Device(2))
    assert given.statuses() == []
    given.answer(1, 403, 0.01)
    assert given.statuses() == [480]


# ---- D12, D13 ----------------------------------------------------------------------------------


def test_d12_transactions_run_on_after_the_answer() -> None:
    given = Given(Device(1), Device(2))
    given.answer(0, 200, 0.01)
    given.wait(1.6)
    assert given.statuses() == [200]
    assert len(given.devices[1].way.sent) == 3


def test_d12_a_late_2xx_is_not_forwarded() -> None:
    given = Given(Device(1), Device(2))
    given.answer(0, 200, 0.01)
    given.wait(10.0)
    given.sender.take()
    given.answer(1, 200, 10.0)
    assert given.statuses() == []
    assert given.table.open_count == 0
    given.wait(60.0)
    assert given.statuses() == []
    assert given.outcomes.calls == []


def test_d12_after_timer_f_an_answer_is_a_stray() -> None:
    given = Given(Device(1))
    given.wait(32.0)
    assert given.outcomes.calls == [(b"sip:bob@192.0.2.1", b"MESSAGE", 0)]
    given.answer(0, 200, 33.0)
    assert given.user.take() == [("stray", 200)]


@pytest.mark.rfc("4320", "4.1")
@pytest.mark.parametrize("is_reliable", [False, True])
def test_d13_a_100_goes_out_after_3_5_s_and_no_408_ever(is_reliable: bool) -> None:
    given = Given(Device(1, is_reliable=is_reliable))
    given.wait(3.4)
    assert given.statuses() == []
    given.wait(3.5)
    assert given.statuses() == [100]
    given.wait(100.0)
    assert given.statuses() == [480]


def test_d13_no_other_provisional_goes_up() -> None:
    given = Given(Device(1))
    for status in (100, 180, 183):
        given.answer(0, status, 0.1)
    assert given.statuses() == []


def test_nothing_is_left_behind() -> None:
    given = Given(Device(1), Device(2), Device(3))
    given.answer(0, 200, 0.01)
    given.wait(70.0)
    assert (given.table.open_count, given.table.answered_count) == (0, 0)
    assert given.table.next_due == NEVER


def test_a_deadline_that_comes_after_the_answer_does_nothing() -> None:
    given = Given(Device(1))
    request = parse(REQUEST)
    fork = Fork(request, given.table.open_server(request, given.sender, 0.0), given.proxy)
    fork.start((), given.sender, (), 0.0)
    given.sender.take()
    fork.fire(5.0)
    assert given.statuses() == []


# ---- Path and Outbound flows ---------------------------------------------------------------------


def test_each_branch_uses_its_own_path() -> None:
    one, two = Device(1), Device(2)
    one.routes = b"Route: <sip:edge1.example.net;lr>\r\n"
    Given(one, two)

    assert parse(one.request).values(b"route") == [b"<sip:edge1.example.net;lr>"]
    assert not parse(two.request).has(b"route")


def test_d5_430_moves_to_the_next_flow() -> None:
    given = Given(Device(1))
    other = Device(1)
    other.name += b" 2"
    given.outcomes.other = other

    given.answer(0, 430, 0.01)
    assert given.statuses() == []
    given.table.receive(parse(messages.response(other.request, 200)), other.flow, 0.02)

    assert given.statuses() == [200]


def test_d5_a_dead_flow_moves_to_the_next_and_486_does_not() -> None:
    given = Given(Device(1), Device(2))
    spare = given.outcomes.other = Device(3)

    given.answer(0, 486, 0.01)
    assert spare.way.sent == []
    given.table.transport_failed((given.devices[1].flow,), 0.02)
    assert len(spare.way.sent) == 1
