"""TP-UDL and TP-UD: a header and septets or octets (TS 23.040 §9.2.3.16, §9.2.3.24)."""

from dataclasses import dataclass
from typing import Final, assert_never

from sipgram.errors import UsageError
from sipgram.sms import gsm
from sipgram.sms.cause import SmsFault
from sipgram.sms.coding import Alphabet, DataCoding
from sipgram.sms.gsm import Language
from sipgram.sms.header import Concatenation, Header
from sipgram.sms.octets import Octets

OCTETS_MAX: Final = 140
_LENGTH_MAX: Final = 0xFF


@dataclass(frozen=True, slots=True)
class UserData:
    """What a short message carries.

    ``body`` holds septets, an octet each, when ``alphabet`` is GSM7, else the octets behind
    the header. ``header`` is None without TP-UDHI, and empty where UDHL is 0. Compressed text
    is OCTETS.
    """

    alphabet: Alphabet
    body: bytes
    header: Header | None = None

    @classmethod
    def read(
        cls,
        octets: Octets,
        coding: DataCoding,
        *,
        has_header: bool,
        octets_max: int = OCTETS_MAX,
    ) -> "UserData":
        """Read TP-UDL and TP-UD, the last of a TPDU.

        Raises:
            SmsFault: longer than ``octets_max``, cut short, or shorter than its header.
        """
        length = octets.octet("TP-UDL")
        alphabet = _alphabet(octets, coding, length)
        if alphabet is not coding.alphabet and not coding.is_compressed:
            octets.forgive(f"TP-DCS {coding.octet:#04x} is reserved, read as {alphabet.value}")
        size = (length * 7 + 7) // 8 if alphabet is Alphabet.GSM7 else length
        if size > octets_max:
            raise SmsFault(f"TP-UD is over {octets_max} octets: {size}")
        data = octets.take(size, "TP-UD")
        if not has_header:
            return cls(alphabet, gsm.unpack(data, length) if alphabet is Alphabet.GSM7 else data)
        return _behind_header(data, alphabet, length)

    @property
    def text(self) -> str | None:
        """The text, None for octets. A lone surrogate and a half character is U+FFFD."""
        match self.alphabet:
            case Alphabet.GSM7:
                locking, single = self.languages
                return gsm.decode(self.body, locking=locking, single=single)
            case Alphabet.UCS2:
                return self.body.decode("utf-16-be", "replace")
            case Alphabet.OCTETS:
                return None
            case _:
                assert_never(self.alphabet)

    @property
    def languages(self) -> tuple[Language, Language]:
        """The locking and the single shift table in force."""
        header = self.header
        if header is None:
            return Language.DEFAULT, Language.DEFAULT
        return header.locking, header.single

    @property
    def concatenation(self) -> Concatenation | None:
        """Which part of how many this is; None for a whole message."""
        return None if self.header is None else self.header.concatenation

    def __bytes__(self) -> bytes:
        """Write as ``write`` does, for a SUBMIT or DELIVER."""
        return self.write()

    @property
    def length(self) -> int:
        """TP-UDL: septets with GSM 7-bit, else octets, the header included."""
        return occupied(self.alphabet, self.header) + len(self.body)

    def write(self, *, octets_max: int = OCTETS_MAX) -> bytes:
        """Write TP-UDL and TP-UD.

        Raises:
            UsageError: longer than ``octets_max``, or than TP-UDL can say.
        """
        head = b"" if self.header is None else bytes(self.header)
        length = self.length
        size = (length * 7 + 7) // 8 if self.alphabet is Alphabet.GSM7 else length
        if length > _LENGTH_MAX or size > octets_max:
            raise UsageError(f"user data is over {octets_max} octets: {size}")
        if self.alphabet is not Alphabet.GSM7:
            return bytes((length,)) + head + self.body
        if not head:
            return bytes((length,)) + gsm.pack(self.body)
        # Fill bits bring the text to a septet boundary of the whole TP-UD (§9.2.3.24).
        return bytes((length,)) + head + gsm.pack(self.body, fill_bits=-len(head) * 8 % 7)


def occupied(alphabet: Alphabet, header: Header | None) -> int:
    """Return how many septets, or octets, a header takes from the text."""
    size = 0 if header is None else len(bytes(header))
    return (size * 8 + 6) // 7 if alphabet is Alphabet.GSM7 else size


def capacity(alphabet: Alphabet, header: Header | None) -> int:
    """Return how many septets, or octets, fit one short message beside a header."""
    whole = OCTETS_MAX * 8 // 7 if alphabet is Alphabet.GSM7 else OCTETS_MAX
    return whole - occupied(alphabet, header)


def _behind_header(data: bytes, alphabet: Alphabet, length: int) -> UserData:
    if not data:
        raise SmsFault("TP-UDHI is set and TP-UD is empty")
    head = data[0] + 1
    if head > len(data):
        raise SmsFault(f"UDHL goes beyond TP-UD: {data[0]} of {len(data) - 1} octets")
    header = Header.parse(data[1:head])
    if alphabet is not Alphabet.GSM7:
        return UserData(alphabet, data[head:], header)
    skipped = (head * 8 + 6) // 7
    return UserData(
        alphabet, gsm.unpack(data, max(length - skipped, 0), skip_bits=skipped * 7), header
    )


def _alphabet(octets: Octets, coding: DataCoding, length: int) -> Alphabet:
    """Return how to read TP-UD.

    The reserved groups are GSM 7-bit by §4 of TS 23.038; an operator was seen to send 0x8A for
    UCS2. Bits 3 and 2 are believed when TP-UDL counts octets exactly and the text is sane.
    """
    if coding.is_compressed:
        return Alphabet.OCTETS
    if coding.sent_as is None or octets.left != length:
        return coding.alphabet
    if coding.sent_as is Alphabet.OCTETS:
        # Up to seven septets take as many octets: nothing tells the readings apart.
        return Alphabet.OCTETS if length > 7 else coding.alphabet
    try:
        text = octets.data[octets.position :].decode("utf-16-be")
    except UnicodeDecodeError:
        return coding.alphabet
    is_sane = all(character.isprintable() or character.isspace() for character in text)
    return Alphabet.UCS2 if is_sane else coding.alphabet
