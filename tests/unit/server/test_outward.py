"""What goes to others and for whom: trunks, other domains, and never for strangers (D1, D2, D33)."""

import pytest

from sipgram.settings import RoutingSettings, Trunk
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request, response
from sipgram.testing.recording import RecordingFlow

from .node import Node, texted, turns, with_credentials

TRUNK = Trunk(
    name="exchange",
    hosts=("192.0.2.201", "192.0.2.202:5070"),
    addresses=("192.0.2.201", "198.51.100.128/25"),
    numbers=("+", "00"),
    domains=("exchange.example",),
)
GERMAN = Trunk(name="german", hosts=("192.0.2.203",), numbers=("+49",))
TRANSIT = Trunk(name="transit", hosts=("192.0.2.204",), addresses=("192.0.2.204",), may_relay=True)
ROUTING = RoutingSettings(trunks=(TRUNK, GERMAN, TRANSIT))
FROM_TRUNK = RecordingFlow(host=b"192.0.2.201")
FROM_TRANSIT = RecordingFlow(host=b"192.0.2.204")
STRANGER = RecordingFlow(host=b"203.0.113.66")
CONTACT = b"Contact: <sip:alice@192.0.2.9:5060>"
OUTSIDE = (b"sip:+15550199@example.com", b"tel:+15550199", b"sip:x@exchange.example")
NOWHERE = (b"sip:x@elsewhere.example", b"sip:12@example.com", b"sip:nobody@example.com")


def node() -> Node:
    return Node(routing=ROUTING)


def invite(uri: bytes, *headers: bytes, branch: bytes = b"z9hG4bK-i") -> bytes:
    via = b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=" + branch
    headers = (CONTACT, *headers)
    return request(b"INVITE", uri, via=via, to=b"<" + uri + b">", headers=headers)


async def outcome(node: Node, raw: bytes, flow: RecordingFlow) -> tuple[int, list[str]]:
    """Let a request come in; return its final answer, 0 for none yet, and whom it went to."""
    flow.take()
    node.receive(raw, flow=flow)
    await turns()
    answers = [parse(data).status for data in flow.take()]
    final = [status for status in answers if status >= 200]
    return (final[0] if final else 0), [host for host, _ in node.outside.sent()]


# ---- never an open relay -----------------------------------------------------------------------


@pytest.mark.parametrize("method", [b"MESSAGE", b"INVITE", b"OPTIONS", b"REFER", b"FROB"])
@pytest.mark.parametrize("uri", OUTSIDE + NOWHERE)
async def test_d1_nothing_goes_out_for_a_stranger(method: bytes, uri: bytes) -> None:
    raw = request(method, uri, headers=(CONTACT,))

    assert await outcome(node(), raw, STRANGER) == (407, [])


@pytest.mark.parametrize("method", [b"MESSAGE", b"INVITE", b"FROB"])
@pytest.mark.parametrize(
    "route", [b"sip:192.0.2.201;lr", b"sip:example.com;lr>, <sip:192.0.2.201;lr"]
)
async def test_d2_nor_by_a_route_that_leads_to_a_trunk(method: bytes, route: bytes) -> None:
    raw = request(method, headers=(CONTACT, b"Route: <" + route + b">"))

    assert await outcome(node(), raw, STRANGER) == (407, [])


@pytest.mark.parametrize("method", [b"MESSAGE", b"INVITE", b"FROB"])
@pytest.mark.parametrize(
    "route",
    [
        b"sip:203.0.113.1;lr",
        b"sip:192.0.2.201:9999;lr",
        b"sip:192.0.2.201;lr;maddr=203.0.113.1",
        b"sip:victim.example;lr",
    ],
)
@pytest.mark.parametrize("flow", [STRANGER, FROM_TRUNK, FROM_TRANSIT])
async def test_d2_a_route_to_anybody_else_is_403(
    method: bytes, route: bytes, flow: RecordingFlow
) -> None:
    raw = request(method, headers=(CONTACT, b"Route: <" + route + b">"))

    assert await outcome(node(), raw, flow) == (403, [])


