"""Who may see what (RFC 4745, RFC 5025)."""

import pytest

from sipgram.errors import ParseError
from sipgram.payload.state.presence_rules import (
    BLOCKING,
    POLICY,
    RULES,
    RULES_MAX,
    Decision,
    Handling,
    Provided,
    RuleSet,
    identities,
    with_identity,
)

ALICE = "sip:alice@example.com"
DEFAULT = Decision(Handling.CONFIRM, Provided())
NOON = 1_764_072_000.0  # 2025-11-25T12:00:00Z


def rule(conditions: str, handling: str = "allow", shown: str = "") -> str:
    return (
        f"<rule id='r'><conditions>{conditions}</conditions><actions><pr:sub-handling>{handling}"
        f"</pr:sub-handling></actions><transformations>{shown}</transformations></rule>"
    )


def ruleset(*rules: str) -> bytes:
    inner = "".join(rules)
    return (
        f'<ruleset xmlns="{POLICY}" xmlns:pr="{RULES}" xmlns:x="urn:x">{inner}</ruleset>'.encode()
    )


def decided(*rules: str, watcher: str = ALICE, now_utc: float = NOON, sphere: str = "") -> Decision:
    read = RuleSet.parse(ruleset(*rules))
    return read.decide(watcher, now_utc=now_utc, sphere=sphere, default=DEFAULT)


ONE = f'<identity><one id="{ALICE}"/></identity>'
MANY = '<identity><many domain="example.com"/></identity>'
EXCEPT = f'<identity><many><except id="{ALICE}"/><except domain="bad.example"/></many></identity>'


@pytest.mark.rfc("4745", "7.1")
@pytest.mark.parametrize(
    ("conditions", "watcher", "holds"),
    [
        ("", ALICE, True),
        (ONE, ALICE, True),
        (ONE, "sip:carol@example.com", False),
        (MANY, ALICE, True),
        (MANY, "sip:alice@other.example", False),
        ("<identity><many/></identity>", "sip:x@y", True),
        (EXCEPT, ALICE, False),
        (EXCEPT, "sip:x@bad.example", False),
        (EXCEPT, "sip:x@good.example", True),
        ("<identity/>", ALICE, False),
        ("<x:unknown/>", ALICE, False),
        (f"{ONE}<x:unknown/>", ALICE, False),
    ],
)
def test_identity(conditions: str, watcher: str, holds: bool) -> None:
    handling = decided(rule(conditions), watcher=watcher).handling

    assert handling is (Handling.ALLOW if holds else Handling.CONFIRM)


VALID = (
    "<validity><from>2025-11-25T11:00:00Z</from><until>2025-11-25T15:00:00+02:00</until></validity>"
)


@pytest.mark.rfc("4745", "7.3")
@pytest.mark.parametrize(
    ("at", "holds"),
    [(-3601, False), (-3600, True), (0, True), (3600, True), (3601, False)],
)
def test_validity(at: float, holds: bool) -> None:
    handling = decided(rule(VALID), now_utc=NOON + at).handling

    assert handling is (Handling.ALLOW if holds else Handling.CONFIRM)


def test_the_next_turn_is_the_next_end_of_a_span() -> None:
    read = RuleSet.parse(ruleset(rule(VALID), rule(ONE)))

    begin = read.next_turn(NOON - 9_999)
    end = read.next_turn(NOON)
    assert begin == NOON - 3600
    assert end is not None
    assert NOON + 3600 < end < NOON + 3600.01
    assert read.next_turn(end) is None
    assert RuleSet().next_turn(NOON) is None


@pytest.mark.parametrize("text", ["soon", "2025-13-01T00:00:00Z", "0000-01-01T00:00:00Z"])
def test_a_malformed_time_is_refused(text: str) -> None:
    span = f"<validity><from>{text}</from><until>{text}</until></validity>"
    with pytest.raises(ParseError, match="malformed time"):
        RuleSet.parse(ruleset(rule(span)))


