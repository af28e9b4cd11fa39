"""What is kept when somebody has a history: also what every device took at once (D36)."""

import pytest

from sipgram.services.messaging.history import FOR_RECIPIENT, FOR_SENDER, History
from sipgram.sip.message.parser import parse

from .house import A, B, House, only

BOBS = History(accounts=("bob@example.com",))


def kept(house: House) -> list[tuple[str, int, bytes]]:
    return [
        (house.store.states[id], message.kept, message.body)
        for id, message in sorted(house.store.messages.items())
    ]


def copies(house: House) -> list[tuple[bytes, str, int]]:
    return sorted((c.device, c.state, c.status) for c in house.store.copies.values())


def test_without_history_a_live_message_is_not_kept() -> None:
    house = House()
    phone = house.bind("bob")
    house.send()
    house.answer_as(phone)

    assert house.statuses() == [200]
    assert kept(house) == []


@pytest.mark.parametrize(
    ("history", "whose"),
    [
        (BOBS, FOR_RECIPIENT),
        (History(accounts=("sip:alice@example.com",)), FOR_SENDER),
        (History(domains=("Example.com",)), FOR_RECIPIENT | FOR_SENDER),
        (History(domains=("example.net",)), None),
    ],
)
def test_a_live_message_is_kept_for_who_has_a_history(history: History, whose: int | None) -> None:
    house = House(history=history)
    phone = house.bind("bob")
    assert house.send() == []

    house.answer_as(phone)

    assert house.statuses() == [200]
    assert kept(house) == ([] if whose is None else [("delivered", whose, b"hi")])


def test_the_sender_hears_200_when_it_is_on_disk() -> None:
    house = House(history=BOBS)
    phone = house.bind("bob")
    house.store.is_slow = True
    house.send()
    house.answer_as(phone)
    assert house.statuses() == []

    house.store.commit()
    assert house.statuses() == [200]
    house.store.commit()
    assert kept(house) == [("delivered", FOR_RECIPIENT, b"hi")]


def test_each_device_has_its_state() -> None:
    house = House(history=BOBS)
    one, two = house.bind("bob", instance=A), house.bind("bob", instance=B, port=5062)
    house.send()
    house.answer_as(one)
    house.answer_as(two, 415)

    assert house.statuses() == [200]
    assert copies(house) == [(A, "taken", 200), (B, "refused", 415)]
    assert [state for state, _, _ in kept(house)] == ["delivered"]


def test_what_every_device_refuses_is_told_and_kept_as_failed() -> None:
    house = House(history=BOBS)
    phone = house.bind("bob")
    house.send()

    house.answer_as(phone, 415)

    assert house.statuses() == [415]
    assert kept(house) == [("failed", FOR_RECIPIENT, b"hi")]


def test_what_cannot_be_recorded_is_relayed_all_the_same() -> None:
    house = House(history=BOBS)
    phone = house.bind("bob")
    house.store.is_away = True
    house.send()
    house.answer_as(phone)
    assert house.statuses() == [200]

    house.store.is_away, house.store.is_slow = False, True
    house.send(body=b"more")
    house.answer_as(phone)
    house.store.fail()
    assert house.statuses() == [200]


def test_a_phone_that_is_away_gets_it_later_and_it_stays() -> None:
    house = House(history=BOBS)
    assert house.send() == [202]

    assert house.drained(house.bind("bob")) == [b"hi"]

    assert kept(house) == [("delivered", FOR_RECIPIENT, b"hi")]


def test_typing_is_in_no_history() -> None:
    house = House(history=BOBS)
    phone = house.bind("bob")
    house.receive(
        house.message(1, body=b"<isComposing/>").replace(
            b"text/plain", b"application/im-iscomposing+xml"
        )
    )

    assert parse(only(phone).raw).body == b"<isComposing/>"
    assert kept(house) == []
