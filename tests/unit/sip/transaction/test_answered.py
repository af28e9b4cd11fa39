"""Answered requests: bounded in number and in octets (RFC 3261 §17.2.2)."""

import pytest

from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.answered import BUCKET_S, AnsweredRequests


def test_an_answer_is_kept_until_timer_j() -> None:
    answered = AnsweredRequests(keep_s=32.0, at_most=10)
    answered.keep(b"key", b"200", 0.0)

    assert answered.of(b"key") == b"200"
    assert 32.0 <= answered.next_due <= 32.0 + BUCKET_S
    answered.advance(answered.next_due)
    assert answered.of(b"key") is None
    assert answered.next_due == NEVER


@pytest.mark.parametrize(("octets", "kept"), [(99, True), (100, True), (101, False)])
def test_octets_are_bounded_one_below_at_and_above(octets: int, kept: bool) -> None:
    answered = AnsweredRequests(keep_s=32.0, at_most=10, bytes_max=100)
    answered.keep(b"1", b"x" * 9, 0.0)

    answered.keep(b"2", b"x" * (octets - 11), 1.0)

    assert (answered.of(b"1") is not None) is kept
    assert answered.of(b"2") is not None
    assert len(answered) == (2 if kept else 1)


def test_what_was_forgotten_makes_room() -> None:
    answered = AnsweredRequests(keep_s=32.0, at_most=10, bytes_max=100)
    for n in range(50):
        answered.keep(b"%d" % n, b"x" * 40, float(n))

    assert len(answered) == 2
