"""``sipgram sms``: short messages made, read and counted, with a table that explains each octet.

Nothing is sent: this is for who looks at a trace, or wonders what a text costs.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Annotated, Final

import typer

from sipgram.errors import Error, UsageError
from sipgram.sms.address import Address
from sipgram.sms.coding import DataCoding
from sipgram.sms.concatenation import Split, encodings, split
from sipgram.sms.explain import meaning
from sipgram.sms.explain.table import Explanation, Row, explain_rp, explain_tpdu
from sipgram.sms.gsm import Language
from sipgram.sms.octets import Octets
from sipgram.sms.rp import Direction, RpData, RpMessage
from sipgram.sms.timestamp import Timestamp
from sipgram.sms.tpdu.deliver import Deliver
from sipgram.sms.tpdu.parameters import Parameters
from sipgram.sms.tpdu.parser import Tpdu
from sipgram.sms.tpdu.submit import Submit
from sipgram.sms.transliteration import plain
from sipgram.sms.user_data import UserData
from sipgram.sms.validity import RelativeValidity

sms = typer.Typer(no_args_is_help=True, help="Make, read and count short messages.")

_BAD_USAGE: Final = 2
_FAULTY: Final = 4
_OCTETS_SHOWN: Final = 8


class Way(Enum):
    """Which way a short message goes."""

    MO = "mo"
    MT = "mt"


class Layer(Enum):
    """Where the given octets begin."""

    RP = "rp"
    TPDU = "tpdu"
    MODEM = "modem"


Text = Annotated[str, typer.Argument(metavar="TEXT", help="The text; - reads standard input.")]
Languages = Annotated[
    list[str] | None,
    typer.Option(
        "--language", metavar="NAME", help="A national table that the receiver has; repeatable."
    ),
]
Reference = Annotated[
    int, typer.Option(metavar="N", min=0, max=65535, help="The concatenation reference.")
]
Wide = Annotated[bool, typer.Option("--wide", help="Give the reference 16 bits.")]
Smart = Annotated[
    bool, typer.Option("--plain", help="Make quotation marks, dashes and spaces plain.")
]
MessageClass = Annotated[
    int | None,
    typer.Option("--class", metavar="N", min=0, max=3, help="The message class; 0 is flash."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@sms.command("encode")
def encode(
    number: Annotated[
        str, typer.Argument(metavar="NUMBER", help="Whom it goes to, or with mt who wrote it.")
    ],
    text: Text,
    way: Annotated[Way, typer.Option(help="mo: from a phone, mt: to a phone.")] = Way.MO,
    service_centre: Annotated[
        str, typer.Option("--sc", metavar="NUMBER", help="The service centre's number.")
    ] = "+12025550100",
    message_reference: Annotated[
        int, typer.Option("--mr", metavar="N", min=0, max=255, help="RP-MR and TP-MR of the first.")
    ] = 0,
    validity: Annotated[
        int | None, typer.Option(metavar="S", min=1, help="Worth delivering for so many seconds.")
    ] = None,
    status_report: Annotated[
        bool, typer.Option("--status-report", help="Ask for a status report.")
    ] = False,
    sent_at: Annotated[
        float | None,
        typer.Option("--sent-at", metavar="S", help="With mt: TP-SCTS in seconds UTC, or now."),
    ] = None,
    language: Languages = None,
    reference: Reference = 0,
    wide: Wide = False,
    smart: Smart = False,
    message_class: MessageClass = None,
    as_json: Json = False,
) -> None:
    """Make the RP-DATA of a text, one for each part, and explain it."""

    def work() -> None:
        made = _split(text, language, reference=reference, wide=wide, smart=smart, of=message_class)
        centre, party = Address.of(service_centre), Address.of(number)
        submit = Submit(
            destination=party,
            user_data=made.parts[0],
            coding=made.coding,
            reference=message_reference,
            validity=None if validity is None else RelativeValidity.of(validity),
            wants_status_report=status_report,
        )
        deliver = Deliver(
            originator=party,
            timestamp=Timestamp.of(time.time() if sent_at is None else sent_at),
            user_data=made.parts[0],
            coding=made.coding,
            has_status_report=status_report,
        )
        messages = (
            _submitted(submit, made.parts, centre)
            if way is Way.MO
            else _delivered(deliver, made.parts, centre, first_reference=message_reference)
        )
        _show([bytes(message) for message in messages], as_json=as_json)

    _run("encode", work)


@sms.command("decode")
def decode(
    octets: Annotated[
        str, typer.Argument(metavar="HEX", help="The octets; - reads standard input.")
    ],
    layer: Annotated[
        Layer,
        typer.Option(help="rp: a MESSAGE's body, tpdu: without RP, modem: behind an SCA."),
    ] = Layer.RP,
    way: Annotated[Way, typer.Option(help="For tpdu and modem: mo or mt.")] = Way.MT,
    as_json: Json = False,
) -> None:
    """Explain each octet of a short message.

    Exit code: 0, 4 when it is broken, 2 bad usage.
    """

    def work() -> None:
        data = _octets(sys.stdin.read() if octets == "-" else octets)
        explanation = _explain(data, layer, way)
        if as_json:
            typer.echo(json.dumps(_as_json(data, explanation), ensure_ascii=False))
        else:
            typer.echo("\n".join(_lines(explanation)))
        if explanation.fault is not None:
            raise typer.Exit(_FAULTY)

    _run("decode", work)


@sms.command("split")
def split_(
    text: Text,
    language: Languages = None,
    reference: Reference = 0,
    wide: Wide = False,
    smart: Smart = False,
    message_class: MessageClass = None,
    as_json: Json = False,
) -> None:
    """Say how many short messages a text takes, in which alphabet, and where it is cut."""

    def work() -> None:
        made = _split(text, language, reference=reference, wide=wide, smart=smart, of=message_class)
        if as_json:
            shown = {
                "alphabet": str(made.encoding),
                "dcs": made.coding.octet,
                "count": len(made.parts),
                "units_left": made.units_left,
                "parts": [
                    {"text": part.text, "length": part.length, "hex": bytes(part).hex()}
                    for part in made.parts
                ],
            }
            typer.echo(json.dumps(shown, ensure_ascii=False))
            return
        typer.echo(
            f"{len(made.parts)} in {made.encoding} (TP-DCS {made.coding.octet:#04x}), "
            f"{made.units_left} characters left"
        )
        for number, part in enumerate(made.parts, 1):
            typer.echo(f"{number:3}  {part.length:3}  {part.text!r}")

    _run("split", work)


def _run(command: str, work: Callable[[], None]) -> None:
    """Run a command; what is wrong is told in one line."""
    try:
        work()
    except Error as error:
        typer.echo(f"sipgram sms {command}: {error}", err=True)
        raise typer.Exit(_BAD_USAGE) from None


def _split(
    text: str,
    languages: list[str] | None,
    *,
    reference: int,
    wide: bool,
    smart: bool,
    of: int | None,
) -> Split:
    """Make the parts of what the command line gives, in the message class ``of``."""
    if text == "-":
        text = sys.stdin.read().removesuffix("\n")
    return split(
        plain(text) if smart else text,
        wanted=encodings([_language(name) for name in languages or ()]),
        reference=reference,
        is_wide=wide,
        message_class=of,
    )


def _language(name: str) -> Language:
    known = {language.name.lower(): language for language in Language if language}
    if name.lower() not in known:
        raise UsageError(f"language is none of {', '.join(known)}: {name}")
    return known[name.lower()]


def _octets(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(f"octets are not hexadecimal: {text.strip()}") from None


def _submitted(submit: Submit, parts: Sequence[UserData], centre: Address) -> Iterator[RpData]:
    """Make what a phone sends; each part has a reference of its own."""
    for offset, part in enumerate(parts):
        reference = (submit.reference + offset) % 256
        yield RpData(
            direction=Direction.TO_NETWORK,
            reference=reference,
            user_data=bytes(replace(submit, user_data=part, reference=reference)),
            destination=centre,
        )


def _delivered(
    deliver: Deliver, parts: Sequence[UserData], centre: Address, *, first_reference: int
) -> Iterator[RpData]:
    """Make what a phone gets; more messages wait until the last one."""
    for left, part in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
        yield RpData(
            direction=Direction.TO_MS,
            reference=(first_reference + len(parts) - 1 - left) % 256,
            user_data=bytes(replace(deliver, user_data=part, has_more=left > 0)),
            originator=centre,
        )


def _show(bodies: Sequence[bytes], *, as_json: bool) -> None:
    if as_json:
        shown = [_as_json(body, explain_rp(body)) for body in bodies]
        typer.echo(json.dumps({"messages": shown}, ensure_ascii=False))
        return
    for number, body in enumerate(bodies):
        if number:
            typer.echo("")
        typer.echo(body.hex())
        typer.echo("\n".join(_lines(explain_rp(body))))


def _explain(data: bytes, layer: Layer, way: Way) -> Explanation:
    if layer is Layer.RP:
        return explain_rp(data)
    direction = Direction.TO_NETWORK if way is Way.MO else Direction.TO_MS
    if layer is Layer.TPDU:
        return explain_tpdu(data, direction=direction)
    return _explain_modem(data, direction)


def _explain_modem(data: bytes, direction: Direction) -> Explanation:
    """Explain what a modem gives: the service centre's address in front of the TPDU."""
    octets = Octets(data)
    centre = Address.read_rp(octets, "SCA")
    inner = explain_tpdu(data[octets.position :], direction=direction)
    said = "none" if centre is None else str(centre)
    address = Row(0, data[: octets.position], "SCA", said)
    shifted = [replace(row, offset=row.offset + octets.position) for row in inner.rows]
    return replace(inner, rows=(address, *shifted))


