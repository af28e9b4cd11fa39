"""The words for the fields of RP messages and TPDUs (TS 24.011 §8, TS 23.040 §9.2.3)."""

from collections.abc import Callable
from enum import IntEnum
from typing import Final, assert_never

from sipgram.sms import protocol
from sipgram.sms.address import Address, TypeOfNumber
from sipgram.sms.cause import FailureCause, RpCause
from sipgram.sms.coding import DataCoding
from sipgram.sms.header import (
    CONCATENATION_8,
    CONCATENATION_16,
    LOCKING_SHIFT,
    PORTS_8,
    PORTS_16,
    SINGLE_SHIFT,
    SPECIAL_MESSAGE,
    Element,
    Header,
)
from sipgram.sms.rp import Direction, RpAck, RpData, RpError, RpMessage, RpSmma
from sipgram.sms.timestamp import Timestamp
from sipgram.sms.tpdu import status_report
from sipgram.sms.tpdu.command import Command, CommandType
from sipgram.sms.tpdu.deliver import Deliver
from sipgram.sms.tpdu.parser import Tpdu
from sipgram.sms.tpdu.reports import DeliverReport, SubmitReport
from sipgram.sms.tpdu.status_report import StatusReport
from sipgram.sms.tpdu.submit import Submit
from sipgram.sms.validity import (
    AbsoluteValidity,
    EnhancedValidity,
    RelativeValidity,
    Validity,
    format_of,
)

_TPDU_NAMES: Final[dict[type[Tpdu], str]] = {
    Submit: "SUBMIT",
    Deliver: "DELIVER",
    StatusReport: "STATUS-REPORT",
    Command: "COMMAND",
    SubmitReport: "SUBMIT-REPORT",
    DeliverReport: "DELIVER-REPORT",
}
_RP_NAMES: Final = ("RP-DATA", "RP-ACK", "RP-ERROR", "RP-SMMA")
_ELEMENT_NAMES: Final = {
    CONCATENATION_8: "concatenation, 8-bit reference",
    SPECIAL_MESSAGE: "special message indication",
    PORTS_8: "application ports, 8-bit",
    PORTS_16: "application ports, 16-bit",
    0x06: "service centre control",
    0x07: "UDH source",
    CONCATENATION_16: "concatenation, 16-bit reference",
    0x20: "RFC 822 header",
    0x22: "reply address",
    SINGLE_SHIFT: "single shift",
    LOCKING_SHIFT: "locking shift",
}


def name_of(message: RpMessage | Tpdu) -> str:
    """Return the standard's name of a message."""
    match message:
        case RpData():
            return "RP-DATA"
        case RpAck():
            return "RP-ACK"
        case RpError():
            return "RP-ERROR"
        case RpSmma():
            return "RP-SMMA"
        case _:
            return _TPDU_NAMES[type(message)]


def of_rp(field: str, octets: bytes) -> str:
    """Say what the octets of a field of an RP message mean."""
    say = _RP_FIELDS.get(field)
    return "" if say is None else say(octets)


def of_tpdu(field: str, octets: bytes, tpdu: Tpdu | None) -> str:
    """Say what the octets of a field of a TPDU mean, as far as it was read."""
    if field.startswith(("TP-OA", "TP-DA", "TP-RA")):
        return _of_address(field, octets, tpdu)
    if field == "first octet":
        return "" if tpdu is None else f"{name_of(tpdu)}{_flags(tpdu)}"
    if field == "TP-VP" and isinstance(tpdu, Submit) and tpdu.validity is not None:
        return _of_validity(tpdu.validity)
    say = _TP_FIELDS.get(field)
    return "" if say is None else say(octets)


def of_element(element: Element) -> tuple[str, str]:
    """Return the name of a user data header's element, and what it says."""
    name = _ELEMENT_NAMES.get(element.identifier, "unknown")
    header = Header((element,))
    said = element.data.hex(" ")
    if concatenation := header.concatenation:
        part = f"part {concatenation.number} of {concatenation.total}"
        said = f"{part}, reference {concatenation.reference}"
    elif ports := header.ports:
        said = f"to port {ports.destination} from port {ports.source}"
    elif language := header.locking or header.single:
        said = language.name.title()
    return f"{name} ({element.identifier:02x})", said


