"""The user data header and the elements that we act on (TS 23.040 §9.2.3.24)."""

from dataclasses import dataclass
from typing import Final

from sipgram.errors import UsageError
from sipgram.sms.gsm import Language

CONCATENATION_8: Final = 0x00
SPECIAL_MESSAGE: Final = 0x01
PORTS_8: Final = 0x04
PORTS_16: Final = 0x05
CONCATENATION_16: Final = 0x08
SINGLE_SHIFT: Final = 0x24
LOCKING_SHIFT: Final = 0x25
_LENGTH_MAX: Final = 0xFF


@dataclass(frozen=True, slots=True)
class Concatenation:
    """Which part of how many this is (§9.2.3.24.1, §9.2.3.24.8)."""

    reference: int
    total: int
    number: int
    is_wide: bool = False
    "Whether the reference has 16 bits."

    def element(self) -> "Element":
        """Return the information element that says so.

        Raises:
            UsageError: a value does not fit.
        """
        bits = 16 if self.is_wide else 8
        if not 0 <= self.reference < 1 << bits or not 1 <= self.number <= self.total <= 255:
            raise UsageError(f"concatenation does not fit its element: {self}")
        reference = self.reference.to_bytes(bits // 8, "big")
        identifier = CONCATENATION_16 if self.is_wide else CONCATENATION_8
        return Element(identifier, reference + bytes((self.total, self.number)))


@dataclass(frozen=True, slots=True)
class Ports:
    """Application ports (§9.2.3.24.3, §9.2.3.24.4)."""

    destination: int
    source: int
    is_wide: bool = True

    def element(self) -> "Element":
        """Return the information element that says so.

        Raises:
            UsageError: a port does not fit.
        """
        bits = 16 if self.is_wide else 8
        if not 0 <= self.destination < 1 << bits or not 0 <= self.source < 1 << bits:
            raise UsageError(f"port does not fit its element: {self}")
        octets = bits // 8
        data = self.destination.to_bytes(octets, "big") + self.source.to_bytes(octets, "big")
        return Element(PORTS_16 if self.is_wide else PORTS_8, data)


@dataclass(frozen=True, slots=True)
class Element:
    """One information element, known to us or not."""

    identifier: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """Elements in their order. ``rest`` is what follows the last whole one, kept as it came.

    "If mutually exclusive or repeated elements are there, the last one counts" (§9.2.3.24).
    """

    elements: tuple[Element, ...] = ()
    rest: bytes = b""

    @classmethod
    def parse(cls, data: bytes) -> "Header":
        """Read what follows the UDHL; nothing is refused."""
        elements = []
        position = 0
        while position + 2 <= len(data):
            end = position + 2 + data[position + 1]
            if end > len(data):
                break
            elements.append(Element(data[position], data[position + 2 : end]))
            position = end
        return cls(tuple(elements), data[position:])

    @classmethod
    def shifts(cls, *, locking: Language, single: Language) -> tuple[Element, ...]:
        """Return the elements that put shift tables into force; none for the default ones."""
        wanted = ((SINGLE_SHIFT, single), (LOCKING_SHIFT, locking))
        return tuple(Element(which, bytes((language,))) for which, language in wanted if language)

    def __bytes__(self) -> bytes:
        """Write it with its UDHL.

        Raises:
            UsageError: longer than a UDHL can say.
        """
        data = b"".join(
            bytes((element.identifier, len(element.data))) + element.data
            for element in self.elements
        )
        size = len(data) + len(self.rest)
        if size > _LENGTH_MAX:
            raise UsageError(f"user data header is over {_LENGTH_MAX} octets: {size}")
        return bytes((size,)) + data + self.rest

    @property
    def concatenation(self) -> Concatenation | None:
        """The last element that makes sense; one with number 0 or above the total is ignored."""
        for element in reversed(self.elements):
            data = element.data
            is_wide = element.identifier == CONCATENATION_16
            if not is_wide and element.identifier != CONCATENATION_8:
                continue
            if len(data) == 3 + is_wide and 1 <= data[-1] <= data[-2]:
                reference = int.from_bytes(data[:-2], "big")
                return Concatenation(reference, data[-2], data[-1], is_wide)
        return None

    @property
    def ports(self) -> Ports | None:
        """The last element with ports."""
        for element in reversed(self.elements):
            data = element.data
            if element.identifier == PORTS_16 and len(data) == 4:
                return Ports(int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big"))
            if element.identifier == PORTS_8 and len(data) == 2:
                return Ports(data[0], data[1], is_wide=False)
        return None

    @property
    def locking(self) -> Language:
        """The language of the locking shift table."""
        return self._language(LOCKING_SHIFT)

    @property
    def single(self) -> Language:
        """The language of the single shift table."""
        return self._language(SINGLE_SHIFT)

    def _language(self, identifier: int) -> Language:
        """Return a language; an unknown one is the default, as phones without it do."""
        for element in reversed(self.elements):
            if element.identifier == identifier and len(element.data) == 1:
                known = element.data[0] < len(Language)
                return Language(element.data[0]) if known else Language.DEFAULT
        return Language.DEFAULT
