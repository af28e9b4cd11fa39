"""TP-DCS: all groups (TS 23.038 §4), and the user data that they announce."""

import pytest

from sipgram.errors import UsageError
from sipgram.sms import gsm, protocol
from sipgram.sms.cause import SmsFault
from sipgram.sms.coding import Alphabet, CodingGroup, DataCoding, Waiting, WaitingKind
from sipgram.sms.header import Element, Header
from sipgram.sms.octets import Octets
from sipgram.sms.user_data import UserData, capacity

GSM7, OCTETS, UCS2 = Alphabet


@pytest.mark.parametrize(
    ("octet", "group", "alphabet", "message_class"),
    [
        (0x00, CodingGroup.GENERAL, GSM7, None),
        (0x03, CodingGroup.GENERAL, GSM7, None),
        (0x04, CodingGroup.GENERAL, OCTETS, None),
        (0x08, CodingGroup.GENERAL, UCS2, None),
        (0x0C, CodingGroup.GENERAL, GSM7, None),
        (0x10, CodingGroup.GENERAL, GSM7, 0),
        (0x19, CodingGroup.GENERAL, UCS2, 1),
        (0x40, CodingGroup.AUTO_DELETE, GSM7, None),
        (0x5A, CodingGroup.AUTO_DELETE, UCS2, 2),
        (0x80, CodingGroup.RESERVED, GSM7, None),
        (0x8A, CodingGroup.RESERVED, GSM7, None),
        (0xC0, CodingGroup.WAITING_DISCARD, GSM7, None),
        (0xD9, CodingGroup.WAITING_STORE, GSM7, None),
        (0xE2, CodingGroup.WAITING_STORE, UCS2, None),
        (0xF0, CodingGroup.CLASS, GSM7, 0),
        (0xF6, CodingGroup.CLASS, OCTETS, 2),
    ],
)
def test_groups(
    octet: int, group: CodingGroup, alphabet: Alphabet, message_class: int | None
) -> None:
    coding = DataCoding.of(octet)

    assert (coding.group, coding.alphabet) == (group, alphabet)
    assert (coding.octet, coding.message_class) == (octet, message_class)
    coding.check()


@pytest.mark.parametrize("octet", [0x20, 0x3F, 0x60])
def test_compressed(octet: int) -> None:
    coding = DataCoding.of(octet)

    assert "compressed" in str(coding)
    with pytest.raises(SmsFault):
        coding.check()


def test_waiting_indications() -> None:
    assert DataCoding.of(0xC8).waiting == Waiting(WaitingKind.VOICEMAIL, is_active=True)
    assert DataCoding.of(0xE2).waiting == Waiting(WaitingKind.EMAIL, is_active=False)
    assert str(DataCoding.of(0xD9)) == "GSM 7-bit, message waiting, store, fax indication on"
    assert str(DataCoding.of(0xD1)) == "GSM 7-bit, message waiting, store, fax indication off"


def test_coding_that_one_sends() -> None:
    assert DataCoding.general(UCS2).octet == 0x08
    assert DataCoding.general(GSM7, message_class=0).octet == 0x10
    assert str(DataCoding.of(0x10)) == "GSM 7-bit, general, class 0"


def test_what_no_octet_can_say() -> None:
    with pytest.raises(UsageError, match=r"TP-DCS is not an octet: 256"):
        DataCoding.of(256)
    with pytest.raises(UsageError, match=r"message class is not 0 to 3: 4"):
        DataCoding.general(GSM7, message_class=4)


def read(octet: int, data: bytes, *, has_header: bool = False) -> UserData:
    return UserData.read(Octets(data), DataCoding.of(octet), has_header=has_header)


@pytest.mark.parametrize("octet", [0x88, 0x8A, 0xBB])
def test_reserved_coding_that_means_ucs2(octet: int) -> None:
    """An operator sends 0x8A for UCS2 (issue 10: "all DCS groups")."""
    text = "中兴通讯 hello\n"
    data = text.encode("utf-16-be")
    octets = Octets(bytes((len(data),)) + data)

    user_data = UserData.read(octets, DataCoding.of(octet), has_header=False)

    assert (user_data.alphabet, user_data.text) == (UCS2, text)
    assert octets.forgiven == [f"TP-DCS {octet:#04x} is reserved, read as UCS2"]


