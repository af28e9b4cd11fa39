"""TP-SCTS, TP-DT and the absolute TP-VP: seven semi-octet pairs (TS 23.040 §9.2.3.11).

Kept as they came, for a status report must repeat them exactly. Without a clock: what is a
second UTC is counted by calendar rules alone.
"""

from dataclasses import dataclass
from typing import Final

from sipgram.errors import UsageError

LENGTH: Final = 7
_CENTURY_TURNS: Final = 90
"Two digits from here on are of the 1900s: the first short message was sent in 1992."
_QUARTER_S: Final = 15 * 60
_QUARTERS_MAX: Final = 79
_DAY_S: Final = 24 * 60 * 60
_EPOCH_DAY: Final = 719_468
"Days from 0000-03-01 to 1970-01-01."
_ERA_DAYS: Final = 146_097
"Days of 400 years."
_SWAPPED: Final = bytes(octet >> 4 | (octet & 15) << 4 for octet in range(256))


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An instant with the sender's distance to UTC; ``octets`` are the seven on the wire.

    Senders write dates that do not exist, and receivers keep the message: ``utc_s`` is None
    then and ``str`` shows the octets.
    """

    octets: bytes

    @classmethod
    def of(cls, utc_s: float, *, quarters: int = 0) -> "Timestamp":
        """Make one of seconds since 1970 UTC, shown ``quarters`` of an hour ahead of UTC.

        Raises:
            UsageError: the year is outside 1990 to 2089, or ``quarters`` outside -79 to 79.
        """
        if not -_QUARTERS_MAX <= quarters <= _QUARTERS_MAX:
            raise UsageError(f"zone is out of range: {quarters} quarters of an hour")
        days, second = divmod(int(utc_s) + quarters * _QUARTER_S, _DAY_S)
        year, month, day = _date(days)
        if not 1900 + _CENTURY_TURNS <= year < 2000 + _CENTURY_TURNS:
            raise UsageError(f"year is out of range: {year}")
        values = (year % 100, month, day, second // 3600, second // 60 % 60, second % 60)
        zone = abs(quarters)
        sign = 0x08 if quarters < 0 else 0
        octets = bytes(value // 10 | value % 10 << 4 for value in values)
        return cls(octets + bytes((zone // 10 | zone % 10 << 4 | sign,)))

    @property
    def quarters(self) -> int:
        """Quarters of an hour that the local time is ahead of UTC; negative west of it."""
        zone = self.octets[6]
        value = (zone & 7) * 10 + (zone >> 4)
        return -value if zone & 8 else value

    @property
    def utc_s(self) -> int | None:
        """Seconds since 1970 UTC, None when there is no such date."""
        fields = self._fields()
        if fields is None:
            return None
        year, month, day, hour, minute, second = fields
        local = _days(year, month, day) * _DAY_S + hour * 3600 + minute * 60 + second
        return local - self.quarters * _QUARTER_S

    def __str__(self) -> str:
        """Write it as in RFC 3339, the octets in hexadecimal when there is no such date."""
        fields = self._fields()
        if fields is None:
            return self.octets.hex()
        quarters = self.quarters
        sign, minutes = ("-" if quarters < 0 else "+"), abs(quarters) * 15
        date = "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*fields)
        return f"{date}{sign}{minutes // 60:02}:{minutes % 60:02}"

    def _fields(self) -> tuple[int, int, int, int, int, int] | None:
        digits = self.octets.translate(_SWAPPED).hex()
        if not digits[:12].isdecimal() or self.octets[6] >> 4 > 9:
            return None
        short, month, day, hour, minute, second = (int(digits[i : i + 2]) for i in range(0, 12, 2))
        year = short + (1900 if short >= _CENTURY_TURNS else 2000)
        # A leap second is a second that there was, so 60 is one.
        is_time = hour < 24 and minute < 60 and second <= 60
        if not is_time or not 1 <= month <= 12 or _date(_days(year, month, day))[2] != day:
            return None
        return year, month, day, hour, minute, second


def _days(year: int, month: int, day: int) -> int:
    """Count the days since 1970-01-01, in years that begin in March."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    of_days = of_era * 365 + of_era // 4 - of_era // 100 + of_year
    return era * _ERA_DAYS + of_days - _EPOCH_DAY


def _date(days: int) -> tuple[int, int, int]:
    """Name the day that is so many days after 1970-01-01."""
    era, of_era = divmod(days + _EPOCH_DAY, _ERA_DAYS)
    years = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    day = of_year - (153 * shifted + 2) // 5 + 1
    return era * 400 + years + (month <= 2), month, day
