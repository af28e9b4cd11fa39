"""Each octet of a short message as a row: where it is, what field, what it says (TS 24.011, TS 23.040)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from sipgram.sms import rp
from sipgram.sms.cause import SmsFault
from sipgram.sms.coding import Alphabet
from sipgram.sms.explain import meaning
from sipgram.sms.octets import Octets
from sipgram.sms.rp import Direction, RpMessage, RpSmma
from sipgram.sms.tpdu import parser
from sipgram.sms.tpdu.command import Command
from sipgram.sms.tpdu.deliver import Deliver
from sipgram.sms.tpdu.parser import Carrier, Tpdu
from sipgram.sms.tpdu.submit import Submit
from sipgram.sms.user_data import UserData

_CARRIED: Final = "RP-User-Data"


@dataclass(frozen=True, slots=True)
class Row:
    """Octets that mean one thing: where they begin, and what they say."""

    offset: int
    octets: bytes
    field: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """All octets in their order. Of ``message``, ``tpdu`` and ``fault``, what could be had."""

    rows: tuple[Row, ...]
    message: RpMessage | None = None
    tpdu: Tpdu | None = None
    fault: SmsFault | None = None
    forgiven: tuple[str, ...] = ()


def explain_rp(data: bytes) -> Explanation:
    """Explain an RP message and the TPDU in it; nothing is refused."""
    octets = _Recorded(data)
    try:
        message = rp.read(octets)
    except SmsFault as fault:
        rows = [Row(at, part, field, meaning.of_rp(field, part)) for at, part, field in octets]
        return Explanation(tuple(rows), fault=fault)
    rows = [Row(at, part, field, meaning.of_rp(field, part)) for at, part, field in octets]
    if isinstance(message, RpSmma) or not message.user_data:
        return Explanation(tuple(rows), message, forgiven=message.forgiven)
    carried = message.user_data
    inner = explain_tpdu(carried, direction=message.direction, carrier=type(message))
    at = next(i for i, row in enumerate(rows) if (row.field, row.octets) == (_CARRIED, carried))
    start = rows[at].offset
    rows[at : at + 1] = [
        Row(start + row.offset, row.octets, row.field, row.meaning) for row in inner.rows
    ]
    forgiven = message.forgiven + inner.forgiven
    return Explanation(tuple(rows), message, inner.tpdu, inner.fault, forgiven)


def explain_tpdu(
    data: bytes, *, direction: Direction, carrier: Carrier | None = None
) -> Explanation:
    """Explain a TPDU that goes in ``direction``; nothing is refused."""
    octets = _Recorded(data)
    try:
        tpdu = parser.read(octets, direction=direction, carrier=carrier)
    except SmsFault as fault:
        rows = [
            Row(at, part, field, meaning.of_tpdu(field, part, None)) for at, part, field in octets
        ]
        return Explanation(tuple(rows), fault=fault, forgiven=tuple(octets.forgiven))
    rows = []
    user_data = _user_data(tpdu)
    for at, part, field in octets:
        if field == "TP-UD" and user_data is not None:
            rows += _user_data_rows(at, part, user_data)
        else:
            rows.append(Row(at, part, field, meaning.of_tpdu(field, part, tpdu)))
    return Explanation(tuple(rows), tpdu=tpdu, forgiven=tpdu.forgiven)


class _Recorded(Octets):
    """Remembers what was read as what; iterates over offset, octets and name of field."""

    __slots__ = ("_fields",)

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._fields: list[tuple[int, int, str]] = []

    def octet(self, name: str) -> int:
        value = super().octet(name)
        self._fields.append((self.position - 1, self.position, name))
        return value

    def take(self, count: int, name: str) -> bytes:
        value = super().take(count, name)
        self._fields.append((self.position - count, self.position, name))
        return value

    def adopt(self, other: Self) -> None:
        super().adopt(other)
        self._fields = other._fields

    def __iter__(self) -> Iterator[tuple[int, bytes, str]]:
        for start, end, name in self._fields:
            if end > start:
                yield start, self.data[start:end], name
        if self.left:
            yield self.position, self.data[self.position :], "unread"


def _user_data(tpdu: Tpdu) -> UserData | None:
    match tpdu:
        case Submit() | Deliver():
            return tpdu.user_data
        case Command():
            return None
        case _:
            return tpdu.parameters.user_data


def _user_data_rows(at: int, octets: bytes, user_data: UserData) -> Iterator[Row]:
    """Part TP-UD into the header's elements and the text, which may begin within an octet."""
    position = 0
    if user_data.header is not None:
        yield Row(at, octets[:1], "UDHL", f"{octets[0]} octets")
        position = 1
        for element in user_data.header.elements:
            size = 2 + len(element.data)
            name, said = meaning.of_element(element)
            yield Row(at + position, octets[position : position + size], name, said)
            position += size
        if rest := user_data.header.rest:
            broken = octets[position : position + len(rest)]
            yield Row(at + position, broken, "UDH", "no whole element")
            position += len(rest)
    if position < len(octets):
        yield Row(at + position, octets[position:], "TP-UD", _said(user_data))


def _said(user_data: UserData) -> str:
    text = user_data.text
    if text is None:
        return user_data.body.hex(" ")
    unit = "septets" if user_data.alphabet is Alphabet.GSM7 else "octets"
    return f"{len(user_data.body)} {unit}: {text!r}"
