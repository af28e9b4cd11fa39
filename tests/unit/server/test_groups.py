"""One message to a group: all members' devices, one answer, kept for each account (D4)."""

import pytest

from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request, response
from sipgram.testing.recording import RecordingFlow

from ..services.messaging.memory import MemoryStore
from .node import DOMAIN, Node, texted

TEAM = b"sip:team@example.com"
ALICE = b"<sip:alice@example.com>;tag=a1"


def node_with(
    *members: str,
    store: MemoryStore | None = None,
    trust: tuple[str, ...] = ("192.0.2.0/24", "198.51.100.0/24"),
) -> Node:
    """A group of bob and carol unless told otherwise; nobody needs digest."""
    node = Node(store=store, trust=trust)
    node.household.groups["team"] = members or ("bob", "carol")
    return node


def statuses(node: Node) -> list[int]:
    return [parse(raw).status for raw in node.flow.take()]


def answer(node: Node, phone: RecordingFlow, status: int = 200) -> bytes:
    """Let a phone answer the one request that it has; return the request."""
    (data,) = phone.take()
    node.receive(response(data, status), flow=phone)
    return data


def test_d4_all_devices_of_all_members_get_it_and_the_sender_one_answer() -> None:
    node = node_with()
    phones = [node.bind("bob", port=1), node.bind("bob", port=2), node.bind("carol", port=3)]

    node.receive(texted(uri=TEAM))

    for phone in phones:
        assert statuses(node) == []
        data = answer(node, phone)
        assert parse(data).value(b"to") == b"<" + TEAM + b">"
        assert parse(data).uri.endswith(b"@198.51.100.1:%d" % phone.port)
    assert statuses(node) == [200]


@pytest.mark.parametrize(
    ("bob", "carol", "told"),
    [(200, 200, 200), (200, 202, 202), (403, 200, 200), (403, 415, 403), (603, 486, 480)],
)
def test_d4_the_answer_is_the_best_of_all(bob: int, carol: int, told: int) -> None:
    node = node_with()
    one, two = node.bind("bob", port=1), node.bind("carol", port=2)

    node.receive(texted(uri=TEAM))
    answer(node, one, bob)
    answer(node, two, carol)

    assert statuses(node) == [told]


def test_d4_it_is_stored_for_each_member_account() -> None:
    store = MemoryStore()
    node = node_with(store=store)
    here = node.bind("bob", port=1)

    node.receive(texted(uri=TEAM))
    answer(node, here)

    assert statuses(node) == [202]
    late = node.bind("carol", port=2)
    node.advance(0.3)
    (data,) = late.take()
    assert parse(data).body == b"hi"
    assert parse(data).value(b"to") == b"<" + TEAM + b">"


def test_d4_a_repetition_is_answered_and_not_sent_again() -> None:
    node = node_with()
    phone, other = node.bind("bob", port=1), node.bind("carol", port=2)
    node.receive(texted(uri=TEAM))
    node.receive(texted(uri=TEAM))
    answer(node, phone)
    answer(node, other)

    node.receive(texted(uri=TEAM))

    assert statuses(node) == [200, 200]
    assert (phone.take(), other.take()) == ([], [])


def test_d6_the_sender_gets_it_on_other_devices_alone() -> None:
    node = node_with("alice", "bob", trust=())
    phone = node.bind("bob", port=1)
    entry = node.locations.find(b"sip:alice@example.com")
    node.bind("alice", port=2)
    entry.bindings[0].source = entry.bindings[0].flow = node.flow
    tablet = node.bind("alice", port=3)

    node.receive(node.authorized(texted(uri=TEAM)))
    bodies = [parse(data).method for data in node.flow.take()]

    assert b"MESSAGE" not in bodies
    assert len(phone.take()) == len(tablet.take()) == 1


def test_d6_the_only_device_of_the_sender_is_left_out() -> None:
    node = node_with("alice", "bob", trust=())
    phone = node.bind("bob", port=1)

    node.receive(node.authorized(texted(uri=TEAM)))
    answer(node, phone)

    assert statuses(node)[-1] == 200


