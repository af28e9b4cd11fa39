"""name-addr and addr-spec (RFC 3261 §20.10, §25.1)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgram.errors import ParseError
from sipgram.sip.message.address import Address, parse_list


@pytest.mark.parametrize(
    ("value", "display", "uri", "params"),
    [
        (b"<sip:a@x>", b"", b"sip:a@x", {}),
        (b"sip:a@x;tag=1", b"", b"sip:a@x", {b"tag": b"1"}),
        (b"sip:a@x ;  tag  = 1", b"", b"sip:a@x", {b"tag": b"1"}),
        (b"<sip:a@x;lr?h=v>;tag=1;x", b"", b"sip:a@x;lr?h=v", {b"tag": b"1", b"x": None}),
        (b"caller<sip:a@x>", b"caller", b"sip:a@x", {}),
        (b"A. B  C <sip:a@x>", b"A. B  C", b"sip:a@x", {}),
        (b'"B, A \\"x\\"" <tel:+1>', b'B, A "x"', b"tel:+1", {}),
        (b'"<not>"<sip:a@x>', b"<not>", b"sip:a@x", {}),
        ("Jürgen <sip:a@x>".encode(), "Jürgen".encode(), b"sip:a@x", {}),
    ],
)
def test_forms_of_an_address(
    value: bytes, display: bytes, uri: bytes, params: dict[bytes, bytes | None]
) -> None:
    assert Address.parse(value) == Address(uri=uri, display=display, params=params)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b"Bell, Alexander <sip:a@x>", "has a display name that needs quotes: Bell, Alexander "),
        (b'"Bell" x <sip:a@x>', 'has text between display name and <URI>: "Bell" x <sip:a@x>'),
        (b'"Bell" sip:a@x', 'has a display name without <URI>: "Bell" sip:a@x'),
        (b"<sip:a@x", "lacks the closing bracket: <sip:a@x"),
        (b"<>", "has a malformed URI: "),
        (b"< sip:a@x>", "has a malformed URI:  sip:a@x"),
        (b"<sip:a b@x>", "has a malformed URI: sip:a b@x"),
        (b'<sip:"a"@x>', 'has a malformed URI: sip:"a"@x'),
        (b"<alice>", "has a malformed URI: alice"),
        (b"alice", "is malformed: alice"),
        (b"", "is malformed: "),
        (b"sip:a@x>", "is malformed: sip:a@x>"),
        (b"sip:a@x?Route=%3Csip:y%3E", "has a URI that needs brackets: sip:a@x?Route=%3Csip:y%3E"),
        (b"sip:a@x,sip:b@x", "has a URI that needs brackets: sip:a@x,sip:b@x"),
        (b"<sip:a@x>,<sip:b@x>", "has a malformed parameter: ,<sip:b@x>"),
    ],
)
def test_a_malformed_address_says_what_is_wrong(value: bytes, fault: str) -> None:
    with pytest.raises(ParseError) as caught:
        Address.parse(value, of="From")
    assert caught.value.reason == f"From {fault}"


def test_the_tag() -> None:
    assert Address.parse(b"<sip:a@x>;Tag=T1").tag == b"T1"
    assert Address.parse(b"<sip:a@x>").tag == b""


def test_a_list_over_several_lines() -> None:
    values = [b'"a, b" <sip:a@x>;q=0.5, <sip:b@x>', b"sip:c@x"]
    assert [a.uri for a in parse_list(values, of="Contact")] == [b"sip:a@x", b"sip:b@x", b"sip:c@x"]


@settings(derandomize=True)
@given(
    display=st.binary(max_size=20).map(bytes.strip),
    instance=st.binary(max_size=20),
)
def test_an_address_is_read_back_as_it_was_written(display: bytes, instance: bytes) -> None:
    address = Address(
        uri=b"sip:a@x;lr", display=display, params={b"+sip.instance": instance, b"lr": None}
    )
    assert Address.parse(bytes(address)) == address
