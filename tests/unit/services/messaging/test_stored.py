"""Messages for devices that are away (DELIVERY.md D9 to D23), with a manual clock."""

import pytest

from sipgram.sip.message.parser import parse
from sipgram.testing.messages import response

from .house import A, B, C, House, only


def test_d9_everybody_away_is_202_after_the_commit() -> None:
    house = House()
    house.store.is_slow = True

    assert house.send() == []

    house.store.commit()
    assert house.statuses() == [202]


def test_d11_what_cannot_be_stored_gets_500_with_retry_after() -> None:
    house = House()
    house.store.is_slow = True
    house.send()
    house.store.fail()
    (raw,) = house.flow.take()
    assert (parse(raw).status, parse(raw).value(b"retry-after")) == (500, b"5")

    house.store.is_away = True
    assert house.send() == [500]
    house.store.is_away = house.store.is_slow = False
    assert house.send() == [202]
    assert len(house.store.messages) == 1


def test_d17_a_stored_message_leaves_200_ms_after_the_register() -> None:
    house = House()
    house.send(body=b"one")

    phone = house.bind("bob")
    house.advance(0.19)
    assert phone.sent == []

    assert house.drained(phone) == [b"one"]
    assert house.inbox_states == ["delivered"]
    assert house.mailroom is not None
    assert house.mailroom.ledger.waiting_count == 0


def test_d19_kept_as_received_but_for_what_is_of_one_hop() -> None:
    house = House()
    house.send(b"X-Own: 1", b"Subject: s", b"Authorization: Digest x", body=b"\x00\r\nhi")

    phone = house.bind("bob")
    house.advance(0.3)
    got = only(phone)

    assert got.uri == b"sip:bob@198.51.100.1:5060"
    assert (got.value(b"x-own"), got.value(b"subject")) == (b"1", b"s")
    assert not got.has(b"authorization")
    assert len(got.values(b"via")) == 1
    assert got.value(b"max-forwards") == b"70"
    assert got.value(b"date") == b"Tue, 14 Nov 2023 22:30:00 GMT"
    assert (got.body, got.content_length) == (b"\x00\r\nhi", 5)
    assert got.branch.startswith(b"z9hG4bKn1s")


def test_d16_order_holds_per_sender_and_a_live_message_waits_its_turn() -> None:
    house = House()
    for n in range(3):
        house.send(body=b"%d" % n)
    phone = house.bind("bob")

    assert house.send(body=b"3") == [202]

    assert house.drained(phone) == [b"0", b"1", b"2", b"3"]


def test_d16_other_senders_pass() -> None:
    house = House()
    house.send(body=b"0")
    phone = house.bind("bob")

    assert house.send(body=b"other", sender=b"carol") == []

    assert house.answer_as(phone) == [b"other"]
    assert house.statuses() == [200]


def test_d10_the_copy_of_a_device_that_is_away_is_on_disk_before_the_2xx() -> None:
    house = House()
    here = house.bind("bob", port=1, instance=A)
    house.bind("bob", port=2, instance=B)
    house.unbind("bob", port=2)
    house.store.is_slow = True

    house.send()
    assert house.answer_as(here) == [b"hi"]
    assert house.statuses() == []

    house.store.commit()
    assert house.statuses() == [200]
    house.store.commit()
    away = house.bind("bob", port=2, instance=B)
    assert house.drained(away) == [b"hi"]
    assert house.drained(here) == []
    house.store.commit()
    assert house.inbox_states == ["delivered"]


def test_d9_a_device_that_says_480_gets_it_later_and_the_sender_hears_202() -> None:
    house = House()
    phone = house.bind("bob")

    house.send()
    assert house.answer_as(phone, 480) == [b"hi"]

    assert house.statuses() == [202]
    house.advance(29)
    assert phone.take() == []
    assert house.drained(phone, within_s=2) == [b"hi"]


def test_d9_all_branches_failed_for_good_is_the_best_error_and_nothing_is_kept() -> None:
    house = House()
    one, two = house.bind("bob", port=1, instance=A), house.bind("bob", port=2, instance=B)

    house.send()
    house.answer_as(one, 415)
    house.answer_as(two, 403)

    assert house.statuses() == [415]
    assert house.store.messages == {}


def test_d9_one_took_it_and_one_says_480_waits_for_that_one_alone() -> None:
    house = House()
    one, two = house.bind("bob", port=1, instance=A), house.bind("bob", port=2, instance=B)

    house.send()
    house.answer_as(two, 480)
    house.answer_as(one, 200)
    assert house.statuses() == [200]

    later = house.bind("bob", port=3, instance=C)
    assert house.drained(later) == []
    assert house.drained(one) == []
    assert house.drained(two, within_s=30) == [b"hi"]


def test_d9_silence_is_stored_at_answer_s_and_d12_late_2xx_ends_the_copy() -> None:
    house = House()
    phone = house.bind("bob")

    house.send()
    house.advance(5.0)
    assert house.statuses()[-1] == 202
    assert house.inbox_states == ["waiting"]

    house.receive(response(phone.take()[0], 200), flow=phone)
    assert house.inbox_states == ["delivered"]
    assert house.statuses() == []