@pytest.mark.parametrize("uri", OUTSIDE)
@pytest.mark.parametrize("method", [b"MESSAGE", b"INVITE"])
async def test_d1_a_trunk_reaches_accounts_here_and_nobody_else(method: bytes, uri: bytes) -> None:
    here = node()
    bob = here.bind("bob")

    status, sent = await outcome(here, request(method, uri, headers=(CONTACT,)), FROM_TRUNK)
    assert (status, sent) == (404 if b"@exchange" not in uri else 403, [])

    sender = b"<sip:+4930123@provider.example>;tag=t"
    via = b"Via: SIP/2.0/UDP 192.0.2.201:5060;rport;branch=z9hG4bK-2"
    raw = request(method, b"sip:bob@example.com", via=via, sender=sender, headers=(CONTACT,))
    here.receive(raw, flow=FROM_TRUNK)
    (copy,) = bob.take()
    assert parse(copy).method == method


@pytest.mark.parametrize("uri", OUTSIDE)
@pytest.mark.parametrize("method", [b"MESSAGE", b"INVITE"])
async def test_d1_a_trunk_that_may_relay_does(method: bytes, uri: bytes) -> None:
    raw = request(method, uri, headers=(CONTACT,))

    assert await outcome(node(), raw, FROM_TRANSIT) == (0, ["192.0.2.201"])


async def test_d1_a_trusted_address_that_is_no_trunk_reaches_accounts_here_only() -> None:
    here = Node(routing=ROUTING, trust=("192.0.2.77",))
    raw = request(b"MESSAGE", OUTSIDE[0])

    assert await outcome(here, raw, RecordingFlow(host=b"192.0.2.77")) == (404, [])


@pytest.mark.parametrize("uri", NOWHERE)
async def test_an_account_gets_nowhere_by_what_is_no_number_and_no_domain_of_ours(
    uri: bytes,
) -> None:
    here = node()
    raw = here.authorized(texted(uri=uri))

    status, sent = await outcome(here, raw, here.flow)
    assert (status, sent) == (403 if b"elsewhere" in uri else 404, [])


async def test_d2_a_to_tag_without_our_token_leads_to_no_trunk() -> None:
    here = node()
    via = b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-t"
    sender = b"<sip:alice@example.com>;tag=a1"
    raw = request(b"BYE", OUTSIDE[0], via=via, sender=sender, to=b"<tel:+1>;tag=x")
    raw = with_credentials(raw, here.ask(raw))

    assert await outcome(here, raw, here.flow) == (481, [])


# ---- trunks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "host", "out"),
    [
        (b"sip:+15550199@example.com", "192.0.2.201", b"sip:+15550199@192.0.2.201"),
        (b"tel:+1-555-0199", "192.0.2.201", b"sip:+15550199@192.0.2.201;user=phone"),
        (
            b"sip:+15550199@example.com;user=phone",
            "192.0.2.201",
            b"sip:+15550199@192.0.2.201;user=phone",
        ),
        (b"sip:0049301@example.com", "192.0.2.201", b"sip:0049301@192.0.2.201"),
        (b"tel:+4930123", "192.0.2.203", b"sip:+4930123@192.0.2.203;user=phone"),
        (b"sip:x@exchange.example", "192.0.2.201", b"sip:x@exchange.example"),
        (b"sip:x@EXCHANGE.example;p=1", "192.0.2.201", b"sip:x@EXCHANGE.example;p=1"),
    ],
)
async def test_numbers_and_domains_find_their_trunk(uri: bytes, host: str, out: bytes) -> None:
    here = node()
    here.receive(here.authorized(texted(uri=uri)))
    await turns()

    ((where, copy),) = here.outside.sent()
    assert (where, copy.uri, copy.body) == (host, out, b"hi")
    assert copy.value(b"to") == b"<" + uri + b">"
    assert not copy.has(b"proxy-authorization")


async def test_a_number_of_an_account_here_stays_here() -> None:
    here = node()
    alice = here.bind("alice")
    raw = texted(uri=b"tel:+15550100", sender=b"<sip:bob@example.com>;tag=b1")
    here.receive(here.authorized(raw, user="bob"))
    await turns()

    assert here.outside.sent() == []
    assert len(alice.take()) == 1


