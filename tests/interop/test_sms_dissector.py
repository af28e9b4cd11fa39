"""Wireshark reads in what our encoder writes what we meant by it: 10,000 messages at random."""

import os
from pathlib import Path
from random import Random
from typing import Final

import pytest

from sipgram.sms.address import Address
from sipgram.sms.coding import Alphabet, DataCoding
from sipgram.sms.rp import RpAck, RpData, RpError, RpMessage, RpSmma
from sipgram.sms.timestamp import Timestamp
from sipgram.sms.tpdu.command import Command
from sipgram.sms.tpdu.deliver import Deliver
from sipgram.sms.tpdu.parameters import Parameters
from sipgram.sms.tpdu.parser import Tpdu, parse_carried
from sipgram.sms.tpdu.reports import DeliverReport, SubmitReport
from sipgram.sms.tpdu.status_report import StatusReport
from sipgram.sms.tpdu.submit import Submit
from sipgram.sms.user_data import UserData
from sipgram.sms.validity import (
    AbsoluteValidity,
    EnhancedFormat,
    EnhancedValidity,
    RelativeValidity,
    format_of,
)
from sipgram.testing.short_messages import random_message

from . import tshark
from .tshark import Said

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

COUNT: Final = 10_000
FIELDS: Final = (
    "_ws.malformed",
    "gsm_a.rp.extraneous_data",
    "gsm_a.rp.missing_mandatory_element",
    "gsm_sms.message_dissector_not_implemented",
    "gsm_a.rp.msg_type",
    "gsm_a.rp.rp_message_reference",
    "gsm_a.rp.cause",
    "gsm_a.rp.tpdu",
    "gsm_a.dtap.cld_party_bcd_num",
    "gsm_sms.tp-mti",
    "gsm_sms.tp-mr",
    "gsm_sms.tp-mms",
    "gsm_sms.tp-lp",
    "gsm_sms.tp-sri",
    "gsm_sms.tp-srr",
    "gsm_sms.tp-srq",
    "gsm_sms.tp-rd",
    "gsm_sms.tp-rp",
    "gsm_sms.tp-udhi",
    "gsm_sms.tp-vpf",
    "gsm_sms.tp-fcs",
    "gsm_sms.tp-pid",
    "gsm_sms.tp-dcs",
    "gsm_sms.tp-da",
    "gsm_sms.tp-oa",
    "gsm_sms.tp-ra",
    "gsm_sms.dis_field_addr.length",
    "gsm_sms.dis_field_addr.num_type",
    "gsm_sms.dis_field_addr.num_plan",
    "gsm_sms.tp.parameter_indicator",
    "gsm_sms.tp.command_type",
    "gsm_sms.tp.message_number",
    "gsm_sms.tp.command_data_length",
    "gsm_sms.tp.user_data_length",
    "gsm_sms.vp.validity_period",
    "gsm_sms.scts.year",
    "gsm_sms.scts.month",
    "gsm_sms.scts.day",
    "gsm_sms.scts.hour",
    "gsm_sms.scts.minutes",
    "gsm_sms.scts.seconds",
    "gsm_sms.scts.timezone",
    "gsm_sms.ie_identifier",
    "gsm_sms.dis_field_udh.user_data_header_length",
    "gsm_sms.udh.mm.msg_id",
    "gsm_sms.udh.mm.msg_parts",
    "gsm_sms.udh.mm.msg_part",
    "gsm_sms.destination_port",
    "gsm_sms.originator_port",
    "gsm_sms.sms_text",
    "gsm_sms.sms_body",
)


COMPLAINTS: Final = FIELDS[:4]
_MTI: Final[dict[type[Tpdu], int]] = {
    DeliverReport: 0,
    Deliver: 0,
    Submit: 1,
    SubmitReport: 1,
    Command: 2,
    StatusReport: 2,
}


def test_dissector_agrees(tmp_path: Path) -> None:
    """Issue 10, shown by 1: "tshark agrees on 10,000 random PDUs"."""
    if tshark.command() is None:
        assert not os.environ.get("CI"), "tshark is not installed"
        pytest.skip("tshark is not installed")
    source = Random(23_040)
    messages = [random_message(source) for _ in range(COUNT)]

    said = tshark.dissected([bytes(message) for message in messages], FIELDS, folder=tmp_path)

    assert len(said) == COUNT
    differing = [
        (message, differences)
        for message, found in zip(messages, said, strict=True)
        if (differences := compared(message, found))
    ]
    assert not differing, f"{len(differing)} differ: {differing[:3]}"


