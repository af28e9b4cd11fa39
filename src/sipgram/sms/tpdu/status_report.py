"""SMS-STATUS-REPORT: what became of an earlier SUBMIT or COMMAND (TS 23.040 §9.2.2.3)."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from sipgram.sms.address import Address
from sipgram.sms.octets import Octets, octet_of
from sipgram.sms.timestamp import LENGTH, Timestamp
from sipgram.sms.tpdu.parameters import NONE, Parameters, read_indicator, read_parameters

MESSAGE_TYPE: Final = 2
_NO_MORE: Final = 0x04
_LOOP_PREVENTION: Final = 0x08
_OF_COMMAND: Final = 0x20
_HEADER: Final = 0x40

DELIVERED: Final = 0x00
FORWARDED: Final = 0x01
REPLACED: Final = 0x02
EXPIRED: Final = 0x46
DELETED_BY_SENDER: Final = 0x47
DELETED_BY_SC: Final = 0x48
UNKNOWN_MESSAGE: Final = 0x49


class Outcome(Enum):
    """What a TP-ST says (§9.2.3.15)."""

    COMPLETED = "completed"
    TRYING = "still trying"
    FAILED = "failed for good"
    GIVEN_UP = "given up after temporary errors"
    UNKNOWN = "unknown"


_NAMES: Final = {
    DELIVERED: "delivered",
    FORWARDED: "forwarded, delivery not confirmed",
    REPLACED: "replaced",
    0x20: "congestion",
    0x21: "recipient busy",
    0x22: "no response from recipient",
    0x23: "service rejected",
    0x24: "quality of service not available",
    0x25: "error in recipient",
    0x40: "remote procedure error",
    0x41: "incompatible destination",
    0x42: "rejected by recipient",
    0x43: "not obtainable",
    0x44: "quality of service not available",
    0x45: "no interworking available",
    EXPIRED: "validity expired",
    DELETED_BY_SENDER: "deleted by sender",
    DELETED_BY_SC: "deleted by service centre",
    UNKNOWN_MESSAGE: "unknown short message",
    0x60: "congestion",
    0x61: "recipient busy",
    0x62: "no response from recipient",
    0x63: "service rejected",
    0x64: "quality of service not available",
    0x65: "error in recipient",
}
_OUTCOMES: Final = (Outcome.COMPLETED, Outcome.TRYING, Outcome.FAILED, Outcome.GIVEN_UP)


def outcome_of(status: int) -> Outcome:
    """Return what a TP-ST says; values of a service centre's own and reserved ones are UNKNOWN."""
    return _OUTCOMES[status >> 5] if status in _NAMES else Outcome.UNKNOWN


def described(status: int) -> str:
    """Say what a TP-ST means."""
    name = _NAMES.get(status)
    return "reserved or of this service centre" if name is None else name


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """A STATUS-REPORT.

    ``timestamp`` is that of the submit report, ``discharge`` TP-DT, ``status`` TP-ST (see
    ``outcome_of``). ``has_more`` is TP-MMS the right way round. ``is_of_command`` is TP-SRQ.
    """

    reference: int
    recipient: Address
    timestamp: Timestamp
    discharge: Timestamp
    status: int
    has_more: bool = False
    is_loop_prevented: bool = False
    is_of_command: bool = False
    parameters: Parameters = NONE
    forgiven: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, octets: Octets) -> "StatusReport":
        """Read one from the first octet on.

        Raises:
            SmsFault: cut short, or an address or user data that cannot be.
        """
        first = octets.octet("first octet")
        reference = octets.octet("TP-MR")
        recipient = Address.read_tp(octets, "TP-RA")
        timestamp = Timestamp(octets.take(LENGTH, "TP-SCTS"))
        discharge = Timestamp(octets.take(LENGTH, "TP-DT"))
        status = octets.octet("TP-ST")
        indicator = read_indicator(octets) if octets.left else 0
        parameters = read_parameters(octets, indicator, has_header=bool(first & _HEADER))
        return cls(
            reference=reference,
            recipient=recipient,
            timestamp=timestamp,
            discharge=discharge,
            status=status,
            has_more=not first & _NO_MORE,
            is_loop_prevented=bool(first & _LOOP_PREVENTION),
            is_of_command=bool(first & _OF_COMMAND),
            parameters=parameters,
            forgiven=tuple(octets.forgiven),
        )

    def __bytes__(self) -> bytes:
        """Write it; TP-PI only when it announces something.

        Raises:
            UsageError: a value does not fit its field.
        """
        first = (
            MESSAGE_TYPE
            | _NO_MORE * (not self.has_more)
            | _LOOP_PREVENTION * self.is_loop_prevented
            | _OF_COMMAND * self.is_of_command
            | _HEADER * self.parameters.has_header
        )
        head = bytes((first, octet_of(self.reference, "TP-MR"))) + self.recipient.write_tp()
        times = self.timestamp.octets + self.discharge.octets
        status = bytes((octet_of(self.status, "TP-ST"),))
        indicator = self.parameters.indicator
        announced = bytes((indicator,)) + bytes(self.parameters) if indicator else b""
        return head + times + status + announced
