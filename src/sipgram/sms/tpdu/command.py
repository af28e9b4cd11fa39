"""SMS-COMMAND: what a phone asks about a message that it submitted (TS 23.040 §9.2.2.4)."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from sipgram.errors import UsageError
from sipgram.sms.address import Address
from sipgram.sms.octets import Octets, octet_of

MESSAGE_TYPE: Final = 2
DATA_OCTETS_MAX: Final = 157
_STATUS_REPORT: Final = 0x20
_HEADER: Final = 0x40


class CommandType(IntEnum):
    """TP-CT (§9.2.3.19); other values are kept as numbers."""

    ENQUIRY = 0
    CANCEL_STATUS_REPORT = 1
    DELETE = 2
    ENABLE_STATUS_REPORT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A COMMAND.

    ``message_number`` is the TP-MR of the submitted message, ``command`` TP-CT. ``data`` is
    TP-CD as it came; with ``has_header`` it begins with a user data header.
    """

    destination: Address
    command: int
    message_number: int
    reference: int = 0
    protocol: int = 0
    data: bytes = b""
    has_header: bool = False
    wants_status_report: bool = False
    forgiven: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, octets: Octets) -> "Command":
        """Read one from the first octet on.

        Raises:
            SmsFault: cut short, or an address that cannot be.
        """
        first = octets.octet("first octet")
        reference = octets.octet("TP-MR")
        protocol = octets.octet("TP-PID")
        command = octets.octet("TP-CT")
        number = octets.octet("TP-MN")
        destination = Address.read_tp(octets, "TP-DA")
        length = octets.octet("TP-CDL") if octets.left else 0
        return cls(
            destination=destination,
            command=command,
            message_number=number,
            reference=reference,
            protocol=protocol,
            data=octets.take(length, "TP-CD"),
            has_header=bool(first & _HEADER),
            wants_status_report=bool(first & _STATUS_REPORT),
            forgiven=tuple(octets.forgiven),
        )

    def __bytes__(self) -> bytes:
        """Write it.

        Raises:
            UsageError: a value does not fit its field.
        """
        if len(self.data) > DATA_OCTETS_MAX:
            raise UsageError(f"TP-CD is over {DATA_OCTETS_MAX} octets: {len(self.data)}")
        first = MESSAGE_TYPE | _STATUS_REPORT * self.wants_status_report | _HEADER * self.has_header
        numbers = (
            first,
            octet_of(self.reference, "TP-MR"),
            octet_of(self.protocol, "TP-PID"),
            octet_of(self.command, "TP-CT"),
            octet_of(self.message_number, "TP-MN"),
        )
        return bytes(numbers) + self.destination.write_tp() + bytes((len(self.data),)) + self.data