def _lines(explanation: Explanation) -> Iterator[str]:
    """Lay out the table; long fields go on in further lines."""
    width = max((len(row.field) for row in explanation.rows), default=0)
    for row in explanation.rows:
        for start in range(0, len(row.octets), _OCTETS_SHOWN):
            octets = row.octets[start : start + _OCTETS_SHOWN].hex(" ")
            field, said = ("", "") if start else (row.field, row.meaning)
            place = f"{row.offset + start:4}  {octets:{3 * _OCTETS_SHOWN - 1}}"
            yield f"{place}  {field:{width}}  {said}".rstrip()
    for note in explanation.forgiven:
        yield f"note: {note}"
    if explanation.fault is not None:
        fault = explanation.fault
        yield f"broken: {fault.reason} (RP-Cause {int(fault.cause)})"


def _as_json(data: bytes, explanation: Explanation) -> dict[str, object]:
    fault = explanation.fault
    return {
        "hex": data.hex(),
        "message": _named(explanation.message),
        "tpdu": _named(explanation.tpdu),
        "notes": explanation.forgiven,
        "fault": None
        if fault is None
        else {"reason": fault.reason, "cause": int(fault.cause), "reference": fault.reference},
        "octets": [
            {
                "offset": row.offset,
                "hex": row.octets.hex(),
                "field": row.field,
                "meaning": row.meaning,
            }
            for row in explanation.rows
        ],
    }


def _named(message: RpMessage | Tpdu | None) -> dict[str, object] | None:
    if message is None:
        return None
    return {"type": meaning.name_of(message)} | _fields(message)


def _fields(value: RpMessage | Tpdu | UserData | Parameters) -> dict[str, object]:
    """Name the fields of a message; a text stands beside the body that it is read from."""
    shown = {
        each.name: _plain(getattr(value, each.name))
        for each in fields(value)
        if each.name != "forgiven"
    }
    return shown | {"text": value.text} if isinstance(value, UserData) else shown


def _plain(value: object) -> object:
    """Turn a field's value into what JSON has."""
    match value:
        case bytes():
            return value.hex()
        case DataCoding():
            return value.octet
        case Address() | Timestamp():
            return str(value)
        case UserData() | Parameters():
            return _fields(value)
        case Enum():
            return value.value
        case tuple():
            return [_plain(each) for each in value]
        case _ if is_dataclass(value):
            return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
        case _:
            return value
