"""Items come up in the second after their deadline, in bounded numbers."""

from sipgram.sip.events.deadlines import Deadlines
from sipgram.sip.timers import NEVER


def test_items_come_up_in_order_and_not_before() -> None:
    deadlines = Deadlines[str]()
    deadlines.add("late", 20.5)
    deadlines.add("early", 10.0)
    deadlines.add("early too", 10.9)

    assert deadlines.next_due == 11
    assert deadlines.take(10.99, at_most=9) == []
    assert deadlines.take(11.0, at_most=9) == ["early", "early too"]
    assert deadlines.next_due == 21
    assert deadlines.take(99.0, at_most=9) == ["late"]
    assert deadlines.next_due == NEVER


def test_no_more_than_asked_at_one_time_and_none_is_lost() -> None:
    deadlines = Deadlines[int]()
    for number in range(10):
        deadlines.add(number, float(number // 4))

    taken = [deadlines.take(50.0, at_most=3) for _ in range(5)]

    assert [len(some) for some in taken] == [3, 3, 3, 1, 0]
    assert [number for some in taken for number in some] == list(range(10))
