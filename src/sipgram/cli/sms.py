"""``sipgram sms``: short messages made, read and counted, with a table that explains each octet.

Nothing is sent: this is for who looks at a trace, or wonders what a text costs.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, Final

import typer

from sipgram.errors import Error
from sipgram.sms.address import Address
from sipgram.sms.cause import SmsFault
from sipgram.sms.coding import DataCoding
from sipgram.sms.concatenation import Split, encodings, split
from sipgram.sms.explain import meaning
from sipgram.sms.explain.table import Explanation, Row, explain_rp, explain_tpdu
from sipgram.sms.gsm import Language
from sipgram.sms.rp import Direction, RpData
from sipgram.sms.timestamp import Timestamp
from sipgram.sms.tpdu.deliver import Deliver
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
        float, typer.Option("--sent-at", metavar="S", help="With mt: TP-SCTS in seconds UTC.")
    ] = 1_735_689_600.0,
    language: Languages = None,
    reference: Reference = 0,
    wide: Wide = False,
    smart: Smart = False,
    message_class: MessageClass = None,
    as_json: Json = False,
) -> None:
    """Make the RP-DATA of a text, one for each part, and explain it."""

    def work() -> None:
        made = _split(text, language, reference, wide, smart, message_class)
        centre = Address.of(service_centre)
        encoded = []
        for offset, part in enumerate(made.parts):
            mr = (message_reference + offset) % 256
            if way is Way.MO:
                submit = Submit(
                    destination=Address.of(number),
                    user_data=part,
                    coding=made.coding,
                    reference=mr,
                    validity=None if validity is None else RelativeValidity.of(validity),
                    wants_status_report=status_report,
                )
                message = RpData(
                    direction=Direction.TO_NETWORK,
                    reference=mr,
                    user_data=bytes(submit),
                    destination=centre,
                )
            else:
                deliver = Deliver(
                    originator=Address.of(number),
                    timestamp=Timestamp.of(sent_at),
                    user_data=part,
                    coding=made.coding,
                    has_more=offset + 1 < len(made.parts),
                    has_status_report=status_report,
                )
                message = RpData(
                    direction=Direction.TO_MS,
                    reference=mr,
                    user_data=bytes(deliver),
                    originator=centre,
                )
            encoded.append(bytes(message))
        _show_encoded(encoded, as_json=as_json)

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
        made = _split(text, language, reference, wide, smart, message_class)
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


def _run(command: str, work: Any) -> None:
    """Run a command; what is wrong is told in one line."""
    try:
        work()
    except Error as error:
        typer.echo(f"sipgram sms {command}: {error}", err=True)
        raise typer.Exit(_BAD_USAGE) from None
