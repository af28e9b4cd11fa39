"""TP-VP: how long a short message is worth delivering, in its three forms (TS 23.040 §9.2.3.12)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, assert_never

from sipgram.errors import UsageError
from sipgram.sms.octets import Octets, octet_of
from sipgram.sms.timestamp import Timestamp

LENGTH: Final = 7
_MINUTE_S: Final = 60
_DAY_S: Final = 24 * 60 * 60
_WEEK_S: Final = 7 * _DAY_S
_RELATIVE_MAX_S: Final = 63 * _WEEK_S
_SECONDS_MAX: Final = 255
_SINGLE_SHOT: Final = 0x40
_EXTENSION: Final = 0x80
_SWAPPED: Final = bytes(octet >> 4 | (octet & 15) << 4 for octet in range(256))


class ValidityFormat(IntEnum):
    """TP-VPF, bits 4 and 3 of a SUBMIT's first octet."""

    NONE = 0
    ENHANCED = 1
    RELATIVE = 2
    ABSOLUTE = 3


class EnhancedFormat(IntEnum):
    """The lower three bits of an enhanced validity's first octet."""

    NONE = 0
    RELATIVE = 1
    SECONDS = 2
    TIME = 3


@dataclass(frozen=True, slots=True)
class RelativeValidity:
    """A time from when the service centre has the message; ``octet`` as in §9.2.3.12.1."""

    octet: int

    @classmethod
    def of(cls, seconds: float) -> "RelativeValidity":
        """Make the shortest one that lasts at least ``seconds``, up to 63 weeks.

        Raises:
            UsageError: longer than 63 weeks.
        """
        if seconds > _RELATIVE_MAX_S:
            raise UsageError(f"validity is over 63 weeks: {seconds:g} s")
        return cls(next(octet for octet in range(256) if _relative_s(octet) >= seconds))

    @property
    def seconds(self) -> int:
        """How long."""
        return _relative_s(self.octet)

    def until_utc_s(self, accepted_utc_s: float) -> float | None:
        """Return when it ends, for a message that was accepted then."""
        return accepted_utc_s + self.seconds

    def __bytes__(self) -> bytes:
        """Write one octet."""
        return bytes((octet_of(self.octet, "TP-VP"),))


@dataclass(frozen=True, slots=True)
class AbsoluteValidity:
    """An instant (§9.2.3.12.2)."""

    timestamp: Timestamp

    def until_utc_s(self, accepted_utc_s: float) -> float | None:
        """Return when it ends, None when there is no such date."""
        return self.timestamp.utc_s

    def __bytes__(self) -> bytes:
        """Write seven octets."""
        return self.timestamp.octets


@dataclass(frozen=True, slots=True)
class EnhancedValidity:
    """Seven octets, kept as they came (§9.2.3.12.3)."""

    octets: bytes

    @classmethod
    def of(cls, seconds: int | None, *, is_single_shot: bool = False) -> "EnhancedValidity":
        """Make one of a time, or of none for a single attempt without an end.

        Raises:
            UsageError: longer than 63 weeks, or not a second.
        """
        shot = _SINGLE_SHOT if is_single_shot else 0
        if seconds is None:
            return cls(bytes((shot | EnhancedFormat.NONE,)).ljust(LENGTH, b"\0"))
        if seconds < 1:
            raise UsageError(f"validity is not a second: {seconds}")
        if seconds <= _SECONDS_MAX:
            return cls(bytes((shot | EnhancedFormat.SECONDS, seconds)).ljust(LENGTH, b"\0"))
        relative = RelativeValidity.of(seconds).octet
        return cls(bytes((shot | EnhancedFormat.RELATIVE, relative)).ljust(LENGTH, b"\0"))

    @property
    def is_single_shot(self) -> bool:
        """Whether the service centre shall try once only."""
        return bool(self.octets[0] & _SINGLE_SHOT)

    @property
    def seconds(self) -> int | None:
        """How long; None when it does not say so, or says it in a way that does not exist."""
        value = self._value()
        match self.octets[0] & 7:
            case EnhancedFormat.RELATIVE if value:
                return _relative_s(value[0])
            # "The value 0 is reserved" (§9.2.3.12.3).
            case EnhancedFormat.SECONDS if value and value[0]:
                return value[0]
            case EnhancedFormat.TIME:
                return _time_s(value[:3])
            case _:
                return None

    def until_utc_s(self, accepted_utc_s: float) -> float | None:
        """Return when it ends, None when it does not say so."""
        seconds = self.seconds
        return None if seconds is None else accepted_utc_s + seconds

    def __bytes__(self) -> bytes:
        """Write seven octets."""
        return self.octets

    def _value(self) -> bytes:
        """Return what is behind the functionality indicators, of which the last lacks bit 7."""
        for index, octet in enumerate(self.octets):
            if not octet & _EXTENSION:
                return self.octets[index + 1 :]
        return b""


Validity = RelativeValidity | AbsoluteValidity | EnhancedValidity


def read_validity(octets: Octets, form: int) -> Validity | None:
    """Read the TP-VP that the two bits TP-VPF announce; None for no TP-VP.

    Raises:
        SmsFault: cut short.
    """
    match form:
        case ValidityFormat.RELATIVE:
            return RelativeValidity(octets.octet("TP-VP"))
        case ValidityFormat.ABSOLUTE:
            return AbsoluteValidity(Timestamp(octets.take(LENGTH, "TP-VP")))
        case ValidityFormat.ENHANCED:
            return EnhancedValidity(octets.take(LENGTH, "TP-VP"))
        case _:
            return None


def format_of(validity: Validity | None) -> ValidityFormat:
    """Return the TP-VPF that announces ``validity``."""
    match validity:
        case None:
            return ValidityFormat.NONE
        case RelativeValidity():
            return ValidityFormat.RELATIVE
        case AbsoluteValidity():
            return ValidityFormat.ABSOLUTE
        case EnhancedValidity():
            return ValidityFormat.ENHANCED
        case _:
            assert_never(validity)


def _relative_s(octet: int) -> int:
    if octet <= 143:
        return (octet + 1) * 5 * _MINUTE_S
    if octet <= 167:
        return _DAY_S // 2 + (octet - 143) * 30 * _MINUTE_S
    if octet <= 196:
        return (octet - 166) * _DAY_S
    return (octet - 192) * _WEEK_S


def _time_s(octets: bytes) -> int | None:
    """Read hours, minutes and seconds in semi-octets."""
    digits = octets.translate(_SWAPPED).hex()
    if len(digits) < 6 or not digits.isdecimal():
        return None
    return int(digits[:2]) * 3600 + int(digits[2:4]) * _MINUTE_S + int(digits[4:6])
