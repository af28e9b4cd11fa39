"""GSM 7-bit text and septets (TS 23.038 §6)."""

import pytest

from sipgram.sms import gsm
from sipgram.sms.gsm import Language
from sipgram.sms.transliteration import plain


@pytest.mark.parametrize(
    ("septets", "text"),
    [
        (b"\x1be", "€"),
        (b"\x1b\x09", "Ç"),
        (b"a\x1b\x1bb", "a b"),
        (b"\x1b\x1b\x1be", " €"),
        (b"a\x1b", "a"),
        (b"\x1b\x0a", "\f"),
        (b"\x1b\x0d", "\r"),
        (b"\x09\x5f", "Ç§"),
        (b"", ""),
    ],
)
def test_escapes(septets: bytes, text: str) -> None:
    """An unknown code behind an escape is "the character shown in the default alphabet"."""
    assert gsm.decode(septets) == text


def test_code_without_a_character_is_a_space() -> None:
    assert gsm.decode(b"\x0c", locking=Language.BENGALI) == " "


def test_single_shift_falls_back_to_the_locking_table_in_force() -> None:
    assert gsm.decode(b"\x1b\x04", locking=Language.TURKISH) == "€"


def test_spanish_has_no_locking_table() -> None:
    assert not gsm.has_locking_table(Language.SPANISH)
    assert gsm.encode("ñ", locking=Language.SPANISH) == b"\x7d"
    assert gsm.decode(b"\x7d", locking=Language.SPANISH) == "ñ"


def test_missing_character_is_told() -> None:
    assert gsm.encode("ş") is None
    assert gsm.encode("ş", single=Language.TURKISH) == b"\x1bs"
    assert gsm.encode("ş", locking=Language.TURKISH) == b"\x1d"


def test_escape_character_itself_is_no_text() -> None:
    assert gsm.encode("\x1b") is None


@pytest.mark.parametrize(
    ("text", "made_plain"),
    [("“a” \u2013 b…", '"a" - b...'), ("a\u00a0b", "a b"), ("l\u2019été", "l'été"), ("ñ€", "ñ€")],
)
def test_transliteration(text: str, made_plain: str) -> None:
    assert plain(text) == made_plain


def test_transliteration_keeps_a_text_out_of_ucs2() -> None:
    assert gsm.encode("“a” \u2013 b…") is None
    assert gsm.encode(plain("“a” \u2013 b…")) == b'"a" - b...'
