"""``sipgram rules``: who may see whose presence (RFC 5025).

Works beside a running server, which applies a change to running subscriptions within a second.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sipgram.cli.database import DATA, Data, Database, run

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from sipgram.services.presence.sql import DocumentRows

rules = typer.Typer(no_args_is_help=True, help="Say who may see whose presence.")

Owner = Annotated[str, typer.Argument(metavar="AOR", help="Whose presence, as in bob@example.com.")]
Watcher = Annotated[str, typer.Argument(metavar="WATCHER", help="Who watches: an AoR.")]


@rules.command()
def show(
    owner: Owner,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_xml: Annotated[bool, typer.Option("--xml", help="Print the document itself.")] = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Show who is named in an account's rules."""

    async def work(rows: "DocumentRows") -> None:
        import json

        from sipgram.payload.state.presence_rules import identities
        from sipgram.services.presence.store import RULES

        body = await rows.body_of(_aor(owner), RULES)
        if as_xml:
            typer.echo(body.decode("utf-8", "replace"))
            return
        found = identities(body) if body else {}
        if as_json:
            typer.echo(json.dumps(found))
            return
        for handling, watchers in found.items():
            for watcher in watchers:
                typer.echo(f"{handling:12}  {watcher}")
        if not any(found.values()):
            typer.echo("no rules: the settings of [presence] decide")

    _run(work, data=data, database=database)


@rules.command()
def allow(owner: Owner, watcher: Watcher, data: Data = DATA, database: Database = None) -> None:
    """Show everything to a watcher."""
    _set(owner, watcher, "ALLOW", data=data, database=database)


@rules.command()
def block(owner: Owner, watcher: Watcher, data: Data = DATA, database: Database = None) -> None:
    """Refuse a watcher, and end what it watches already."""
    _set(owner, watcher, "BLOCK", data=data, database=database)


@rules.command("polite-block")
def polite_block(
    owner: Owner, watcher: Watcher, data: Data = DATA, database: Database = None
) -> None:
    """Let a watcher believe that nobody is there."""
    _set(owner, watcher, "POLITE_BLOCK", data=data, database=database)


@rules.command()
def confirm(owner: Owner, watcher: Watcher, data: Data = DATA, database: Database = None) -> None:
    """Let a watcher wait until the owner decides."""
    _set(owner, watcher, "CONFIRM", data=data, database=database)


@rules.command()
def forget(owner: Owner, watcher: Watcher, data: Data = DATA, database: Database = None) -> None:
    """Take a watcher out of the rules."""
    _set(owner, watcher, None, data=data, database=database)


@rules.command("set")
def set_(
    owner: Owner,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A document of RFC 5025; - for standard input.")
    ],
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Put a whole document in the place of the rules."""

    async def work(rows: "DocumentRows") -> None:
        from sipgram.payload.state.presence_rules import RuleSet
        from sipgram.services.presence.store import RULES

        body = _read(file)
        RuleSet.parse(body)
        await rows.put(_aor(owner), 0, RULES, body)
        typer.echo(f"rules of {_aor(owner)} are set")

    _run(work, data=data, database=database)


def _set(
    owner: str, watcher: str, handling: str | None, *, data: Path, database: str | None
) -> None:
    async def work(rows: "DocumentRows") -> None:
        from sipgram.payload.state.presence_rules import Handling, with_identity
        from sipgram.services.presence.store import RULES

        chosen: Handling | None = None if handling is None else Handling[handling]
        aor, other = _aor(owner), _aor(watcher)
        body = with_identity(await rows.body_of(aor, RULES), other, chosen)
        await rows.put(aor, 0, RULES, body)
        word = "forgets" if handling is None else handling.lower().replace("_", "-") + "s"
        typer.echo(f"{aor} {word} {other}")

    _run(work, data=data, database=database)


def _aor(text: str) -> str:
    from sipgram.services.auth.rules import parse_name

    return str(parse_name(text))


def _read(file: str) -> bytes:
    from sipgram.errors import SettingsError

    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise SettingsError(f"rules cannot be read: {file}: {error.strerror}") from error


def _run(
    work: Callable[["DocumentRows"], Awaitable[None]], *, data: Path, database: str | None
) -> None:
    async def on_engine(engine: "AsyncEngine") -> None:
        import time

        from sipgram.services.presence.sql import DocumentRows

        await work(DocumentRows(engine, wall=time.time))

    run(
        on_engine,
        data=data,
        database=database,
        command="sipgram rules",
        hint="sipgram rules --help",
        missing="there are no rules",
    )