def answered(here: Node, status: int, *headers: bytes) -> Message:
    """Let the trunk answer the one request that it got; return the request."""
    ((where, copy),) = here.outside.sent()
    port = 5070 if where == "192.0.2.202" else 5060
    flow = here.outside.flows[where, port]
    here.receive(response(copy.raw, status, headers=headers), flow=flow)
    return copy


async def test_d33_a_message_goes_to_the_second_host_when_the_first_says_503() -> None:
    here = node()
    here.receive(here.authorized(texted(uri=OUTSIDE[0])))
    await turns()

    answered(here, 503)
    second = answered(here, 200)

    assert second.uri == b"sip:+15550199@192.0.2.202:5070"
    assert [parse(raw).status for raw in here.flow.take()][-1] == 200


async def test_d33_a_dead_host_is_tried_last_the_next_time() -> None:
    here = node()
    for n, host in enumerate(("192.0.2.201", "192.0.2.202")):
        raw = texted(uri=OUTSIDE[0], branch=b"z9hG4bK-%d" % n)
        here.receive(here.authorized(raw))
        await turns()
        ((where, copy),) = here.outside.sent()
        assert where == host
        here.receive(response(copy.raw, 503 if n == 0 else 200), flow=here.flow)
        here.outside.sent()


async def test_d33_silence_moves_a_call_to_the_second_host_and_the_first_is_taken_back() -> None:
    here = node()
    here.receive(here.authorized(invite(OUTSIDE[0])))
    await turns()
    ((_, first),) = here.outside.sent()

    here.advance(3.0)
    sent = here.outside.sent()
    (second,) = [copy for host, copy in sent if host == "192.0.2.202"]
    assert second.branch != first.branch
    # §9.1: the CANCEL waits for a provisional answer of the first, should one come.
    first_flow = here.outside.flows["192.0.2.201", 5060]
    here.receive(response(first.raw, 180), flow=first_flow)
    assert [parse(raw).method for raw in first_flow.take()] == [b"CANCEL"]
    here.receive(response(second.raw, 200), flow=here.outside.flows["192.0.2.202", 5070])
    assert 200 in [parse(raw).status for raw in here.flow.take()]


async def test_d33_a_call_that_nobody_takes_is_480_within_answer_s() -> None:
    here = node()
    here.receive(here.authorized(invite(OUTSIDE[0])))
    await turns()

    here.advance(4.9)
    assert [parse(raw).status for raw in here.flow.take()] in ([], [100])
    here.advance(0.2)
    assert [parse(raw).status for raw in here.flow.take()] == [480]


@pytest.mark.parametrize("status", [404, 486, 603])
async def test_what_a_trunk_says_ends_the_search(status: int) -> None:
    here = node()
    here.receive(here.authorized(invite(OUTSIDE[0])))
    await turns()
    answered(here, status)

    assert [parse(raw).status for raw in here.flow.take()][-1] == status
    assert all(copy.method == b"ACK" for _, copy in here.outside.sent())


async def test_a_ringing_trunk_is_not_given_up_for_its_silence() -> None:
    here = node()
    here.receive(here.authorized(invite(OUTSIDE[0])))
    await turns()
    answered(here, 100)

    here.advance(30.0)

    assert [host for host, _ in here.outside.sent()] == []


async def test_d2_a_route_to_a_trunk_is_followed_for_an_account() -> None:
    here = node()
    raw = texted(b"Route: <sip:192.0.2.202:5070;lr>", uri=b"sip:bob@example.com")
    here.receive(here.authorized(raw))
    await turns()

    ((where, copy),) = here.outside.sent()
    assert (where, copy.uri) == ("192.0.2.202", b"sip:bob@example.com")
    assert copy.values(b"route") == [b"<sip:192.0.2.202:5070;lr>"]


async def test_d33_a_sips_uri_never_goes_by_udp() -> None:
    here = node()
    raw = here.authorized(texted(uri=b"sips:x@exchange.example"))

    assert await outcome(here, raw, here.flow) == (480, [])
