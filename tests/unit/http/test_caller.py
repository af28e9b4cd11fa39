"""Rate limits: so many requests in a minute, at once or one by one (RateLimit header fields)."""

from sipgram.http.caller import Buckets, Caller, allowed
from sipgram.testing.clock import ManualClock


def test_a_bucket_is_empty_after_its_limit_and_fills_with_time() -> None:
    clock = ManualClock(1_000.0)
    buckets = Buckets(clock, per_minute=60, callers_max=10)

    taken = [buckets.take("a") for _ in range(61)]
    clock.move_to(1_002.0)
    after = [buckets.take("a")[1] for _ in range(3)]

    assert [left for _, left, _ in taken[:3]] == [59, 58, 57]
    assert taken[59][1] == 0
    assert taken[60] == (60, -1, 1)
    assert after == [1, 0, -1]


def test_callers_have_buckets_of_their_own_and_those_unused_for_longest_go() -> None:
    buckets = Buckets(ManualClock(0.0), per_minute=2, callers_max=2)

    for name in ("a", "a", "b", "c"):
        buckets.take(name)

    assert buckets.take("c")[1] == 0
    assert buckets.take("a")[1] == 1  # Forgotten, and so it begins anew.


def test_a_limit_of_its_own_goes_before_the_setting() -> None:
    buckets = Buckets(ManualClock(0.0), per_minute=100, callers_max=2)

    assert buckets.take("a", 1) == (1, 0, 60)
    assert buckets.take("a", 1)[1] == -1


def test_d4_a_caller_acts_for_an_account_by_its_id_whatever_it_is_called() -> None:
    caller = Caller("k", frozenset(("send",)), ("sip:a@b.c",), (7,), False, 0)

    assert allowed(caller, "sip:a@b.c", 0)
    assert allowed(caller, "tel:+1555", 7)
    assert not allowed(caller, "sip:x@b.c", 8)
    assert not allowed(caller, "sip:x@b.c", 0)
