"""TP-PID: what besides a plain short message a TPDU asks for (TS 23.040 §9.2.3.9)."""

from typing import Final

PLAIN: Final = 0x00
TYPE_0: Final = 0x40
"The phone acknowledges, and shows nothing."
RETURN_CALL: Final = 0x5F
SIM_DOWNLOAD: Final = 0x7F

_REPLACE_FIRST: Final = 0x41
_REPLACE_LAST: Final = 0x47
_NAMES: Final = {
    PLAIN: "plain",
    TYPE_0: "type 0: acknowledged and discarded",
    0x5E: "enhanced message service (obsolete)",
    RETURN_CALL: "return call",
    0x7C: "ANSI-136 R-DATA",
    0x7D: "ME data download",
    0x7E: "ME de-personalization",
    SIM_DOWNLOAD: "(U)SIM data download",
}


def replace_type(protocol: int) -> int | None:
    """Return which of the seven Replace types this is; None for no such."""
    if _REPLACE_FIRST <= protocol <= _REPLACE_LAST:
        return protocol - TYPE_0
    return None


def described(protocol: int) -> str:
    """Say what the octet means."""
    number = replace_type(protocol)
    if number is not None:
        return f"replace type {number}"
    if protocol in _NAMES:
        return _NAMES[protocol]
    match protocol >> 6:
        case 0 if protocol & 0x20:
            return f"telematic interworking, device {protocol & 0x1F}"
        case 0:
            return f"no interworking, SM-AL protocol {protocol & 0x1F}"
        case 3:
            return "for the service centre's own use"
        case _:
            return "reserved"
