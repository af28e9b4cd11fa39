"""The reader of XML from outside: what it refuses, and that it never falls over."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgram.errors import ParseError, TooLarge
from sipgram.payload import xml

BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<imdn>&b;</imdn>"""
OUTSIDE = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'
PARAMETER = b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://192.0.2.1/x.dtd"> %p;]><x/>'
REMOTE = b'<!DOCTYPE x SYSTEM "http://192.0.2.1/x.dtd"><x/>'
SEEDS = (
    *(BOMB, OUTSIDE, PARAMETER, REMOTE, b"", b"<", b"<a>", b"<a/><b/>", b"\x00", b"<a>&x;</a>"),
    *(b"<a:b/>", b'<a b="1" b="2"/>', b"\xff\xfe<\x00a\x00/\x00>\x00", b'<?xml version="9"?><a/>'),
    *(b'<?xml version="1.0" encoding="hex"?><a/>', b'<?xml version="1.0" encoding="utf-7"?><a/>'),
    *(b"<a>" * 33 + b"</a>" * 33, b"<a>&#0;</a>", b"<a><![CDATA[<b>]]></a>", b"<a>\xc3</a>"),
)


@pytest.mark.parametrize("document", [BOMB, OUTSIDE, PARAMETER, REMOTE])
def test_a_document_type_is_refused_before_anything_is_expanded(document: bytes) -> None:
    with pytest.raises(ParseError, match="document type"):
        xml.parse(document)


def test_names_have_their_namespace() -> None:
    root = xml.parse(b'<a xmlns="urn:a" xmlns:p="urn:p"><p:b p:c="1" d="2"> x<e/>y </p:b></a>')

    child = root.children[0]
    assert (root.name, root.local, child.name) == ("{urn:a}a", "a", "{urn:p}b")
    assert child.attributes == {"{urn:p}c": "1", "d": "2"}
    assert (root.text_of("{urn:p}b"), root.text_of("none")) == ("xy", "")
    assert list(root.every("{urn:p}b")) == [child]


@pytest.mark.parametrize(
    "document",
    [
        b"<a>" * (xml.DEPTH_MAX + 1) + b"</a>" * (xml.DEPTH_MAX + 1),
        b"<a>" + b"<b/>" * xml.ELEMENTS_MAX + b"</a>",
        b"<a>" + b" " * xml.BYTES_MAX + b"</a>",
    ],
)
def test_size_depth_and_number_are_bounded(document: bytes) -> None:
    with pytest.raises(TooLarge):
        xml.parse(document)


@pytest.mark.parametrize("document", SEEDS)
def test_a_seed_is_read_or_refused(document: bytes) -> None:
    try:
        xml.parse(document)
    except (ParseError, TooLarge):
        return


@given(st.sampled_from(SEEDS), st.binary(max_size=8), st.integers(0, 60))
def test_a_damaged_document_is_read_or_refused(seed: bytes, noise: bytes, at: int) -> None:
    test_a_seed_is_read_or_refused(seed[:at] + noise + seed[at:])


@given(st.text())
def test_text_comes_back_from_an_element_and_from_an_attribute(text: str) -> None:
    shown = xml.escape(text)
    root = xml.parse(f'<a b="{shown}">|{shown}|</a>'.encode())

    allowed = xml._FORBIDDEN_RE.sub("\ufffd", text)
    assert (root.attributes["b"], root.text) == (allowed, f"|{allowed}|")


def test_no_cycle_is_left_behind() -> None:
    gc.collect()
    gc.disable()
    try:
        xml.parse(b"<a><b/></a>")
        assert gc.collect() == 0
    finally:
        gc.enable()