def compared(message: RpMessage, said: Said) -> dict[str, tuple[list[str], list[str]]]:
    """Return where the two readings differ: ours and tshark's, by field."""
    tpdu = parse_carried(message)
    ours = _of_rp(message)
    ignored: set[str] = set()
    if tpdu is not None:
        ours |= _of_tpdu(tpdu)
        ignored = _unread(tpdu)
    differences = {
        name: (values, said.get(name, []))
        for name, values in ours.items()
        if name not in ignored and values != said.get(name, [])
    }
    if ignored:
        return differences
    return differences | {name: ([], said[name]) for name in COMPLAINTS if name in said}


def _unread(tpdu: Tpdu) -> set[str]:
    """Return what Wireshark 4.0 loses.

    It goes on too early behind an enhanced validity that is relative, though each enhanced form
    has seven octets (TS 23.040 §9.2.3.12.3), and reads nothing that follows right.
    """
    validity = tpdu.validity if isinstance(tpdu, Submit) else None
    is_relative = (
        isinstance(validity, EnhancedValidity) and validity.octets[0] & 7 == EnhancedFormat.RELATIVE
    )
    return set(FIELDS[FIELDS.index("gsm_sms.tp.user_data_length") :]) if is_relative else set()


def _of_rp(message: RpMessage) -> Said:
    kinds = (RpData, RpAck, RpError, RpSmma)
    kind = 2 * kinds.index(type(message)) + (bytes(message)[0] & 1)
    fields = {
        "gsm_a.rp.msg_type": [f"0x{kind:02x}"],
        "gsm_a.rp.rp_message_reference": [f"0x{message.reference:02x}"],
    }
    if isinstance(message, RpError):
        fields["gsm_a.rp.cause"] = [str(int(message.cause))]
    if isinstance(message, RpData):
        party = message.originator or message.destination
        fields["gsm_a.dtap.cld_party_bcd_num"] = [party.value if party else ""]
    if not isinstance(message, RpSmma) and message.user_data:
        fields["gsm_a.rp.tpdu"] = [message.user_data.hex()]
    return fields


def _of_tpdu(tpdu: Tpdu) -> Said:
    fields = {"gsm_sms.tp-mti": [str(_MTI[type(tpdu)])]}
    match tpdu:
        case Submit():
            return fields | _of_submit(tpdu)
        case Deliver():
            return fields | {
                "gsm_sms.tp-mms": [_flag(not tpdu.has_more)],
                "gsm_sms.tp-lp": [_flag(tpdu.is_loop_prevented)],
                "gsm_sms.tp-sri": [_flag(tpdu.has_status_report)],
                "gsm_sms.tp-rp": [_flag(tpdu.has_reply_path)],
                "gsm_sms.tp-pid": [str(tpdu.protocol)],
                "gsm_sms.tp-dcs": [str(tpdu.coding.octet)],
                **_of_address("gsm_sms.tp-oa", tpdu.originator),
                **_of_times(tpdu.timestamp),
                **_of_user_data(tpdu.user_data, tpdu.coding),
            }
        case StatusReport():
            return fields | {
                "gsm_sms.tp-mr": [str(tpdu.reference)],
                "gsm_sms.tp-mms": [_flag(not tpdu.has_more)],
                "gsm_sms.tp-lp": [_flag(tpdu.is_loop_prevented)],
                "gsm_sms.tp-srq": [_flag(tpdu.is_of_command)],
                **_of_address("gsm_sms.tp-ra", tpdu.recipient),
                **_of_times(tpdu.timestamp, tpdu.discharge),
                **_of_parameters(tpdu.parameters),
            }
        case Command():
            return fields | {
                "gsm_sms.tp-mr": [str(tpdu.reference)],
                "gsm_sms.tp-srr": [_flag(tpdu.wants_status_report)],
                "gsm_sms.tp-pid": [str(tpdu.protocol)],
                "gsm_sms.tp.command_type": [str(tpdu.command)],
                "gsm_sms.tp.message_number": [str(tpdu.message_number)],
                "gsm_sms.tp.command_data_length": [str(len(tpdu.data))],
                **_of_address("gsm_sms.tp-da", tpdu.destination),
            }
        case SubmitReport():
            times = _of_times(tpdu.timestamp)
            return fields | _of_failure(tpdu.failure) | times | _of_parameters(tpdu.parameters)
        case DeliverReport():
            return fields | _of_failure(tpdu.failure) | _of_parameters(tpdu.parameters)


