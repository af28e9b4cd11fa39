"""The table of headers: compact forms and spellings (RFC 3261 §7.3.3, §20)."""

import pytest

from sipgram.sip.message.headers import KINDS, MANDATORY, SINGLE, canonical


def test_each_name_and_each_compact_form_stands_once() -> None:
    names = [kind.name.lower() for kind in KINDS]
    letters = [kind.compact for kind in KINDS if kind.compact]
    assert len(names) == len(set(names))
    assert len(letters) == len(set(letters))
    assert all(len(letter) == 1 and letter.islower() for letter in letters)
    assert set(MANDATORY) <= set(names)


@pytest.mark.parametrize(
    ("letter", "name"),
    [
        (b"c", b"content-type"),
        (b"e", b"content-encoding"),
        (b"f", b"from"),
        (b"i", b"call-id"),
        (b"k", b"supported"),
        (b"l", b"content-length"),
        (b"m", b"contact"),
        (b"o", b"event"),
        (b"r", b"refer-to"),
        (b"s", b"subject"),
        (b"t", b"to"),
        (b"u", b"allow-events"),
        (b"v", b"via"),
    ],
)
def test_compact_forms_of_the_registry(letter: bytes, name: bytes) -> None:
    """§7.3.3, and the IANA registry of header fields for those that came later."""
    assert canonical(letter) == canonical(letter.upper()) == name


@pytest.mark.parametrize("spelling", [b"Call-ID", b"call-id", b"CALL-ID", b"cAlL-iD", b"Call-Id "])
def test_names_are_case_insensitive(spelling: bytes) -> None:
    assert canonical(spelling) == b"call-id"


def test_unknown_names_are_lower_cased() -> None:
    assert canonical(b"X-Unknown") == b"x-unknown"


def test_single_headers_are_those_without_a_list_form() -> None:
    assert {b"from", b"to", b"call-id", b"cseq", b"max-forwards", b"content-length"} <= SINGLE
    assert not {b"via", b"route", b"contact", b"authorization"} & SINGLE
