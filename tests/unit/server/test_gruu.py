"""GRUUs through the whole dispatcher: one device alone, kept for it alone (RFC 5627; D6)."""

import pytest

from sipgram.sip.message.address import Address
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request, response
from sipgram.testing.recording import RecordingFlow

from ..services.messaging.house import House
from .node import Node, texted

BOB = b"<sip:bob@example.com>"
A, B = b"urn:uuid:a", b"urn:uuid:b"
GRUU_A = b"sip:bob@example.com;gr=" + A
CONTACT = b"Contact: <sip:alice@192.0.2.9:5060>"


class Phone(RecordingFlow):
    """One of bob's devices, at 10.0.0.PORT."""

    def __init__(self, node: Node, instance: bytes, port: int) -> None:
        super().__init__(port=port)
        self._node = node
        self._instance = instance
        self.cseq = 0

    def register(self, *, expires_s: int = 600, call_id: bytes = b"") -> dict[bytes, bytes | None]:
        """Register; return what the 200 says of this contact."""
        self.cseq += 1
        uri = b"sip:bob@10.0.0.%d" % self.port
        contact = b'Contact: <%b>;+sip.instance="<%b>"' % (uri, self._instance)
        via = b"Via: SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK-r%d-%d" % (self.port, self.cseq)
        raw = request(
            b"REGISTER",
            b"sip:example.com",
            via=via + call_id,
            sender=BOB + b";tag=1",
            to=BOB,
            call_id=call_id or b"r%d" % self.port,
            cseq=self.cseq,
            headers=(b"Supported: gruu", contact, b"Expires: %d" % expires_s),
        )
        self._node.receive(raw, flow=self)
        answer = parse(self.take()[0])
        assert answer.status == 200, answer.raw
        for value in answer.values(b"contact"):
            address = Address.parse(value, of="Contact")
            if address.uri == uri:
                return dict(address.params)
        return {}


def two_phones(node: Node) -> tuple[Phone, Phone]:
    one, two = Phone(node, A, 1), Phone(node, B, 2)
    one.register()
    two.register()
    return one, two


def test_d6_a_message_to_a_gruu_goes_to_its_instance_alone() -> None:
    house = House()
    one, two = two_phones(house)
    told = one.register()

    for number, name in enumerate((b"pub-gruu", b"temp-gruu")):
        uri = told[name] or b""
        house.receive(texted(uri=uri, branch=b"z9hG4bK-%d" % number))
        (data,) = one.take()
        assert parse(data).uri == b"sip:bob@10.0.0.1"
        assert parse(data).value(b"to") == b"<" + uri + b">"
        assert two.take() == []
        house.receive(response(data, 200), flow=one)
        assert house.statuses() == [200]


def test_d6_a_message_to_a_gruu_is_stored_for_it_alone() -> None:
    house = House()
    one, two = two_phones(house)
    one.register(expires_s=0)

    house.receive(texted(uri=GRUU_A))

    assert house.statuses() == [202]
    assert house.drained(two) == []
    two.register()
    new = Phone(house, b"urn:uuid:new", 3)
    new.register()
    assert (house.drained(two), house.drained(new)) == ([], [])
    one.register()
    assert house.drained(one) == [b"hi"]
    assert house.mailroom is not None
    assert house.mailroom.ledger.waiting_count == 0


@pytest.mark.parametrize("status", [480, 503, 0])
def test_d6_what_the_device_did_not_take_is_stored_for_it_alone(status: int) -> None:
    house = House()
    one, two = two_phones(house)

    house.receive(texted(uri=GRUU_A))
    (data,) = one.take()
    if status:
        house.receive(response(data, status), flow=one)
    else:
        house.advance(5.0)
        one.take()

    assert house.statuses()[-1] == 202
    house.advance(33.0)
    one.take()
    two.register()
    assert house.drained(two) == []
    one.take()
    one.register()
    assert house.drained(one, within_s=5.0) == [b"hi"]


async def test_d6_a_restart_remembers_whom_it_is_for() -> None:
    house = House()
    one, _ = two_phones(house)
    one.register(expires_s=0)
    house.receive(texted(uri=GRUU_A))

    again = House(house.store)
    assert again.mailroom is not None
    await again.mailroom.load()
    one, two = Phone(again, A, 1), Phone(again, B, 2)
    two.register()
    assert again.drained(two) == []
    one.register()
    assert again.drained(one) == [b"hi"]


@pytest.mark.rfc("5627", "5.5")
def test_a_device_that_nobody_knows_is_404() -> None:
    house = House()
    two_phones(house)

    house.receive(texted(uri=b"sip:bob@example.com;gr=urn:uuid:c"))
    house.receive(texted(uri=b"sip:bob@example.com;gr", branch=b"z9hG4bK-2"))

    assert house.statuses() == [404, 404]


@pytest.mark.rfc("5627", "3.1.2")
def test_a_temporary_one_of_an_older_call_id_is_404() -> None:
    house = House()
    one, _ = two_phones(house)
    old = one.register()[b"temp-gruu"] or b""
    one.register(call_id=b"new")

    house.receive(texted(uri=old))

    assert house.statuses() == [404]


def test_d6_an_invite_to_a_gruu_rings_one_device() -> None:
    node = Node(has_digest=False)
    one, two = two_phones(node)

    node.receive(request(b"INVITE", GRUU_A, headers=(CONTACT,)))

    assert parse(one.take()[0]).uri == b"sip:bob@10.0.0.1"
    assert two.take() == []


@pytest.mark.rfc("5627", "5.5")
@pytest.mark.parametrize("method", [b"BYE", b"INVITE", b"ACK"])
def test_a_gruu_as_remote_target_leads_to_where_its_device_is_now(method: bytes) -> None:
    """bob's phone gave its GRUU as Contact, and has registered from elsewhere since."""
    node = Node(has_digest=False)
    one, _ = two_phones(node)
    node.receive(request(b"INVITE", GRUU_A, headers=(CONTACT,)))
    (raw,) = one.take()
    (recorded,) = parse(raw).values(b"record-route")
    answered = (b"Record-Route: " + recorded, b"Contact: <%b>" % GRUU_A)
    node.receive(response(raw, 200, headers=answered), flow=one)
    elsewhere = Phone(node, A, 9)
    elsewhere.register(call_id=b"moved")

    node.receive(
        request(
            method,
            GRUU_A,
            via=b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-" + method,
            to=b"<sip:bob@example.com>;tag=b1",
            headers=(b"Route: " + recorded, CONTACT),
            cseq=1 if method == b"ACK" else 2,
        )
    )

    (data,) = elsewhere.take()[-1:]
    assert (parse(data).method, parse(data).uri) == (method, b"sip:bob@10.0.0.9")
    assert not parse(data).has(b"route")
