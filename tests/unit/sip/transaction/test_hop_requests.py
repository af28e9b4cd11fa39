"""The CANCEL and the ACK of a hop, octet for octet (RFC 3261 §9.1, §17.1.1.3)."""

import pytest

from sipgram.sip.message.parser import parse
from sipgram.sip.transaction.hop_requests import ack_of, cancel_of
from sipgram.testing import messages

INVITE = messages.request(
    b"INVITE",
    b"sip:bob@192.0.2.4",
    cseq=7,
    headers=(
        b"Via: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bK-0",
        b"Route: <sip:192.0.2.8;lr>",
        b"Route: <sip:192.0.2.7;lr>, <sip:192.0.2.6;lr>",
        b"Require: 100rel",
        b"Proxy-Authorization: Digest nonce=1",
    ),
    body=b"v=0",
)


@pytest.mark.rfc("3261", "17.1.1.3")
def test_an_ack_takes_to_from_the_response_and_all_else_from_the_invite() -> None:
    """§17.1.1.3: "The ACK MUST contain a single Via header field"."""
    response = parse(messages.response(INVITE, 486, to_tag=b"b9"))
    assert ack_of(INVITE, response) == messages.wire(
        """
        ACK sip:bob@192.0.2.4 SIP/2.0
        Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-1
        Route: <sip:192.0.2.8;lr>
        Route: <sip:192.0.2.7;lr>, <sip:192.0.2.6;lr>
        Max-Forwards: 70
        From: <sip:alice@example.com>;tag=a1
        To: <sip:bob@example.com>;tag=b9
        Call-ID: call-1@192.0.2.9
        CSeq: 7 ACK
        Content-Length: 0

        """
    )


@pytest.mark.rfc("3261", "9.1")
def test_a_cancel_is_the_invite_without_require() -> None:
    """§9.1: "The CANCEL request MUST NOT contain any Require or Proxy-Require header fields"."""
    assert cancel_of(INVITE, reason=b"SIP;cause=200") == messages.wire(
        """
        CANCEL sip:bob@192.0.2.4 SIP/2.0
        Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-1
        Route: <sip:192.0.2.8;lr>
        Route: <sip:192.0.2.7;lr>, <sip:192.0.2.6;lr>
        Max-Forwards: 70
        From: <sip:alice@example.com>;tag=a1
        To: <sip:bob@example.com>
        Call-ID: call-1@192.0.2.9
        CSeq: 7 CANCEL
        Reason: SIP;cause=200
        Content-Length: 0

        """
    )


@pytest.mark.parametrize("method", [b"ACK", b"CANCEL"])
def test_both_are_requests_that_a_peer_can_match(method: bytes) -> None:
    response = parse(messages.response(INVITE, 486))
    data = ack_of(INVITE, response) if method == b"ACK" else cancel_of(INVITE)
    request = parse(data)
    assert (request.method, request.faults) == (method, ())
    kept = b"INVITE" if method == b"ACK" else b"CANCEL"  # §17.2.3: an ACK is found by its INVITE.
    assert request.key == parse(INVITE).key.replace(b"INVITE", kept)
