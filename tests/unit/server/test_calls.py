"""Calls through the dispatcher, and over connections of a server that runs (RFC 3261 §16; D2, D3, D28)."""

import asyncio
from pathlib import Path
from typing import Self

import pytest

from sipgram.sip.message.framing import StreamFramer
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request, response
from sipgram.testing.recording import RecordingFlow

from .node import Node
from .running import Serve

CONTACT = b"Contact: <sip:alice@192.0.2.9:5060>"
BOB = b"<sip:bob@example.com>;tag=b1"


def invite(*headers: bytes, branch: bytes = b"z9hG4bK-1", max_forwards: int = 70) -> bytes:
    via = b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=" + branch
    return request(b"INVITE", via=via, headers=(CONTACT, *headers), max_forwards=max_forwards)


def in_dialog(method: bytes, *headers: bytes) -> bytes:
    via = b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-" + method
    uri = b"sip:bob@198.51.100.1:5060"
    return request(method, uri, via=via, to=BOB, headers=headers, cseq=1 if method == b"ACK" else 2)


def statuses(flow: RecordingFlow) -> list[int]:
    return [parse(raw).status for raw in flow.take()]


def called(node: Node, bob: RecordingFlow) -> bytes:
    """Let alice call bob, who answers; return the Route of her side."""
    node.receive(node.authorized(invite()) if node.gate else invite())
    (raw,) = bob.take()
    (recorded,) = parse(raw).values(b"record-route")
    contact = b"Contact: <sip:bob@198.51.100.1:5060>"
    node.receive(response(raw, 200, headers=(b"Record-Route: " + recorded, contact)), flow=bob)
    (answer,) = map(parse, node.flow.take())
    assert answer.status == 200
    (returned,) = answer.values(b"record-route")
    return b"Route: " + returned


def test_d3_an_invite_is_challenged_without_state_and_its_credentials_stay_here() -> None:
    node = Node()
    bob = node.bind("bob")

    raw = node.authorized(invite())
    assert node.table.invites.open_count == 0
    node.receive(raw)

    (copy,) = bob.take()
    assert not parse(copy).has(b"proxy-authorization")
    assert parse(copy).value(b"max-breadth") == b"60"


def test_d2_without_our_token_the_rest_of_a_dialog_is_challenged() -> None:
    node = Node()
    called(node, node.bind("bob"))
    forged = b"Route: <sip:00000000000000000000@example.com;lr>"

    for header in (forged, b"X: 1"):
        assert node.ask(in_dialog(b"BYE", header)).status == 407


async def test_d2_a_signed_request_needs_no_digest() -> None:
    """No sockets are here to reach bob with: it was admitted when 480 comes and not 407."""
    node = Node()
    route = called(node, node.bind("bob"))

    assert (await node.answer(in_dialog(b"BYE", route))).status == 480


def test_d2_a_dialog_that_we_know_nothing_of_is_481() -> None:
    node = Node(has_digest=False)

    assert node.ask(in_dialog(b"BYE")).status == 481


@pytest.mark.parametrize("route", [b"", b"Route: <sip:192.0.2.100;lr>"])
def test_an_ack_that_belongs_to_nothing_is_dropped(route: bytes) -> None:
    node = Node(has_digest=False)
    bob = node.bind("bob")

    node.receive(in_dialog(b"ACK", route or b"X: 1"))

    assert (node.flow.take(), bob.take()) == ([], [])


def test_the_ack_of_a_stateless_challenge_is_dropped() -> None:
    node = Node()
    challenged = node.ask(invite())

    node.receive(request(b"ACK", to=challenged.value(b"to") or b""))

    assert node.flow.take() == []


def test_nobody_there_is_480_and_its_ack_ends_it() -> None:
    node = Node(has_digest=False)

    answer = node.ask(invite())
    node.receive(request(b"ACK", to=answer.value(b"to") or b""))

    assert answer.status == 480
    assert node.flow.take() == []


def test_hops_and_breadth_that_are_used_up() -> None:
    node = Node(has_digest=False)
    node.bind("bob")

    assert node.ask(invite(max_forwards=0)).status == 483
    assert node.ask(invite(b"Max-Breadth: 0", branch=b"z9hG4bK-2")).status == 440


def test_what_comes_back_unchanged_is_a_loop() -> None:
    node = Node(has_digest=False)
    bob = node.bind("bob")
    node.receive(invite())
    (raw,) = bob.take()

    back = raw.replace(b"sip:bob@198.51.100.1:5060 ", b"sip:bob@example.com ", 1)

    assert node.ask(back, flow=bob).status == 482


