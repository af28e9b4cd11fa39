"""Each octet explained (issue 10: "a table that explains every octet")."""

import pytest

from sipgram.sms.address import Address
from sipgram.sms.cause import RpCause
from sipgram.sms.coding import Alphabet, DataCoding
from sipgram.sms.explain.meaning import name_of
from sipgram.sms.explain.table import explain_rp, explain_tpdu
from sipgram.sms.header import Element, Header, Ports
from sipgram.sms.rp import Direction, RpAck, RpData, RpError, RpMessage, RpSmma
from sipgram.sms.timestamp import Timestamp
from sipgram.sms.tpdu.command import Command
from sipgram.sms.tpdu.deliver import Deliver
from sipgram.sms.tpdu.parser import Tpdu
from sipgram.sms.tpdu.reports import DeliverReport
from sipgram.sms.tpdu.submit import Submit
from sipgram.sms.user_data import UserData
from sipgram.sms.validity import (
    AbsoluteValidity,
    EnhancedValidity,
    RelativeValidity,
    Validity,
)

TO_MS, TO_NETWORK = Direction.TO_MS, Direction.TO_NETWORK
BOB = Address.of("+4930123")
HI = UserData(Alphabet.GSM7, b"hi")


def said(octets: bytes, direction: Direction = TO_NETWORK) -> dict[str, str]:
    return {row.field: row.meaning for row in explain_tpdu(octets, direction=direction).rows}


def test_submit_in_rp_data() -> None:
    octets = bytes.fromhex(
        "00010007913121550501f01901ff0b917100330350f300000dc7f79b0c6abfe5eeb4fb1c02"
    )

    explanation = explain_rp(octets)

    assert [(row.offset, row.field, row.meaning) for row in explanation.rows] == [
        (0, "RP-Message-Type", "RP-DATA, MS to network"),
        (1, "RP-Message-Reference", "1"),
        (2, "RP-OA length", "0 octets"),
        (3, "RP-DA length", "7 octets"),
        (4, "RP-DA", "+13125550100 (international number, plan 1)"),
        (11, "RP-User-Data length", "25 octets"),
        (12, "first octet", "SUBMIT"),
        (13, "TP-MR", "255"),
        (14, "TP-DA length", "11 semi-octets"),
        (15, "TP-DA type", "international number, plan 1"),
        (16, "TP-DA value", "+17003330053"),
        (22, "TP-PID", "plain"),
        (23, "TP-DCS", "GSM 7-bit, general"),
        (24, "TP-UDL", "13"),
        (25, "TP-UD", "13 septets: 'Good morning!'"),
    ]


def test_header_is_shown_by_element() -> None:
    header = Header(
        (
            Element(0, b"\x05\x02\x01"),
            Ports(2948, 9200).element(),
            Element(0x24, b"\x01"),
            Element(0x70, b"\xaa\xbb"),
        ),
        b"\x01",
    )
    deliver = Deliver(
        originator=Address.of("Bank\r"),
        timestamp=Timestamp.of(1_735_732_800),
        user_data=UserData(Alphabet.UCS2, "中".encode("utf-16-be"), header),
        coding=DataCoding.general(Alphabet.UCS2),
        has_more=True,
    )

    found = said(bytes(deliver), TO_MS)

    assert found["first octet"] == "DELIVER, more messages wait, header"
    assert found["TP-OA value"] == r"'Bank\r'"
    assert found["TP-SCTS"] == "2025-01-01T12:00:00+00:00"
    assert found["concatenation, 8-bit reference (00)"] == "part 1 of 2, reference 5"
    assert found["application ports, 16-bit (05)"] == "to port 2948 from port 9200"
    assert found["single shift (24)"] == "Turkish"
    assert found["unknown (70)"] == "aa bb"
    assert found["UDH"] == "no whole element"
    assert found["TP-UD"] == "2 octets: '中'"


def test_header_without_text_ends_the_table() -> None:
    user_data = UserData(Alphabet.OCTETS, b"", Header((Element(1, b"\x80\x02"),)))
    submit = Submit(
        destination=BOB, user_data=user_data, coding=DataCoding.general(Alphabet.OCTETS)
    )

    assert list(said(bytes(submit)))[-1] == "special message indication (01)"


