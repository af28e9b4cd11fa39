"""Receipts by the server, and plain forms for plain phones (DELIVERY.md D15, D20, D21, D23, D24)."""

import zlib

import pytest

from sipgram.payload.body import Body
from sipgram.payload.cpim import Cpim, Party
from sipgram.payload.imdn import Imdn, asking, enclosed
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import response
from sipgram.testing.recording import RecordingFlow

from ..messaging.house import A, B, House, only
from ..messaging.memory import MemoryStore

CPIM = b"Content-Type: message/cpim"
TYPING = b"Content-Type: application/im-iscomposing+xml"
DAYS = 86_400.0


def cpim(
    *wishes: str, text: bytes = b"hi", message_id: str = "m1", kind: str = "text/plain"
) -> bytes:
    return bytes(
        Cpim(
            text,
            (("Content-Type", kind),),
            sender=Party("sip:alice@example.com"),
            to=(Party("sip:bob@example.com"),),
            date_time="2026-11-25T12:00:00Z",
            headers=asking(message_id, wishes),
        )
    )


def receipt(raw: bytes) -> tuple[Message, Imdn]:
    got = parse(raw)
    kind = (got.value(b"content-type") or b"").decode()
    return got, Imdn.parse(Body.parse(got.body, kind).content)


def receipts_of(house: House, phone: RecordingFlow, *, within_s: float = 1.0) -> list[Imdn]:
    """Let alice's phone take what comes."""
    found = []
    for body in house.drained(phone, within_s=within_s):
        inside = Body.parse(body, "message/cpim")
        found.append(Imdn.parse(inside.content))
    return found


def expire(house: House, after_s: float) -> None:
    assert house.mailroom is not None
    house.advance(after_s)
    house.mailroom.tick(house.clock.now)


# ---- D15: who asked hears that nobody took it ------------------------------------------------


def test_d15_an_expired_message_that_asked_gets_one_negative_receipt() -> None:
    house = House()
    alice = house.bind("alice", port=5070)
    assert house.send(CPIM, b"Expires: 60", body=cpim("negative-delivery")) == [202]

    expire(house, 61)
    house.advance(0.3)

    got, notice = receipt(alice.sent[0])
    assert (notice.message_id, notice.status) == ("m1", "failed")
    assert notice.recipient_uri == "sip:bob@example.com"
    assert notice.date_time == "2026-11-25T12:00:00Z"
    assert (got.from_uri, got.to_uri) == (b"sip:bob@example.com", b"sip:alice@example.com")
    house.answer_as(alice)
    for _ in range(3):
        expire(house, 60)
    assert alice.take() == []
    assert house.inbox_states == ["expired", "delivered"]


@pytest.mark.parametrize("body", [cpim("positive-delivery"), cpim(), b"\xff", b""])
def test_d15_who_did_not_ask_hears_nothing(body: bytes) -> None:
    house = House()
    alice = house.bind("alice", port=5070)
    house.send(CPIM, b"Expires: 60", body=body or b"x")

    expire(house, 61)

    assert house.drained(alice) == []
    assert house.inbox_states == ["expired"]


def test_d15_none_when_some_device_took_it() -> None:
    house = House()
    alice = house.bind("alice", port=5070)
    phone = house.bind("bob", port=5061, instance=A)
    house.bind("bob", port=5062, instance=B)
    house.unbind("bob", port=5062)
    house.send(CPIM, b"Expires: 60", body=cpim("negative-delivery"))
    house.answer_as(phone)

    expire(house, 61)

    assert house.drained(alice) == []
    assert house.inbox_states == ["delivered"]


def test_d15_when_the_only_device_refuses_it_later() -> None:
    house = House()
    alice = house.bind("alice", port=5070)
    house.send(CPIM, body=cpim("negative-delivery"))
    phone = house.bind("bob")
    house.advance(0.3)

    house.answer_as(phone, 603)

    assert [n.status for n in receipts_of(house, alice)] == ["failed"]
    assert house.inbox_states == ["failed", "delivered"]


def test_d15_a_sender_who_is_away_gets_it_later_and_one_who_has_no_account_never() -> None:
    house = House()
    house.send(CPIM, b"Expires: 60", body=cpim("negative-delivery"))
    expire(house, 61)

    assert [n.status for n in receipts_of(house, house.bind("alice", port=5070))] == ["failed"]


async def test_d15_over_a_restart_it_is_sent_once() -> None:
    store = MemoryStore()
    first = House(store)
    first.send(CPIM, b"Expires: 60", body=cpim("negative-delivery"))

    second = House(store)
    assert second.mailroom is not None
    await second.mailroom.load()
    second.mailroom.revive()
    alice = second.bind("alice", port=5070)
    expire(second, 61)
    assert [n.status for n in receipts_of(second, alice)] == ["failed"]

    third = House(store)
    assert third.mailroom is not None
    third.clock.now = second.clock.now
    await third.mailroom.load()
    third.mailroom.revive()
    alice = third.bind("alice", port=5070)
    expire(third, 61)
    assert third.drained(alice) == []


