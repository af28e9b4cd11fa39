"""Every request gets one answer, whatever goes wrong (RFC 3261 §8.2, §16; D3, D11, D32)."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sipgram.errors import ParseError, PeerError, Refusal, TooLarge, Unavailable, UsageError
from sipgram.server import dispatch
from sipgram.server.routes import METHODS
from sipgram.services.answers import Answer, Forward, Later, Reply
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.sink import Flow
from sipgram.testing.messages import request, response, wire
from sipgram.testing.recording import RecordingFlow

from .node import Node, texted, turns

ALLOW = b", ".join(METHODS)


class Scripted:
    """A service that does what it was told, once; then it answers 200."""

    def __init__(self, act: Callable[[], Answer]) -> None:
        self._acts = [act]
        self.handled = 0

    def handle(self, request: Message, source: Flow, account_id: int | None, now: float) -> Answer:
        self.handled += 1
        return self._acts.pop()() if self._acts else Reply(200)


def failing(error: Exception) -> Scripted:
    def act() -> Answer:
        raise error

    return Scripted(act)


def later(work: Callable[[], Coroutine[Any, Any, Reply | Forward]]) -> Scripted:
    return Scripted(lambda: Later(work()))


def node_with(service: Scripted) -> Node:
    return Node(has_digest=False, routes={b"MESSAGE": service})


ERRORS = [
    (Refusal(404, "Not Found: x", (b"X-Told: 1",)), 404, b"Not Found: x"),
    (Refusal(480, ""), 480, b"Temporarily Unavailable"),
    (PeerError("it is broken"), 400, b"it is broken"),
    (PeerError("another version", status=505), 505, b"another version"),
    (ParseError("not what the grammar allows"), 400, b"not what the grammar allows"),
    (TooLarge("over the limit"), 513, b"over the limit"),
    (Unavailable("the disk is full", retry_after_s=7), 500, b"the disk is full"),
    (UsageError("our own mistake"), 500, b"Server Internal Error"),
    (RuntimeError("a bug"), 500, b"Server Internal Error"),
    (KeyError("a bug"), 500, b"Server Internal Error"),
]


@pytest.mark.parametrize(("error", "status", "reason"), ERRORS)
def test_each_error_becomes_one_answer_and_the_next_request_works(
    error: Exception, status: int, reason: bytes
) -> None:
    node = node_with(failing(error))

    answer = node.ask(texted())

    assert (answer.status, answer.reason) == (status, reason)
    assert b"Traceback" not in answer.raw
    assert answer.to_tag
    assert node.ask(texted(branch=b"z9hG4bK-2")).status == 200
    assert node.table.open_count == 0


@pytest.mark.parametrize(("error", "status", "reason"), ERRORS)
async def test_each_error_of_what_was_waited_for_too(
    error: Exception, status: int, reason: bytes
) -> None:
    async def work() -> Reply:
        await asyncio.sleep(0)
        raise error

    node = node_with(later(work))

    answer = await node.answer(texted())

    assert (answer.status, answer.reason) == (status, reason)
    assert node.ask(texted(branch=b"z9hG4bK-2")).status == 200
    assert node.table.open_count == 0


def test_headers_of_a_refusal_go_out() -> None:
    answer = node_with(failing(Refusal(404, "", (b"X-Told: 1", b"X-Told: 2")))).ask(texted())

    assert answer.values(b"x-told") == [b"1", b"2"]


def test_d11_what_is_away_is_500_with_retry_after() -> None:
    answer = node_with(failing(Unavailable("x", retry_after_s=7))).ask(texted())

    assert answer.value(b"retry-after") == b"7"


def test_a_reason_never_becomes_a_header() -> None:
    answer = node_with(failing(PeerError("a\r\nX-Forged: 1"))).ask(texted())

    assert not answer.has(b"x-forged")
    assert not answer.faults


async def test_a_retransmission_of_what_is_waited_for_is_absorbed() -> None:
    done = asyncio.Event()

    async def work() -> Reply:
        await done.wait()
        return Reply(202)

    service = later(work)
    node = node_with(service)
    node.receive(texted())
    await asyncio.sleep(0)
    node.receive(texted())
    assert node.flow.take() == []

    done.set()
    await turns()
    node.receive(texted())

    first, again = node.flow.take()
    assert parse(first).status == 202
    assert again == first
    assert service.handled == 1


async def test_what_waited_may_still_forward() -> None:
    node: Node

    async def work() -> Forward:
        await asyncio.sleep(0)
        return Forward(node.locations.find(b"sip:bob@example.com").bindings)

    node = node_with(later(work))
    bob = node.bind("bob")
    node.receive(texted())
    await turns()

    node.receive(response(bob.take()[0], 200), flow=bob)

    assert parse(node.flow.take()[0]).status == 200


@pytest.mark.parametrize(("waiting", "status"), [(1, 0), (2, 503)])
async def test_waiting_requests_are_bounded(
    monkeypatch: pytest.MonkeyPatch, waiting: int, status: int
) -> None:
    monkeypatch.setattr(dispatch, "LATER_MAX", 2)
    done = asyncio.Event()

    class Waiting:
        def handle(
            self, request: Message, source: Flow, account_id: int | None, now: float
        ) -> Answer:
            return Later(self._work())

        async def _work(self) -> Reply:
            await done.wait()
            return Reply(200)

    node = Node(has_digest=False, routes={b"MESSAGE": Waiting()})
    for n in range(waiting):
        node.receive(texted(branch=b"z9hG4bK%d" % n))
    assert node.flow.take() == []

    node.receive(texted(branch=b"z9hG4bKlast"))

    assert [parse(sent).status for sent in node.flow.take()] == ([status] if status else [])
    done.set()
    await turns()


# ---- methods -----------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "8.2.1")
@pytest.mark.parametrize("method", [b"INVITE", b"BYE", b"SUBSCRIBE", b"PUBLISH", b"message", b"X"])
@pytest.mark.parametrize("has_digest", [True, False])
def test_the_server_itself_serves_few_methods_and_says_405_with_allow(
    method: bytes, has_digest: bool
) -> None:
    answer = Node(has_digest=has_digest).ask(request(method, b"sip:example.com"))

    assert answer.status == 405
    assert answer.value(b"allow") == ALLOW
    assert answer.reason == b"Method Not Allowed: " + method


def test_options_to_the_server_tells_what_it_can() -> None:
    for uri in (b"sip:example.com", b"sip:192.0.2.100:5060", b"sips:EXAMPLE.com;lr"):
        answer = Node().ask(request(b"OPTIONS", uri))
        assert answer.status == 200
        assert answer.value(b"allow") == ALLOW
        assert answer.has(b"accept")


@pytest.mark.parametrize("uri", [b"sip:bob@example.com", b"sip:elsewhere.example"])
def test_options_to_others_is_not_ours_to_answer(uri: bytes) -> None:
    assert Node().ask(request(b"OPTIONS", uri)).status == 407


def test_options_to_the_server_with_an_unknown_extension_is_420() -> None:
    answer = Node().ask(request(b"OPTIONS", b"sip:example.com", headers=(b"Require: 100rel",)))

    assert (answer.status, answer.value(b"unsupported")) == (420, b"100rel")


def test_requests_are_counted_by_method_and_strangers_together() -> None:
    node = Node(has_digest=False)
    for n, method in enumerate((b"MESSAGE", b"FOO", b"BAR")):
        node.ask(request(method, via=b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK%d" % n))

    assert {m: n for m, n in node.dispatcher.requests.items() if n} == {b"MESSAGE": 1, b"other": 2}
    assert node.dispatcher.answers == {480: 3}


# ---- ACK and CANCEL ----------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [b"", b";tag=x"])
def test_d3_an_ack_is_swallowed(tag: bytes) -> None:
    node = Node()

    node.receive(request(b"ACK", to=b"<sip:bob@example.com>" + tag))

    assert node.flow.take() == []


def test_the_ack_of_a_405_to_invite_is_swallowed_too() -> None:
    """Its key is the INVITE's (§17.2.3): a 405 again would make the caller ACK it for ever."""
    node = Node()
    refused = node.ask(request(b"INVITE", b"sip:example.com"))

    node.receive(request(b"ACK", to=refused.value(b"to") or b""))

    assert node.flow.take() == []


