"""Parts that wait for each other (TS 23.040 §9.2.3.24.1)."""

from random import Random

from sipgram.sms.coding import Alphabet
from sipgram.sms.concatenation import split, split_octets
from sipgram.sms.header import Header
from sipgram.sms.reassembly import KEEP_S, Reassembly
from sipgram.sms.user_data import UserData

TEXT = "Where is the rest of it? " * 20
PARTS = split(TEXT, reference=5).parts
KEY = ("+4930123", "+4930456")


def test_whole_message_waits_for_nothing() -> None:
    parts = Reassembly()
    single = UserData(Alphabet.GSM7, b"hi")
    one_of_one = UserData(Alphabet.GSM7, b"hi", Header.parse(bytes.fromhex("0003010101")))

    assert [each.text() for each in parts.add(KEY, single, now=0.0)] == ["hi"]
    assert [each.text() for each in parts.add(KEY, one_of_one, now=0.0)] == ["hi"]
    assert len(parts) == 0
    assert parts.next_due() is None


def test_parts_in_any_order_and_repeated() -> None:
    parts = Reassembly()
    order = [*PARTS, PARTS[1]]
    Random(1).shuffle(order)
    order.sort(key=lambda part: part is PARTS[0])

    finished = [each for part in order for each in parts.add(KEY, part, now=0.0)]

    assert [each.text() for each in finished] == [TEXT]
    assert (finished[0].key, finished[0].is_complete) == (KEY, True)
    assert len(parts) == 0


def test_messages_of_others_are_not_mixed() -> None:
    parts = Reassembly()
    other = split(TEXT.upper(), reference=6).parts
    wide = split(TEXT.lower(), reference=5, is_wide=True).parts

    finished = []
    for trio in zip(PARTS, other, wide, strict=True):
        for part in trio:
            finished += parts.add(KEY, part, now=0.0)
        finished += parts.add("someone else", trio[0], now=0.0)

    assert [each.text() for each in finished] == [TEXT, TEXT.upper(), TEXT.lower(), TEXT]


def test_what_is_there_is_given_after_a_day() -> None:
    parts = Reassembly()
    parts.add(KEY, PARTS[1], now=10.0)
    parts.add("later", PARTS[0], now=20.0)

    assert parts.next_due() == 10.0 + KEEP_S
    assert parts.expire(9.0 + KEEP_S) == []
    (given_up,) = parts.expire(10.0 + KEEP_S)

    assert not given_up.is_complete
    assert given_up.text() == f"[…]{PARTS[1].text}" + "[…]" * (len(PARTS) - 2)
    assert len(parts) == 1


def test_message_of_octets_has_no_text() -> None:
    parts = Reassembly()
    finished = [
        each
        for part in split_octets(bytes(200), reference=1)
        for each in parts.add(KEY, part, now=0.0)
    ]

    assert [each.text() for each in finished] == [None]
    assert b"".join(part.body for part in finished[0].parts if part) == bytes(200)


def test_oldest_message_gives_way() -> None:
    parts = Reassembly(waiting_max=2)
    for number in range(2):
        assert parts.add(number, PARTS[0], now=float(number)) == []

    (given_up,) = parts.add(2, PARTS[0], now=2.0)

    assert (given_up.key, given_up.is_complete) == (0, False)
    assert len(parts) == 2


def test_parts_are_bounded_too() -> None:
    parts = Reassembly(parts_max=3)
    parts.add("old", PARTS[0], now=0.0)
    parts.add("old", PARTS[1], now=0.0)
    parts.add("new", PARTS[0], now=0.0)

    finished = parts.add("new", PARTS[1], now=0.0)

    assert [each.key for each in finished] == ["old"]
    assert len(parts) == 1
