"""GSM 7-bit: septets, their packing, and text by the shift tables in force (TS 23.038 §6).

A septet is one octet below 0x80 here, until it is packed.
"""

import re
from codecs import charmap_decode, charmap_encode
from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Final

from sipgram.sms.shift_tables import locking as locking_tables
from sipgram.sms.shift_tables import single as single_tables

ESCAPE: Final = 0x1B
_PAIR_RE: Final = re.compile(rb"\x1b(.?)", re.DOTALL)
_ESCAPED: Final = 0x80
"Marks the code that stood behind an escape."
_BLANK: Final = " "
"For a code without a character, as phones show it."


class Language(IntEnum):
    """National language identifiers (TS 23.038 §6.2.1.2.4)."""

    DEFAULT = 0
    TURKISH = 1
    SPANISH = 2
    PORTUGUESE = 3
    BENGALI = 4
    GUJARATI = 5
    HINDI = 6
    KANNADA = 7
    MALAYALAM = 8
    ORIYA = 9
    PUNJABI = 10
    TAMIL = 11
    TELUGU = 12
    URDU = 13


_LOCKING: Final = {
    Language.DEFAULT: locking_tables.DEFAULT,
    Language.TURKISH: locking_tables.TURKISH,
    Language.PORTUGUESE: locking_tables.PORTUGUESE,
    Language.BENGALI: locking_tables.BENGALI,
    Language.GUJARATI: locking_tables.GUJARATI,
    Language.HINDI: locking_tables.HINDI,
    Language.KANNADA: locking_tables.KANNADA,
    Language.MALAYALAM: locking_tables.MALAYALAM,
    Language.ORIYA: locking_tables.ORIYA,
    Language.PUNJABI: locking_tables.PUNJABI,
    Language.TAMIL: locking_tables.TAMIL,
    Language.TELUGU: locking_tables.TELUGU,
    Language.URDU: locking_tables.URDU,
}
_SINGLE: Final = {
    Language.DEFAULT: single_tables.DEFAULT,
    Language.TURKISH: single_tables.TURKISH,
    Language.SPANISH: single_tables.SPANISH,
    Language.PORTUGUESE: single_tables.PORTUGUESE,
    Language.BENGALI: single_tables.BENGALI,
    Language.GUJARATI: single_tables.GUJARATI,
    Language.HINDI: single_tables.HINDI,
    Language.KANNADA: single_tables.KANNADA,
    Language.MALAYALAM: single_tables.MALAYALAM,
    Language.ORIYA: single_tables.ORIYA,
    Language.PUNJABI: single_tables.PUNJABI,
    Language.TAMIL: single_tables.TAMIL,
    Language.TELUGU: single_tables.TELUGU,
    Language.URDU: single_tables.URDU,
}


def has_locking_table(language: Language) -> bool:
    """Tell whether the language replaces the default alphabet; Spanish does not."""
    return language in _LOCKING


def encode(
    text: str,
    *,
    locking: Language = Language.DEFAULT,
    single: Language = Language.DEFAULT,
) -> bytes | None:
    """Return the septets of ``text``; None when the tables lack one of its characters."""
    try:
        return charmap_encode(text, "strict", _codes(locking, single))[0]
    except UnicodeEncodeError:
        return None


def decode(
    septets: bytes,
    *,
    locking: Language = Language.DEFAULT,
    single: Language = Language.DEFAULT,
) -> str:
    """Return the text of septets; every sequence has one (TS 23.038 §6.2.1.1).

    A code that the single shift table lacks is the locking table's behind an escape too; two
    escapes are a space; an escape at the end is nothing; a code without a character a space.
    """
    if ESCAPE in septets:
        septets = _PAIR_RE.sub(_marked, septets)
    return charmap_decode(septets, "strict", _characters(locking, single))[0]


def pack(septets: bytes, *, fill_bits: int = 0) -> bytes:
    """Pack up to 255 septets behind ``fill_bits`` zero bits; zero bits end the last octet."""
    number = int.from_bytes(septets, "little")
    for half, low, high in _LEVELS[: max(len(septets) - 1, 0).bit_length()]:
        number = number & low | (number >> half) & high
    return (number << fill_bits).to_bytes((len(septets) * 7 + fill_bits + 7) // 8, "little")


def unpack(data: bytes, count: int, *, skip_bits: int = 0) -> bytes:
    """Return ``count`` septets of ``data`` from bit ``skip_bits`` on.

    There must be that many, and not over 255.
    """
    number = int.from_bytes(data, "little") >> skip_bits & (1 << count * 7) - 1
    for half, low, high in reversed(_LEVELS[: max(count - 1, 0).bit_length()]):
        number = number & low | (number & high) << half
    return number.to_bytes(count, "little")


def _marked(pair: re.Match[bytes]) -> bytes:
    code = pair[1]
    return bytes((code[0] | _ESCAPED,)) if code else b""


@lru_cache(maxsize=len(Language) ** 2)
def _characters(locking: Language, single: Language) -> str:
    """Return 256 characters: by code, and from 0x80 on by code behind an escape."""
    plain = _table(_LOCKING.get(locking, locking_tables.DEFAULT))
    shifted = _table(_SINGLE[single])
    blank = [character or _BLANK for character in plain]
    escaped = [character or other for character, other in zip(shifted, blank, strict=True)]
    return "".join(blank) + "".join(escaped)


@lru_cache(maxsize=len(Language) ** 2)
def _codes(locking: Language, single: Language) -> Mapping[int, bytes | int | None]:
    """Map code points to a septet, or to an escape and a septet; the shorter wins."""
    plain = _table(_LOCKING.get(locking, locking_tables.DEFAULT))
    shifted = _table(_SINGLE[single])
    codes: dict[int, bytes | int | None] = {}
    for code, character in enumerate(shifted):
        if character:
            codes.setdefault(ord(character), bytes((ESCAPE, code)))
    for code, character in enumerate(plain):
        if character:
            codes[ord(character)] = code
    return codes


def _table(text: str) -> list[str]:
    """Read a table as its module describes it; empty strings where there is no character."""
    return [_character(word) for word in text.split()]


def _character(word: str) -> str:
    if word == "SP":
        return " "
    if word == "....":
        return ""
    return word if len(word) == 1 else chr(int(word, 16))


def _levels() -> tuple[tuple[int, int, int], ...]:
    """Return how to move septets to octets, two groups of ``half`` at a time.

    A pair of groups lies in ``2 * half`` octets. Packed, its upper group begins ``7 * half``
    bits up; spread, ``8 * half``, so it moves by ``half`` bits: eight steps for 256 septets,
    where a loop takes one for each.
    """
    levels = []
    for half in (1, 2, 4, 8, 16, 32, 64, 128):
        group = (1 << 7 * half) - 1
        low = sum(group << 16 * half * index for index in range(128 // half))
        levels.append((half, low, low << 7 * half))
    return tuple(levels)


_LEVELS: Final = _levels()
