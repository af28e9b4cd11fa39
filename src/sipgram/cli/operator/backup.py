"""``sipgram backup`` and ``sipgram restore``: everything in one file, and back."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sipgram.cli.database import DATA, Data, Database
from sipgram.cli.operator.options import AsJson, print_json

if TYPE_CHECKING:
    from sipgram.db.backup import Summary

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


def backup(
    file: File, as_json: AsJson = False, data: Data = DATA, database: Database = None
) -> None:
    """Write a backup of accounts, messages, bindings, secret and certificates, also while serving."""

    async def work(url: str) -> "Summary":
        import time

        from sipgram.db.backup import back_up

        return await back_up(url, file, folder=data, now_utc=time.time())

    _run(work, "backed up to", as_json=as_json, data=data, database=database)


def restore(
    file: File,
    force: Annotated[
        bool, typer.Option("--force", help="Also in the place of data that is there.")
    ] = False,
    as_json: AsJson = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Put a backup in place, into either kind of database; no server may be running."""

    async def work(url: str) -> "Summary":
        from sipgram.db.backup import restore as restored
        from sipgram.db.locks import alone_in, alone_on

        with alone_in(data):
            async with alone_on(url):
                return await restored(file, url, folder=data, is_forced=force)

    _run(work, "restored from", as_json=as_json, data=data, database=database)


def _run(
    work: Callable[[str], Coroutine[Any, Any, "Summary"]],
    verb: str,
    *,
    as_json: bool,
    data: Path,
    database: str | None,
) -> None:
    from dataclasses import asdict

    from sipgram.db.engine import database_url
    from sipgram.errors import Error

    try:
        summary = asyncio.run(work(database or database_url(data)))
    except Error as error:
        typer.echo(f"sipgram: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        print_json(asdict(summary))
        return
    rows = summary.rows
    typer.echo(
        f"{verb} {summary.file}: {rows.get('accounts', 0)} accounts, "
        f"{rows.get('messages', 0)} messages, {rows.get('bindings', 0)} bindings, "
        f"{len(summary.files)} files of certificates, {summary.bytes} bytes, schema {summary.schema}"
    )
