"""Caller preferences (RFC 3841 §7.2) over what contacts tell of themselves (RFC 3840)."""

from dataclasses import dataclass, field

import pytest

from sipgram.errors import ParseError
from sipgram.sip.message.address import Address
from sipgram.sip.message.parser import parse
from sipgram.sip.preferences import NONE, PREDICATES_MAX, Features, Preferences, features_of
from sipgram.testing import messages


@dataclass(frozen=True)
class Phone:
    """A contact."""

    name: str
    q: float = 1.0
    features: Features = field(default_factory=dict)


def phone(name: str, params: bytes, *, q: float = 1.0) -> Phone:
    address = Address.parse(b"<sip:x@192.0.2.1>" + params)
    return Phone(name, q, features_of(address.params))


DESK = phone("desk", b';audio;methods="INVITE,BYE";mobility="fixed";expires=60;q=1')
MOBILE = phone("mobile", b';audio;video;methods="INVITE,MESSAGE";mobility="mobile"')
MAILBOX = phone("mailbox", b';audio;actor="msg-taker";automata', q=0.5)
PLAIN = phone("plain", b";expires=60")
ALL = [PLAIN, DESK, MOBILE, MAILBOX]


def names(*lines: bytes, targets: list[Phone] = ALL) -> list[str]:
    request = parse(messages.request(b"INVITE", headers=lines))
    return [target.name for target in Preferences.of(request).apply(targets)]


def test_what_a_contact_tells_is_its_feature_tags_alone() -> None:
    found = phone("x", b';expires=3;q=0.1;+sip.instance="<urn:1>";Audio;+g.oma.sip-im').features
    assert found == {b"sip.instance": b"<urn:1>", b"audio": None, b"g.oma.sip-im": None}


@pytest.mark.rfc("3841", "7.2")
@pytest.mark.parametrize(
    ("line", "left"),
    [
        (b"Accept-Contact: *;video;require", ["plain", "mobile", "desk", "mailbox"]),
        (b"Accept-Contact: *;video;require;explicit", ["plain", "mobile"]),
        (b'Accept-Contact: *;mobility="mobile"', ["plain", "mobile", "desk", "mailbox"]),
        (b'Accept-Contact: *;mobility="mobile";require', ["plain", "mobile", "mailbox"]),
        (b'a: *;mobility="!mobile";require', ["plain", "desk", "mailbox"]),
        (b'a: *;methods="MESSAGE";require', ["plain", "mobile", "mailbox"]),
        (b'Reject-Contact: *;actor="msg-taker"', ["plain", "desk", "mobile"]),
        (b'j: *;actor="msg-taker";video', ["plain", "desk", "mobile", "mailbox"]),
        (b"Reject-Contact: *;automata", ["plain", "desk", "mobile"]),
        (b"Reject-Contact: *;automata=FALSE", ["plain", "desk", "mobile", "mailbox"]),
        (b"Accept-Contact: *", ["plain", "desk", "mobile", "mailbox"]),
    ],
)
def test_a_preference_orders_and_a_requirement_drops(line: bytes, left: list[str]) -> None:
    """A contact that tells nothing of itself is immune, whatever the caller asks for."""
    assert names(line) == left


def test_q_goes_before_preference() -> None:
    assert names(b'Accept-Contact: *;actor="msg-taker"', targets=[MAILBOX, DESK]) == [
        "desk",
        "mailbox",
    ]


def test_several_predicates_are_averaged() -> None:
    lines = (b'Accept-Contact: *;video, *;mobility="fixed"', b"Accept-Contact: *;audio")
    assert names(*lines, targets=[DESK, MOBILE]) == ["desk", "mobile"]
    assert names(*lines, b"Accept-Contact: *;video", targets=[DESK, MOBILE]) == ["mobile", "desk"]


@pytest.mark.parametrize(
    ("want", "tell", "agrees"),
    [
        (b"#>=5", b"#=6", True),
        (b"#>=5", b"#4", False),
        (b"#<=5", b"#1:9", True),
        (b"#1:2", b"#3:4", False),
        (b"#=5", b"5", False),
        (b"#x", b"#5", False),
        (b"#1.2.3", b"#5", False),
        (b"<Text>", b"<text>", False),
        (b"<Text>", b"<Text>", True),
        (b"EN", b"!en", False),
        (b"de", b"!en", True),
    ],
)
def test_values_of_every_kind(want: bytes, tell: bytes, agrees: bool) -> None:
    target = phone("x", b';+x="' + tell + b'"')
    assert names(b'Accept-Contact: *;+x="' + want + b'";require', targets=[target]) == (
        ["x"] if agrees else []
    )


def test_no_wishes_cost_nothing() -> None:
    assert Preferences.of(parse(messages.request(b"INVITE"))) is NONE
    assert NONE.apply([MAILBOX, DESK]) == [DESK, MAILBOX]


@pytest.mark.parametrize("value", [b"<sip:x@y>;audio", b"*;=", b"*;audio;audio"])
def test_what_is_malformed_is_a_400(value: bytes) -> None:
    with pytest.raises(ParseError):
        names(b"Accept-Contact: " + value)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_number_of_predicates_is_bounded(over: int) -> None:
    line = b"Reject-Contact: " + b", ".join([b"*;video"] * (PREDICATES_MAX + over))
    if over > 0:
        with pytest.raises(ParseError, match="Reject-Contact values"):
            names(line)
    else:
        assert names(line) == ["plain", "desk", "mailbox"]
