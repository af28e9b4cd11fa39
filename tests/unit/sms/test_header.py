"""The user data header (TS 23.040 §9.2.3.24)."""

import pytest

from sipgram.errors import UsageError
from sipgram.sms.gsm import Language
from sipgram.sms.header import Concatenation, Element, Header, Ports


def header(octets: str) -> Header:
    return Header.parse(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("octets", "wanted"),
    [
        ("0003190201", Concatenation(0x19, 2, 1)),
        ("080412340302", Concatenation(0x1234, 3, 2, is_wide=True)),
        ("0003190001", None),
        ("0003190200", None),
        ("0003190203", None),
        ("00021902", None),
        ("00030102010003020302", Concatenation(2, 3, 2)),
        ("0003010201000302ff00", Concatenation(1, 2, 1)),
        ("7000", None),
    ],
)
def test_concatenation(octets: str, wanted: Concatenation | None) -> None:
    """One with a total or number that cannot be is ignored; of several, the last counts."""
    assert header(octets).concatenation == wanted


@pytest.mark.parametrize(
    ("octets", "wanted"),
    [
        ("05040b8423f0", Ports(2948, 9200)),
        ("0402f0f1", Ports(0xF0, 0xF1, is_wide=False)),
        ("0401f0", None),
        ("05030b8423", None),
    ],
)
def test_ports(octets: str, wanted: Ports | None) -> None:
    assert header(octets).ports == wanted


@pytest.mark.parametrize(
    ("octets", "locking", "single"),
    [
        ("240101", Language.DEFAULT, Language.TURKISH),
        ("250103240102", Language.PORTUGUESE, Language.SPANISH),
        ("24010e", Language.DEFAULT, Language.DEFAULT),
        ("24020101", Language.DEFAULT, Language.DEFAULT),
        ("240101240103", Language.DEFAULT, Language.PORTUGUESE),
    ],
)
def test_shift_tables(octets: str, locking: Language, single: Language) -> None:
    assert (header(octets).locking, header(octets).single) == (locking, single)


@pytest.mark.parametrize("octets", ["", "70", "700301", "0003190201ff", "7100a003010203"])
def test_header_is_written_as_it_came(octets: str) -> None:
    assert bytes(header(octets)).hex() == f"{len(octets) // 2:02x}{octets}"


@pytest.mark.parametrize(
    "part",
    [
        Concatenation(256, 2, 1),
        Concatenation(65_536, 2, 1, is_wide=True),
        Concatenation(0, 2, 0),
        Concatenation(0, 2, 3),
        Concatenation(0, 256, 3),
        Ports(256, 0, is_wide=False),
        Ports(0, 65_536),
    ],
)
def test_value_that_does_not_fit_its_element(part: Concatenation | Ports) -> None:
    with pytest.raises(UsageError, match=r"does not fit its element"):
        part.element()


def test_header_of_over_255_octets_is_not_written() -> None:
    with pytest.raises(UsageError, match=r"over 255 octets: 256"):
        bytes(Header((Element(0x70, bytes(254)),)))
