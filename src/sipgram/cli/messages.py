"""``sipgram messages`` and ``sipgram device``: what waits, for whom, and why it has not arrived.

Reads the database beside a running server; changes nothing, and shows no body.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sipgram.cli.database import DATA, Data, Database, run

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from sipgram.services.messaging.records import MessageRecords, Record

messages = typer.Typer(no_args_is_help=True, help="See what became of stored messages.")
devices = typer.Typer(no_args_is_help=True, help="See which devices are waited for.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
To = Annotated[
    str | None, typer.Option("--to", metavar="AOR", help="Of this account, as in bob@example.com.")
]

_STATES = ("waiting", "delivered", "refused", "expired")


@messages.command("list")
def list_(
    to: To = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="One of " + ", ".join(_STATES))
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many.")] = 50,
    before: Annotated[
        int | None, typer.Option("--before", metavar="ID", help="Only those older than this one.")
    ] = None,
    as_json: AsJson = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """List stored messages, the newest first."""
    if state is not None and state not in _STATES:
        raise typer.BadParameter(f"{state} is not one of {', '.join(_STATES)}")

    async def work(records: "MessageRecords") -> None:
        found = await records.page(before=before, aor=_aor(to), state=state, at_most=limit)
        if as_json:
            _print_json(found)
            return
        for record in found:
            typer.echo(
                f"{record['id']}  {_time(record['received_utc'])}  {record['state']:9}  "
                f"{record['sender']} -> {record['aor']}  {record['size']} bytes"
            )

    _run(work, data=data, database=database)


@messages.command()
def show(
    id: Annotated[int, typer.Argument(metavar="ID", help="As `list` shows it.")],
    as_json: AsJson = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Show one message: each device's copy, and each attempt that failed."""

    async def work(records: "MessageRecords") -> None:
        from sipgram.errors import SettingsError

        record = await records.find(id)
        if record is None:
            raise SettingsError(f"no message has this id: {id}")
        if as_json:
            _print_json(record)
            return
        for name in ("id", "state", "sender", "aor", "content_type", "size", "call_id"):
            typer.echo(f"{name:13} {record[name]}")
        for name in ("received_utc", "expires_utc", "finished_utc"):
            typer.echo(f"{name.removesuffix('_utc'):13} {_time(record[name])}")
        for copy in record["copies"]:
            device = copy["device"] or "(no instance)"
            typer.echo(f"copy          {device}: {_outcome(copy)}, {_time(copy['at_utc'])}")
        for attempt in record["attempts"]:
            answer = attempt["status"] or "no answer"
            typer.echo(
                f"attempt       {_time(attempt['at_utc'])} {attempt['contact']} over "
                f"{attempt['flow']}: {answer} {attempt['reason']}"
            )

    _run(work, data=data, database=database)


@devices.command("list")
def list_devices(
    to: To = None, as_json: AsJson = False, data: Data = DATA, database: Database = None
) -> None:
    """List the devices that are away and waited for."""

    async def work(records: "MessageRecords") -> None:
        found = await records.devices(_aor(to))
        if as_json:
            _print_json(found)
            return
        for record in found:
            device = record["device"] or "(no instance)"
            typer.echo(f"{record['aor']}  {device}  last seen {_time(record['seen_utc'])}")

    _run(work, data=data, database=database)


def _outcome(copy: "Record") -> str:
    return f"{copy['state']} ({copy['status']})" if copy["status"] else str(copy["state"])


def _aor(text: str | None) -> str | None:
    if text is None:
        return None
    return text if text.startswith(("sip:", "tel:")) else f"sip:{text}"


def _time(utc: float | None) -> str:
    if utc is None:
        return "-"
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _print_json(value: Any) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _run(
    work: Callable[["MessageRecords"], Awaitable[None]], *, data: Path, database: str | None
) -> None:
    async def on_records(engine: "AsyncEngine") -> None:
        from sipgram.services.messaging.records import MessageRecords

        await work(MessageRecords(engine))

    run(
        on_records,
        data=data,
        database=database,
        command="sipgram",
        hint="is --data the server's folder?",
        missing="no messages yet",
    )
