"""Splitting and joining (TS 23.040 §9.2.3.24.1): capacities, borders, and what stays whole."""

import pytest

from sipgram.errors import TooLarge, UsageError
from sipgram.sms.coding import Alphabet
from sipgram.sms.concatenation import (
    PARTS_MAX,
    Encoding,
    encodings,
    join,
    split,
    split_octets,
)
from sipgram.sms.gsm import Language
from sipgram.sms.header import Concatenation, Element, Header, Ports
from sipgram.sms.user_data import UserData

TURKISH_ALONE = (Encoding(single=Language.TURKISH),)


def lengths(text: str, *, is_wide: bool = False) -> list[int]:
    return [len(part.text or "") for part in split(text, is_wide=is_wide).parts]


@pytest.mark.parametrize(
    ("text", "is_wide", "wanted"),
    [
        ("", False, [0]),
        ("x" * 160, False, [160]),
        ("x" * 161, False, [153, 8]),
        ("x" * 161, True, [152, 9]),
        ("x" * 306, False, [153, 153]),
        ("x" * 307, False, [153, 153, 1]),
        ("€" * 80, False, [80]),
        ("€" * 81, False, [76, 5]),
        ("x" + "€" * 80, False, [77, 4]),
        ("中" * 70, False, [70]),
        ("中" * 71, False, [67, 4]),
        ("中" * 71, True, [66, 5]),
        ("😀" * 35, False, [35]),
        ("😀" * 36, False, [33, 3]),
        ("中" + "😀" * 35, False, [34, 2]),
    ],
)
def test_borders(text: str, is_wide: bool, wanted: list[int]) -> None:
    assert lengths(text, is_wide=is_wide) == wanted


@pytest.mark.parametrize(("count", "wanted"), [(77, [77]), (78, [74, 4]), (160, [74, 74, 12])])
def test_turkish_single_shift(count: int, wanted: list[int]) -> None:
    """AOSP: 155 septets beside "03 24 01 01", so 77 characters of two (SMS.md §2.3)."""
    text = ("ĞŞİğşı" * 27)[:count]

    made = split(text, wanted=TURKISH_ALONE)

    assert [len(part.text or "") for part in made.parts] == wanted
    assert {part.languages for part in made.parts} == {(Language.DEFAULT, Language.TURKISH)}
    if count == 77:
        assert made.parts[0].header == Header((Element(0x24, b"\x01"),))
        assert made.units_left == 1


@pytest.mark.parametrize(
    ("text", "languages", "wanted"),
    [
        ("hello €", [], "GSM 7-bit"),
        ("hello ş", [], "UCS2"),
        ("hello ş", [Language.TURKISH], "GSM 7-bit, Turkish single shift"),
        ("hello á", [Language.TURKISH, Language.SPANISH], "GSM 7-bit, Spanish single shift"),
        ("hello क", [Language.HINDI], "GSM 7-bit, Hindi locking shift"),
        ("कA", [Language.HINDI], "GSM 7-bit, Hindi locking shift, Hindi single shift"),
        ("hello 中", [Language.TURKISH], "UCS2"),
    ],
)
def test_alphabets_are_tried_in_turn(text: str, languages: list[Language], wanted: str) -> None:
    made = split(text, wanted=encodings(languages))

    assert str(made.encoding) == wanted
    assert join(made.parts) == text


def test_parts_say_what_they_are() -> None:
    made = split("x" * 400, reference=0x1234, is_wide=True, message_class=0)

    assert made.coding.octet == 0x10
    assert [part.concatenation for part in made.parts] == [
        Concatenation(0x1234, 3, number, is_wide=True) for number in (1, 2, 3)
    ]
    assert split("x").parts[0].header is None


def test_elements_stand_in_every_part() -> None:
    ports = Ports(2948, 9200)

    made = split("x" * 200, elements=(ports.element(),))

    assert [part.header.ports for part in made.parts if part.header] == [ports, ports]
    single = split("x", elements=(ports.element(),)).parts[0]
    assert single.header == Header((ports.element(),))


def test_units_left_of_ucs2_are_characters() -> None:
    assert split("中" * 60).units_left == 10


def test_text_of_255_parts_and_no_more() -> None:
    assert len(split("x" * 153 * PARTS_MAX).parts) == PARTS_MAX

    with pytest.raises(TooLarge, match=r"text takes over 255 short messages: 256"):
        split("x" * (153 * PARTS_MAX + 1))
    with pytest.raises(TooLarge, match=r"text takes over 1 short messages: 2"):
        split("x" * 161, parts_max=1)


def test_header_that_leaves_no_room() -> None:
    with pytest.raises(UsageError, match=r"header leaves no room for text: 3"):
        split("x" * 161, elements=(Element(0x70, bytes(129)),))


def test_alphabets_that_lack_a_character() -> None:
    wanted = (Encoding(), Encoding(Alphabet.OCTETS))

    with pytest.raises(UsageError, match=r"no wanted alphabet has all characters of '中'"):
        split("中", wanted=wanted)


def test_lone_surrogate_is_replaced() -> None:
    assert join(split("a\ud800b").parts) == "a\ufffdb"


def test_octets() -> None:
    assert [len(part.body) for part in split_octets(bytes(140))] == [140]
    assert [len(part.body) for part in split_octets(bytes(141))] == [134, 7]


def test_character_that_a_sender_cut_is_whole_again() -> None:
    smile = "😀".encode("utf-16-be")
    header = Header((Concatenation(1, 2, 1).element(),))
    halves = [UserData(Alphabet.UCS2, half, header) for half in (smile[:2], smile[2:])]
    escaped = [UserData(Alphabet.GSM7, septets, header) for septets in (b"a\x1b", b"e")]

    assert join(halves) == "😀"
    assert join(escaped) == "a€"


def test_parts_in_different_alphabets_are_read_apart() -> None:
    gsm7, ucs2 = UserData(Alphabet.GSM7, b"a"), UserData(Alphabet.UCS2, b"\0b")
    odd = UserData(Alphabet.UCS2, b"\0c\0")

    assert join([gsm7, ucs2, gsm7]) == "aba"
    assert join([odd, ucs2]) == "c\ufffdb"
    assert join([]) == ""
    assert join([gsm7, UserData(Alphabet.OCTETS, b"x")]) is None
