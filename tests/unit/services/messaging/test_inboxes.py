"""Who is waited for, how long, and how many (DELIVERY.md D7, D11, D22, D36, D37)."""

from sipgram.services.messaging.mailroom import DUE_AT_ONCE
from sipgram.sip.message.parser import parse

from .house import A, B, House


def test_d7_a_new_device_gets_what_nobody_has_taken_and_no_old_mail() -> None:
    house = House()
    house.send(body=b"old")
    assert house.drained(house.bind("bob", port=1, instance=A)) == [b"old"]
    house.unbind("bob", port=1)
    house.send(body=b"new")

    assert house.drained(house.bind("bob", port=2, instance=B)) == [b"new"]
    assert house.drained(house.bind("bob", port=1, instance=A)) == [b"new"]
    assert house.inbox_states == ["delivered", "delivered"]


def test_d7_at_most_eight_devices_are_waited_for() -> None:
    house = House()
    for n in range(12):
        house.bind("bob", port=n + 1, instance=b"i%d" % n)
        house.unbind("bob", port=n + 1)
        house.advance(1)
    assert house.mailroom is not None
    inbox = house.mailroom.ledger.find("sip:bob@example.com")

    assert inbox is not None
    assert list(inbox.devices) == [b"i%d" % n for n in range(4, 12)]
    assert len(house.store.devices) == 8


def test_d22_a_full_inbox_is_480_with_retry_after() -> None:
    house = House(inbox_messages_max=2)
    assert [house.send() for _ in range(2)] == [[202], [202]]

    house.receive(house.message(9))
    (raw,) = house.flow.take()
    full = parse(raw)

    assert (full.status, full.value(b"retry-after")) == (480, b"3600")
    assert full.reason == b"Inbox Is Full: 2 messages"


def test_d22_the_store_is_full_for_all() -> None:
    house = House(stored_messages_max=1)
    assert [house.send(), house.send()] == [[202], [480]]


async def test_a_restart_forgets_nothing() -> None:
    """D37: what waits for whom is the same after it."""
    house = House()
    one = house.bind("bob", port=1, instance=A)
    house.bind("bob", port=2, instance=B)
    house.unbind("bob", port=2)
    house.send(body=b"0")
    house.answer_as(one)
    house.unbind("bob", port=1)
    house.send(body=b"1")

    again = House(house.store)
    assert again.mailroom is not None
    assert await again.mailroom.load() == 2
    again.mailroom.revive()

    assert again.drained(again.bind("bob", port=1, instance=A)) == [b"1"]
    assert again.drained(again.bind("bob", port=2, instance=B)) == [b"0", b"1"]
    assert again.inbox_states == ["delivered", "delivered"]
    assert again.mailroom.ledger.waiting_count == 0


def test_an_inbox_goes_when_nothing_is_left_of_it() -> None:
    """Those who are there with all their devices go back to the synchronous path."""
    house = House()
    house.send()
    phone = house.bind("bob")
    house.drained(phone)
    assert house.locations.find(b"sip:bob@example.com").has_inbox
    assert house.mailroom is not None

    house.advance(3601)
    house.mailroom.tick(house.clock.now)

    assert not house.locations.find(b"sip:bob@example.com").has_inbox
    assert len(house.mailroom.ledger) == 0


def test_d36_the_mail_of_an_account_that_is_gone_goes_with_it() -> None:
    """From memory; from disk by ``operator/purge.py``."""
    house = House()
    house.send()
    house.send(body=b"more")
    assert house.mailroom is not None
    inbox = house.mailroom.ledger.find("sip:bob@example.com")
    assert inbox is not None
    inbox.account_id = 7  # Another has the name now.

    house.mailroom.tick(house.clock.now)

    assert len(house.mailroom.ledger) == 0
    assert house.mailroom.ledger.waiting_count == 0
    assert house.drained(house.bind("bob")) == []