@pytest.mark.parametrize(
    ("validity", "meaning"),
    [
        (RelativeValidity(0), "300 s"),
        (AbsoluteValidity(Timestamp.of(1_735_732_800)), "until 2025-01-01T12:00:00+00:00"),
        (EnhancedValidity.of(60), "60 s"),
        (EnhancedValidity.of(None, is_single_shot=True), "no time, single shot"),
    ],
)
def test_validity(validity: Validity, meaning: str) -> None:
    submit = Submit(destination=BOB, user_data=HI, validity=validity)

    assert said(bytes(submit))["TP-VP"] == meaning


@pytest.mark.parametrize(
    ("octets", "direction", "field", "meaning"),
    [
        ("00c806000ac8329bfd068542a110", TO_NETWORK, "TP-FCS", "unknown (200)"),
        ("00d300", TO_NETWORK, "TP-FCS", "memory exceeded (211)"),
        ("00d300", TO_NETWORK, "TP-PI", "nothing"),
        ("00c806000ac8329bfd068542a110", TO_NETWORK, "TP-PI", "TP-DCS, TP-UD follow"),
        ("00012c", TO_NETWORK, "TP-PI", "TP-PID follows"),
        ("020b212c0c0d91112233445566f7057365742041", TO_NETWORK, "TP-CT", "unknown (44)"),
        ("020b21020c0d91112233445566f7057365742041", TO_NETWORK, "TP-CT", "delete (2)"),
        ("020b212c0c0d91112233445566f7057365742041", TO_NETWORK, "TP-CD", "73 65 74 20 41"),
        ("020b212c0c0d91112233445566f7057365742041", TO_NETWORK, "TP-DA value", "+1122334455667"),
        (
            "022a05912143f5421020304050004210203050500020",
            TO_MS,
            "TP-ST",
            "congestion (still trying)",
        ),
        ("022a05912143f5421020304050004210203050500000", TO_MS, "TP-RA value", "+12345"),
    ],
)
def test_fields(octets: str, direction: Direction, field: str, meaning: str) -> None:
    assert said(bytes.fromhex(octets), direction)[field] == meaning


def test_broken_tpdu_is_explained_as_far_as_it_goes() -> None:
    explanation = explain_tpdu(bytes.fromhex("010005912143f500000b"), direction=TO_NETWORK)

    assert explanation.tpdu is None
    assert explanation.fault is not None
    assert explanation.fault.reason == "TP-UD is cut short: 0 of 10 octets"
    fields = {row.field: row.meaning for row in explanation.rows}
    assert (fields["first octet"], fields["TP-DA value"], fields["TP-UDL"]) == ("", "", "11")


def test_broken_rp_message_is_explained_as_far_as_it_goes() -> None:
    explanation = explain_rp(bytes.fromhex("0001000001aa"))

    assert explanation.fault is not None
    assert explanation.fault.cause is RpCause.INVALID_MANDATORY_INFORMATION
    assert explanation.rows[-1].field == "unread"
    assert explain_rp(b"\x07\x01").rows[0].meaning == "reserved"


def test_cause_and_unknown_elements() -> None:
    rows = {row.field: row.meaning for row in explain_rp(bytes.fromhex("0409021603780155")).rows}

    assert rows["RP-Cause"] == "memory exceeded (22)"
    assert rows["RP-Cause diagnostic"] == "03"
    assert rows["element identifier"] == "unknown (78)"
    assert rows["element value"] == "55"
    assert explain_rp(bytes.fromhex("02014101ff")).rows[2].meaning == "RP-User-Data"
    assert explain_rp(bytes.fromhex("022a4102")).rows[-1].meaning == ""


def test_what_was_forgiven_is_told() -> None:
    deliver = bytes.fromhex("0405d0d6f7304c0700004210203040500000")
    octets = bytes.fromhex("012a0000") + bytes((len(deliver),)) + deliver

    explanation = explain_rp(octets)

    assert explanation.forgiven == ("RP-OA is empty", "TP-OA length counts septets")
    assert b"".join(row.octets for row in explanation.rows) == octets
    assert explanation.rows[-1].field == "TP-UDL"


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (RpData(direction=TO_MS, reference=0, user_data=b"x"), "RP-DATA"),
        (RpAck(direction=TO_MS, reference=0), "RP-ACK"),
        (RpError(direction=TO_MS, reference=0, cause=41), "RP-ERROR"),
        (RpSmma(reference=0), "RP-SMMA"),
        (DeliverReport(), "DELIVER-REPORT"),
        (Command(destination=BOB, command=0, message_number=0), "COMMAND"),
    ],
)
def test_names(message: RpMessage | Tpdu, name: str) -> None:
    assert name_of(message) == name
