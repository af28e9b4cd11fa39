"""What becomes of the time when the wall clock is stepped (DELIVERY.md D35)."""

import pytest

from sipgram.services.wall_clock import WallClock

HOUR = 3_600.0
DAY = 86_400.0
BEGUN = 1_700_000_000.0


class Clocks:
    """A monotonic clock, and a wall clock that can be stepped."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.lead = BEGUN - 1_000.0

    def believed(self, *, last_seen_utc: float | None = None) -> WallClock:
        return WallClock(
            lambda: self.now + self.lead, lambda: self.now, last_seen_utc=last_seen_utc
        )


def test_d35_a_clock_in_step_is_what_it_says() -> None:
    clocks = Clocks()
    wall = clocks.believed()
    clocks.now += 100
    clocks.lead += 0.5  # NTP slews.

    assert wall() == wall.certain() == BEGUN + 100.5
    assert wall.is_believed


@pytest.mark.parametrize("by_s", [-DAY * 365, -DAY, -HOUR, HOUR, DAY, DAY * 365])
@pytest.mark.parametrize("by_a_second", [0, 1])
def test_d35_a_step_of_more_than_an_hour_stops_what_ends_for_ten_minutes(
    by_s: float, by_a_second: int
) -> None:
    """One hour exactly is no step; one second more is."""
    clocks = Clocks()
    wall = clocks.believed()
    step = by_s + (by_a_second if by_s > 0 else -by_a_second)
    is_step = abs(step) > HOUR
    clocks.lead += step

    assert wall.is_believed is not is_step
    assert wall.certain() == BEGUN + (0 if is_step else step)
    clocks.now += 599
    assert wall.certain() == BEGUN + (0 if is_step else step + 599)
    clocks.now += 1
    assert wall.certain() == BEGUN + step + 600
    assert wall.is_believed


def test_d35_a_second_step_begins_the_ten_minutes_anew() -> None:
    clocks = Clocks()
    wall = clocks.believed()
    clocks.lead += DAY
    wall.look()
    clocks.now += 590
    clocks.lead -= DAY
    wall.look()
    clocks.now += 590

    assert wall.certain() == BEGUN

    clocks.now += 10
    assert wall.certain() == BEGUN + 1190


def test_d35_stamps_follow_a_step_ahead_and_not_one_back() -> None:
    """What is stamped in doubt must not end too early once the clock is right again."""
    clocks = Clocks()
    wall = clocks.believed()
    clocks.lead -= 30 * DAY
    assert wall() == BEGUN

    clocks.lead += 60 * DAY
    assert wall() == BEGUN + 30 * DAY


@pytest.mark.parametrize(
    ("away_s", "certain", "stamp"),
    [
        (60.0, BEGUN, BEGUN),
        (HOUR, BEGUN, BEGUN),
        (HOUR + 1, BEGUN - HOUR - 1, BEGUN),  # Long off, or a clock that is ahead: who knows.
        (-HOUR, BEGUN, BEGUN),
        (-HOUR - 1, BEGUN + HOUR + 1, BEGUN + HOUR + 1),  # A board without a battery.
        (-20 * 365 * DAY, BEGUN + 20 * 365 * DAY, BEGUN + 20 * 365 * DAY),
    ],
)
def test_d35_a_start_is_compared_with_the_last_time_seen(
    away_s: float, certain: float, stamp: float
) -> None:
    clocks = Clocks()
    wall = clocks.believed(last_seen_utc=BEGUN - away_s)

    assert (wall.certain(), wall()) == (certain, stamp)
    clocks.now += 600
    assert (wall.certain(), wall()) == (BEGUN + 600, BEGUN + 600)


def test_d35_without_a_last_time_the_clock_is_believed() -> None:
    assert Clocks().believed().certain() == BEGUN
