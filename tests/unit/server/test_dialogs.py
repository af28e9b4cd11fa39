"""Where a dialog's token leads, and what goes elsewhere with it (RFC 3261 §12.2, §16.7 step 8; D2, D31)."""

import pytest

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request, response
from sipgram.testing.recording import RecordingFlow

from .node import Node, turns, with_credentials
from .test_outward import ROUTING

ALICE = b"<sip:alice@example.com>;tag=a1"
BOB = b"<sip:bob@example.com>;tag=b1"
HIS = b"sip:bob@198.51.100.1:5060"
VICTIM = b"sip:victim@203.0.113.77"
STRANGER = b"203.0.113.66"


class Dialog:
    """A call of alice to bob, who has answered; both are reached at their Contacts."""

    def __init__(self) -> None:
        self.node = Node(routing=ROUTING)
        self.bob = self.node.bind("bob")
        self.count = 0
        raw = request(
            b"INVITE",
            via=self._via(),
            sender=ALICE,
            headers=(b"Contact: <sip:alice@192.0.2.9:5060>",),
        )
        self.node.receive(with_credentials(raw, self.node.ask(raw)))
        (copy,) = self.bob.take()
        (recorded,) = parse(copy).values(b"record-route")
        headers = (b"Record-Route: " + recorded, b"Contact: <" + HIS + b">")
        self.node.receive(response(copy, 200, headers=headers, to_tag=b"b1"), flow=self.bob)
        (answer,) = (parse(data) for data in self.node.flow.take())
        self.hers = answer.values(b"record-route")[0]
        "The route set of alice: it leads to bob."
        self.his = recorded
        "That of bob."

    def _via(self, host: bytes = b"192.0.2.9") -> bytes:
        self.count += 1
        return b"Via: SIP/2.0/UDP %b:5060;rport;branch=z9hG4bK-%d" % (host, self.count)

    def ask(
        self,
        method: bytes,
        uri: bytes = HIS,
        *headers: bytes,
        route: bytes = b"",
        of: str = "alice",
        cseq: int = 2,
    ) -> bytes:
        sender, to = (ALICE, BOB) if of == "alice" else (BOB, ALICE)
        route = route or (self.hers if of == "alice" else self.his)
        return request(
            method,
            uri,
            via=self._via(),
            sender=sender,
            to=to,
            headers=(b"Route: " + route, *headers),
            cseq=cseq,
        )

    async def came_of(self, raw: bytes, host: bytes = STRANGER) -> tuple[list[int], list[str]]:
        """Let a request come in; return the answers to it and whom it went to."""
        flow = RecordingFlow(host=host)
        self.node.receive(raw, flow=flow)
        await turns()
        answers = [parse(data).status for data in flow.take()]
        return answers, [to for to, _ in self.node.outside.sent()]


@pytest.mark.parametrize("method", [b"BYE", b"MESSAGE", b"INVITE", b"UPDATE", b"INFO"])
async def test_d2_both_sides_need_no_digest_towards_each_other(method: bytes) -> None:
    dialog = Dialog()

    assert await dialog.came_of(dialog.ask(method)) == ([], ["198.51.100.1"])
    back = dialog.ask(method, b"sip:alice@192.0.2.9:5060", of="bob")
    assert await dialog.came_of(back) == ([], ["192.0.2.9"])


@pytest.mark.parametrize("method", [b"BYE", b"MESSAGE", b"INVITE", b"FROB"])
@pytest.mark.parametrize("of", ["alice", "bob"])
@pytest.mark.parametrize("by", ["uri", "route", "maddr"])
async def test_d2_a_token_is_no_way_to_anybody_else(method: bytes, of: str, by: str) -> None:
    dialog = Dialog()
    own = dialog.hers if of == "alice" else dialog.his
    if by == "uri":
        raw = dialog.ask(method, VICTIM, of=of)
    elif by == "maddr":
        raw = dialog.ask(method, HIS + b";maddr=203.0.113.77", of=of)
    else:
        raw = dialog.ask(method, HIS, of=of, route=own + b", <sip:203.0.113.77;lr>")

    assert await dialog.came_of(raw) == ([407], [])


async def test_d2_the_token_that_bob_got_does_not_lead_to_bob() -> None:
    dialog = Dialog()

    raw = dialog.ask(b"BYE", route=dialog.his)

    assert await dialog.came_of(raw) == ([407], [])