def test_cancel_reaches_the_phone_that_rings() -> None:
    node = Node(has_digest=False)
    bob = node.bind("bob")
    node.receive(invite())
    (raw,) = bob.take()
    node.receive(response(raw, 180), flow=bob)

    node.receive(request(b"CANCEL"))

    assert statuses(node.flow) == [180, 200]
    (cancel,) = bob.take()
    assert parse(cancel).method == b"CANCEL"


def test_draining_ends_stop_the_phones_and_tell_the_caller() -> None:
    node = Node(has_digest=False)
    bob = node.bind("bob")
    node.receive(invite())
    (raw,) = bob.take()
    node.receive(response(raw, 180), flow=bob)

    node.dispatcher.refuse_open()

    assert statuses(node.flow) == [180, 480]
    assert parse(bob.take()[0]).method == b"CANCEL"


def test_an_unknown_method_goes_to_the_phone_and_its_answer_comes_back() -> None:
    node = Node(has_digest=False)
    bob = node.bind("bob")

    node.receive(request(b"FROB"))
    (raw,) = bob.take()
    node.receive(response(raw, 489), flow=bob)

    assert statuses(node.flow) == [489]


# ---- over connections --------------------------------------------------------------------------


class Line:
    """A phone behind NAT, with one connection to the server."""

    def __init__(self, user: str, port: int) -> None:
        self.user = user.encode()
        self.contact = b"Contact: <sip:%b@10.9.9.9:5060;transport=tcp>" % self.user
        self._port = port
        self._framer = StreamFramer()

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        aor = b"<sip:%b@localhost>" % self.user
        self.send(b"REGISTER", b"sip:localhost", sender=aor + b";tag=r", to=aor)
        assert (await self.next()).status == 200
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    def send(
        self, method: bytes, uri: bytes, *, sender: bytes, to: bytes, route: bytes = b"X: 1"
    ) -> None:
        via = b"Via: SIP/2.0/TCP 10.9.9.9;branch=z9hG4bK-%b-%b" % (self.user, method)
        headers = (self.contact, route)
        call_id = b"r" + self.user if method == b"REGISTER" else b"call"
        self.write(
            request(method, uri, via=via, sender=sender, to=to, call_id=call_id, headers=headers)
        )

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def next(self) -> Message:
        """Return the next message that is not 100."""
        async with asyncio.timeout(10):
            while True:
                for data in self._framer.feed(await self._reader.read(65_536)):
                    if (message := parse(data)).status != 100:
                        return message


async def test_d28_phones_behind_nat_call_over_their_connections(tmp_path: Path) -> None:
    arguments = ("--auth", "none", "--listen", "tcp:127.0.0.1:0", "--http", "none")
    async with Serve(*arguments, data=tmp_path / "data") as serve:
        await serve.ready()
        port = serve.port("tcp")
        ann, ben = b"<sip:ann@localhost>;tag=a", b"<sip:ben@localhost>;tag=b1"
        async with Line("ben", port) as bens:
            async with Line("ann", port) as anns:
                anns.send(b"INVITE", b"sip:ben@localhost", sender=ann, to=b"<sip:ben@localhost>")
                rung = await bens.next()
                routes = b", ".join(rung.values(b"record-route"))
                recorded = b"Record-Route: " + routes
                bens.write(response(rung.raw, 200, headers=(recorded, bens.contact)))
                assert (await anns.next()).status == 200

                reverse = b"Route: " + b", ".join(routes.split(b", ")[::-1])
                bens_uri = b"sip:ben@10.9.9.9:5060;transport=tcp"
                anns.send(b"ACK", bens_uri, sender=ann, to=ben, route=reverse)
                ack = await bens.next()
                assert (ack.method, ack.uri, ack.has(b"route")) == (b"ACK", bens_uri, False)

                anns_uri = b"sip:ann@10.9.9.9:5060;transport=tcp"
                bens.send(b"INFO", anns_uri, sender=ben, to=ann, route=b"Route: " + routes)
                info = await anns.next()
                assert info.method == b"INFO"
                anns.write(response(info.raw, 200))
                assert (await bens.next()).status == 200
            bens.send(b"BYE", anns_uri, sender=ben, to=ann, route=b"Route: " + routes)
            assert (await bens.next()).status == 480
        await serve.stop()
