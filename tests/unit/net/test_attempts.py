"""Which hop is next, and which are left for last (RFC 3263 §4.3; D33)."""

import pytest

from sipgram.net.attempts import (
    ATTEMPTS_MAX,
    FAILED_MAX_S,
    FAILED_S,
    HOP_S,
    Attempts,
    FailedHops,
)
from sipgram.net.resolver import Hop


def hop(number: int, *, name: str = "") -> Hop:
    return Hop("udp", f"192.0.2.{number}", 5060, name or f"s{number}.example.net")


A, B, C = hop(1), hop(2), hop(3)


def attempts(
    hops: list[Hop], failed: FailedHops | None = None, *, now: float = 0.0, within_s: float = 5.0
) -> Attempts:
    return Attempts(hops, failed=failed or FailedHops(), now=now, within_s=within_s)


@pytest.mark.rfc("3263", "4.3")
def test_a_failure_moves_on_to_the_next_hop() -> None:
    trial = attempts([A, B])

    assert trial.next(0.0) == A
    assert trial.failed(0.1) == B
    assert trial.failed(0.2) is None
    assert trial.current is None
    assert trial.failed(0.3) is None


def test_d33_a_silent_hop_has_3_s_and_the_last_one_what_is_left() -> None:
    trial = attempts([A, B], within_s=5.0)

    trial.next(0.0)
    assert trial.wait_s(0.0) == HOP_S == 3.0
    trial.failed(3.0)
    assert trial.wait_s(3.0) == 2.0
    assert trial.wait_s(9.0) == 0.0


def test_nothing_is_tried_after_the_deadline() -> None:
    trial = attempts([A, B], within_s=2.0)
    trial.next(0.0)

    assert trial.wait_s(0.0) == 2.0
    assert trial.failed(2.0) is None


def test_hops_tried_for_one_request_are_bounded() -> None:
    trial = attempts([hop(number) for number in range(ATTEMPTS_MAX + 1)])
    trial.next(0.0)

    tried = 1
    while trial.failed(0.0) is not None:
        tried += 1

    assert tried == ATTEMPTS_MAX


@pytest.mark.parametrize(("after_s", "first"), [(FAILED_S - 0.01, B), (FAILED_S, A)])
def test_later_requests_try_a_failed_hop_last_for_32_s(after_s: float, first: Hop) -> None:
    failed = FailedHops()
    trial = attempts([A, B], failed)
    trial.next(0.0)
    trial.failed(0.0)

    later = attempts([A, B], failed, now=after_s)

    assert later.next(after_s) == first
    assert later.failed(after_s) == (A if first == B else B)


def test_a_hop_is_known_by_its_address_whatever_its_name() -> None:
    failed = FailedHops()
    failed.note(A, 0.0)

    assert failed.has_failed(hop(1, name="other.example.org"), 1.0)
    assert not failed.has_failed(Hop("tcp", A.host, A.port, A.name), 1.0)


def test_when_all_have_failed_the_first_to_be_forgiven_is_tried_first() -> None:
    failed = FailedHops()
    for number, failing in enumerate([B, C, A]):
        failed.note(failing, float(number))

    assert failed.in_order([A, B, C], 3.0) == [B, C, A]


def test_a_hop_that_answers_is_forgiven_at_once() -> None:
    failed = FailedHops()
    failed.note(A, 0.0)
    trial = attempts([A], failed)
    trial.succeeded()
    assert failed.has_failed(A, 1.0)
    trial.next(1.0)

    trial.succeeded()

    assert failed.in_order([A, B], 1.0) == [A, B]


@pytest.mark.rfc("3261", "21.5.4")
@pytest.mark.parametrize(
    ("retry_after_s", "avoided_s"),
    [(None, FAILED_S), (1.0, FAILED_S), (120.0, 120.0), (1e9, FAILED_MAX_S)],
)
def test_a_503_may_say_how_long_it_is_avoided(
    retry_after_s: float | None, avoided_s: float
) -> None:
    failed = FailedHops()
    trial = attempts([A, B], failed)
    trial.next(0.0)

    trial.failed(0.0, retry_after_s=retry_after_s)

    assert failed.has_failed(A, avoided_s - 0.01)
    assert not failed.has_failed(A, avoided_s)


@pytest.mark.parametrize(("count", "is_known"), [(2, True), (3, True), (4, False)])
def test_failed_hops_are_bounded(count: int, is_known: bool) -> None:
    failed = FailedHops(entries_max=3)
    for number in range(count):
        failed.note(hop(number), 0.0)

    assert failed.count == min(count, 3)
    assert failed.has_failed(hop(0), 1.0) is is_known
