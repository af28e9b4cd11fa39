"""Path and Outbound through the whole dispatcher: what a phone behind an edge proxy gets."""

from sipgram.sip.message.parser import parse
from sipgram.testing import messages
from sipgram.testing.recording import RecordingFlow

from .node import Node, texted

BOB = b"<sip:bob@example.com>"
INSTANCE = b'+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"'


def registered(
    node: Node, flow: RecordingFlow, *, reg_id: int = 0, path: bytes = b"", features: bytes = b""
) -> None:
    """Bind a phone of bob that is behind ``flow``."""
    params = b";%b;reg-id=%d" % (INSTANCE, reg_id) if reg_id else b""
    headers = [
        b"Supported: path, outbound",
        b"Contact: <sip:bob%d@10.0.0.1>" % flow.port + params + features,
    ]
    if path:
        headers.append(b"Path: " + path)
    via = b"Via: SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK-r%d" % flow.port
    raw = messages.request(
        b"REGISTER",
        b"sip:example.com",
        via=via,
        sender=BOB + b";tag=1",
        to=BOB,
        call_id=b"r%d" % flow.port,
        headers=headers,
    )
    node.receive(raw, flow=flow)
    assert parse(flow.take()[0]).status == 200


def test_each_branch_uses_its_own_bindings_path() -> None:
    node = Node(has_digest=False)
    one = RecordingFlow(port=1)
    other = node.bind("bob")
    registered(node, one, path=b"<sip:edge1.example.net;lr>")

    for raw in (texted(), messages.request(b"INVITE", headers=(b"Contact: <sip:a@192.0.2.9>",))):
        node.receive(raw)
        (data,) = one.take()[:1]
        assert parse(data).values(b"route") == [b"<sip:edge1.example.net;lr>"]
        assert parse(data).uri == b"sip:bob1@10.0.0.1"
        assert not parse(other.take()[0]).has(b"route")


def test_d5_two_flows_of_one_device_get_one_copy_and_430_moves_on() -> None:
    node = Node(has_digest=False)
    one, two = RecordingFlow(port=1), RecordingFlow(port=2)
    registered(node, one, reg_id=1)
    registered(node, two, reg_id=2)

    node.receive(texted())
    (data,) = two.take()
    assert one.take() == []
    node.receive(messages.response(data, 430), flow=two)
    (data,) = one.take()
    node.receive(messages.response(data, 200), flow=one)

    assert [parse(response).status for response in node.flow.take()] == [200]


def test_d5_an_invite_goes_over_one_flow_and_430_moves_on() -> None:
    node = Node(has_digest=False)
    one, two = RecordingFlow(port=1), RecordingFlow(port=2)
    registered(node, one, reg_id=1)
    registered(node, two, reg_id=2)

    node.receive(messages.request(b"INVITE", headers=(b"Contact: <sip:a@192.0.2.9>",)))
    (data,) = two.take()
    assert one.take() == []
    node.receive(messages.response(data, 430), flow=two)

    assert parse(one.take()[0]).method == b"INVITE"


def test_accept_contact_chooses_between_the_devices_of_a_message() -> None:
    node = Node(has_digest=False)
    plain, chat = RecordingFlow(port=1), RecordingFlow(port=2)
    registered(node, plain, features=b';class="personal"')
    registered(node, chat, features=b';class="business"')

    node.receive(texted(b'Accept-Contact: *;class="business";require'))
    assert (len(plain.take()), len(chat.take())) == (0, 1)
    refused = node.ask(texted(b'Accept-Contact: *;class="x";require', branch=b"z9hG4bK-2"))
    assert refused.status == 480
    node.receive(texted(b"Request-Disposition: no-fork", branch=b"z9hG4bK-3"))
    assert len(plain.take()) + len(chat.take()) == 1