def test_d4_a_group_of_nobody_else_is_480() -> None:
    node = node_with("alice", trust=())

    node.receive(node.authorized(texted(uri=TEAM)))

    assert statuses(node)[-1] == 480


def test_d4_nobody_registers_as_a_group_nor_writes_as_one() -> None:
    node = node_with()
    team = b"<" + TEAM + b">"

    register = request(
        b"REGISTER",
        b"sip:example.com",
        sender=team,
        to=team,
        headers=(b"Contact: <sip:x@192.0.2.1>",),
    )
    node.receive(register)
    assert statuses(node) == [403]


def test_d4_an_invite_to_a_group_rings_all() -> None:
    node = node_with()
    phones = [node.bind("bob", port=1), node.bind("carol", port=2)]

    node.receive(request(b"INVITE", TEAM, headers=(b"Contact: <sip:alice@192.0.2.9>",)))

    assert [parse(phone.take()[0]).method for phone in phones] == [b"INVITE"] * 2


@pytest.mark.rfc("5393", "4.2")
def test_d4_a_message_that_comes_back_to_its_group_goes_nowhere() -> None:
    """A member whose phone sends on to the group: no loop, each member gets it once."""
    node = node_with()
    phone, other = node.bind("bob", port=1), node.bind("carol", port=2)
    node.receive(texted(uri=TEAM))
    (data,) = phone.take()
    assert len(other.take()) == 1

    via = b"Via: SIP/2.0/UDP 198.51.100.1:1;rport;branch=z9hG4bK-on\r\n"
    rest = data.partition(b"\r\n")[2]
    node.receive(b"MESSAGE %b SIP/2.0\r\n" % TEAM + via + rest, flow=phone)

    assert (parse(phone.take()[0]).status, other.take()) == (482, [])


@pytest.mark.rfc("5393", "5.3.3")
def test_a_message_that_forks_shares_its_breadth() -> None:
    node = node_with()
    phones = [node.bind("bob", port=port) for port in (1, 2, 3)]

    node.receive(texted(b"Max-Breadth: 10", uri=b"sip:bob@" + DOMAIN.encode()))

    for phone in phones:
        assert parse(phone.take()[0]).values(b"max-breadth") == [b"3"]


@pytest.mark.rfc("5393", "5.3.3")
def test_a_message_to_one_device_says_of_breadth_what_it_said() -> None:
    node = node_with()
    phone = node.bind("bob", port=1)

    node.receive(texted(uri=b"sip:bob@example.com"))
    node.receive(texted(b"Max-Breadth: 1", uri=b"sip:bob@example.com", branch=b"z9hG4bK-2"))

    one, two = phone.take()
    assert not parse(one).has(b"max-breadth")
    assert parse(two).values(b"max-breadth") == [b"1"]


@pytest.mark.rfc("5393", "5.3.3")
def test_a_message_that_may_not_fork_so_far_is_440() -> None:
    node = node_with()
    phones = [node.bind("bob", port=port) for port in (1, 2)]

    node.receive(texted(b"Max-Breadth: 1", uri=b"sip:bob@example.com"))

    assert statuses(node) == [440]
    assert [phone.take() for phone in phones] == [[], []]


@pytest.mark.rfc("5393", "4.2")
def test_a_message_that_forked_and_comes_back_is_482() -> None:
    node = node_with()
    phones = [node.bind("bob", port=port) for port in (1, 2)]
    node.receive(texted(uri=b"sip:bob@example.com"))
    data, _ = (phone.take()[0] for phone in phones)

    rest = data.partition(b"\r\n")[2]
    via = b"Via: SIP/2.0/UDP 198.51.100.1:1;rport;branch=z9hG4bK-on\r\n"
    node.receive(b"MESSAGE sip:bob@example.com SIP/2.0\r\n" + via + rest, flow=phones[0])

    assert parse(phones[0].take()[0]).status == 482
    assert phones[1].take() == []
