"""A cursor over octets that knows the name of what it reads (TS 23.040 §9.1, TS 24.011 §8)."""

from typing import Self

from sipgram.errors import UsageError
from sipgram.sms.cause import SmsFault


class Octets:
    """Reads from the front; names of fields are for faults and for ``explain``.

    ``forgiven`` collects what the sender got wrong and was understood nevertheless.
    """

    __slots__ = ("data", "forgiven", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.forgiven: list[str] = []

    @property
    def left(self) -> int:
        """How many octets are unread."""
        return len(self.data) - self.position

    def octet(self, name: str) -> int:
        """Read one octet.

        Raises:
            SmsFault: there is none.
        """
        position = self.position
        if position >= len(self.data):
            raise SmsFault(f"{name} is missing: the message ends after {position} octets")
        self.position = position + 1
        return self.data[position]

    def take(self, count: int, name: str) -> bytes:
        """Read ``count`` octets.

        Raises:
            SmsFault: there are fewer.
        """
        position = self.position
        end = position + count
        if end > len(self.data):
            raise SmsFault(f"{name} is cut short: {self.left} of {count} octets")
        self.position = end
        return self.data[position:end]

    def peek(self) -> int | None:
        """Return the next octet and leave it, None at the end."""
        return self.data[self.position] if self.position < len(self.data) else None

    def again(self) -> Self:
        """Return another cursor of its kind over the same octets, to read in another way."""
        return type(self)(self.data)

    def adopt(self, other: Self) -> None:
        """Go on where ``other`` is, which read the same octets."""
        self.position = other.position
        self.forgiven = other.forgiven

    def forgive(self, note: str) -> None:
        """Note a fault of the sender that changes nothing."""
        self.forgiven.append(note)


def octet_of(value: int, name: str) -> int:
    """Return ``value`` when it is an octet.

    Raises:
        UsageError: it is not.
    """
    if 0 <= value <= 0xFF:
        return value
    raise UsageError(f"{name} is not an octet: {value}")
