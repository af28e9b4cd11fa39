"""Which flow a stored copy takes: its binding's Path, another flow when one is dead (D5, D6)."""

import pytest

from sipgram.sip.message.parser import parse
from sipgram.testing.messages import response
from sipgram.testing.recording import RecordingFlow

from ...server.test_flows import registered
from .house import House

EDGE = b"<sip:edge1.example.net;lr>"


def with_two_flows() -> tuple[House, RecordingFlow, RecordingFlow]:
    """A message waits for a phone that has registered by two flows since."""
    house = House()
    assert house.send(body=b"hi") == [202]
    one, two = RecordingFlow(port=1), RecordingFlow(port=2)
    registered(house, one, reg_id=1)
    registered(house, two, reg_id=2)
    return house, one, two


def test_d6_a_stored_copy_takes_the_path_of_its_own_binding() -> None:
    house = House()
    assert house.send(body=b"hi") == [202]
    edge = RecordingFlow(port=1)
    registered(house, edge, path=EDGE)

    house.advance(0.3)
    (data,) = edge.take()

    message = parse(data)
    assert message.values(b"route") == [EDGE]
    assert (message.uri, message.body) == (b"sip:bob1@10.0.0.1", b"hi")


def test_d5_two_flows_of_one_device_get_one_stored_copy() -> None:
    house, one, two = with_two_flows()

    assert house.drained(two) == [b"hi"]
    assert one.take() == []


def test_d5_430_moves_a_stored_copy_to_the_next_flow() -> None:
    house, one, two = with_two_flows()
    house.advance(0.3)
    (data,) = two.take()

    house.receive(response(data, 430), flow=two)

    assert house.drained(one, within_s=0.1) == [b"hi"]
    assert [b.reg_id for b in house.locations.find(b"sip:bob@example.com").bindings] == [1]


def test_d5_a_dead_flow_moves_a_stored_copy_to_the_next() -> None:
    house, one, two = with_two_flows()
    two.is_alive = False

    assert house.drained(one, within_s=0.4) == [b"hi"]


@pytest.mark.parametrize("status", [404, 480, 500])
def test_d5_any_other_answer_does_not(status: int) -> None:
    house, one, two = with_two_flows()
    house.advance(0.3)
    (data,) = two.take()

    house.receive(response(data, status), flow=two)
    house.advance(1.0)

    assert one.take() == [] or status == 404  # That binding has ended: the other one is left.


def test_d5_430_of_the_only_flow_keeps_the_copy() -> None:
    house = House()
    house.send(body=b"hi")
    one = RecordingFlow(port=1)
    registered(house, one, reg_id=1)
    house.advance(0.3)
    (data,) = one.take()

    house.receive(response(data, 430), flow=one)
    two = RecordingFlow(port=2)
    registered(house, two, reg_id=1)

    assert house.drained(two) == [b"hi"]


def test_d28_what_has_moved_to_a_new_connection_is_not_sent_again() -> None:
    """The live request moved when the device registered anew; its stored copy waits for that."""
    house = House()
    old = house.bind("bob", port=1, instance=b'"<urn:uuid:a>"')
    assert house.send(body=b"hi") == []
    house.advance(5.0)
    assert house.statuses()[-1] == 202
    (first,) = {parse(data).branch for data in old.take()}
    house.unbind("bob", port=1)
    new = house.bind("bob", port=2, instance=b'"<urn:uuid:a>"')

    house.table.move({old: lambda data: (new, data)}, house.clock.now)
    house.advance(0.4)

    (data,) = new.take()
    assert parse(data).branch == first
    house.receive(response(data, 200), flow=new)
    assert house.drained(new) == []
    assert house.mailroom is not None
    assert house.mailroom.ledger.waiting_count == 0