def test_d12_late_2xx_after_timer_f_ends_the_copy() -> None:
    house = House()
    phone = house.bind("bob")
    house.send()
    house.advance(33.0)
    assert house.inbox_states == ["waiting"]

    house.receive(response(phone.take()[0], 200), flow=phone)

    assert house.inbox_states == ["delivered"]
    assert house.dispatcher.strays == 0


def test_d18_a_repetition_on_the_same_flow_keeps_its_branch() -> None:
    house = House()
    phone = house.bind("bob")
    house.send()
    house.advance(5.0)
    first = parse(phone.take()[0])

    entry = house.locations.find(b"sip:bob@example.com")
    assert house.mailroom is not None
    house.mailroom.on_bound(entry, entry.bindings[0])
    house.advance(0.3)

    again = [parse(raw) for raw in phone.take()]
    assert {message.branch for message in again} == {first.branch}
    house.receive(response(again[0].raw, 200), flow=phone)
    assert house.inbox_states == ["delivered"]


def test_d18_call_id_cseq_and_from_tag_stay_the_same_for_ever() -> None:
    house = House()
    phone = house.bind("bob")
    house.send()
    first = only(phone)
    house.receive(response(first.raw, 503), flow=phone)
    house.advance(30.2)

    again = only(phone)

    assert again.branch != first.branch
    assert (again.call_id, again.cseq, again.from_tag) == (
        first.call_id,
        first.cseq,
        first.from_tag,
    )


def test_d17_retries_after_30_s_2_10_and_30_min_while_bound() -> None:
    house = House()
    house.send()
    phone = house.bind("bob", for_s=100_000)
    house.advance(0.2)
    assert house.answer_as(phone, 500) == [b"hi"]

    for after_s in (30, 120, 600, 1800, 1800):
        house.advance(after_s - 1)
        assert phone.take() == []
        house.advance(1.2)
        assert house.answer_as(phone, 500) == [b"hi"]
    assert [attempt.status for attempt in house.store.attempts] == [500] * 6


def test_d23_a_stored_message_sent_again_is_recognised() -> None:
    house = House()
    house.receive(house.message(1))
    house.receive(house.message(1).replace(b"branch=z9hG4bK-1", b"branch=z9hG4bK-again"))

    assert house.statuses() == [202, 202]
    assert len(house.store.messages) == 1
    phone = house.bind("bob")
    assert house.drained(phone) == [b"hi"]
    house.receive(house.message(1).replace(b"branch=z9hG4bK-1", b"branch=z9hG4bK-third"))
    assert house.statuses() == [202]
    assert house.drained(phone) == []


@pytest.mark.parametrize(
    ("status", "state", "bound"),
    [
        (482, "delivered", 1),
        (415, "failed", 1),
        (603, "failed", 1),
        (404, "waiting", 0),
        (410, "waiting", 0),
        (430, "waiting", 0),
        (486, "waiting", 1),
        (503, "waiting", 1),
    ],
)
def test_the_table_of_answers(status: int, state: str, bound: int) -> None:
    """DELIVERY.md: what an answer of a device means for its copy."""
    house = House()
    house.send()
    phone = house.bind("bob")
    house.advance(0.2)

    house.answer_as(phone, status)

    assert house.inbox_states == [state]
    assert len(house.locations.find(b"sip:bob@example.com").bindings) == bound


def test_d21_expires_0_with_nobody_there_is_480() -> None:
    house = House()
    assert house.send(b"Expires: 0") == [480]
    assert house.store.messages == {}


def test_d21_typing_is_never_stored() -> None:
    house = House()
    raw = house.message(1).replace(b"text/plain", b"application/im-iscomposing+xml")
    house.receive(raw)
    assert house.statuses() == [480]
    assert house.store.messages == {}


def test_d21_a_message_ends_with_its_expires() -> None:
    house = House()
    house.send(b"Expires: 60")
    house.send()
    house.advance(61)
    assert house.mailroom is not None

    house.mailroom.tick(house.clock.now)

    assert house.inbox_states == ["expired", "waiting"]
    assert house.drained(house.bind("bob")) == [b"hi"]
    assert house.mailroom.ledger.waiting_count == 0


def test_d16_a_message_that_gets_no_answer_holds_up_its_own_sender_alone() -> None:
    """A phone that drops one message without a word must not lose all mail behind it."""
    house = House()
    house.send(body=b"poison")
    house.send(body=b"behind it")
    house.send(body=b"from carol", sender=b"carol")
    phone = house.bind("bob", for_s=100_000)
    house.advance(40)  # Timer F of the first.
    assert {parse(raw).body for raw in phone.take()} == {b"poison"}

    assert house.drained(phone, within_s=31)[0] == b"from carol"
    assert house.inbox_states == ["delivered"] * 3