async def test_d15_the_row_says_that_it_is_owed_until_the_receipt_is_on_disk() -> None:
    store = MemoryStore()
    first = House(store)
    first.send(CPIM, b"Expires: 60", body=cpim("negative-delivery"))
    store.is_slow = True
    expire(first, 61)  # Killed before the commit.

    store = first.store
    assert list(store.states.values()) == ["waiting"]
    store._waiting.clear()
    store.is_slow = False
    second = House(store)
    assert second.mailroom is not None
    second.clock.now = first.clock.now
    await second.mailroom.load()
    second.mailroom.revive()
    alice = second.bind("alice", port=5070)
    expire(second, 1)
    assert [n.status for n in receipts_of(second, alice)] == ["failed"]


def test_d15_a_database_that_is_away_is_asked_again() -> None:
    house = House()
    alice = house.bind("alice", port=5070)
    house.send(CPIM, body=cpim("negative-delivery"))
    phone = house.bind("bob")
    house.advance(0.3)
    house.store.is_away = True
    house.answer_as(phone, 603)

    house.store.is_away = False
    expire(house, 1)

    assert [n.status for n in receipts_of(house, alice)] == ["failed"]
    assert house.inbox_states == ["failed", "delivered"]


def test_d24_a_receipt_that_fails_is_not_answered_with_one() -> None:
    """RFC 5438 §8: "An IMDN MUST NOT be requested by an IMDN"."""
    house = House()
    alice = house.bind("alice", port=5070)
    inside = enclosed(
        Imdn.of("m0", "delivered", recipient_uri="sip:alice@example.com"),
        message_id="m2",
        sender="sip:alice@example.com",
        to="sip:bob@example.com",
    )
    greedy = bytes(inside).replace(
        b"imdn.Message-ID", b"imdn.Disposition-Notification: negative-delivery\r\nimdn.Message-ID"
    )
    assert house.send(CPIM, b"Expires: 60", body=greedy) == [202]

    expire(house, 61)

    assert house.drained(alice) == []


def test_d23_a_message_is_recognised_by_its_imdn_message_id() -> None:
    house = House()

    assert house.send(CPIM, body=cpim("display")) == [202]
    assert house.send(CPIM, body=cpim("display")) == [202]  # With a Call-ID of its own.
    assert house.send(CPIM, body=cpim("display"), sender=b"carol") == [202]
    assert house.send(CPIM, body=cpim("display", message_id="m2")) == [202]

    assert len(house.store.messages) == 3


async def test_d23_by_its_imdn_message_id_over_a_restart_too() -> None:
    store = MemoryStore()
    House(store).send(CPIM, body=cpim("display"))
    second = House(store)
    assert second.mailroom is not None
    await second.mailroom.load()
    second.mailroom.revive()
    second._sent = 7  # Another Call-ID.

    assert second.send(CPIM, body=cpim("display")) == [202]

    assert len(store.messages) == 1


# ---- D20: the text alone for devices that refuse CPIM ---------------------------------------


def refuse(house: House, phone: RecordingFlow, status: int = 415) -> Message:
    got = only(phone)
    house.receive(response(got.raw, status), flow=phone)
    return got


@pytest.mark.parametrize("status", [415, 488])
def test_row_415_488_on_cpim_d20_is_tried_again_as_text_in_the_same_fork(status: int) -> None:
    house = House()
    alice = house.bind("alice", port=5070)
    phone = house.bind("bob")
    assert (
        house.send(CPIM, body=cpim("positive-delivery", "display", text=b"gr\xc3\xbc\xc3\x9fe"))
        == []
    )

    first = refuse(house, phone, status)
    second = only(phone)

    assert (second.body, second.value(b"content-type")) == (b"gr\xc3\xbc\xc3\x9fe", b"text/plain")
    assert (second.content_length, second.call_id) == (7, first.call_id)
    assert second.cseq == first.cseq
    assert second.branch != first.branch
    house.receive(response(second.raw, 200), flow=phone)
    assert house.statuses() == [200]
    notices = receipts_of(house, alice)
    assert [(n.message_id, n.status) for n in notices] == [("m1", "delivered")]


def test_d20_the_binding_remembers() -> None:
    house = House()
    phone = house.bind("bob")
    house.send(CPIM, body=cpim())
    refuse(house, phone)
    house.answer_as(phone)

    house.send(CPIM, body=cpim(text=b"two", message_id="m2"))

    assert house.answer_as(phone) == [b"two"]
    assert house.statuses() == [200]


