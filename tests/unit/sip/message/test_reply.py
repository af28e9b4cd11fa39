"""Responses, built from the request's own lines (RFC 3261 §8.2.6)."""

import pytest

from sipgram.sip.message import reply
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request, wire

REQUEST = wire("""
    MESSAGE sip:bob@example.com SIP/2.0
    Via: SIP/2.0/UDP proxy.example.com;branch=z9hG4bK-2;rport
    v: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK-1
    f: "A" <sip:alice@example.com>;tag=a1
    To: <sip:bob@example.com>
    Call-ID: 1@192.0.2.9
    CSeq: 7 MESSAGE
    Timestamp: 54
    Record-Route: <sip:proxy.example.com;lr>
    X-Else: is not copied
    Content-Length: 0

    """)


@pytest.mark.rfc("3261", "8.2.6.2")
def test_a_response_copies_via_from_to_call_id_and_cseq() -> None:
    data = reply.build(
        parse(REQUEST),
        200,
        to_tag=b"b1",
        host=b"192.0.2.7",
        port=5070,
        headers=(b"Content-Type: text/plain",),
        body=b"hi",
    )
    assert data == wire("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP proxy.example.com;branch=z9hG4bK-2;rport=5070;received=192.0.2.7
        v: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK-1
        f: "A" <sip:alice@example.com>;tag=a1
        To: <sip:bob@example.com>;tag=b1
        Call-ID: 1@192.0.2.9
        CSeq: 7 MESSAGE
        Timestamp: 54
        Content-Type: text/plain
        Content-Length: 2

        hi""")


def test_a_100_gets_no_tag() -> None:
    """§8.2.6.2: "with the exception of the 100 (Trying) response, in which a tag MAY be"."""
    data = reply.build(parse(REQUEST), 100, to_tag=b"b1", host=b"192.0.2.7", port=5070)
    assert b"\r\nTo: <sip:bob@example.com>\r\n" in data


def test_a_tag_that_is_there_stays() -> None:
    """§8.2.6.2: "If a request contained a To tag …, the To header field MUST equal that"."""
    asked = request(to=b"<sip:bob@example.com>;tag=there")
    data = reply.build(parse(asked), 200, to_tag=b"b1", host=b"192.0.2.7", port=5070)
    assert b"\r\nTo: <sip:bob@example.com>;tag=there\r\n" in data


def test_a_reason_of_our_own_stays_one_line() -> None:
    message = parse(REQUEST)
    data = reply.build(
        message, 400, to_tag=b"x", host=b"h", port=1, reason="Bad\r\nX: y", headers=()
    )
    assert data.startswith(b"SIP/2.0 400 Bad  X: y\r\n")


def test_a_status_without_a_phrase_of_ours_has_an_empty_one() -> None:
    data = reply.build(parse(REQUEST), 299, to_tag=b"x", host=b"h", port=1)
    assert data.startswith(b"SIP/2.0 299 \r\n")
    assert parse(data).status == 299