def test_d11_what_the_database_does_not_take_is_written_when_it_does() -> None:
    """A locked database or a full disk: delivered once, and no restart delivers it again."""
    house = House()
    house.send()
    phone = house.bind("bob")
    house.advance(0.2)
    house.store.is_away = True
    assert house.answer_as(phone) == [b"hi"]
    assert house.inbox_states == ["waiting"]
    assert house.mailroom is not None
    assert house.mailroom.ledger.unwritten_count > 0

    house.store.is_away = False
    house.mailroom.tick(house.clock.now)

    assert house.inbox_states == ["delivered"]
    assert house.mailroom.ledger.unwritten_count == 0


def test_nothing_is_left_of_an_inbox_that_was_refused() -> None:
    """With a full store, messages to ever new names (--auth none) must not grow memory."""
    house = House(stored_messages_max=1)
    house.send()
    assert house.mailroom is not None
    for n in range(20):
        raw = house.message(100 + n).replace(b"bob@", b"name%d@" % n)
        house.receive(raw)

    assert house.statuses() == [480] * 20
    assert len(house.mailroom.ledger) == 1


def test_d7_devices_that_left_are_waited_for_up_to_a_limit() -> None:
    house = House(devices_max=5)
    for n in range(9):
        house.bind(f"name{n}", port=n + 1)
        house.unbind(f"name{n}", port=n + 1)
    assert house.mailroom is not None

    assert house.mailroom.ledger.away_count == 5
    assert len(house.mailroom.ledger) == 5
    house.bind("name0", port=1)
    assert house.mailroom.ledger.away_count == 4


def test_d35_nothing_expires_by_a_clock_that_was_stepped_until_it_is_sane() -> None:
    house = House()
    house.send(b"Expires: 3600", body=b"one")
    assert house.mailroom is not None
    house.wall_lead += 30 * 86_400

    for _ in range(59):
        house.advance(10)
        house.mailroom.tick(house.clock.now)
    assert house.inbox_states == ["waiting"]

    house.wall_lead -= 30 * 86_400  # Somebody puts it right.
    for _ in range(61):
        house.advance(10)
        house.mailroom.tick(house.clock.now)
    assert house.inbox_states == ["waiting"]
    assert house.drained(house.bind("bob")) == [b"one"]


def test_d35_what_was_accepted_under_a_clock_set_back_outlives_its_correction() -> None:
    house = House()
    house.wall_lead -= 30 * 86_400
    house.send(b"Expires: 3600")
    assert house.mailroom is not None

    house.advance(60)
    house.wall_lead += 30 * 86_400
    for _ in range(61):
        house.advance(10)
        house.mailroom.tick(house.clock.now)

    assert house.inbox_states == ["waiting"]
    house.advance(3600)
    house.mailroom.tick(house.clock.now)
    assert house.inbox_states == ["expired"]


def test_d7_fifty_reloads_of_a_page_leave_no_growing_debt() -> None:
    """A browser page makes a new instance at each load; two of them are waited for, for a day."""
    house = House()
    laptop = house.bind("bob", port=1, instance=A)
    for n in range(50):
        page = house.bind("bob", port=100 + n, instance=b"page%d" % n, is_page=True)
        house.send(body=b"%d" % n)
        house.answer_as(page)
        house.answer_as(laptop)
        house.unbind("bob", port=100 + n)
        house.send(body=b"behind %d" % n)
        house.answer_as(laptop)
        house.advance(1)
    assert house.mailroom is not None
    inbox = house.mailroom.ledger.find("sip:bob@example.com")

    assert inbox is not None
    pages = {i: len(device.own) for i, device in inbox.devices.items() if device.is_page}
    # Each page that is waited for missed what came when it had gone, and nothing before.
    assert pages == {b"page48": 3, b"page49": 1}
    assert len(house.store.devices) == 2
    assert house.mailroom.ledger.waiting_count == 3

    house.advance(86_401)
    house.mailroom.tick(house.clock.now)
    assert len(house.store.devices) == 0
    assert house.mailroom.ledger.waiting_count == 0
    assert set(house.inbox_states) == {"delivered"}


