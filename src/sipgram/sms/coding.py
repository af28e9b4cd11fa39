"""TP-DCS: the alphabet, class and purpose of user data, for all 256 values (TS 23.038 §4)."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from sipgram.errors import UsageError
from sipgram.sms.cause import FailureCause, SmsFault

_COMPRESSED: Final = 0x20
_HAS_CLASS: Final = 0x10


class Alphabet(Enum):
    """What user data is made of."""

    GSM7 = "GSM 7-bit"
    OCTETS = "8-bit"
    UCS2 = "UCS2"


_ALPHABETS: Final = (Alphabet.GSM7, Alphabet.OCTETS, Alphabet.UCS2, Alphabet.GSM7)
"By bits 3 and 2; the reserved fourth is to be read as GSM 7-bit (§4)."


class CodingGroup(Enum):
    """The coding groups of §4."""

    GENERAL = "general"
    AUTO_DELETE = "marked for automatic deletion"
    RESERVED = "reserved"
    WAITING_DISCARD = "message waiting, discard"
    WAITING_STORE = "message waiting, store"
    CLASS = "data coding and class"


class WaitingKind(Enum):
    """What waits, in the message waiting groups."""

    VOICEMAIL = "voicemail"
    FAX = "fax"
    EMAIL = "e-mail"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message waiting indication: switched on or off."""

    kind: WaitingKind
    is_active: bool


@dataclass(frozen=True, slots=True)
class DataCoding:
    """One value of TP-DCS; take it from ``of`` or ``general``.

    ``message_class`` is 0 (shown at once, "flash") to 3, or None. ``sent_as`` is set in the
    reserved groups alone: the alphabet that bits 3 and 2 would name, for senders that mean it.
    """

    octet: int
    group: CodingGroup
    alphabet: Alphabet
    message_class: int | None = None
    is_compressed: bool = False
    waiting: Waiting | None = None
    sent_as: Alphabet | None = None

    @classmethod
    def of(cls, octet: int) -> "DataCoding":
        """Return the meaning of an octet.

        Raises:
            UsageError: not an octet.
        """
        if not 0 <= octet <= 0xFF:
            raise UsageError(f"TP-DCS is not an octet: {octet}")
        return _CODINGS[octet]

    @classmethod
    def general(cls, alphabet: Alphabet, *, message_class: int | None = None) -> "DataCoding":
        """Return the general coding of an alphabet, as one sends it.

        Raises:
            UsageError: the class is not 0 to 3.
        """
        octet = _ALPHABETS.index(alphabet) << 2
        if message_class is None:
            return _CODINGS[octet]
        if not 0 <= message_class <= 3:
            raise UsageError(f"message class is not 0 to 3: {message_class}")
        return _CODINGS[octet | _HAS_CLASS | message_class]

    def check(self) -> None:
        """Refuse what cannot be read: text that is compressed by TS 23.042.

        Raises:
            SmsFault: TP-FCS 0x90.
        """
        if self.is_compressed:
            raise SmsFault(
                f"text is compressed: TP-DCS {self.octet:#04x}",
                failure=FailureCause.ALPHABET_NOT_SUPPORTED,
            )

    def __str__(self) -> str:
        """Say all of it in words."""
        words = [self.alphabet.value, self.group.value]
        if self.is_compressed:
            words.append("compressed")
        if self.message_class is not None:
            words.append(f"class {self.message_class}")
        if self.waiting is not None:
            state = "on" if self.waiting.is_active else "off"
            words.append(f"{self.waiting.kind.value} indication {state}")
        return ", ".join(words)


def _coding(octet: int) -> DataCoding:
    named = _ALPHABETS[octet >> 2 & 3]
    if octet < 0x80:
        return DataCoding(
            octet,
            CodingGroup.AUTO_DELETE if octet & 0x40 else CodingGroup.GENERAL,
            named,
            message_class=octet & 3 if octet & _HAS_CLASS else None,
            is_compressed=bool(octet & _COMPRESSED),
        )
    if octet < 0xC0:
        sent_as = None if named is Alphabet.GSM7 else named
        return DataCoding(octet, CodingGroup.RESERVED, Alphabet.GSM7, sent_as=sent_as)
    if octet < 0xF0:
        is_discarded = octet < 0xD0
        return DataCoding(
            octet,
            CodingGroup.WAITING_DISCARD if is_discarded else CodingGroup.WAITING_STORE,
            Alphabet.UCS2 if octet >= 0xE0 else Alphabet.GSM7,
            waiting=Waiting(tuple(WaitingKind)[octet & 3], bool(octet & 8)),
        )
    alphabet = Alphabet.OCTETS if octet & 4 else Alphabet.GSM7
    return DataCoding(octet, CodingGroup.CLASS, alphabet, message_class=octet & 3)


_CODINGS: Final = tuple(_coding(octet) for octet in range(256))