async def test_d2_an_ack_to_anybody_else_is_dropped() -> None:
    dialog = Dialog()

    assert await dialog.came_of(dialog.ask(b"ACK", VICTIM, cseq=1)) == ([], [])
    assert await dialog.came_of(dialog.ask(b"ACK", cseq=1)) == ([], ["198.51.100.1"])


async def test_d2_an_account_may_go_on_to_a_target_that_we_do_not_know() -> None:
    dialog = Dialog()
    raw = dialog.ask(b"BYE", VICTIM)
    challenged = dialog.node.ask(raw)
    flow = dialog.node.flow

    dialog.node.receive(with_credentials(raw, challenged), flow=flow)
    await turns()

    assert [host for host, _ in dialog.node.outside.sent()] == ["203.0.113.77"]


@pytest.mark.parametrize("host", [b"192.0.2.201", b"192.0.2.77"])
async def test_d2_a_peer_may_not(host: bytes) -> None:
    dialog = Dialog()

    answers, sent = await dialog.came_of(dialog.ask(b"BYE", VICTIM), host)

    assert (answers, sent) == ([403] if host == b"192.0.2.201" else [407], [])


@pytest.mark.rfc("3261", "12.2.1.2")
@pytest.mark.parametrize("method", [b"INVITE", b"UPDATE"])
async def test_d2_a_contact_that_came_up_in_the_dialog_is_known(method: bytes) -> None:
    dialog = Dialog()
    moved = b"sip:alice@192.0.2.44:5060"
    bye = dialog.ask(b"BYE", moved, of="bob")
    assert (await dialog.came_of(bye))[0] == [407]

    refresh = dialog.ask(method, HIS, b"Contact: <" + moved + b">")
    assert (await dialog.came_of(refresh))[1] == ["198.51.100.1"]

    bye = dialog.ask(b"BYE", moved, of="bob")
    assert await dialog.came_of(bye) == ([], ["192.0.2.44"])


async def test_the_ack_of_a_re_invite_goes_to_the_contact_in_its_200() -> None:
    dialog = Dialog()
    moved = b"sip:bob@198.51.100.99:5060"
    raw = dialog.ask(b"INVITE", HIS, b"Contact: <sip:alice@192.0.2.9:5060>")
    dialog.node.receive(raw)
    await turns()
    (copy,) = (copy for _, copy in dialog.node.outside.sent())
    headers = (b"Contact: <" + moved + b">",)
    dialog.node.receive(response(copy.raw, 200, headers=headers), flow=dialog.bob)

    sent = (await dialog.came_of(dialog.ask(b"ACK", moved)))[1]

    assert sent == ["198.51.100.99"]


@pytest.mark.parametrize("status", [200, 481, 415, 500])
async def test_d31_what_the_peer_of_a_dialog_says_to_a_message_goes_up(status: int) -> None:
    dialog = Dialog()
    dialog.node.receive(dialog.ask(b"MESSAGE"))
    await turns()
    (copy,) = (copy for _, copy in dialog.node.outside.sent())

    dialog.node.receive(response(copy.raw, status), flow=dialog.bob)

    assert [parse(data).status for data in dialog.node.flow.take()] == [status]


async def test_d31_a_silent_peer_of_a_dialog_is_480_within_answer_s() -> None:
    dialog = Dialog()
    dialog.node.receive(dialog.ask(b"MESSAGE"))
    await turns()

    dialog.node.advance(5.0)

    assert [parse(data).status for data in dialog.node.flow.take()][-1] == 480


# ---- sips: -------------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "26.2.2")
@pytest.mark.parametrize("method", [b"MESSAGE", b"INVITE", b"FROB"])
@pytest.mark.parametrize(("via", "status"), [(b"UDP", 480), (b"TCP", 480), (b"TLS", 0)])
async def test_a_sips_uri_reaches_devices_by_tls_alone(
    method: bytes, via: bytes, status: int
) -> None:
    node = Node(has_digest=False)
    bob = node.bind("bob", is_reliable=via != b"UDP")
    bob.via_line = bob.via_line.replace(b"UDP", via)
    raw = request(
        method,
        b"sips:bob@example.com",
        headers=(b"Contact: <sips:alice@192.0.2.9>",),
    )

    node.receive(raw)
    await turns()

    answers: list[Message] = [parse(data) for data in node.flow.take()]
    assert [a.status for a in answers if a.status >= 200] == ([status] if status else [])
    assert len(bob.take()) == (0 if status else 1)