@pytest.mark.rfc("4745", "7.2")
def test_sphere() -> None:
    work = rule('<sphere value="work"/>')

    assert decided(work, sphere="work").handling is Handling.ALLOW
    assert decided(work, sphere="home").handling is Handling.CONFIRM
    assert RuleSet.parse(ruleset(work)).has_spheres
    assert not RuleSet.parse(ruleset(rule(ONE))).has_spheres


@pytest.mark.rfc("4745", "10.2")
def test_of_several_rules_the_highest_handling_and_all_that_is_shown() -> None:
    decision = decided(
        rule(ONE, "polite-block", "<pr:provide-mood>true</pr:provide-mood>"),
        rule(MANY, "allow", "<pr:provide-persons><pr:all-persons/></pr:provide-persons>"),
        rule(MANY, "block"),
    )

    assert decision.handling is Handling.ALLOW
    assert decision.provided == Provided(persons=True, attributes=frozenset(("mood",)))


@pytest.mark.rfc("5025", "3.3")
@pytest.mark.parametrize(
    ("shown", "provided"),
    [
        ("", Provided()),
        ("<pr:provide-services><pr:all-services/></pr:provide-services>", Provided(services=True)),
        ("<pr:provide-services><pr:class>x</pr:class></pr:provide-services>", Provided()),
        ("<pr:provide-devices><pr:all-devices/></pr:provide-devices>", Provided(devices=True)),
        ("<pr:provide-note>true</pr:provide-note>", Provided(notes=True)),
        ("<pr:provide-note>false</pr:provide-note>", Provided()),
        ("<pr:provide-all-attributes/>", Provided(notes=True, is_everything=True)),
        (
            "<pr:provide-unknown-attribute ns='urn:x' name='odd'>true</pr:provide-unknown-attribute>",
            Provided(attributes=frozenset(("{urn:x}odd",))),
        ),
        (
            "<pr:provide-user-input>bare</pr:provide-user-input><pr:provide-mood>no</pr:provide-mood>",
            Provided(attributes=frozenset(("user-input",))),
        ),
    ],
)
def test_transformations(shown: str, provided: Provided) -> None:
    assert decided(rule(ONE, shown=shown)).provided == provided


def test_an_unknown_handling_is_refused_and_unreadable_rules_show_nobody_anything() -> None:
    with pytest.raises(ParseError, match="sub-handling"):
        RuleSet.parse(ruleset(rule(ONE, "maybe")))

    decision = BLOCKING.decide(ALICE, now_utc=NOON, default=DEFAULT)
    assert decision == Decision(Handling.POLITE_BLOCK, Provided())


@pytest.mark.parametrize("count", [RULES_MAX - 1, RULES_MAX, RULES_MAX + 1])
def test_rules_are_bounded(count: int) -> None:
    body = ruleset("<rule id='r'/>" * count)
    if count <= RULES_MAX:
        assert len(RuleSet.parse(body).rules) == count
    else:
        with pytest.raises(ParseError, match="more than"):
            RuleSet.parse(body)


def test_a_watcher_is_moved_from_one_list_to_another_and_out() -> None:
    allowed = with_identity(b"", ALICE, Handling.ALLOW)
    blocked = with_identity(allowed, ALICE, Handling.BLOCK)
    neither = with_identity(blocked, ALICE, None)

    assert identities(allowed)["allow"] == [ALICE]
    assert (identities(blocked)["allow"], identities(blocked)["block"]) == ([], [ALICE])
    assert not any(identities(neither).values())


def test_rules_of_others_stay_as_they_are() -> None:
    theirs = ruleset(rule(MANY, "polite-block", "<x:strange/>"))

    body = with_identity(theirs, ALICE, Handling.ALLOW)

    assert b"x:strange" in body
    found = identities(body)
    assert (found["polite-block"], found["allow"]) == (["*@example.com"], [ALICE])
