"""TP and RP addresses (TS 23.040 §9.1.2.5, TS 24.011 §8.2.5)."""

import pytest

from sipgram.errors import UsageError
from sipgram.sms.address import Address, TypeOfNumber
from sipgram.sms.cause import RpCause, SmsFault
from sipgram.sms.octets import Octets


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("+4930123", TypeOfNumber.INTERNATIONAL, "4930123"),
        ("12345", TypeOfNumber.UNKNOWN, "12345"),
        ("*100#", TypeOfNumber.UNKNOWN, "*100#"),
        ("Bank", TypeOfNumber.ALPHANUMERIC, "Bank"),
        ("+", TypeOfNumber.ALPHANUMERIC, "+"),
    ],
)
def test_address_of_what_people_write(text: str, kind: TypeOfNumber, value: str) -> None:
    address = Address.of(text)

    assert (address.type_of_number, address.value) == (kind, value)
    assert str(address) == text
    assert Address.read_tp(Octets(address.write_tp()), "TP-DA") == address


@pytest.mark.parametrize("text", ["", "1" * 21, "abcdefghijkl", "中", "€€€€€€"])
def test_what_no_address_can_hold(text: str) -> None:
    with pytest.raises(UsageError):
        Address.of(text)


@pytest.mark.parametrize(
    "address",
    [
        Address("1" * 21),
        Address("12-3"),
        Address("1", plan=16),
        Address("中", TypeOfNumber.ALPHANUMERIC),
        Address("abcdefghijkl", TypeOfNumber.ALPHANUMERIC),
    ],
)
def test_value_that_does_not_fit_is_not_written(address: Address) -> None:
    with pytest.raises(UsageError):
        address.write_tp()


@pytest.mark.parametrize("address", [Address(""), Address("Bank", TypeOfNumber.ALPHANUMERIC)])
def test_rp_address_is_a_number(address: Address) -> None:
    with pytest.raises(UsageError):
        address.write_rp()


def test_seven_characters_are_thirteen_semi_octets() -> None:
    written = Address("OpenBSC", TypeOfNumber.ALPHANUMERIC).write_tp()

    assert written[0] == 13
    assert Address.read_tp(Octets(written), "TP-OA").value == "OpenBSC"


def test_fill_inside_the_length_ends_a_number() -> None:
    assert Address.read_tp(Octets(bytes.fromhex("0691214365")), "TP-OA").value == "123456"
    assert Address.read_tp(Octets(bytes.fromhex("06912143f5")), "TP-OA").value == "12345"


def test_address_of_twenty_semi_octets_and_no_more() -> None:
    twenty = bytes((20, 0x91)) + bytes(10)
    assert Address.read_tp(Octets(twenty), "TP-DA").value == "0" * 20

    with pytest.raises(SmsFault, match=r"TP-DA is over 20 semi-octets: 21"):
        Address.read_tp(Octets(bytes((21, 0x91)) + bytes(11)), "TP-DA")


@pytest.mark.parametrize("size", [1, 12])
def test_rp_address_of_a_length_that_no_number_has(size: int) -> None:
    with pytest.raises(SmsFault, match=r"RP-DA has a length that no number has") as raised:
        Address.read_rp(Octets(bytes((size,)) + bytes(size)), "RP-DA")

    assert raised.value.cause is RpCause.INVALID_MANDATORY_INFORMATION
