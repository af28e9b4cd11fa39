"""Whom a push service is told of when a copy is stored (RFC 8599, DELIVERY.md D25)."""

from pathlib import Path

from sipgram.db.engine import database_url, open_engine
from sipgram.db.migrations import upgrade
from sipgram.db.statements import known_statements
from sipgram.db.writers import writer_for
from sipgram.services.messaging.sql import MessageRows
from sipgram.services.messaging.store import AwayDevice
from sipgram.sip.message.parser import parse
from sipgram.sip.push import Push
from sipgram.testing.messages import response

from .house import A, B, House

BOB = "sip:bob@example.com"
PHONE = Push(b"fcm", b"token", b"sender")
WOKEN = (BOB, PHONE)


def test_d25_a_copy_for_a_device_that_is_away_wakes_it_once() -> None:
    house = House()
    house.bind("bob", instance=A, push=PHONE)
    house.unbind("bob")

    house.send(body=b"0")
    house.send(body=b"1")
    assert house.woken == [WOKEN]

    phone = house.bind("bob", instance=A, push=PHONE)
    assert house.drained(phone) == [b"0", b"1"]
    assert house.woken == [WOKEN]


def test_d25_a_device_that_does_not_come_is_woken_again_by_later_mail() -> None:
    house = House()
    house.bind("bob", instance=A, push=PHONE)
    house.unbind("bob")
    house.send()
    house.advance(29)
    house.send()
    assert house.woken == [WOKEN]

    house.advance(1)
    house.send()
    assert house.woken == [WOKEN, WOKEN]


def test_d25_a_device_that_came_and_left_is_woken_anew() -> None:
    house = House()
    for _ in range(2):
        house.bind("bob", instance=A, push=PHONE)
        house.unbind("bob")
        house.send()
        house.advance(1)
        house.drained(house.bind("bob", instance=A, push=PHONE))
        house.unbind("bob")
    assert house.woken == [WOKEN, WOKEN]


def test_d25_a_device_that_sleeps_over_its_binding_is_woken_when_its_copy_is_stored() -> None:
    """Its connection is dead, and nobody knows: no answer to the live branch."""
    house = House()
    phone = house.bind("bob", instance=A, push=PHONE)

    house.send()
    assert house.woken == []
    house.advance(5)

    assert house.statuses()[-1] == 202
    assert house.woken == [WOKEN]
    house.receive(response(phone.take()[0], 200), flow=phone)
    assert house.inbox_states == ["delivered"]


def test_d25_retries_of_d17_wake_nobody_again() -> None:
    house = House()
    house.bind("bob", instance=A, push=PHONE)
    house.unbind("bob")
    house.send()
    phone = house.bind("bob", instance=A, push=PHONE, for_s=100_000)
    for _ in range(4):
        house.advance(130)
        house.answer_as(phone, 480)

    assert house.woken == [WOKEN]


def test_d25_only_the_device_that_is_away_is_woken() -> None:
    house = House()
    here = house.bind("bob", port=1, instance=A, push=Push(b"fcm", b"here"))
    house.bind("bob", port=2, instance=B, push=PHONE)
    house.unbind("bob", port=2)

    house.send()
    house.answer_as(here)

    assert house.statuses() == [200]
    assert house.woken == [WOKEN]


def test_d25_the_parameters_are_not_in_what_is_sent_to_the_device() -> None:
    house = House()
    house.bind("bob", instance=A, push=PHONE)
    house.unbind("bob")
    house.send()
    phone = house.bind("bob", instance=A, push=PHONE)
    house.advance(0.3)
    (raw,) = phone.take()
    assert b"pn-" not in raw
    assert parse(raw).body == b"hi"


async def test_d25_a_restart_forgets_no_push_service() -> None:
    house = House()
    house.bind("bob", instance=A, push=PHONE)
    house.unbind("bob")

    again = House(house.store)
    assert again.mailroom is not None
    await again.mailroom.load()
    again.mailroom.revive()
    again.send()

    assert again.woken == [WOKEN]


async def test_d25_the_database_keeps_it(tmp_path: Path) -> None:
    url = database_url(tmp_path)
    engine = open_engine(url)
    await upgrade(engine)
    async with writer_for(url, statements=known_statements()) as writer:
        rows = MessageRows(engine, writer, wall=lambda: 1.0, record_s=1.0)
        kept = [
            AwayDevice(BOB, 0, A, False, 1.0, PHONE),
            AwayDevice(BOB, 0, B, True, 1.0, None),
        ]
        for device in kept:
            rows.away(device, lambda error: None)
    assert [device async for device in rows.load_devices()] == kept
    await engine.dispose()