def _of_submit(submit: Submit) -> Said:
    fields = {
        "gsm_sms.tp-mr": [str(submit.reference)],
        "gsm_sms.tp-srr": [_flag(submit.wants_status_report)],
        "gsm_sms.tp-rd": [_flag(submit.rejects_duplicates)],
        "gsm_sms.tp-rp": [_flag(submit.has_reply_path)],
        "gsm_sms.tp-vpf": [str(int(format_of(submit.validity)))],
        "gsm_sms.tp-pid": [str(submit.protocol)],
        "gsm_sms.tp-dcs": [str(submit.coding.octet)],
        **_of_address("gsm_sms.tp-da", submit.destination),
        **_of_user_data(submit.user_data, submit.coding),
    }
    match submit.validity:
        case RelativeValidity(octet=octet):
            fields["gsm_sms.vp.validity_period"] = [str(octet)]
        case AbsoluteValidity(timestamp=timestamp):
            fields |= _of_times(timestamp)
    return fields


def _of_address(name: str, address: Address) -> Said:
    return {
        name: [address.value],
        "gsm_sms.dis_field_addr.length": [str(address.write_tp()[0])],
        "gsm_sms.dis_field_addr.num_type": [str(int(address.type_of_number))],
        "gsm_sms.dis_field_addr.num_plan": [str(address.plan)],
    }


def _of_times(*timestamps: Timestamp) -> Said:
    """Take the parts from the text of each: two digits of the year, and no zeros in front."""
    names = ("year", "month", "day", "hour", "minutes", "seconds")
    fields = {
        f"gsm_sms.scts.{name}": [
            str(int(str(each)[2:19].replace("T", "-").replace(":", "-").split("-")[index]))
            for each in timestamps
        ]
        for index, name in enumerate(names)
    }
    fields["gsm_sms.scts.timezone"] = [str(abs(each.quarters)) for each in timestamps]
    return fields


def _of_failure(failure: int | None) -> Said:
    return {"gsm_sms.tp-fcs": [] if failure is None else [f"0x{failure:02x}"]}


def _of_parameters(parameters: Parameters) -> Said:
    fields: Said = {}
    if parameters.indicator:
        fields["gsm_sms.tp.parameter_indicator"] = [f"0x{parameters.indicator:02x}"]
    if parameters.protocol is not None:
        fields["gsm_sms.tp-pid"] = [str(parameters.protocol)]
    if parameters.coding is not None:
        fields["gsm_sms.tp-dcs"] = [str(parameters.coding.octet)]
    if parameters.user_data is not None and parameters.coding is not None:
        fields |= _of_user_data(parameters.user_data, parameters.coding)
    return fields


def _of_user_data(user_data: UserData, coding: DataCoding) -> Said:
    fields = {
        "gsm_sms.tp-udhi": [_flag(user_data.header is not None)],
        "gsm_sms.tp.user_data_length": [str(user_data.length)],
    }
    # Wireshark 4.0 reads every text by the default tables, and none in a reserved coding, which
    # "the receiving entity shall assume to be the GSM 7 bit default alphabet" (TS 23.038 §4).
    is_reserved = coding.octet & 0xC0 == 0x80 or (coding.octet < 0x80 and coding.octet & 12 == 12)
    is_read = not is_reserved and not any(user_data.languages)
    if user_data.alphabet is Alphabet.OCTETS and user_data.body:
        fields["gsm_sms.sms_body"] = [user_data.body.hex()]
    elif user_data.text and is_read:
        fields["gsm_sms.sms_text"] = [user_data.text]
    if user_data.header is None:
        return fields
    elements = user_data.header.elements
    fields["gsm_sms.ie_identifier"] = [f"0x{each.identifier:02x}" for each in elements]
    fields["gsm_sms.dis_field_udh.user_data_header_length"] = [str(bytes(user_data.header)[0])]
    if concatenation := user_data.header.concatenation:
        fields["gsm_sms.udh.mm.msg_id"] = [str(concatenation.reference)]
        fields["gsm_sms.udh.mm.msg_parts"] = [str(concatenation.total)]
        fields["gsm_sms.udh.mm.msg_part"] = [str(concatenation.number)]
    if ports := user_data.header.ports:
        fields["gsm_sms.destination_port"] = [str(ports.destination)]
        fields["gsm_sms.originator_port"] = [str(ports.source)]
    return fields


def _flag(is_set: bool) -> str:
    return str(int(is_set))