@pytest.mark.parametrize(
    "data", ["0004d83d0041", "04d83d0041", "0400000001", "03004100", "0ae8329bfd4697d9ec37"]
)
def test_reserved_coding_is_gsm_7_bit_otherwise(data: str) -> None:
    """ "The receiving entity shall assume" the default alphabet in reserved groups (§4)."""
    octets = bytes.fromhex(data)

    assert read(0x8A, octets).alphabet is GSM7


def test_reserved_coding_that_means_octets() -> None:
    assert read(0x84, bytes((8,)) + bytes(8)).alphabet is OCTETS
    assert read(0x84, bytes((7,)) + bytes(7)).alphabet is GSM7


def test_header_that_cannot_be_is_refused() -> None:
    with pytest.raises(SmsFault, match=r"TP-UDHI is set and TP-UD is empty"):
        read(0, b"\0", has_header=True)
    with pytest.raises(SmsFault, match=r"UDHL goes beyond TP-UD: 5 of 2 octets"):
        read(0, b"\x03\x05\x00\x00", has_header=True)


def test_length_that_is_shorter_than_its_header_is_no_text() -> None:
    user_data = read(0, b"\x05\x03\x70\x01\x00\x00", has_header=True)

    assert user_data.body == b""
    assert user_data.header == Header((Element(0x70, b"\0"),))


def test_text_of_140_octets_and_no_more() -> None:
    assert len(read(4, bytes((140,)) + bytes(140)).body) == 140
    assert len(read(0, bytes((160,)) + bytes(140)).body) == 160

    with pytest.raises(SmsFault, match=r"TP-UD is over 140 octets: 141"):
        read(4, bytes((141,)) + bytes(141))
    with pytest.raises(SmsFault, match=r"TP-UD is over 140 octets: 141"):
        read(0, bytes((161,)) + bytes(141))
    with pytest.raises(UsageError, match=r"user data is over 140 octets: 141"):
        bytes(UserData(OCTETS, bytes(141)))
    with pytest.raises(UsageError, match=r"user data is over 255 octets: 224"):
        UserData(GSM7, bytes(256)).write(octets_max=255)


def test_half_a_character_of_ucs2_is_shown() -> None:
    assert UserData(UCS2, b"\0A\0").text == "A\ufffd"


@pytest.mark.parametrize(
    ("alphabet", "sizes"),
    [(GSM7, (160, 153, 152)), (OCTETS, (140, 134, 133)), (UCS2, (140, 134, 133))],
)
def test_capacities(alphabet: Alphabet, sizes: tuple[int, int, int]) -> None:
    headers = (None, Header((Element(0, bytes(3)),)), Header((Element(8, bytes(4)),)))

    assert tuple(capacity(alphabet, header) for header in headers) == sizes


def test_text_behind_a_header_begins_at_a_septet() -> None:
    user_data = UserData(GSM7, gsm.encode("ab") or b"", Header((Element(0, b"\x01\x02\x01"),)))

    assert bytes(user_data).hex() == "09050003010201c262"
    assert read(0, bytes(user_data), has_header=True) == user_data


@pytest.mark.parametrize(
    ("octet", "said"),
    [
        (0x00, "plain"),
        (0x12, "no interworking, SM-AL protocol 18"),
        (0x22, "telematic interworking, device 2"),
        (0x40, "type 0: acknowledged and discarded"),
        (0x47, "replace type 7"),
        (0x48, "reserved"),
        (0x7F, "(U)SIM data download"),
        (0x9F, "reserved"),
        (0xC1, "for the service centre's own use"),
    ],
)
def test_protocol_identifiers(octet: int, said: str) -> None:
    assert protocol.described(octet) == said
    assert protocol.replace_type(octet) == (7 if octet == 0x47 else None)