def test_d7_pages_are_counted_apart_from_devices() -> None:
    house = House()
    for n in range(8):
        house.bind("bob", port=n + 1, instance=b"i%d" % n)
        house.unbind("bob", port=n + 1)
    for n in range(3):
        house.bind("bob", port=n + 1, instance=b"page%d" % n, is_page=True)
        house.unbind("bob", port=n + 1)
        house.advance(1)
    assert house.mailroom is not None
    inbox = house.mailroom.ledger.find("sip:bob@example.com")

    assert inbox is not None
    assert [d for d in inbox.devices if d.startswith(b"page")] == [b"page1", b"page2"]
    assert len(inbox.devices) == 10


def test_d7_pages_are_evicted_first_when_too_many_devices_are_away() -> None:
    house = House(devices_max=3)
    for n in range(3):
        house.bind(f"name{n}", port=n + 1, instance=b"p%d" % n, is_page=n != 1)
        house.unbind(f"name{n}", port=n + 1)
    house.bind("bob", port=9, instance=A)
    house.unbind("bob", port=9)
    house.bind("carol", port=10, instance=A)
    house.unbind("carol", port=10)
    house.bind("dave", port=11, instance=A)
    house.unbind("dave", port=11)
    assert house.mailroom is not None

    away = {aor for aor, _ in house.store.devices}
    assert away == {f"sip:{name}@example.com" for name in ("name1", "bob", "carol")}
    assert house.mailroom.ledger.away_count == 3


async def test_d7_a_page_is_one_after_a_restart_too() -> None:
    house = House()
    house.bind("bob", port=1, instance=A, is_page=True)
    house.unbind("bob", port=1)

    again = House(house.store)
    assert again.mailroom is not None
    await again.mailroom.load()
    inbox = again.mailroom.ledger.find("sip:bob@example.com")
    assert inbox is not None
    assert inbox.devices[A].is_page


def test_d7_a_device_that_comes_while_nobody_answers_gets_what_was_stored_then() -> None:
    """At once and in order: it was not in the fork, and no REGISTER of it follows (D16)."""
    house = House()
    house.bind("bob", port=1, instance=A)
    house.send(body=b"0")
    house.advance(2)
    newcomer = house.bind("bob", port=2, instance=B)

    house.advance(3)
    assert house.statuses()[-1] == 202
    assert house.send(body=b"1") == [202]

    assert house.drained(newcomer) == [b"0", b"1"]


def test_d7_devices_that_were_forgotten_leave_nothing_to_keep_in_order() -> None:
    """An inbox whose last waiting device is forgotten goes back to the synchronous path."""
    house = House()
    laptop = house.bind("bob", port=1, instance=A, for_s=1e6)
    house.bind("bob", port=2, instance=B, is_page=True)
    house.unbind("bob", port=2)
    house.send()
    house.answer_as(laptop)
    assert house.mailroom is not None

    house.advance(86_401)
    house.mailroom.tick(house.clock.now)
    house.mailroom.tick(house.clock.now)

    assert len(house.mailroom.ledger) == 0


def test_what_expires_is_ended_once_however_slow_the_database() -> None:
    """Looked for again before that is on disk, it would be found, and counted, again."""
    house = House()
    for _ in range(3):
        house.send(b"Expires: 60")
    assert house.mailroom is not None
    house.advance(61)
    house.store.is_slow = True

    for _ in range(5):
        house.mailroom.tick(house.clock.now)
    assert house.store.looks == 1
    assert house.mailroom.ledger.waiting_count == 0

    house.store.fail()  # Locked: it is written when the lock is gone.
    house.mailroom.tick(house.clock.now)
    assert house.store.looks == 1
    house.store.commit()
    assert house.inbox_states == ["expired"] * 3
    house.mailroom.tick(house.clock.now)
    assert house.store.looks == 2


def test_a_purge_goes_on_when_the_last_step_is_on_disk() -> None:
    """In steps, so that nobody waits for it, and without a second between them."""
    house = House()
    for _ in range(DUE_AT_ONCE + 5):
        house.send(b"Expires: 60")
    assert house.mailroom is not None
    house.advance(61)
    house.store.is_slow = True
    house.mailroom.tick(house.clock.now)
    assert house.store.looks == 1

    house.store.commit()
    assert house.store.looks == 2
    house.store.commit()

    assert house.inbox_states == ["expired"] * (DUE_AT_ONCE + 5)
    assert house.mailroom.ledger.waiting_count == 0
