"""Requests of our own, read back by our own parser (RFC 3261 §8.1.1)."""

import pytest

from sipgram.errors import UsageError
from sipgram.sip.message.parser import parse
from sipgram.sip.message.request import build

VIA = b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport"


def message(
    *,
    method: bytes = b"MESSAGE",
    uri: bytes = b"sip:bob@example.com",
    to: bytes = b"<sip:bob@example.com>",
    headers: tuple[bytes, ...] = (b"Content-Type: text/plain",),
    body: bytes = b"hi",
) -> bytes:
    return build(
        method,
        uri,
        via=VIA,
        sender=b"<sip:alice@example.com>;tag=a",
        to=to,
        call_id=b"c1",
        cseq=3,
        headers=headers,
        body=body,
    )


@pytest.mark.rfc("3261", "8.1.1")
def test_request_has_its_lines_in_order() -> None:
    """§8.1.1: "A valid SIP request [...] MUST, at a minimum, contain the following"."""
    assert message() == (
        b"MESSAGE sip:bob@example.com SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport\r\n"
        b"Max-Forwards: 70\r\n"
        b"From: <sip:alice@example.com>;tag=a\r\n"
        b"To: <sip:bob@example.com>\r\n"
        b"Call-ID: c1\r\n"
        b"CSeq: 3 MESSAGE\r\n"
        b"Content-Type: text/plain\r\n"
        b"Content-Length: 2\r\n"
        b"\r\n"
        b"hi"
    )


def test_request_is_read_back_without_a_fault() -> None:
    request = parse(message(body=b"\r\n\xff"))

    assert request.faults == ()
    assert (request.method, request.cseq, request.from_tag) == (b"MESSAGE", 3, b"a")
    assert request.body == b"\r\n\xff"


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_header_that_would_become_two_is_refused(end: bytes) -> None:
    with pytest.raises(UsageError, match="header line holds CR or LF"):
        message(headers=(b"Content-Type: text/plain" + end + b"Route: <sip:evil@example.org>",))
    with pytest.raises(UsageError, match="header line holds CR or LF"):
        message(to=b"<sip:bob@example.com>" + end + b"X: y")


@pytest.mark.parametrize("uri", [b"", b"sip:a b@example.com"])
def test_start_line_that_nobody_can_read_is_refused(uri: bytes) -> None:
    with pytest.raises(UsageError, match="Request-URI is malformed"):
        message(uri=uri)


def test_method_is_a_token() -> None:
    with pytest.raises(UsageError, match="method is not a token"):
        message(method=b"MESS AGE")
