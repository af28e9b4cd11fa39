"""SMS-DELIVER: a short message on its way to the phone (TS 23.040 §9.2.2.1)."""

from dataclasses import dataclass, field
from typing import Final

from sipgram.sms.address import Address, TypeOfNumber
from sipgram.sms.cause import SmsFault
from sipgram.sms.coding import Alphabet, DataCoding
from sipgram.sms.octets import Octets, octet_of
from sipgram.sms.timestamp import LENGTH, Timestamp
from sipgram.sms.user_data import UserData

MESSAGE_TYPE: Final = 0
_NO_MORE: Final = 0x04
_LOOP_PREVENTION: Final = 0x08
_STATUS_REPORT: Final = 0x20
_HEADER: Final = 0x40
_REPLY_PATH: Final = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """A DELIVER.

    ``has_more`` is TP-MMS the right way round: more messages wait. ``timestamp`` is TP-SCTS,
    ``protocol`` TP-PID, ``has_status_report`` TP-SRI. ``forgiven`` says what a sender got wrong.
    """

    originator: Address
    timestamp: Timestamp
    user_data: UserData
    coding: DataCoding = DataCoding.general(Alphabet.GSM7)  # noqa: RUF009  # A constant.
    protocol: int = 0
    has_more: bool = False
    is_loop_prevented: bool = False
    has_status_report: bool = False
    has_reply_path: bool = False
    forgiven: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, octets: Octets) -> "Deliver":
        """Read one from the first octet on.

        Senders were seen that count septets in the length of a name: when the strict reading
        cannot be, that one is tried, and noted in ``forgiven``.

        Raises:
            SmsFault: cut short, or an address or user data that cannot be.
        """
        try:
            return cls._read(octets, in_septets=False)
        except SmsFault as fault:
            if not _has_name(octets.data):
                raise
            again = octets.again()
            again.forgive("TP-OA length counts septets")
            try:
                found = cls._read(again, in_septets=True)
            except SmsFault:
                raise fault from None
            octets.adopt(again)
            return found

    @classmethod
    def _read(cls, octets: Octets, *, in_septets: bool) -> "Deliver":
        first = octets.octet("first octet")
        originator = Address.read_tp(octets, "TP-OA", in_septets=in_septets)
        protocol = octets.octet("TP-PID")
        coding = DataCoding.of(octets.octet("TP-DCS"))
        timestamp = Timestamp(octets.take(LENGTH, "TP-SCTS"))
        user_data = UserData.read(octets, coding, has_header=bool(first & _HEADER))
        return cls(
            originator=originator,
            timestamp=timestamp,
            user_data=user_data,
            coding=coding,
            protocol=protocol,
            has_more=not first & _NO_MORE,
            is_loop_prevented=bool(first & _LOOP_PREVENTION),
            has_status_report=bool(first & _STATUS_REPORT),
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
            | _NO_MORE * (not self.has_more)
            | _LOOP_PREVENTION * self.is_loop_prevented
            | _STATUS_REPORT * self.has_status_report
            | _HEADER * (self.user_data.header is not None)
            | _REPLY_PATH * self.has_reply_path
        )
        head = bytes((first,)) + self.originator.write_tp()
        coded = bytes((octet_of(self.protocol, "TP-PID"), self.coding.octet))
        return head + coded + self.timestamp.octets + bytes(self.user_data)


def _has_name(data: bytes) -> bool:
    return len(data) > 2 and data[2] >> 4 & 7 == TypeOfNumber.ALPHANUMERIC
