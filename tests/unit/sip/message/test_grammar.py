"""Tokens, quotes, lists and parameters (RFC 3261 §7.3.1, §25)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgram.errors import ParseError
from sipgram.sip.message import grammar


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"a", True), (b"-.!%*_+`'~09Z", True), (b"", False), (b"a b", False), (b"a@", False)],
)
def test_token_is_what_section_25_1_lists(text: bytes, expected: bool) -> None:
    assert grammar.is_token(text) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", b"plain"),
        (b" \ttrimmed\t ", b"trimmed"),
        (b"one\r\n two", b"one two"),
        (b"one \r\n\t two \r\n  three", b"one two three"),
        (b"\r\n value", b"value"),
        (b"bare\n lf", b"bare lf"),
    ],
)
def test_a_fold_is_one_space(value: bytes, expected: bytes) -> None:
    """§7.3.1: "The line break and the whitespace … are treated as a single SP character"."""
    assert grammar.unfold(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"one", [b"one"]),
        (b"one, two ,three", [b"one", b"two", b"three"]),
        (b'"a, b" <sip:a@x>, <sip:b@x>', [b'"a, b" <sip:a@x>', b"<sip:b@x>"]),
        (b"<sip:a,b@x>,<sip:c@x>", [b"<sip:a,b@x>", b"<sip:c@x>"]),
        (b'"a\\", b" <sip:a@x>,b', [b'"a\\", b" <sip:a@x>', b"b"]),
        (b'"open, quote', [b'"open, quote']),
        (b'"ends in a backslash,\\', [b'"ends in a backslash,\\']),
        (b",,", [b"", b"", b""]),
    ],
)
def test_commas_part_a_list_outside_quotes_and_brackets(
    value: bytes, expected: list[bytes]
) -> None:
    assert grammar.split_list(value) == expected


def test_parameters_are_named_in_lower_case_and_unquoted() -> None:
    text = b' ; TAG = a1;lr ;+sip.instance="<urn:uuid:1>" ; n = "a\\"b"; host=[::1]'
    assert grammar.parameters(text, of="To") == {
        b"tag": b"a1",
        b"lr": None,
        b"+sip.instance": b"<urn:uuid:1>",
        b"n": b'a"b',
        b"host": b"[::1]",
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"tag=1", "To has a malformed parameter: tag=1"),
        (b";;a", "To has a malformed parameter: ;;a"),
        (b";a=", "To has a malformed parameter: ="),
        (b";a=b c", "To has a malformed parameter: c"),
        (b';a="b', 'To has a malformed parameter: ="b'),
        (b";a=1;A=2", "To has the parameter a twice"),
    ],
)
def test_a_malformed_parameter_is_named(text: bytes, fault: str) -> None:
    with pytest.raises(ParseError) as caught:
        grammar.parameters(text, of="To")
    assert caught.value.reason == fault
    assert caught.value.status == 400


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_parameters_are_bounded(over: int) -> None:
    text = b"".join(b";p%d" % n for n in range(grammar.PARAMETERS_MAX + over))
    if over <= 0:
        assert len(grammar.parameters(text, of="To")) == grammar.PARAMETERS_MAX + over
        return
    with pytest.raises(ParseError, match="more than 64 parameters"):
        grammar.parameters(text, of="To")


@settings(derandomize=True)
@given(st.binary())
def test_quoting_is_undone_by_unquoting(text: bytes) -> None:
    quoted = grammar.quote(text)
    assert grammar.unquote(quoted) == text
    assert grammar.split_list(quoted + b",x") == [quoted, b"x"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"plain", b"plain"),
        (b"%75se%72", b"user"),
        (b"%zz%4", b"%zz%4"),
        (b"v%61lue%25%34%31", b"value%41"),
    ],
)
def test_escapes_are_resolved_once(text: bytes, expected: bytes) -> None:
    assert grammar.unescape(text) == expected


def test_shown_text_is_short_and_printable() -> None:
    assert grammar.shown(b"a\r\n\0b") == "a???b"
    assert grammar.shown("ж".encode()) == "ж"
    assert grammar.shown(b"x" * 40) == "x" * 40
    assert grammar.shown(b"x" * 41) == "x" * 40 + "…"
