"""SMS-SUBMIT: a short message on its way to the service centre (TS 23.040 §9.2.2.2)."""

from dataclasses import dataclass, field
from typing import Final

from sipgram.sms.address import Address
from sipgram.sms.coding import Alphabet, DataCoding
from sipgram.sms.octets import Octets, octet_of
from sipgram.sms.user_data import UserData
from sipgram.sms.validity import Validity, format_of, read_validity

MESSAGE_TYPE: Final = 1
_REJECT_DUPLICATES: Final = 0x04
_STATUS_REPORT: Final = 0x20
_HEADER: Final = 0x40
_REPLY_PATH: Final = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """A SUBMIT. It names no sender: that is for the carrier to know.

    ``reference`` is TP-MR, ``protocol`` TP-PID. ``coding`` and ``user_data`` must agree about
    the alphabet. ``forgiven`` says what a sender got wrong.
    """

    destination: Address
    user_data: UserData
    coding: DataCoding = DataCoding.general(Alphabet.GSM7)  # noqa: RUF009  # A constant.
    reference: int = 0
    protocol: int = 0
    validity: Validity | None = None
    rejects_duplicates: bool = False
    wants_status_report: bool = False
    has_reply_path: bool = False
    forgiven: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, octets: Octets) -> "Submit":
        """Read one from the first octet on.

        Raises:
            SmsFault: cut short, or an address or user data that cannot be.
        """
        first = octets.octet("first octet")
        reference = octets.octet("TP-MR")
        destination = Address.read_tp(octets, "TP-DA")
        protocol = octets.octet("TP-PID")
        coding = DataCoding.of(octets.octet("TP-DCS"))
        validity = read_validity(octets, first >> 3 & 3)
        user_data = UserData.read(octets, coding, has_header=bool(first & _HEADER))
        return cls(
            destination=destination,
            user_data=user_data,
            coding=coding,
            reference=reference,
            protocol=protocol,
            validity=validity,
            rejects_duplicates=bool(first & _REJECT_DUPLICATES),
            wants_status_report=bool(first & _STATUS_REPORT),
            has_reply_path=bool(first & _REPLY_PATH),
            forgiven=tuple(octets.forgiven),
        )

    def __bytes__(self) -> bytes:
        """Write it.

        Raises:
            UsageError: a value does not fit its field.
        """
        first = (
            MESSAGE_TYPE
            | _REJECT_DUPLICATES * self.rejects_duplicates
            | format_of(self.validity) << 3
            | _STATUS_REPORT * self.wants_status_report
            | _HEADER * (self.user_data.header is not None)
            | _REPLY_PATH * self.has_reply_path
        )
        head = bytes((first, octet_of(self.reference, "TP-MR"))) + self.destination.write_tp()
        coded = bytes((octet_of(self.protocol, "TP-PID"), self.coding.octet))
        validity = b"" if self.validity is None else bytes(self.validity)
        return head + coded + validity + bytes(self.user_data)
