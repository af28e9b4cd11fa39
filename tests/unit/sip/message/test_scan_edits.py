"""What a proxy and a UAS change in a message, by either scanner (RFC 3261 §8.2.6, §16.6, §16.7)."""

import pytest

from sipgram.sip.message.parser import Parse
from sipgram.testing.messages import request, response

from .scanners import MESSAGE, UNUSUAL, implementations


@pytest.fixture(params=implementations())
def scan(request: pytest.FixtureRequest) -> Parse:
    return implementations()[request.param]


TOP = b"Via: SIP/2.0/UDP proxy.example.com;branch=z9hG4bK-p\r\n"


@pytest.mark.rfc("3261", "16.6")
def test_a_request_is_passed_on_with_three_edits(scan: Parse) -> None:
    data = scan(MESSAGE).forwarded(b"sip:bob@192.0.2.20", TOP, b"192.0.2.7", 5070)
    expected = MESSAGE.replace(b"MESSAGE sip:bob@example.com", b"MESSAGE sip:bob@192.0.2.20")
    expected = expected.replace(b"Via:", TOP + b"Via:")
    expected = expected.replace(b"rport\r\n", b"rport=5070;received=192.0.2.7\r\n")
    assert data == expected.replace(b": 70", b": 69")


def test_max_forwards_is_added_where_it_is_missing(scan: Parse) -> None:
    """§16.6 step 3: "If the copy does not contain a Max-Forwards header field, … SHOULD be 70"."""
    data = MESSAGE.replace(b"Max-Forwards: 70\r\n", b"")
    forwarded = scan(data).forwarded(b"sip:bob@x", TOP, b"192.0.2.9", 5062)
    assert forwarded.partition(b"\r\n")[2].startswith(TOP + b"Max-Forwards: 70\r\nVia: ")


def test_lines_may_be_cut_on_the_way(scan: Parse) -> None:
    message = scan(MESSAGE.replace(b"Content-Type", b"Route: <sip:us;lr>\r\nContent-Type"))
    (span,) = message.spans(b"route")
    (kind,) = message.spans(b"content-type")
    cuts = [(*span, b""), (*kind, b"Content-Type: a/b\r\n")]
    forwarded = message.forwarded(b"sip:bob@x", TOP, b"192.0.2.9", 5062, cuts)
    assert b"Route" not in forwarded
    assert b"CSeq: 7 MESSAGE\r\nContent-Type: a/b\r\nContent-Length" in forwarded


def test_an_unusual_via_is_stamped_and_its_list_kept(scan: Parse) -> None:
    forwarded = scan(UNUSUAL).forwarded(b"sip:bob@x", TOP, b"192.0.2.7", 5070)
    message = scan(forwarded)
    assert message.faults == ()
    assert message.values(b"via") == [
        b"SIP/2.0/UDP proxy.example.com;branch=z9hG4bK-p",
        b"SIP / 2.0 / UDP  Host5.Example.com : 5070 ; branch = z9hG4bK-2;received=192.0.2.7, "
        b"SIP/2.0/TCP old;branch=z9hG4bK-0",
    ]
    assert message.max_forwards == 67


def test_a_folded_via_alone_is_stamped_too(scan: Parse) -> None:
    data = MESSAGE.replace(b";rport", b"\r\n ;rport")
    forwarded = scan(data).forwarded(b"sip:bob@x", TOP, b"192.0.2.7", 5070)
    stamped = b"SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK-1 ;rport=5070;received=192.0.2.7"
    assert scan(forwarded).values(b"via")[1] == stamped


@pytest.mark.rfc("3261", "16.7")
@pytest.mark.parametrize("join", [b"\r\nVia: ", b", ", b" ,\r\n "])
def test_a_response_goes_up_without_our_via(scan: Parse, join: bytes) -> None:
    ours, theirs = b"SIP/2.0/UDP us;branch=z9hG4bK-p", b"SIP/2.0/UDP them;branch=z9hG4bK-1"
    data = response(request(via=b"Via: " + ours), 200, body=b"x\r\n")
    data = data.replace(ours + b";received=192.0.2.1", ours + join + theirs)
    relayed = scan(data).relayed()
    assert scan(relayed).values(b"via") == [theirs]
    assert scan(relayed).faults == ()
    assert scan(relayed).body == b"x\r\n"


def test_the_only_via_may_go(scan: Parse) -> None:
    assert not scan(scan(response(MESSAGE, 200)).relayed()).has(b"via")


def test_echoed_lines_of_an_unusual_request(scan: Parse) -> None:
    echoed = scan(UNUSUAL).echoed(b"t1", b"192.0.2.7", 5070)
    assert echoed == (
        b"Via: SIP / 2.0 / UDP  Host5.Example.com : 5070 ; branch = z9hG4bK-2"
        b";received=192.0.2.7, SIP/2.0/TCP old;branch=z9hG4bK-0\r\n"
        b"f: alice <sip:alice@example.com>\r\n ; tag = a1\r\n"
        b"t: sip:bob@example.com;tag=b1\r\n"
        b"i: 1@192.0.2.9\r\n"
        b"cseq: 0007\r\n  MESSAGE\r\n"
    )


def test_a_via_that_cannot_be_read_is_echoed_as_it_came(scan: Parse) -> None:
    """Its sender may still know its own; the answer goes to where the request came from."""
    message = scan(MESSAGE.replace(b"192.0.2.9:5062;", b"192.0.2.9;;,;,,"))
    assert message.rport == 0
    assert message.echoed(b"t1", b"192.0.2.7", 5070).startswith(
        b"Via: SIP/2.0/UDP 192.0.2.9;;,;,,branch=z9hG4bK-1;rport\r\nFrom: "
    )


def test_without_a_via_the_answer_goes_to_the_source(scan: Parse) -> None:
    message = scan(MESSAGE.replace(b"Via: ", b"X-Via: "))
    assert message.rport == 0
    assert message.echoed(b"t1", b"192.0.2.7", 5070).startswith(b"From: ")


def test_what_is_echoed_ends_its_lines_where_a_message_breaks_off(scan: Parse) -> None:
    for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq"):
        broken = MESSAGE[: MESSAGE.index(b"\r\n", MESSAGE.index(name + b": "))]
        assert scan(broken).echoed(b"t1", b"192.0.2.7", 5070).endswith(b"\r\n")
