"""Multiparts, both ways and bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgram.errors import ParseError, TooLarge, UsageError
from sipgram.payload.multipart import HEADERS_MAX, PARTS_MAX, Part, build, parse

NAMES = st.from_regex(r"[A-Za-z][A-Za-z\-]{0,10}", fullmatch=True)
VALUES = st.from_regex(r"[!-~]([ -~]{0,10}[!-~])?", fullmatch=True)
PARTS = st.builds(
    Part, st.lists(st.tuples(NAMES, VALUES), max_size=4).map(tuple), st.binary(max_size=40)
)


@given(st.lists(PARTS, max_size=5))
def test_what_is_put_together_is_taken_apart(parts: list[Part]) -> None:
    body = build(parts, "a-boundary")

    if parts:
        assert parse(body, "a-boundary") == tuple(parts)


def test_preamble_epilogue_folding_and_an_empty_part() -> None:
    """RFC 2046 §5.1.1: preamble and epilogue are to be ignored."""
    body = (
        b"preamble\r\n--b \r\nContent-Type: text/html;\r\n charset=utf-8\r\n\r\n<p>\r\n"
        b"--b\r\n\r\n--b--\r\nepilogue --b"
    )

    first, second = parse(body, "b")

    assert (first.media_type.name, first.body) == ("text/html", b"<p>")
    assert first.media_type.parameters == {"charset": "utf-8"}
    assert (second.headers, second.body, second.media_type.name) == ((), b"", "text/plain")


def test_bare_line_feeds_are_read() -> None:
    (part,) = parse(b"--b\nContent-Disposition: recipient-list; handling=x\n\nhi\n--b--\n", "b")

    assert (part.body, part.disposition) == (b"hi", "recipient-list")


@pytest.mark.parametrize(
    ("body", "boundary"),
    [(b"", "b"), (b"--b\r\n\r\nx", "b"), (b"--b--", ""), (b"--b\r\nno header\r\n\r\n--b--", "b")],
)
def test_malformed_is_refused(body: bytes, boundary: str) -> None:
    try:
        assert parse(body, boundary) == ()
    except ParseError:
        return


def test_parts_and_headers_are_bounded() -> None:
    with pytest.raises(TooLarge):
        parse(b"--b\r\n\r\nx\r\n" * (PARTS_MAX + 1) + b"--b--", "b")
    with pytest.raises(TooLarge):
        parse(b"--b\r\n" + b"a: b\r\n" * (HEADERS_MAX + 1) + b"\r\n\r\n--b--", "b")
    with pytest.raises(TooLarge):
        parse(b"--b\r\na: " + b"b" * 9_000 + b"\r\n\r\n\r\n--b--", "b")


def test_a_boundary_within_a_part_is_not_written() -> None:
    with pytest.raises(UsageError):
        build([Part((), b"x\r\n--b")], "b")
    with pytest.raises(UsageError):
        build([], "ends with a space ")


@given(st.binary(max_size=60))
def test_any_octets_are_read_or_refused(body: bytes) -> None:
    try:
        parse(b"--b\r\n" + body + b"\r\n--b--", "b")
    except (ParseError, TooLarge):
        return
