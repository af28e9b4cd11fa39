"""Base values and the queue of deadlines (RFC 3261 §17, Table 4)."""

import pytest

from sipgram.sip.timers import LENGTHS_MAX, NEVER, TimerQueue, Timers


class Sleeper:
    def __init__(self) -> None:
        self.due = NEVER
        self.fired: list[float] = []

    def fire(self, now: float) -> None:
        self.fired.append(now)


def test_values_of_table_4() -> None:
    timers = Timers()
    assert (timers.t1, timers.t2, timers.t4, timers.longest) == (0.5, 4.0, 5.0, 32.0)


def test_timer_e_reaches_t2_after_3_5_s() -> None:
    """RFC 4320 §4.1 with the usual values: 0.5 + 1 + 2."""
    assert Timers().trying_after_s == 3.5
    assert Timers(t1=0.1, t2=0.4).trying_after_s == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("left", "rest"), [(0.5, 0.5), (0.500000001, 0.5), (0.51, 1.0), (31.5, 31.5), (0.01, 0.5)]
)
def test_rests_are_multiples_of_t1(left: float, rest: float) -> None:
    assert Timers().rest(left) == rest


def test_deadlines_fire_in_time_and_once() -> None:
    queue, early, late = TimerQueue(), Sleeper(), Sleeper()
    queue.wake(late, 2.0, 0.0)
    queue.wake(early, 0.5, 0.0)
    assert queue.next_due == 0.5

    queue.advance(0.4)
    assert (early.fired, late.fired) == ([], [])

    queue.advance(0.5)
    assert (early.fired, early.due) == ([0.5], NEVER)
    assert queue.next_due == 2.0

    queue.advance(9.0)
    assert late.fired == [9.0]
    assert queue.next_due == NEVER
    assert len(queue) == 0


def test_a_deadline_that_was_moved_is_passed_over() -> None:
    queue, sleeper = TimerQueue(), Sleeper()
    queue.wake(sleeper, 0.5, 0.0)
    queue.wake(sleeper, 2.0, 0.0)
    queue.advance(1.0)
    assert sleeper.fired == []
    queue.advance(2.0)
    assert sleeper.fired == [2.0]


def test_a_deadline_that_was_dropped_is_passed_over() -> None:
    queue, sleeper = TimerQueue(), Sleeper()
    queue.wake(sleeper, 0.5, 0.0)
    sleeper.due = NEVER
    queue.advance(1.0)
    assert sleeper.fired == []


def test_queues_of_lengths_that_are_no_longer_used_go() -> None:
    queue, sleeper = TimerQueue(), Sleeper()
    for length in range(LENGTHS_MAX - 1):
        queue.wake(sleeper, length + 1.0, 0.0)
    queue.advance(1000.0)
    queue.wake(sleeper, 0.25, 1000.0)
    queue.wake(sleeper, 0.75, 1000.0)
    assert len(queue) == 2
    assert queue.next_due == 1000.25
