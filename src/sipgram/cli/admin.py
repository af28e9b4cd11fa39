"""``sipgram user``: accounts made, listed, changed and removed.

Works beside a running server, which sees the change within a second. Nothing of the
server is imported before a command runs, so that every other command starts fast.
"""

import enum
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sipgram.cli.accounts.groups import groups
from sipgram.cli.database import DATA, Data, Database, run

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from sipgram.services.auth.sql import AccountRows


class Takes(enum.Enum):
    """What an account wants."""

    YES = "yes"
    NO = "no"
    DEFAULT = "default"


users = typer.Typer(no_args_is_help=True, help="Manage the accounts of a server.")
users.add_typer(groups, name="group")

Address = Annotated[
    str, typer.Argument(metavar="AOR", help="The account, as in alice@example.com.")
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password's line from standard input.")
]


@users.command()
def add(
    aor: Address,
    password_stdin: PasswordStdin = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Make an account."""

    async def work(rows: "AccountRows") -> None:
        import time

        from sipgram.services.auth.rules import parse_name

        name = parse_name(aor)
        await rows.add(name, password=_password(from_stdin=password_stdin), now_utc=time.time())
        typer.echo(f"added {name}")

    _run(work, data=data, database=database, hint="sipgram user list shows the accounts", new=True)


@users.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """List the accounts, with their other names."""

    async def work(rows: "AccountRows") -> None:
        import json

        found = []
        last = 0
        while page := await rows.page(last):
            found += page
            last = page[-1].account.id
        if not as_json:
            for record in found:
                typer.echo("  ".join(record.account.aors) + "  disabled" * record.disabled)
            return
        shown = [
            {
                "id": record.account.id,
                "aor": record.account.aors[0],
                "aliases": record.account.aors[1:],
                "disabled": record.disabled,
                "takes_lists": record.account.takes_lists,
                "created_utc": record.created_utc,
            }
            for record in found
        ]
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))

    _run(work, data=data, database=database, hint="is --data the server's folder?")


@users.command()
def passwd(
    aor: Address,
    password_stdin: PasswordStdin = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Give an account another password."""

    async def work(rows: "AccountRows") -> None:
        from sipgram.services.auth.rules import parse_name

        name = parse_name(aor)
        await rows.set_password(name, _password(from_stdin=password_stdin))
        typer.echo(f"changed {name}")

    _run(work, data=data, database=database, hint="sipgram user list shows the accounts")


@users.command()
def remove(aor: Address, data: Data = DATA, database: Database = None) -> None:
    """Remove an account and everything that is its own, its messages too."""

    async def work(engine: "AsyncEngine") -> None:
        import time

        from sipgram.services.auth.rules import parse_name
        from sipgram.services.auth.sql import AccountRows
        from sipgram.services.messaging.operator.purge import Purge

        name = parse_name(aor)
        await AccountRows(engine).remove(name, now_utc=time.time())
        purge = Purge(engine, wall=time.time)
        while await purge.removals():
            pass  # A server that runs does the same; each step is a transaction of its own.
        typer.echo(f"removed {name}")

    run(
        work,
        data=data,
        database=database,
        command="sipgram user",
        hint="sipgram user list shows the accounts",
        missing="no accounts yet",
    )


@users.command()
def alias(
    aor: Address,
    alias: Annotated[
        str, typer.Argument(metavar="ALIAS", help="As in al@example.com or tel:+15550100.")
    ],
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Give an account another name."""

    async def work(rows: "AccountRows") -> None:
        from sipgram.services.auth.rules import parse_name

        name, other = parse_name(aor), parse_name(alias)
        await rows.add_alias(name, other)
        typer.echo(f"{name} is also called {other}")

    _run(work, data=data, database=database, hint="sipgram user list shows the accounts")


@users.command()
def lists(
    aor: Address,
    takes: Annotated[
        Takes, typer.Argument(metavar="yes|no|default", help="default is what the setting says.")
    ],
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Say whether an account takes messages that were sent to lists (RFC 5365)."""

    async def work(rows: "AccountRows") -> None:
        from sipgram.services.auth.rules import parse_name

        name = parse_name(aor)
        await rows.set_lists(name, takes={"yes": True, "no": False}.get(takes.value))
        typer.echo(f"{name} takes messages to lists: {takes.value}")

    _run(work, data=data, database=database, hint="sipgram user list shows the accounts")


def _run(
    work: Callable[["AccountRows"], Awaitable[None]],
    *,
    data: Path,
    database: str | None,
    hint: str,
    new: bool = False,
) -> None:
    """Run one command on the accounts; what is wrong is told in one line, with ``hint``."""

    async def on_rows(engine: "AsyncEngine") -> None:
        from sipgram.services.auth.sql import AccountRows

        await work(AccountRows(engine))

    run(
        on_rows,
        data=data,
        database=database,
        command="sipgram user",
        hint=hint,
        missing="no accounts yet",
        new=new,
    )


def _password(*, from_stdin: bool) -> str:
    from sipgram.errors import SettingsError

    if from_stdin:
        try:
            return sys.stdin.readline().rstrip("\r\n")
        except UnicodeDecodeError:
            raise SettingsError("password is not UTF-8") from None
    if not _is_terminal():
        raise SettingsError("no password: give it on standard input with --password-stdin")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _is_terminal() -> bool:
    return sys.stdin.isatty()
