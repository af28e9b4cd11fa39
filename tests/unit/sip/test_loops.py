"""Loops, spirals and breadth (RFC 5393; RFC 3261 §16.3 step 4)."""

import pytest

from sipgram.errors import ParseError, Refusal
from sipgram.identity import NodeId
from sipgram.sip.loops import LoopGuard, breadth_of, shares
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing import messages

GUARD = LoopGuard(b"s" * 32, node=NodeId("n1"))
FIRST = parse(messages.request(b"INVITE"))


def come_back(
    uri: bytes = b"sip:bob@example.com", *, changes: tuple[bytes, bytes] | None = None
) -> Message:
    """Return the first request as it went out from us, through another proxy, and came again."""
    ours = b"Via: SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bKn1l0123456789abcdef" + GUARD.hash(FIRST)
    theirs = b"Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK-7\r\n"
    data = FIRST.forwarded(uri, theirs + ours + b"\r\n", b"192.0.2.9", 5060)
    return parse(data.replace(*changes) if changes else data)


@pytest.mark.rfc("3261", "16.3")
def test_a_request_that_comes_back_unchanged_is_a_loop() -> None:
    assert GUARD.is_loop(come_back())


@pytest.mark.rfc("5393", "4.2.1")
def test_with_another_request_uri_it_is_a_spiral() -> None:
    assert not GUARD.is_loop(come_back(b"sip:bob-at-home@example.com"))


@pytest.mark.rfc("5393", "4.2.1")
@pytest.mark.parametrize(
    "changes",
    [
        (b"Call-ID: call-1", b"Call-ID: call-2"),
        (b"tag=a1", b"tag=a2"),
        (b"CSeq: 1 INVITE", b"CSeq: 2 INVITE"),
        (b"Content-Length", b"Route: <sip:192.0.2.3;lr>\r\nContent-Length"),
        (b"Content-Length", b"Proxy-Require: x\r\nContent-Length"),
        (b"Content-Length", b"Accept-Contact: *;audio\r\nContent-Length"),
    ],
)
def test_what_routes_it_otherwise_makes_another_request(changes: tuple[bytes, bytes]) -> None:
    assert not GUARD.is_loop(come_back(changes=changes))


def test_credentials_that_were_taken_out_make_no_difference() -> None:
    headers = (b"Proxy-Authorization: Digest nonce=1",)
    assert GUARD.hash(parse(messages.request(b"INVITE", headers=headers))) == GUARD.hash(FIRST)


def test_a_first_pass_is_no_loop_and_another_node_is_another_element() -> None:
    assert not GUARD.is_loop(FIRST)
    for other in (
        LoopGuard(b"s" * 32, node=NodeId("n2")),
        LoopGuard(b"t" * 32, node=NodeId("n1")),
    ):
        assert not other.is_loop(come_back())


def test_a_via_list_on_one_line_is_looked_through() -> None:
    data = come_back().raw.replace(b"\r\nVia: SIP/2.0/UDP 192.0.2.1", b", SIP/2.0/UDP 192.0.2.1")
    data = data.replace(b"\r\nVia: SIP/2.0/UDP 192.0.2.9", b", SIP/2.0/UDP 192.0.2.9")
    assert len(parse(data).values(b"via")) == 1
    assert GUARD.is_loop(parse(data))


# ---- breadth -----------------------------------------------------------------------------------


def with_breadth(value: bytes) -> Message:
    return parse(messages.request(b"INVITE", headers=(b"Max-Breadth: " + value,)))


@pytest.mark.rfc("5393", "5.3.3")
def test_max_breadth_is_60_when_absent_and_440_when_used_up() -> None:
    assert breadth_of(FIRST) == 60
    assert breadth_of(with_breadth(b"1")) == 1
    assert breadth_of(with_breadth(b"9999999999")) == 2**31 - 1
    with pytest.raises(Refusal, match="440 Max-Breadth Exceeded"):
        breadth_of(with_breadth(b"0"))


@pytest.mark.parametrize("value", [b"-1", b"x", b"", b"1 2", b"12345678901"])
def test_a_max_breadth_that_is_no_number_is_a_400(value: bytes) -> None:
    with pytest.raises(ParseError, match="Max-Breadth is not a number"):
        breadth_of(with_breadth(value))


@pytest.mark.rfc("5393", "5.3.3.1")
@pytest.mark.parametrize(
    ("breadth", "count", "parts"),
    [
        (60, 1, [60]),
        (60, 3, [20, 20, 20]),
        (5, 3, [2, 2, 1]),
        (2, 3, [1, 1]),
        (0, 3, []),
        (60, 0, []),
    ],
)
def test_the_breadth_is_split_between_branches(breadth: int, count: int, parts: list[int]) -> None:
    assert shares(breadth, count) == parts
    assert sum(parts) in (0, breadth)
