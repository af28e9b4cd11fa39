"""``sipgram user group``: one name whose messages go to many accounts (D4)."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sipgram.cli.database import DATA, Data, Database, run

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from sipgram.services.auth.groups import GroupRows

groups = typer.Typer(no_args_is_help=True, help="Manage groups: one name, many accounts.")

Group = Annotated[str, typer.Argument(metavar="GROUP", help="As in team@example.com.")]
Members = Annotated[
    list[str], typer.Argument(metavar="MEMBER...", help="Accounts, by any of their names.")
]


@groups.command()
def add(group: Group, members: Members, data: Data = DATA, database: Database = None) -> None:
    """Make accounts members of a group, which is made when it is new."""

    async def work(rows: "GroupRows") -> None:
        from sipgram.services.auth.rules import parse_name

        name = parse_name(group)
        for member in map(parse_name, members):
            await rows.join(name, member)
            typer.echo(f"{member} is a member of {name}")

    _run(work, data=data, database=database)


@groups.command()
def remove(
    group: Group,
    members: Annotated[
        list[str] | None, typer.Argument(metavar="[MEMBER...]", help="None: the group itself.")
    ] = None,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Take accounts out of a group, or remove the group."""

    async def work(rows: "GroupRows") -> None:
        from sipgram.services.auth.rules import parse_name

        name = parse_name(group)
        if not members:
            await rows.dissolve(name)
            typer.echo(f"removed {name}")
        for member in map(parse_name, members or ()):
            await rows.leave(name, member)
            typer.echo(f"{member} is no member of {name} any more")

    _run(work, data=data, database=database)


@groups.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """List the groups with their members."""

    async def work(rows: "GroupRows") -> None:
        import json

        found = await rows.listed()
        if not as_json:
            for each in found:
                typer.echo("  ".join(map(str, (each.name, *each.members))))
            return
        shown = [{"aor": str(g.name), "members": [str(m) for m in g.members]} for g in found]
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))

    _run(work, data=data, database=database)


def _run(
    work: Callable[["GroupRows"], Awaitable[None]], *, data: Path, database: str | None
) -> None:
    async def on_rows(engine: "AsyncEngine") -> None:
        from sipgram.services.auth.groups import GroupRows

        await work(GroupRows(engine))

    run(
        on_rows,
        data=data,
        database=database,
        command="sipgram user group",
        hint="sipgram user list shows the accounts, sipgram user group list the groups",
        missing="no accounts yet",
    )
