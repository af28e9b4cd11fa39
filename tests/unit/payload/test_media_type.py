"""Content-Type values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgram.errors import ParseError
from sipgram.payload.media_type import MediaType, name_of


@pytest.mark.parametrize(
    ("value", "name", "parameters"),
    [
        ("text/plain", "text/plain", {}),
        ("Text/Plain ; charset=UTF-8", "text/plain", {"charset": "UTF-8"}),
        ('multipart/mixed;boundary="a;\\"b"', "multipart/mixed", {"boundary": 'a;"b'}),
        ("a/b;x=1;x=2;;broken", "a/b", {"x": "1"}),
    ],
)
def test_name_and_parameters(value: str, name: str, parameters: dict[str, str]) -> None:
    kind = MediaType.parse(value)

    assert (kind.name, kind.parameters) == (name, parameters)
    assert name_of(value.encode()) == name


@pytest.mark.parametrize("value", ["", "text", "/plain", "text/", ";charset=utf-8"])
def test_what_names_no_type_is_415(value: str) -> None:
    with pytest.raises(ParseError) as refused:
        MediaType.parse(value)
    assert refused.value.status == 415


@pytest.mark.parametrize("charset", ["utf-99", "punycode", "rot13", "idna"])
def test_what_is_no_charset_is_read_as_utf_8(charset: str) -> None:
    assert MediaType.parse(f"text/plain;charset={charset}").decode("ü".encode()) == "ü"


@given(st.text(), st.binary())
def test_any_value_is_read_or_refused(value: str, body: bytes) -> None:
    try:
        MediaType.parse(value).decode(body)
    except ParseError:
        return


def test_none_has_no_name() -> None:
    assert name_of(None) == ""
