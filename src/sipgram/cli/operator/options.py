"""Options that several of these commands take, and how they reach the database."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sipgram.cli.database import run
from sipgram.client.trace import printable

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
To = Annotated[
    str | None, typer.Option("--to", metavar="AOR", help="Of this account, as in bob@example.com.")
]
From = Annotated[str | None, typer.Option("--from", metavar="AOR", help="By this sender.")]
Account = Annotated[
    str | None, typer.Option("--account", metavar="AOR", help="To or from this account.")
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", help="Accepted then or later: 2026-11-25T13:00, or 2h, 3d ago."
    ),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Accepted before then, likewise.")
]

AGO_DIGITS_MAX = 9
_AGO = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def aor_of(text: str | None) -> str | None:
    """Return an account's name as AoR."""
    if text is None:
        return None
    from sipgram.errors import SettingsError
    from sipgram.services.auth.rules import parse_name

    try:
        return str(parse_name(text))
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None


def time_from(text: str | None, *, now_utc: float) -> float | None:
    """Return an instant written as ISO 8601 (UTC when no zone is named), or as ``90m`` ago."""
    if text is None:
        return None
    from datetime import UTC, datetime

    if text[:-1].isdecimal() and len(text) <= AGO_DIGITS_MAX + 1 and text[-1] in _AGO:
        return now_utc - int(text[:-1]) * _AGO[text[-1]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"no time such as 2026-11-25T13:00 or 2h: {text}") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def say(line: str) -> None:
    """Print a line in which strangers may have had a word, without what a terminal would obey."""
    typer.echo(printable(line))


def print_json(value: Any) -> None:
    """Print one JSON value for people and programs."""
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def on_database(
    work: Callable[["AsyncEngine"], Awaitable[None]], *, data: Path, database: str | None
) -> None:
    """Run a command on the database of a server."""
    run(
        work,
        data=data,
        database=database,
        command="sipgram",
        hint="is --data the server's folder?",
        missing="no messages yet",
    )
