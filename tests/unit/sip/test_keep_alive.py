"""Keep-alives of UDP bindings behind NAT, by a clock that is turned by hand (D27)."""

from collections import Counter
from itertools import pairwise

import pytest

from sipgram.sip.keep_alive import KEEP_ALIVE, SLOTS, KeepAlives
from sipgram.sip.message.message import Message
from sipgram.sip.sink import Flow
from sipgram.sip.timers import NEVER, TimerQueue

INTERVAL_S = 25.0
TICK_S = INTERVAL_S / SLOTS


class Phone:
    """A binding and its flow in one."""

    host = b"192.0.2.1"
    port = 5060
    is_reliable = False
    via_line = b""

    def __init__(self, rig: "Rig", expires: float = NEVER) -> None:
        self.flow: Flow = self
        self.expires = expires
        self.is_bound = True
        self.heard: list[float] = []
        self._rig = rig

    def send(self, data: bytes) -> bool:
        assert data == KEEP_ALIVE
        self.heard.append(self._rig.now)
        return True

    def reply_flow(self, request: Message) -> "Phone":
        return self


class Rig:
    """The schedule, its queue and its time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.queue = TimerQueue()
        self.all = KeepAlives(interval_s=INTERVAL_S, wake=self.queue.wake, clock=lambda: self.now)

    def phone(self, expires: float = NEVER) -> Phone:
        phone = Phone(self, expires)
        self.all.add(phone)
        return phone

    def run(self, until: float) -> None:
        while self.queue.next_due <= until:
            self.now = self.queue.next_due
            self.queue.advance(self.now)
        self.now = until


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_d27_a_phone_is_kept_alive_every_25_s(rig: Rig) -> None:
    phone = rig.phone()

    rig.run(600.0)

    assert len(phone.heard) >= 23
    assert phone.heard[0] <= INTERVAL_S + TICK_S
    assert all(b - a == pytest.approx(INTERVAL_S) for a, b in pairwise(phone.heard))


@pytest.mark.parametrize("at_s", [0.0, 3.0, 12.5, 24.9, 31.0])
def test_d27_a_phone_that_comes_later_hears_within_one_interval(rig: Rig, at_s: float) -> None:
    rig.phone()
    rig.run(at_s)

    phone = rig.phone()
    rig.run(at_s + 60.0)

    assert phone.heard[0] - at_s <= INTERVAL_S + TICK_S


def test_d27_keep_alives_are_spread_evenly(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(10 * SLOTS)]

    rig.run(INTERVAL_S + TICK_S / 2)

    times = Counter(round(when / TICK_S) for phone in phones for when in phone.heard)
    assert set(times.values()) == {10}


@pytest.mark.parametrize("why", ["ended", "expired"])
def test_d27_a_binding_that_is_over_is_not_kept_alive(rig: Rig, why: str) -> None:
    phone = rig.phone(expires=40.0 if why == "expired" else NEVER)
    rig.run(30.0)

    phone.is_bound = why != "ended"
    rig.run(200.0)

    assert len(phone.heard) == 1
    assert len(rig.all) == 0
    assert rig.queue.next_due == NEVER


def test_d27_nobody_to_keep_alive_costs_no_timer(rig: Rig) -> None:
    assert rig.queue.next_due == NEVER


def test_d27_two_bindings_of_one_flow_hear_no_more_than_they_need(rig: Rig) -> None:
    first = rig.phone()
    for _ in range(SLOTS - 1):
        rig.phone()
    second = rig.phone()
    second.flow = first

    rig.run(INTERVAL_S + TICK_S / 2)

    assert len(first.heard) == 1


def test_d27_a_loop_that_was_held_up_sends_each_keep_alive_once(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(SLOTS)]

    rig.now = 90.0
    rig.queue.advance(rig.now)

    assert {len(phone.heard) for phone in phones} == {1}


def test_d27_the_interval_0_turns_them_off() -> None:
    queue = TimerQueue()
    none = KeepAlives(interval_s=0.0, wake=queue.wake, clock=lambda: 0.0)

    none.add(Phone(Rig()))

    assert len(none) == 0
    assert queue.next_due == NEVER
