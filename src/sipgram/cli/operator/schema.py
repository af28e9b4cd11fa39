"""``sipgram db``: the schema of the database, shown and brought up to date; never back."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sipgram.cli.database import DATA, Data, Database
from sipgram.cli.operator.options import AsJson, print_json

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

schema = typer.Typer(no_args_is_help=True, help="See and upgrade the schema of the database.")


@schema.command()
def current(as_json: AsJson = False, data: Data = DATA, database: Database = None) -> None:
    """Print the schema of the database and the newest that this program knows."""

    async def work(engine: "AsyncEngine") -> None:
        from sipgram.db import migrations

        found = await migrations.current(engine)
        if as_json:
            print_json({"current": found, "newest": migrations.SCHEMA})
        else:
            typer.echo(f"{found} (this program knows {migrations.SCHEMA})")

    _run(work, data=data, database=database, is_new=False)


@schema.command()
def upgrade(as_json: AsJson = False, data: Data = DATA, database: Database = None) -> None:
    """Bring the database to the schema of this program, as the server does when it starts."""

    async def work(engine: "AsyncEngine") -> None:
        from sipgram.db import migrations

        before = await migrations.current(engine)
        await migrations.upgrade(engine)
        after = await migrations.current(engine)
        if as_json:
            print_json({"before": before, "current": after, "newest": migrations.SCHEMA})
        else:
            typer.echo(f"{before} -> {after}" if before != after else f"{after}: nothing to do")

    _run(work, data=data, database=database, is_new=True)


def _run(
    work: Callable[["AsyncEngine"], Awaitable[None]],
    *,
    data: Path,
    database: str | None,
    is_new: bool,
) -> None:
    """Run on the database as it is: ``cli.database.run`` would upgrade it first."""
    from sipgram.db.engine import database_url, open_engine, sqlite_path
    from sipgram.errors import Error, SettingsError

    async def on_engine() -> None:
        url = database or database_url(data)
        if not is_new and url.startswith("sqlite") and not sqlite_path(url).exists():
            raise SettingsError(f"no database yet: {sqlite_path(url)} does not exist")
        engine = open_engine(url)
        try:
            await work(engine)
        finally:
            await engine.dispose()

    try:
        asyncio.run(on_engine())
    except Error as error:
        typer.echo(f"sipgram: {error}", err=True)
        raise typer.Exit(2) from None