def test_d20_a_deflated_one_is_inflated_for_it() -> None:
    """linphone deflates CPIM by default."""
    house = House()
    phone = house.bind("bob")
    house.send(CPIM, b"Content-Encoding: deflate", body=zlib.compress(cpim()))

    refuse(house, phone)

    second = only(phone)
    assert (second.body, second.has(b"content-encoding")) == (b"hi", False)


def test_d20_others_do_not_wait_for_it() -> None:
    house = House()
    able = house.bind("bob", port=5061, instance=A)
    plain = house.bind("bob", port=5062, instance=B)
    house.send(CPIM, body=cpim())
    house.answer_as(able)
    refuse(house, plain)

    house.advance(0.15)

    assert house.statuses() == [200]
    assert house.answer_as(plain) == [b"hi"]
    assert house.inbox_states == ["delivered"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("multipart/encrypted;boundary=b", b"--b\r\n\r\nx\r\n--b--"),
        ("application/pkcs7-mime", b"x"),
        ("text/html", b"<p>"),
        ("message/imdn+xml", b"<imdn/>"),
    ],
)
def test_d20_what_is_sealed_or_no_text_is_not_converted(kind: str, text: bytes) -> None:
    house = House()
    phone = house.bind("bob")
    house.send(CPIM, body=cpim("positive-delivery", text=text, kind=kind))

    refuse(house, phone)

    assert phone.take() == []
    assert house.statuses() == [415]


def test_d20_one_that_refuses_the_text_too_ends_its_copy() -> None:
    house = House()
    phone = house.bind("bob")
    house.send(CPIM, body=cpim())
    refuse(house, phone)
    refuse(house, phone)
    assert house.statuses() == [415]

    house.send(CPIM, body=cpim(message_id="m2"))
    refuse(house, phone)
    assert house.statuses() == [415]
    assert phone.take() == []


def test_d20_two_at_once_are_both_converted() -> None:
    house = House()
    phone = house.bind("bob")
    house.send(CPIM, body=cpim())
    house.send(CPIM, body=cpim(text=b"two", message_id="m2"))

    house.answer_as(phone, 415)

    assert house.answer_as(phone) == [b"hi", b"two"]
    assert house.statuses() == [200, 200]


def test_d20_a_stored_one_is_converted_as_well() -> None:
    house = House()
    alice = house.bind("alice", port=5070)
    house.send(CPIM, b"Content-Encoding: deflate", body=zlib.compress(cpim("positive-delivery")))
    house.send(CPIM, body=cpim(text=b"two", message_id="m2"))
    phone = house.bind("bob")
    house.advance(0.3)

    first = refuse(house, phone)
    second = only(phone)
    assert (second.body, second.content_length) == (b"hi", 2)
    assert not second.has(b"content-encoding")
    assert second.branch != first.branch
    house.receive(response(second.raw, 200), flow=phone)

    assert house.answer_as(phone) == [b"two"]
    assert [(n.message_id, n.status) for n in receipts_of(house, alice)] == [("m1", "delivered")]
    assert house.inbox_states == ["delivered"] * 3


def test_d19_a_deflated_receipt_waits_and_leaves_byte_for_byte() -> None:
    house = House()
    body = zlib.compress(bytes(Imdn.of("c1", "delivered", recipient_uri="sip:bob@example.com")))
    lines = (b"Content-Type: message/imdn+xml", b"Content-Encoding: deflate")

    assert house.send(*lines, b"Priority: non-urgent", body=body) == [202]

    phone = house.bind("bob")
    house.advance(0.3)
    got = only(phone)
    assert got.body == body
    assert got.value(b"content-encoding") == b"deflate"


# ---- D21: typing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "body"),
    [
        (TYPING, b"<isComposing/>"),
        (CPIM, cpim(kind="application/im-iscomposing+xml", text=b"<isComposing/>")),
    ],
)
def test_d21_typing_is_relayed_or_dropped_and_a_415_swallowed(line: bytes, body: bytes) -> None:
    house = House()
    assert house.send(line, body=body) == [480]
    assert house.store.messages == {}

    phone = house.bind("bob")
    house.send(line, body=body)
    refuse(house, phone)
    assert house.statuses() == [202]

    assert house.send(line, body=body) == [202]
    assert phone.take() == []
    house.send(body=b"text")
    assert house.answer_as(phone) == [b"text"]


def test_d21_one_device_that_refuses_typing_keeps_nothing_from_the_other() -> None:
    house = House()
    plain = house.bind("bob", port=5061, instance=A)
    able = house.bind("bob", port=5062, instance=B)
    house.send(TYPING, body=b"<isComposing/>")
    refuse(house, plain)
    house.answer_as(able)
    assert house.statuses() == [202]

    house.send(TYPING, body=b"<isComposing/>")

    assert plain.take() == []
    assert house.answer_as(able) == [b"<isComposing/>"]
