"""How a command reaches the database of a server, beside which it runs."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The data folder of the server.")]
Database = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="A database elsewhere, instead of --data."),
]

DATA: Final = Path("sipgram-data")
BAD_USAGE: Final = 2


def run(
    work: Callable[["AsyncEngine"], Awaitable[None]],
    *,
    data: Path,
    database: str | None,
    command: str,
    hint: str,
    missing: str,
    new: bool = False,
) -> None:
    """Run ``work`` on the database; what is wrong is told in one line, with ``hint``.

    ``missing`` says what there cannot be without a database; with ``new`` one is made.
    """
    import asyncio

    from sipgram.errors import Error

    try:
        asyncio.run(_with_engine(work, data=data, database=database, missing=missing, new=new))
    except Error as error:
        typer.echo(f"{command}: {error} ({hint})", err=True)
        raise typer.Exit(BAD_USAGE) from None


async def _with_engine(
    work: Callable[["AsyncEngine"], Awaitable[None]],
    *,
    data: Path,
    database: str | None,
    missing: str,
    new: bool,
) -> None:
    from sipgram.db.engine import database_url, open_engine, sqlite_path
    from sipgram.db.migrations import upgrade
    from sipgram.errors import SettingsError

    url = database or database_url(data)
    if not new and url.startswith("sqlite") and not sqlite_path(url).exists():
        raise SettingsError(f"{missing}: {sqlite_path(url)} does not exist")
    engine = open_engine(url)
    try:
        await upgrade(engine)
        await work(engine)
    finally:
        await engine.dispose()
