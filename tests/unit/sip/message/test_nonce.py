"""Nonces without memory, and the window of 64 for nc (RFC 7616 §3.4, D3)."""

import pytest

from sipgram.errors import UsageError
from sipgram.identity import NodeId
from sipgram.sip.message.nonce import NC_WINDOW, NonceMint, StatelessTags


def mint(
    *,
    secret: bytes = b"s" * 32,
    node: str = "n1",
    process: bytes = b"run1",
    lifetime_s: float = 300.0,
    nonces_max: int = 100,
) -> NonceMint:
    return NonceMint(
        secret, node=NodeId(node), process=process, lifetime_s=lifetime_s, nonces_max=nonces_max
    )


def test_a_nonce_is_good_for_its_lifetime() -> None:
    ours = mint()

    nonce = ours.issue(1000.0)

    assert len(nonce) == 34
    assert ours.verify(nonce, 1000.0) == "good"
    assert ours.verify(nonce, 1299.9) == "good"
    assert ours.verify(nonce, 1300.0) == "stale"


def test_challenges_of_one_instant_differ() -> None:
    """Two clients with one nonce would spend each other's counts."""
    ours = mint()

    assert len({ours.issue(5.0) for _ in range(1000)}) == 1000


def test_a_nonce_of_an_earlier_run_is_stale() -> None:
    """Which of its counts were used is forgotten; the client must not ask for a password."""
    nonce = mint(process=b"run1").issue(10.0)

    assert mint(process=b"run2").verify(nonce, 10.0) == "stale"


def test_a_nonce_of_another_node_is_foreign() -> None:
    assert mint(node="n1").verify(mint(node="n2").issue(10.0), 10.0) == "foreign"


@pytest.mark.parametrize("place", [2, 10, 20, 33])
def test_a_changed_nonce_is_forged(place: int) -> None:
    nonce = mint().issue(10.0)
    changed = nonce[:place] + ("A" if nonce[place] != "A" else "B") + nonce[place + 1 :]

    assert mint().verify(changed, 10.0) == "forged"


@pytest.mark.parametrize("nonce", ["", "n1", "n1" + "=" * 32, "n1" + "é" * 32, "n1" + "A" * 33])
def test_what_is_no_nonce_is_forged(nonce: str) -> None:
    assert mint().verify(nonce, 10.0) == "forged"


def test_another_secret_knows_nothing_of_it() -> None:
    assert mint(secret=b"t" * 32).verify(mint().issue(10.0), 10.0) == "forged"


def test_each_count_is_good_once() -> None:
    ours = mint()
    nonce = ours.issue(0.0)

    assert [ours.use(nonce, nc, 1.0) for nc in (1, 2, 2, 1, 3)] == [True, True, False, False, True]
    assert ours.verify(nonce, 1.0) == "good"
    assert ours.verify(nonce, 300.0) == "stale"


@pytest.mark.parametrize(
    ("behind", "taken"),
    [(NC_WINDOW - 2, True), (NC_WINDOW - 1, True), (NC_WINDOW, False), (NC_WINDOW + 1, False)],
)
def test_counts_overtake_each_other_within_the_window(behind: int, taken: bool) -> None:
    ours = mint()
    nonce = ours.issue(0.0)
    ours.use(nonce, 1000, 1.0)

    assert ours.use(nonce, 1000 - behind, 1.0) is taken
    assert ours.use(nonce, 1000 - behind, 1.0) is False


@pytest.mark.parametrize("ahead", [NC_WINDOW - 1, NC_WINDOW, 0xFFFFFFFF - 1])
def test_a_leap_forgets_only_what_left_the_window(ahead: int) -> None:
    ours = mint()
    nonce = ours.issue(0.0)
    ours.use(nonce, 1, 1.0)

    assert ours.use(nonce, 1 + ahead, 1.0)

    assert ours.use(nonce, 1, 1.0) is False
    assert ours.use(nonce, 1 + ahead - 1, 1.0) is True


def test_taking_is_verifying_and_using_at_once() -> None:
    ours = mint()
    nonce = ours.issue(0.0)

    assert [ours.take(nonce, nc, 1.0) for nc in (1, 2, 2, 1, 5, 4, 6)] == [
        *(True, True, False, False),
        *(True, True, True),
    ]
    assert ours.take(nonce, 4, 1.0) is False
    assert ours.take(nonce, None, 1.0) is True
    assert ours.take(nonce, 7, 299.9) is True
    assert ours.take(nonce, 8, 300.0) is False
    assert ours.take(mint(secret=b"t" * 32).issue(0.0), 1, 1.0) is False


def test_answers_without_a_count_may_repeat() -> None:
    ours = mint()
    nonce = ours.issue(0.0)

    assert ours.use(nonce, None, 1.0)
    assert ours.use(nonce, None, 1.0)


def test_a_full_table_never_opens_a_replay() -> None:
    """The oldest is forgotten, and stale from then on instead of new."""
    ours = mint(nonces_max=2)
    first, second, third = (ours.issue(float(at)) for at in (1, 2, 3))
    for nonce in (first, second):
        ours.use(nonce, 1, 4.0)
    assert ours.verify(first, 4.0) == "good"

    ours.use(third, 1, 4.0)

    assert ours.verify(first, 4.0) == "stale"
    assert ours.verify(second, 4.0) == "good"
    assert ours.use(second, 1, 4.0) is False
    assert ours.verify(ours.issue(4.0), 4.0) == "good"


def test_expired_nonces_leave_the_table() -> None:
    ours = mint(lifetime_s=10.0)
    old = [ours.issue(0.0) for _ in range(4)]
    for nonce in old:
        ours.use(nonce, 1, 1.0)

    for _ in range(2):
        ours.use(ours.issue(20.0), 1, 20.0)

    assert len(ours) == 2
    assert [ours.verify(nonce, 20.0) for nonce in old] == ["stale"] * 4


def test_only_our_nonces_can_be_used() -> None:
    with pytest.raises(UsageError):
        mint().use("n1" + "A" * 32, 1, 1.0)


@pytest.mark.parametrize(("node", "process"), [("n", b"run1"), ("né", b"run1"), ("n1", b"run")])
def test_names_have_their_size(node: str, process: bytes) -> None:
    with pytest.raises(UsageError):
        mint(node=node, process=process)


def test_a_stateless_tag_is_the_same_for_the_same_request() -> None:
    tags = StatelessTags(b"s" * 32)

    tag = tags.tag(b"call", b"from", b"z9hG4bK1")

    assert tag == StatelessTags(b"s" * 32).tag(b"call", b"from", b"z9hG4bK1")
    assert len(tag) == 16
    others = {tags.tag(b"callf", b"rom", b"z9hG4bK1"), tags.tag(b"call", b"from", b"z9hG4bK2")}
    assert len(others | {tag}) == 3
    assert StatelessTags(b"t" * 32).tag(b"call", b"from", b"z9hG4bK1") != tag
