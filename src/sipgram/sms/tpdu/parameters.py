"""TP-PI and the parameters that it announces, at the end of reports (TS 23.040 §9.2.3.27)."""

from dataclasses import dataclass
from typing import Final

from sipgram.sms.coding import Alphabet, DataCoding
from sipgram.sms.octets import Octets, octet_of
from sipgram.sms.user_data import UserData

_PROTOCOL: Final = 0x01
_CODING: Final = 0x02
_USER_DATA: Final = 0x04
_EXTENSION: Final = 0x80
_GSM7: Final = DataCoding.general(Alphabet.GSM7)
_OCTETS_MAX: Final = 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """TP-PID, TP-DCS and TP-UD of a report, each None when it is not there."""

    protocol: int | None = None
    coding: DataCoding | None = None
    user_data: UserData | None = None

    @property
    def indicator(self) -> int:
        """TP-PI."""
        return (
            _PROTOCOL * (self.protocol is not None)
            | _CODING * (self.coding is not None)
            | _USER_DATA * (self.user_data is not None)
        )

    @property
    def has_header(self) -> bool:
        """TP-UDHI."""
        return self.user_data is not None and self.user_data.header is not None

    def __bytes__(self) -> bytes:
        """Write what follows TP-PI.

        Raises:
            UsageError: a value does not fit its field.
        """
        protocol = b"" if self.protocol is None else bytes((octet_of(self.protocol, "TP-PID"),))
        coding = b"" if self.coding is None else bytes((self.coding.octet,))
        if self.user_data is None:
            return protocol + coding
        return protocol + coding + self.user_data.write(octets_max=_OCTETS_MAX)


NONE: Final = Parameters()


def read_indicator(octets: Octets) -> int:
    """Read TP-PI, 0 when the report ends before it; further octets of it are skipped.

    "If bit 7 is set, another TP-PI octet follows"; no meaning of one is known.
    """
    if octets.left == 0:
        octets.forgive("TP-PI is missing")
        return 0
    indicator = octet = octets.octet("TP-PI")
    while octet & _EXTENSION:
        octet = octets.octet("TP-PI extension")
    return indicator


def read_parameters(octets: Octets, indicator: int, *, has_header: bool) -> Parameters:
    """Read what ``indicator`` announces; reserved bits are ignored.

    Raises:
        SmsFault: cut short, or user data that cannot be.
    """
    if not indicator & (_PROTOCOL | _CODING | _USER_DATA):
        return NONE
    protocol = octets.octet("TP-PID") if indicator & _PROTOCOL else None
    coding = DataCoding.of(octets.octet("TP-DCS")) if indicator & _CODING else None
    user_data = None
    if indicator & _USER_DATA:
        user_data = UserData.read(
            octets, coding or _GSM7, has_header=has_header, octets_max=_OCTETS_MAX
        )
    return Parameters(protocol=protocol, coding=coding, user_data=user_data)