def test_a_repeated_invite_gets_the_same_405() -> None:
    node = Node()

    invite = request(b"INVITE", b"sip:example.com")

    assert node.ask(invite).raw == node.ask(invite).raw


def test_d32_a_cancel_of_an_open_message_is_200_and_takes_nothing_back() -> None:
    node = Node(has_digest=False)
    bob = node.bind("bob")
    node.receive(texted())
    raw = bob.take()[0]

    cancelled = node.ask(request(b"CANCEL"))
    node.receive(response(raw, 200), flow=bob)

    assert cancelled.status == 200
    assert bob.take() == []
    assert parse(node.flow.take()[0]).status == 200


def test_d32_a_cancel_of_an_answered_message_is_200() -> None:
    node = Node(has_digest=False)
    assert node.ask(texted()).status == 480

    assert node.ask(request(b"CANCEL")).status == 200


@pytest.mark.parametrize(
    "via",
    [
        b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-2",
        b"Via: SIP/2.0/UDP 192.0.2.9:5070;rport;branch=z9hG4bK-1",
    ],
)
def test_d32_a_cancel_that_matches_nothing_is_481(via: bytes) -> None:
    node = Node(has_digest=False)
    node.bind("bob")
    node.receive(texted())

    assert node.ask(request(b"CANCEL", via=via)).status == 481


# ---- broken requests ---------------------------------------------------------------------------


def test_faults_are_named_in_a_stateless_400() -> None:
    node = Node()

    answer = node.ask(texted().replace(b"CSeq: 1 MESSAGE\r\n", b""))

    assert (answer.status, answer.reason) == (400, b"CSeq is missing")
    assert node.table.answered_count == 0


