"""One text, one or more short messages: alphabets tried in turn, and where to cut (TS 23.040 §9.2.3.24.1).

A cut never parts an escape from its character, nor a surrogate from its other half.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from sipgram.errors import TooLarge, UsageError
from sipgram.sms import gsm
from sipgram.sms.coding import Alphabet, DataCoding
from sipgram.sms.gsm import ESCAPE, Language, has_locking_table
from sipgram.sms.header import Concatenation, Element, Header
from sipgram.sms.user_data import UserData, capacity

PARTS_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Encoding:
    """An alphabet, and with GSM 7-bit the shift tables."""

    alphabet: Alphabet = Alphabet.GSM7
    locking: Language = Language.DEFAULT
    single: Language = Language.DEFAULT

    def encode(self, text: str) -> bytes | None:
        """Return the body of ``text``, None when a character is missing.

        UCS2 is UTF-16BE and has all; a lone surrogate becomes U+FFFD.
        """
        match self.alphabet:
            case Alphabet.GSM7:
                return gsm.encode(text, locking=self.locking, single=self.single)
            case Alphabet.UCS2:
                return _utf_16(text)
            case Alphabet.OCTETS:
                return None
            case _:
                assert_never(self.alphabet)

    def elements(self) -> tuple[Element, ...]:
        """Return the header elements that put the tables into force."""
        return Header.shifts(locking=self.locking, single=self.single)

    def __str__(self) -> str:
        """Name the alphabet and its tables."""
        tables = [
            f"{language.name.title()} {kind}"
            for language, kind in ((self.locking, "locking shift"), (self.single, "single shift"))
            if language
        ]
        return ", ".join([self.alphabet.value, *tables])


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a text, and the TP-DCS that goes with each."""

    encoding: Encoding
    coding: DataCoding
    parts: tuple[UserData, ...]

    @property
    def units_left(self) -> int:
        """How many septets (GSM 7-bit) or 16-bit units (UCS2) the last part has to spare."""
        last = self.parts[-1]
        left = capacity(last.alphabet, last.header) - len(last.body)
        return left // 2 if last.alphabet is Alphabet.UCS2 else left


def encodings(languages: Sequence[Language] = ()) -> tuple[Encoding, ...]:
    """Return what to try in turn, with the national tables that the receiver is known to have.

    The default alphabet; each language's single shift, which a phone without it reads as plain
    letters; its locking shift; both; UCS2.
    """
    locking = [language for language in languages if has_locking_table(language)]
    return (
        Encoding(),
        *(Encoding(single=language) for language in languages),
        *(Encoding(locking=language) for language in locking),
        *(Encoding(locking=language, single=language) for language in locking),
        Encoding(Alphabet.UCS2),
    )


def split(
    text: str,
    *,
    wanted: Sequence[Encoding] = encodings(),
    reference: int = 0,
    is_wide: bool = False,
    elements: tuple[Element, ...] = (),
    message_class: int | None = None,
    parts_max: int = PARTS_MAX,
) -> Split:
    """Make the parts of ``text`` in the first of ``wanted`` that has all its characters.

    A text that fits one short message has no concatenation element; otherwise each part has
    ``reference``, of 16 bits with ``is_wide``. ``elements`` stand in the header of every part.

    Raises:
        TooLarge: more parts than ``parts_max``, of which there can be 255.
        UsageError: none of ``wanted`` has the characters, or ``elements`` leave no room.
    """
    for encoding in wanted:
        body = encoding.encode(text)
        if body is not None:
            break
    else:
        raise UsageError(f"no wanted alphabet has all characters of {text!r}")
    parts = _parts(
        body,
        encoding.alphabet,
        elements=(*elements, *encoding.elements()),
        concatenation=Concatenation(reference, 1, 1, is_wide),
        parts_max=parts_max,
    )
    coding = DataCoding.general(encoding.alphabet, message_class=message_class)
    return Split(encoding, coding, parts)


def split_octets(
    data: bytes,
    *,
    reference: int = 0,
    is_wide: bool = False,
    elements: tuple[Element, ...] = (),
    parts_max: int = PARTS_MAX,
) -> tuple[UserData, ...]:
    """Make the parts of 8-bit data, as ``split`` does of a text.

    Raises:
        TooLarge: more parts than ``parts_max``.
        UsageError: ``elements`` leave no room.
    """
    return _parts(
        data,
        Alphabet.OCTETS,
        elements=elements,
        concatenation=Concatenation(reference, 1, 1, is_wide),
        parts_max=parts_max,
    )


def join(parts: Sequence[UserData]) -> str | None:
    """Return the text of parts that follow each other; None when one of them has octets.

    Neighbours in one alphabet are joined before they are read, so that a character which a
    sender cut in two is whole again.
    """
    texts = []
    pending: UserData | None = None
    for part in parts:
        if part.alphabet is Alphabet.OCTETS:
            return None
        if pending is None:
            pending = part
        elif _goes_on(pending, part):
            pending = UserData(part.alphabet, pending.body + part.body, part.header)
        else:
            texts.append(pending.text or "")
            pending = part
    if pending is not None:
        texts.append(pending.text or "")
    return "".join(texts)


def _parts(
    body: bytes,
    alphabet: Alphabet,
    *,
    elements: tuple[Element, ...],
    concatenation: Concatenation,
    parts_max: int,
) -> tuple[UserData, ...]:
    header = Header(elements) if elements else None
    if len(body) <= capacity(alphabet, header):
        return (UserData(alphabet, body, header),)
    room = capacity(alphabet, Header((concatenation.element(), *elements)))
    # The longest thing that must stay whole: a surrogate pair.
    if room < 4:
        raise UsageError(f"header leaves no room for text: {room}")
    bodies = list(_cuts(body, alphabet, room))
    if len(bodies) > min(parts_max, PARTS_MAX):
        raise TooLarge(f"text takes over {min(parts_max, PARTS_MAX)} short messages: {len(bodies)}")
    reference, is_wide = concatenation.reference, concatenation.is_wide
    return tuple(
        UserData(
            alphabet,
            part,
            Header((Concatenation(reference, len(bodies), number, is_wide).element(), *elements)),
        )
        for number, part in enumerate(bodies, 1)
    )


def _cuts(body: bytes, alphabet: Alphabet, room: int) -> Iterator[bytes]:
    """Cut ``body`` into pieces of at most ``room``."""
    start = 0
    while start < len(body):
        end = start + room
        if end < len(body):
            end = _whole(body, alphabet, start, end)
        yield body[start:end]
        start = end


def _whole(body: bytes, alphabet: Alphabet, start: int, end: int) -> int:
    """Move a cut to the left, out of what must stay whole."""
    match alphabet:
        case Alphabet.GSM7:
            # No text encodes to two escapes in a row, so this one has its character behind it.
            return end - (body[end - 1] == ESCAPE)
        case Alphabet.UCS2:
            end -= (end - start) % 2
            is_high_surrogate = 0xD8 <= body[end - 2] <= 0xDB
            return end - 2 * is_high_surrogate
        case Alphabet.OCTETS:
            return end
        case _:
            assert_never(alphabet)


def _goes_on(before: UserData, part: UserData) -> bool:
    is_whole = before.alphabet is Alphabet.GSM7 or len(before.body) % 2 == 0
    is_same = before.alphabet is part.alphabet and before.languages == part.languages
    return is_whole and is_same


def _utf_16(text: str) -> bytes:
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError:
        data = text.encode("utf-16-be", "surrogatepass")
        return data.decode("utf-16-be", "replace").encode("utf-16-be")