def _flags(tpdu: Tpdu) -> str:
    """Say which bits of a first octet are set, in words."""
    words: list[tuple[bool, str]]
    match tpdu:
        case Submit():
            words = [
                (tpdu.rejects_duplicates, "reject duplicates"),
                (tpdu.validity is not None, f"{format_of(tpdu.validity).name.lower()} validity"),
                (tpdu.wants_status_report, "status report wanted"),
                (tpdu.user_data.header is not None, "header"),
                (tpdu.has_reply_path, "reply path"),
            ]
        case Deliver():
            words = [
                (tpdu.has_more, "more messages wait"),
                (not tpdu.has_more, "no more messages"),
                (tpdu.is_loop_prevented, "no forwarding"),
                (tpdu.has_status_report, "status report goes back"),
                (tpdu.user_data.header is not None, "header"),
                (tpdu.has_reply_path, "reply path"),
            ]
        case StatusReport():
            words = [
                (tpdu.has_more, "more messages wait"),
                (not tpdu.has_more, "no more messages"),
                (tpdu.is_loop_prevented, "no forwarding"),
                (tpdu.is_of_command, "of a command"),
                (tpdu.parameters.has_header, "header"),
            ]
        case Command():
            words = [
                (tpdu.wants_status_report, "status report wanted"),
                (tpdu.has_header, "header"),
            ]
        case SubmitReport() | DeliverReport():
            words = [(tpdu.parameters.has_header, "header")]
        case _:
            assert_never(tpdu)
    return "".join(f", {word}" for is_set, word in words if is_set)


def _of_address(field: str, octets: bytes, tpdu: Tpdu | None) -> str:
    if field.endswith("length"):
        return f"{octets[0]} semi-octets"
    if field.endswith("type"):
        return _type_of_number(octets[0])
    match tpdu:
        case Submit() | Command():
            return _party(tpdu.destination)
        case Deliver():
            return _party(tpdu.originator)
        case StatusReport():
            return _party(tpdu.recipient)
        case _:
            return ""


def _party(address: Address) -> str:
    """Write a name in quotes: it may have line breaks in it."""
    return repr(address.value) if address.is_name else str(address)


def _of_validity(validity: Validity) -> str:
    match validity:
        case AbsoluteValidity():
            return f"until {validity.timestamp}"
        case RelativeValidity():
            return f"{validity.seconds} s"
        case EnhancedValidity():
            shot = ", single shot" if validity.is_single_shot else ""
            seconds = validity.seconds
            return ("no time" if seconds is None else f"{seconds} s") + shot
        case _:
            assert_never(validity)


def _type_of_number(octet: int) -> str:
    name = TypeOfNumber(octet >> 4 & 7).name.lower().replace("_", " ")
    return f"{name} number, plan {octet & 15}"


def _rp_address(octets: bytes) -> str:
    address = Address.parse_rp(octets)
    return f"{address} ({_type_of_number(octets[0])})"


def _rp_type(octets: bytes) -> str:
    direction = Direction.TO_MS if octets[0] & 1 else Direction.TO_NETWORK
    kind = octets[0] & 7
    return "reserved" if kind == 7 else f"{_RP_NAMES[kind >> 1]}, {direction.value}"


def _indicator(octets: bytes) -> str:
    names = ("TP-PID", "TP-DCS", "TP-UD")
    there = [name for bit, name in enumerate(names) if octets[0] >> bit & 1]
    return ", ".join(there) + (" follow" if len(there) > 1 else " follows") if there else "nothing"


def _named(values: type[IntEnum]) -> Callable[[bytes], str]:
    """Return what says the name of a value that may not have one."""
    names = {int(value): value.name.lower().replace("_", " ") for value in values}
    return lambda octets: f"{names.get(octets[0] & 0xFF, 'unknown')} ({octets[0]})"


def _count(octets: bytes) -> str:
    return f"{octets[0]} octets"


def _number(octets: bytes) -> str:
    return str(octets[0])


def _hexadecimal(octets: bytes) -> str:
    return octets.hex(" ")


def _time(octets: bytes) -> str:
    return str(Timestamp(octets))


def _cause(octets: bytes) -> str:
    return _named(RpCause)(bytes((octets[0] & 0x7F,)))


_RP_FIELDS: Final[dict[str, Callable[[bytes], str]]] = {
    "RP-Message-Type": _rp_type,
    "RP-Message-Reference": _number,
    "RP-OA length": _count,
    "RP-OA": _rp_address,
    "RP-DA length": _count,
    "RP-DA": _rp_address,
    "RP-Cause length": _count,
    "RP-Cause": _cause,
    "RP-Cause diagnostic": _hexadecimal,
    "RP-User-Data length": _count,
    "element identifier": lambda octets: (
        "RP-User-Data" if octets == b"\x41" else f"unknown ({octets.hex()})"
    ),
    "element length": _count,
    "element value": _hexadecimal,
}
_TP_FIELDS: Final[dict[str, Callable[[bytes], str]]] = {
    "TP-MR": _number,
    "TP-PID": lambda octets: protocol.described(octets[0]),
    "TP-DCS": lambda octets: str(DataCoding.of(octets[0])),
    "TP-SCTS": _time,
    "TP-DT": _time,
    "TP-ST": lambda octets: (
        f"{status_report.described(octets[0])} ({status_report.outcome_of(octets[0]).value})"
    ),
    "TP-FCS": _named(FailureCause),
    "TP-PI": _indicator,
    "TP-CT": _named(CommandType),
    "TP-MN": _number,
    "TP-CDL": _count,
    "TP-CD": _hexadecimal,
    "TP-UDL": _number,
    "TP-UD": _hexadecimal,
}
