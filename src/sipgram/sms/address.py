"""TP and RP addresses: numbers in semi-octets, names in septets (TS 23.040 §9.1.2.5, TS 24.011 §8.2.5).

A TP address counts its useful semi-octets, an RP address its octets.
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sipgram.errors import UsageError
from sipgram.sms import gsm
from sipgram.sms.cause import RpCause, SmsFault
from sipgram.sms.octets import Octets

SEMI_OCTETS_MAX: Final = 20
NAME_CHARACTERS_MAX: Final = 11
_RP_OCTETS_MAX: Final = 11
_ISDN: Final = 1
_SWAPPED: Final = bytes(octet >> 4 | (octet & 15) << 4 for octet in range(256))
_DIGITS: Final = str.maketrans("abcde", "*#abc")
_SEMI_OCTETS: Final = str.maketrans("*#abc", "abcde")
_NUMBER_RE: Final = re.compile(r"[0-9*#abc]*")


class TypeOfNumber(IntEnum):
    """Bits 7 to 5 of a type-of-address octet."""

    UNKNOWN = 0
    INTERNATIONAL = 1
    NATIONAL = 2
    NETWORK_SPECIFIC = 3
    SUBSCRIBER = 4
    ALPHANUMERIC = 5
    ABBREVIATED = 6
    RESERVED = 7


_TYPES: Final = tuple(TypeOfNumber)


@dataclass(frozen=True, slots=True)
class Address:
    """Digits and ``*#abc``, or a name when ``type_of_number`` is ALPHANUMERIC.

    ``plan`` is the numbering plan, 1 for telephone numbers (E.164).
    """

    value: str
    type_of_number: TypeOfNumber = TypeOfNumber.UNKNOWN
    plan: int = _ISDN

    @classmethod
    def of(cls, text: str) -> "Address":
        """Make one of what people write: ``+4930123`` is international, ``123`` unknown, else a name.

        Raises:
            UsageError: too long, or a name that GSM 7-bit has no characters for.
        """
        is_international = text.startswith("+")
        digits = text[is_international:]
        if digits and _NUMBER_RE.fullmatch(digits):
            if len(digits) > SEMI_OCTETS_MAX:
                raise UsageError(f"number has over {SEMI_OCTETS_MAX} digits: {text}")
            ton = TypeOfNumber.INTERNATIONAL if is_international else TypeOfNumber.UNKNOWN
            return cls(digits, ton)
        septets = gsm.encode(text)
        if septets is None or not 0 < len(septets) <= NAME_CHARACTERS_MAX:
            raise UsageError(
                f"name is not 1 to {NAME_CHARACTERS_MAX} GSM 7-bit characters: {text!r}"
            )
        return cls(text, TypeOfNumber.ALPHANUMERIC, 0)

    @property
    def is_name(self) -> bool:
        """Whether this is a name and no number."""
        return self.type_of_number is TypeOfNumber.ALPHANUMERIC

    def __str__(self) -> str:
        """Write it as people do: a plus before an international number."""
        return "+" * (self.type_of_number is TypeOfNumber.INTERNATIONAL) + self.value

    @classmethod
    def read_tp(cls, octets: Octets, name: str, *, in_septets: bool = False) -> "Address":
        """Read length, type and digits of a TP-OA, TP-DA or TP-RA, called ``name`` in faults.

        ``in_septets`` takes the length of a name for its count of septets, as some senders
        write it.

        Raises:
            SmsFault: longer than an address may be, or cut short.
        """
        count = octets.octet(f"{name} length")
        if count > SEMI_OCTETS_MAX:
            raise SmsFault(f"{name} is over {SEMI_OCTETS_MAX} semi-octets: {count}")
        toa = octets.octet(f"{name} type")
        size = (count * 7 + 7) // 8 if in_septets else (count + 1) // 2
        data = octets.take(size, f"{name} value")
        ton = _TYPES[toa >> 4 & 7]
        if ton is not TypeOfNumber.ALPHANUMERIC:
            return cls(_number(data, count), ton, toa & 15)
        if in_septets:
            return cls(gsm.decode(gsm.unpack(data, count)), ton, toa & 15)
        return cls(_name(data, count), ton, toa & 15)

    def write_tp(self) -> bytes:
        """Write length, type and digits.

        Raises:
            UsageError: the value does not fit its type, or is too long.
        """
        toa = self._toa()
        if not self.is_name:
            digits = self._semi_octets()
            return bytes((len(self.value), toa)) + digits
        septets = gsm.encode(self.value)
        if septets is None or len(septets) > NAME_CHARACTERS_MAX:
            raise UsageError(f"name does not fit an address: {self.value!r}")
        # "Useful semi-octets": seven characters are 49 bits, so 13 and not 14 of them.
        return bytes(((len(septets) * 7 + 3) // 4, toa)) + gsm.pack(septets)

    @classmethod
    def read_rp(cls, octets: Octets, name: str) -> "Address | None":
        """Read an RP-OA or RP-DA with its length; None when it is empty.

        Raises:
            SmsFault: cause 96; cut short, or of a length that holds no number.
        """
        size = octets.octet(f"{name} length")
        if size == 0:
            return None
        if not 1 < size <= _RP_OCTETS_MAX:
            raise SmsFault(
                f"{name} has a length that no number has: {size}",
                cause=RpCause.INVALID_MANDATORY_INFORMATION,
            )
        return cls.parse_rp(octets.take(size, name))

    @classmethod
    def parse_rp(cls, data: bytes) -> "Address":
        """Read an RP address or an SCA without its length: the type and the semi-octets."""
        ton = _TYPES[data[0] >> 4 & 7]
        return cls(_number(data[1:], 2 * SEMI_OCTETS_MAX), ton, data[0] & 15)

    def write_rp(self) -> bytes:
        """Write length, type and semi-octets.

        Raises:
            UsageError: the value is no number, empty, or too long.
        """
        digits = self._semi_octets()
        if self.is_name or not digits:
            raise UsageError(f"RP address is no number: {self.value!r}")
        return bytes((1 + len(digits), self._toa())) + digits

    def _toa(self) -> int:
        if not 0 <= self.plan <= 15:
            raise UsageError(f"numbering plan is out of range: {self.plan}")
        return 0x80 | self.type_of_number << 4 | self.plan

    def _semi_octets(self) -> bytes:
        value = self.value
        if len(value) > SEMI_OCTETS_MAX or not _NUMBER_RE.fullmatch(value):
            raise UsageError(f"number does not fit an address: {value!r}")
        if not value.isdecimal():
            value = value.translate(_SEMI_OCTETS)
        filled = value + "f" * (len(value) % 2)
        return bytes.fromhex(filled).translate(_SWAPPED)


def _number(data: bytes, count: int) -> str:
    """Read digits up to the first fill; one within ``count`` ends the number too."""
    digits = data.translate(_SWAPPED).hex()[:count]
    if digits.isdecimal():
        return digits
    return digits.partition("f")[0].translate(_DIGITS)


def _name(data: bytes, count: int) -> str:
    """Read a name of ``count`` semi-octets.

    libosmocore writes 14 for seven characters, where 13 are useful; the eighth is then an at
    sign that nobody meant. A name of eight that really ends in one is not told from it.
    """
    septets = gsm.unpack(data, count * 4 // 7)
    if count % 2 == 0 and count * 4 == 7 * len(septets):
        septets = septets.removesuffix(b"\0")
    return gsm.decode(septets)
