"""Via: the way back (RFC 3261 §18.2.1, §20.42, RFC 3581, RFC 5118)."""

import pytest

from sipgram.errors import ParseError
from sipgram.sip.message.via import Via, stamp


def test_every_part_of_a_via() -> None:
    via = Via.parse(b"SIP / 2.0 / udp  Pc33.Atlanta.com : 5066 ;branch=z9hG4bKx; rport ; ttl=1")
    assert via == Via(
        b"UDP", b"pc33.atlanta.com", 5066, {b"branch": b"z9hG4bKx", b"rport": None, b"ttl": b"1"}
    )
    assert (via.sent_by, via.branch, via.has_rport) == (b"pc33.atlanta.com:5066", b"z9hG4bKx", True)


@pytest.mark.parametrize(
    ("value", "sent_by"),
    [
        (b"SIP/2.0/TCP 192.0.2.1", b"192.0.2.1"),
        (b"SIP/2.0/WSS df7jal23ls0d.invalid;rport", b"df7jal23ls0d.invalid"),
        (b"SIP/2.0/UDP [2001:DB8::9:1];received=[2001:db8::9:255]", b"[2001:db8::9:1]"),
        (b"SIP/2.0/UDP [::1]:5070;received=2001:db8::9:255", b"[::1]:5070"),
        (b"SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw", b"c.example.com"),
    ],
)
def test_hosts_and_versions_that_are_allowed(value: bytes, sent_by: bytes) -> None:
    """§25.1: sent-protocol is three tokens; a version of its own is the start line's affair."""
    assert Via.parse(value).sent_by == sent_by
    assert Via.parse(value).branch in (b"", b"z9hG4bKkdjuw")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b"", "Via is malformed: "),
        (b"SIP/2.0 192.0.2.1", "Via is malformed: SIP/2.0 192.0.2.1"),
        (b"SIP/2.0/UDP", "Via is malformed: SIP/2.0/UDP"),
        (b"SIP/2.0/UDP a b", "Via is malformed: SIP/2.0/UDP a b"),
        (b"SIP/2.0/UDP 192.0.2.15;;,;,,", "Via has a malformed parameter: ;;,;,,"),
        (b"SIP/2.0/UDP x:0", "Via has a port out of range: 0"),
        (b"SIP/2.0/UDP x:65536", "Via has a port out of range: 65536"),
        (b"SIP/2.0/UDP x;branch=1;branch=2", "Via has the parameter branch twice"),
    ],
)
def test_a_malformed_via_says_what_is_wrong(value: bytes, fault: str) -> None:
    with pytest.raises(ParseError) as caught:
        Via.parse(value)
    assert caught.value.reason == fault


@pytest.mark.rfc("3581", "4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"v: x;rport;branch=1", b"v: x;rport=5070;branch=1;received=192.0.2.7"),
        (b"v: x;branch=1;RPort", b"v: x;branch=1;rport=5070;received=192.0.2.7"),
        (b"v: x;rport=1;branch=1", b"v: x;rport=5070;branch=1;received=192.0.2.7"),
        (b"v: x; rport = 1 ;branch=1", b"v: x;rport=5070 ;branch=1;received=192.0.2.7"),
        (b"v: x;rport;received=1.1.1.1", b"v: x;rport=5070;received=192.0.2.7"),
        (b"v: x;Received=1.1.1.1;rport", b"v: x;rport=5070;received=192.0.2.7"),
    ],
)
def test_d27_received_stands_beside_rport(text: bytes, expected: bytes) -> None:
    assert stamp(text, b"192.0.2.7", 5070, sent_host=b"x", has_rport=True) == expected


@pytest.mark.rfc("3261", "18.2.1")
@pytest.mark.parametrize(
    ("sent_host", "host", "expected"),
    [
        (b"192.0.2.7", b"192.0.2.7", b"v: x;branch=1"),
        (b"[2001:db8::1]", b"2001:db8::1", b"v: x;branch=1"),
        (b"192.0.2.8", b"192.0.2.7", b"v: x;branch=1;received=192.0.2.7"),
        (b"pc.example.com", b"192.0.2.7", b"v: x;branch=1;received=192.0.2.7"),
    ],
)
def test_received_is_added_where_the_source_differs(
    sent_host: bytes, host: bytes, expected: bytes
) -> None:
    assert stamp(b"v: x;branch=1", host, 5070, sent_host=sent_host, has_rport=False) == expected
