"""One value whatever a text is wrapped in."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgram.errors import ParseError, TooLarge
from sipgram.payload.body import Body
from sipgram.payload.cpim import Cpim
from sipgram.payload.imdn import asking

ALTERNATIVE = b"--b\r\nContent-Type: text/html\r\n\r\n<p>hi</p>\r\n--b\r\n\r\nhi\r\n--b--"


def test_plain_text() -> None:
    body = Body.parse("ü".encode("latin-1"), "text/plain;charset=iso-8859-1")
    assert (body.text, body.html, body.wishes, body.is_notice) == ("ü", "", frozenset(), False)


def test_cpim_inside_deflate() -> None:
    inside = Cpim(b"hi", headers=asking("m1", ("display",)))

    body = Body.parse(zlib.compress(bytes(inside)), "message/CPIM", encoding="Deflate")

    assert (body.text, body.content, body.content_type) == ("hi", b"hi", "text/plain;charset=UTF-8")
    assert (body.message_id, body.wishes) == ("m1", frozenset(("display",)))


def test_multipart_gives_its_text_and_its_html() -> None:
    body = Body.parse(ALTERNATIVE, "multipart/alternative;boundary=b")
    assert (body.text, body.html, body.content) == ("hi", "<p>hi</p>", ALTERNATIVE)

    inside = Cpim(ALTERNATIVE, (("Content-Type", 'multipart/alternative;boundary="b"'),))
    assert Body.parse(bytes(inside), "message/cpim").text == "hi"


def test_transfer_encodings_are_undone() -> None:
    parts = (
        b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n"
        b"--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41"
        b"\r\n--b--"
    )
    body = Body.parse(parts, "multipart/mixed;boundary=b")
    assert (body.text, body.html) == ("hi", "A")
    broken = parts.replace(b"aGk=", b"a")
    assert Body.parse(broken, "multipart/mixed;boundary=b").text == "a"


def test_what_is_signed_stays_closed() -> None:
    body = Body.parse(ALTERNATIVE, "multipart/signed;boundary=b")
    assert (body.text, body.content) == ("", ALTERNATIVE)


def test_an_encoding_that_we_do_not_know_is_415() -> None:
    with pytest.raises(ParseError) as refused:
        Body.parse(b"hi", "text/plain", encoding="gzip")
    assert refused.value.status == 415


def test_a_type_that_is_malformed_is_data() -> None:
    assert Body.parse(b"hi", "???") == Body(b"hi", "???")


def test_wrappers_within_wrappers_end_somewhere() -> None:
    raw = b"hi"
    for _ in range(9):
        raw = bytes(Cpim(raw, (("Content-Type", "message/cpim"),)))
    assert Body.parse(raw, "message/cpim").text == ""


@given(st.binary(max_size=60), st.sampled_from(["message/cpim", "multipart/mixed;boundary=b"]))
def test_any_octets_are_read_or_refused(raw: bytes, kind: str) -> None:
    try:
        Body.parse(raw, kind)
    except (ParseError, TooLarge):
        return