def test_a_cseq_and_a_body_that_is_too_short_are_both_named() -> None:
    raw = texted().replace(b"CSeq: 1 MESSAGE\r\n", b"").replace(b"Length: 2", b"Length: 18")

    answer = Node().ask(raw)

    assert answer.reason == b"CSeq is missing; Content-Length is 18 but 2 bytes of body came"


def test_another_version_is_505() -> None:
    assert Node().ask(texted().replace(b"SIP/2.0\r\n", b"SIP/3.0\r\n", 1)).status == 505


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello, is anybody there?\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"SIP/2.0 abc OK\r\nVia: SIP/2.0/UDP 192.0.2.9\r\n\r\n",
        b"SIP/2.0 700 Odd\r\nVia: SIP/2.0/UDP 192.0.2.9\r\n\r\n",
        b"SIP/3.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.9\r\n\r\n",
        b"\x00" * 40,
        b"\xff\xfe\xfd\xfc\xfb",
    ],
)
def test_what_is_no_request_gets_no_answer(garbage: bytes) -> None:
    """Two servers that answer each other's garbage would never stop."""
    node = Node()

    node.receive(garbage)

    assert node.flow.take() == []
    assert node.table.answered_count == 0


def test_a_response_to_nothing_is_dropped_and_counted() -> None:
    node = Node()

    node.receive(response(texted(), 200))

    assert node.flow.take() == []
    assert node.dispatcher.strays == 1


def test_a_message_without_via_is_answered_where_it_came_from() -> None:
    raw = wire("""
        MESSAGE sip:bob@example.com SIP/2.0
        From: <sip:alice@example.com>;tag=1
        To: <sip:bob@example.com>
        Call-ID: 1
        CSeq: 1 MESSAGE
        Content-Length: 0

        """)

    assert Node().ask(raw).reason == b"Via is missing"


# ---- draining and overload ---------------------------------------------------------------------


@pytest.mark.parametrize("method", [b"MESSAGE", b"REGISTER", b"OPTIONS", b"INVITE", b"BYE"])
def test_d11_a_node_that_drains_says_503_with_retry_after(method: bytes) -> None:
    node = Node()
    node.dispatcher.is_draining = True

    answer = node.ask(request(method))

    assert answer.status == 503
    assert answer.has(b"retry-after")


def test_what_was_open_is_still_answered_while_draining() -> None:
    node = Node(has_digest=False)
    bob = node.bind("bob")
    node.receive(texted())
    node.dispatcher.is_draining = True

    node.receive(response(bob.take()[0], 200), flow=bob)

    assert parse(node.flow.take()[0]).status == 200


def test_an_ack_gets_no_503() -> None:
    node = Node()
    node.dispatcher.is_draining = True

    node.receive(request(b"ACK"))

    assert node.flow.take() == []


@pytest.mark.parametrize(("open_requests", "status"), [(2, 0), (3, 503)])
def test_open_requests_are_bounded(
    monkeypatch: pytest.MonkeyPatch, open_requests: int, status: int
) -> None:
    from sipgram.sip.transaction import table

    monkeypatch.setattr(table, "OPEN_MAX", 3)
    node = Node(has_digest=False)
    node.bind("bob")
    for n in range(open_requests):
        node.receive(texted(branch=b"z9hG4bK%d" % n))

    node.receive(texted(branch=b"z9hG4bKlast"))

    assert [parse(sent).status for sent in node.flow.take()] == ([status] if status else [])


def test_a_dead_flow_is_480_for_the_sender() -> None:
    node = Node(has_digest=False)
    bob = node.bind("bob", is_reliable=True)
    bob.is_alive = False

    assert node.ask(texted()).status == 480
    assert node.table.open_count == 0


def test_answers_go_where_via_says() -> None:
    flow = RecordingFlow(host=b"192.0.2.9", port=1024)

    answer = Node().ask(texted(), flow=flow)

    assert (answer.value(b"via") or b"").endswith(
        b";rport=1024;branch=z9hG4bK-1;received=192.0.2.9"
    )


class OldPhone(RecordingFlow):
    """A source whose answers go to the port that Via names, since it asks for nothing else."""

    def __init__(self) -> None:
        super().__init__(port=40_000)
        self.at_via = RecordingFlow()

    def reply_flow(self, request: Message) -> Flow:
        return self.at_via


def test_without_rport_an_answer_goes_to_the_port_in_via() -> None:
    """RFC 3261 §18.2.2."""
    phone = OldPhone()

    Node().receive(texted(), flow=phone)

    assert (len(phone.sent), len(phone.at_via.sent)) == (0, 1)


def test_what_is_wrong_is_told_to_where_it_came_from() -> None:
    """The seed message's Via names a host and a port that its sender does not listen on."""
    phone = OldPhone()

    Node().receive(texted().replace(b"CSeq: 1 MESSAGE\r\n", b""), flow=phone)

    assert (len(phone.sent), len(phone.at_via.sent)) == (1, 0)
