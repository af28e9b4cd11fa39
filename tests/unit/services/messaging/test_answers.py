"""What an answer of a device means: DELIVERY.md's table row by row, for live and for stored copies."""

import pytest

from sipgram.services.messaging.rules import Meaning, meaning
from sipgram.testing.messages import response
from sipgram.testing.recording import RecordingFlow

from .house import A, B, House

ENDING = (400, 401, 403, 405, 406, 407, 413, 415, 416, 420, 488, 493, 501, 513, 600, 603, 606, 699)
KEPT = (
    408,
    412,
    421,
    423,
    429,
    433,
    480,
    481,
    483,
    484,
    486,
    487,
    489,
    491,
    494,
    500,
    502,
    503,
    504,
)


def stored(status: int) -> House:
    """bob was away, comes, and answers what waited for him."""
    house = House()
    assert house.send() == [202]
    phone = house.bind("bob", instance=A, for_s=100_000)
    house.advance(0.2)
    assert house.answer_as(phone, status) == [b"hi"]
    return house


def live(status: int) -> House:
    """bob's one phone answers a relayed message, while his other one is away."""
    house = House()
    phone = house.bind("bob", port=1, instance=A)
    house.bind("bob", port=2, instance=B)
    house.unbind("bob", port=2)
    house.send()
    assert house.answer_as(phone, status) == [b"hi"]
    return house


def copy(house: House, device: bytes = A) -> str:
    """The state of the one message at a device."""
    (message,) = house.store.messages
    outcome = house.store.copies.get((message, device))
    return "waiting" if outcome is None else outcome.state


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_row_2xx_is_taken(status: int) -> None:
    assert copy(stored(status)) == "taken"
    assert copy(live(status)) == "taken"


def test_row_482_to_a_repeated_delivery_is_taken() -> None:
    assert copy(stored(482)) == "taken"
    house = live(482)
    assert copy(house) == "taken"
    assert house.statuses() == [202]  # Of the copy that waits: 482 says nothing to the sender.


@pytest.mark.parametrize("status", ENDING)
def test_row_ends_the_copy(status: int) -> None:
    house = stored(status)
    assert copy(house) == "refused"
    assert house.inbox_states == ["failed"]

    house = live(status)
    assert copy(house) == "refused"
    assert copy(house, B) == "waiting"
    assert house.statuses() == [202]


@pytest.mark.parametrize("status", [405, 501])
def test_row_405_501_mark_the_binding(status: int) -> None:
    """D6: such a contact is no target for a MESSAGE any more."""
    for house in (stored(status), live(status)):
        (binding,) = house.locations.find(b"sip:bob@example.com").bindings
        assert not binding.takes(b"MESSAGE")
        assert binding.takes(b"INVITE")


@pytest.mark.parametrize("status", [404, 410, 430])
def test_row_404_410_430_keep_the_copy_and_end_the_binding(status: int) -> None:
    for house in (stored(status), live(status)):
        assert copy(house) == "waiting"
        assert house.locations.find(b"sip:bob@example.com").bindings == []
        again = house.bind("bob", port=7, instance=A)
        assert house.drained(again) == [b"hi"]


def test_row_a_dead_flow_keeps_the_copy() -> None:
    house = House()
    phone = house.bind("bob", instance=A, is_reliable=True)
    phone.is_alive = False

    assert house.send() == [202]

    assert house.inbox_states == ["waiting"]
    phone.is_alive = True
    again = house.bind("bob", port=7, instance=A)
    assert house.drained(again) == [b"hi"]


@pytest.mark.parametrize("status", KEPT)
def test_row_all_else_and_none_are_kept(status: int) -> None:
    for house in (stored(status), live(status)):
        assert copy(house) == "waiting"
        assert len(house.locations.find(b"sip:bob@example.com").bindings) == 1


def test_row_all_else_and_none_no_answer_is_kept() -> None:
    house = House()
    house.bind("bob", instance=A)
    house.send()
    house.advance(40)
    assert house.statuses()[-1] == 202
    assert house.inbox_states == ["waiting"]


def test_the_table_leaves_no_status_out() -> None:
    for status in range(300, 700):
        expected = (
            Meaning.TAKEN
            if status == 482
            else Meaning.REFUSED
            if status in ENDING or status >= 600
            else Meaning.UNBOUND
            if status in (404, 410, 430)
            else Meaning.KEPT
        )
        assert meaning(status) is expected, status


def redirecting(house: House, phone: RecordingFlow, contact: bytes) -> None:
    (raw,) = phone.take()
    line = b"Contact: <" + contact + b">\r\nContent-Length:"
    answer = response(raw, 302).replace(b"Content-Length:", line, 1)
    house.receive(answer, flow=phone)


def test_row_3xx_is_followed_inside_served_domains() -> None:
    house = House()
    phone = house.bind("bob", port=1, instance=A)
    carol = house.bind("carol", port=2, instance=B)
    house.send()

    redirecting(house, phone, b"sip:carol@example.com")

    assert house.answer_as(carol) == [b"hi"]
    assert house.statuses() == [200]
    assert house.store.messages == {}


@pytest.mark.parametrize(
    "contact", [b"sip:bob@elsewhere.example", b"sip:nobody@example.com", b"tel:", b"mailto:a@b"]
)
def test_row_3xx_to_anywhere_else_is_kept(contact: bytes) -> None:
    house = House()
    phone = house.bind("bob", instance=A)
    house.send()

    redirecting(house, phone, contact)

    assert house.statuses() == [202]
    assert house.inbox_states == ["waiting"]


def test_row_3xx_is_followed_once() -> None:
    """Two phones that name each other: the copy is kept for who was meant."""
    house = House()
    phone = house.bind("bob", port=1, instance=A)
    carol = house.bind("carol", port=2, instance=B)
    house.send()
    redirecting(house, phone, b"sip:carol@example.com")
    redirecting(house, carol, b"sip:bob@example.com")

    assert house.statuses() == [202]
    assert {message.aor for message in house.store.messages.values()} == {"sip:bob@example.com"}
    assert house.drained(phone, within_s=31) == [b"hi"]


def test_row_3xx_what_is_owed_there_is_kept_for_the_device_that_named_it() -> None:
    house = House()
    phone = house.bind("bob", port=1, instance=A)
    carol = house.bind("carol", port=2, instance=B)
    house.send()
    redirecting(house, phone, b"sip:carol@example.com")

    assert house.answer_as(carol, 486) == [b"hi"]

    assert house.statuses() == [202]
    assert copy(house) == "waiting"


def test_row_3xx_of_a_stored_copy_is_kept() -> None:
    assert copy(stored(302)) == "waiting"
