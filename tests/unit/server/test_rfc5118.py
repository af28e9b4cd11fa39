"""The torture tests of RFC 5118, for IPv6: what each of its messages is about, on a server of ours.

Written anew from the RFC's descriptions: its point is in one or two header values each.
"""

import pytest

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.uri import SipUri
from sipgram.testing.recording import RecordingFlow

from .node import Node


def register(
    uri: bytes = b"sip:[2001:db8::10]",
    *,
    via: bytes = b"SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111",
    contact: bytes = b'"Caller" <sip:caller@[2001:db8::1]>',
) -> bytes:
    return b"\r\n".join(
        (
            b"REGISTER %b SIP/2.0" % uri,
            b"To: sip:user@example.com",
            b"From: sip:user@example.com;tag=81x2",
            b"Via: " + via,
            b"Call-ID: SSG9559905523997077@hlau_4100",
            b"Max-Forwards: 70",
            b"Contact: " + contact,
            b"CSeq: 98176 REGISTER",
            b"Content-Length: 0",
            b"",
            b"",
        )
    )


def answered(raw: bytes) -> tuple[Message, RecordingFlow]:
    """Let a server with an IPv6 listener answer."""
    node = Node(has_digest=False)
    node.locations._own_addresses = {("2001:db8::10", 5060), ("2001:db8::10:5070", 5060)}
    flow = RecordingFlow(host=b"2001:db8::9:1")
    return node.ask(raw, flow=flow), flow


@pytest.mark.rfc("5118", "4.1")
def test_a_valid_register_with_references() -> None:
    raw = register()

    assert parse(raw).faults == ()
    answer, _ = answered(raw)
    assert answer.status == 200
    assert b"sip:caller@[2001:db8::1]" in (answer.value(b"contact") or b"")


@pytest.mark.rfc("5118", "4.2")
def test_an_address_without_brackets_in_the_request_uri_is_400() -> None:
    answer, _ = answered(register(b"sip:2001:db8::10"))

    assert answer.status == 400
    assert b"URI is malformed" in answer.reason


@pytest.mark.rfc("5118", "4.3")
def test_the_port_within_the_brackets_is_part_of_the_address() -> None:
    uri = SipUri.parse(b"sip:[2001:db8::10:5070]")

    assert (uri.host, uri.port) == (b"[2001:db8::10:5070]", None)
    assert answered(register(b"sip:[2001:db8::10:5070]"))[0].status == 200


@pytest.mark.rfc("5118", "4.4")
def test_the_port_behind_the_brackets_is_the_port() -> None:
    uri = SipUri.parse(b"sip:[2001:db8::10]:5070")

    assert (uri.host, uri.port) == (b"[2001:db8::10]", 5070)


@pytest.mark.rfc("5118", "4.5")
@pytest.mark.parametrize("received", [b"[2001:db8::9:255]", b"2001:db8::9:255"])
def test_received_is_taken_with_and_without_brackets(received: bytes) -> None:
    """ "Implementations should accept both": the grammar of RFC 3261 had none."""
    via = b"SIP/2.0/UDP [2001:db8::9:1];received=" + received + b";branch=z9hG4bKas3-111"

    assert parse(register(via=via)).faults == ()
    assert answered(register(via=via))[0].status == 200


@pytest.mark.rfc("5118", "4.6")
def test_an_invite_with_ipv6_in_sdp_passes_untouched() -> None:
    node = Node(has_digest=False)
    bob = node.bind("bob")
    body = (
        b"v=0\r\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\r\ns=Live\r\n"
        b"c=IN IP6 2001:db8::20\r\nt=3338481189 3370017201\r\nm=audio 6000 RTP/AVP 2\r\n"
    )
    raw = (
        b"INVITE sip:bob@example.com SIP/2.0\r\nTo: sip:bob@example.com\r\n"
        b"From: sip:user@example.com;tag=81x2\r\n"
        b"Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\r\n"
        b"Call-ID: SSG9559905523997077@hlau_4100\r\nContact: <sip:caller@[2001:db8::20]>\r\n"
        b"CSeq: 8612 INVITE\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )

    node.receive(raw, flow=RecordingFlow(host=b"2001:db8::9:1"))

    (copy,) = bob.take()
    assert parse(copy).faults == ()
    assert parse(copy).body == body
    assert parse(copy).value(b"contact") == b"<sip:caller@[2001:db8::20]>"


@pytest.mark.rfc("5118", "4.7")
def test_two_vias_of_two_families_both_come_back() -> None:
    raw = register(via=b"SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111").replace(
        b"Call-ID", b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144\r\nCall-ID", 1
    )

    answer, _ = answered(raw)

    vias = answer.values(b"via")
    assert len(vias) == 2
    assert vias[0].startswith(b"SIP/2.0/UDP [2001:db8::9:1]:6050")


@pytest.mark.rfc("5118", "4.9")
def test_an_ipv4_mapped_address_is_an_address() -> None:
    uri = SipUri.parse(b"sip:user@[::ffff:192.0.2.10]:19823")

    assert (uri.host, uri.port) == (b"[::ffff:192.0.2.10]", 19823)
    raw = register(contact=b"<sip:user@[::ffff:192.0.2.10]:19823>")
    assert answered(raw)[0].status == 200


@pytest.mark.rfc("5118", "4.10")
def test_the_grammar_bug_of_rfc_3261_with_three_colons_harms_nobody() -> None:
    """ "Implementations may accept" ``[2001:db8:::192.0.2.1]``; what counts is an answer."""
    raw = register(contact=b"<sip:user@[2001:db8:::192.0.2.1]>")

    assert answered(raw)[0].status in (200, 400)
