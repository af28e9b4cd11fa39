"""``sipgram key``: API keys made, listed and revoked.

Works beside a running server, which sees the change within a second.
"""

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sipgram.cli.database import DATA, Data, Database, run

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from sipgram.services.keys.rules import KeyRecord
    from sipgram.services.keys.sql import KeyRows

keys = typer.Typer(no_args_is_help=True, help="Manage the keys of the HTTP API.")

Accounts = Annotated[
    list[str] | None,
    typer.Option("--account", metavar="AOR", help="An account that it acts for; may be repeated."),
]
AllAccounts = Annotated[bool, typer.Option("--all-accounts", help="It acts for every account.")]
Scopes = Annotated[
    str, typer.Option("--scope", metavar="WORDS", help="Of send, read, admin; joined by commas.")
]


@keys.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, in your words.")],
    account: Accounts = None,
    all_accounts: AllAccounts = False,
    scope: Scopes = "send,read",
    per_minute: Annotated[
        int, typer.Option("--per-minute", metavar="N", min=0, help="Requests; 0: the setting's.")
    ] = 0,
    days: Annotated[
        float | None, typer.Option("--days", metavar="N", help="It ends after so many days.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Write it there, mode 0600.")
    ] = None,
    is_open: Annotated[
        bool, typer.Option("--open", help="The server runs with --auth none: no accounts needed.")
    ] = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Make a key and print it, once: only its hash is kept."""

    async def work(rows: "KeyRows") -> None:
        import time

        from sipgram.identity import SystemEntropy
        from sipgram.services.keys.service import made

        now = time.time()
        record, key = await made(
            rows,
            name,
            scopes=tuple(word.strip() for word in scope.split(",") if word.strip()),
            aors=account or (),
            is_for_all=all_accounts,
            per_minute=per_minute,
            expires_utc=None if days is None else now + days * 86_400,
            entropy=SystemEntropy(),
            now_utc=now,
            is_open=is_open,
        )
        if file is None:
            typer.echo(key)
        else:
            _write(file, key)
            typer.echo(f"added {record.id}, written to {file}")

    _run(work, data=data, database=database, new=True)


@keys.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """List the keys; their secrets are known to nobody."""

    async def work(rows: "KeyRows") -> None:
        import json
        import time

        from sipgram.services.keys.shown import shown

        found = await rows.all()
        if as_json:
            typer.echo(json.dumps([shown(key, time.time()) for key in found], indent=2))
            return
        for key in found:
            made_at = datetime.fromtimestamp(key.created_utc, UTC).strftime("%Y-%m-%d")
            line = f"{key.id}  {made_at}  {','.join(key.scopes)}  {_accounts(key)}  {key.name}"
            typer.echo(line if key.is_good(time.time()) else f"{line}  (ended)")

    _run(work, data=data, database=database)


@keys.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    data: Data = DATA,
    database: Database = None,
) -> None:
    """End a key for good."""

    async def work(rows: "KeyRows") -> None:
        import time

        await rows.revoke(id, time.time())
        typer.echo(f"revoked {id}")

    _run(work, data=data, database=database)


def _accounts(key: "KeyRecord") -> str:
    return "all accounts" if key.is_for_all else " ".join(aor for aor, _ in key.accounts) or "-"


def _write(file: Path, key: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)  # It may have been there before, for all to read.
    with open(descriptor, "w", encoding="ascii") as out:
        out.write(key + "\n")


def _run(
    work: Callable[["KeyRows"], Awaitable[None]],
    *,
    data: Path,
    database: str | None,
    new: bool = False,
) -> None:
    async def on_rows(engine: "AsyncEngine") -> None:
        from sipgram.services.keys.sql import KeyRows

        await work(KeyRows(engine))

    run(
        on_rows,
        data=data,
        database=database,
        command="sipgram key",
        hint="sipgram key list shows the keys",
        missing="no keys yet",
        new=new,
    )
