"""``sipgram messages``: what waits, for whom, why it has not arrived; and what to do about it.

Works on the database beside a running server, which sees what changed within a second.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sipgram.cli.database import DATA, Data, Database
from sipgram.cli.operator.options import (
    Account,
    AsJson,
    From,
    Since,
    To,
    Until,
    aor_of,
    on_database,
    print_json,
    say,
    time_from,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from sipgram.services.messaging.operator.commands import MessageCommands
    from sipgram.services.messaging.operator.records import Filter, Record

messages = typer.Typer(
    no_args_is_help=True, help="See what became of messages; requeue, cancel, purge."
)

_STATES = ("waiting", "delivered", "failed", "expired", "cancelled")
PURGE_ROWS = 200
"""Messages that one transaction of a purge removes."""

State = Annotated[
    str | None, typer.Option("--state", metavar="STATE", help="One of " + ", ".join(_STATES))
]
ID_MAX: Final = 2**63 - 1  # No database holds a larger one.
Ids = Annotated[
    list[int], typer.Argument(min=1, max=ID_MAX, metavar="ID...", help="As `list` shows them.")
]


@messages.command("list")
def list_(
    to: To = None,
    sender: From = None,
    account: Account = None,
    since: Since = None,
    until: Until = None,
    state: State = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many.")] = 50,
    before: Annotated[
        int | None,
        typer.Option(
            "--before", min=1, max=ID_MAX, metavar="ID", help="Only those older than this one."
        ),
    ] = None,
    as_json: AsJson = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """List messages, the newest first; --before the last one shown gives the next page."""
    which = _filter(to, sender, account, since, until, state)

    async def work(engine: "AsyncEngine") -> None:
        from sipgram.services.messaging.operator.reasons import time_of
        from sipgram.services.messaging.operator.records import MessageRecords

        found = await MessageRecords(engine).page(which, before=before, at_most=limit)
        if as_json:
            print_json(found)
            return
        for record in found:
            say(
                f"{record['id']}  {time_of(record['received_utc'])}  {record['state']:9}  "
                f"{record['sender']} -> {record['aor']}  {record['size']} bytes"
            )
        if len(found) == limit:
            typer.echo(f"there may be more: --before {found[-1]['id']}", err=True)

    on_database(work, data=data, database=database)


@messages.command()
def show(
    id: Annotated[int, typer.Argument(min=1, max=ID_MAX, metavar="ID", help="As `list` shows it.")],
    body: Annotated[
        bool, typer.Option("--body", help="Print its body alone; that you read it is noted.")
    ] = False,
    as_json: AsJson = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Show one message: why it has not arrived, each device's copy, each attempt that failed."""

    async def work(engine: "AsyncEngine") -> None:
        import time

        from sipgram.errors import SettingsError
        from sipgram.services.messaging.operator.reasons import reasons
        from sipgram.services.messaging.operator.records import MessageRecords

        if body:
            await _print_body(_commands(engine), id)
            return
        record = await MessageRecords(engine).find(id)
        if record is None:
            raise SettingsError(f"no message has this id: {id}")
        record["why"] = reasons(record, now_utc=time.time())
        if as_json:
            print_json(record)
        else:
            _print(record)

    on_database(work, data=data, database=database)


@messages.command()
def requeue(
    ids: Ids, as_json: AsJson = False, data: Data = DATA, database: Database = None
) -> None:
    """Try messages again at once, also at devices that refused them; dead ones if kept whole."""

    async def work(commands: "MessageCommands", id: int) -> None:
        await commands.requeue(id)

    _each(work, ids, "requeued", as_json=as_json, data=data, database=database)


@messages.command()
def cancel(ids: Ids, as_json: AsJson = False, data: Data = DATA, database: Database = None) -> None:
    """End messages that wait; no device gets them any more."""

    async def work(commands: "MessageCommands", id: int) -> None:
        await commands.cancel(id)

    _each(work, ids, "cancelled", as_json=as_json, data=data, database=database)


@messages.command()
def purge(
    to: To = None,
    sender: From = None,
    account: Account = None,
    since: Since = None,
    until: Until = None,
    state: State = None,
    everything: Annotated[bool, typer.Option("--all", help="Without a filter.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Remove messages that have ended, bodies and records; with --state waiting, cancel those."""
    which = _filter(to, sender, account, since, until, state)
    if which == _filter(None, None, None, None, None, None) and not everything:
        raise typer.BadParameter("purge needs a filter, such as --until 30d, or --all")

    async def work(engine: "AsyncEngine") -> None:
        count = await _purge(engine, which, is_dry=dry_run)
        verb = "cancelled" if which.state == "waiting" else "removed"
        if as_json:
            print_json({verb: count, "dry_run": dry_run})
        else:
            typer.echo(f"{'would be ' * dry_run}{verb}: {count} messages")

    on_database(work, data=data, database=database)


async def _purge(engine: "AsyncEngine", which: "Filter", *, is_dry: bool) -> int:
    """Go through all pages; what waits is left out unless it was asked for."""
    from dataclasses import replace

    from sipgram.services.messaging.operator.purge import drop_over
    from sipgram.services.messaging.operator.records import STATES, MessageRecords

    records, commands = MessageRecords(engine), _commands(engine)
    states = (which.state,) if which.state else STATES[1:]
    count = 0
    for state in states:
        before: int | None = None
        its = replace(which, state=state)
        while ids := await records.ids(its, before=before, at_most=PURGE_ROWS):
            before = ids[-1]
            if is_dry:
                count += len(ids)
            elif state == "waiting":
                count += await commands.cancel_many(ids)
            else:
                count += await drop_over(engine, ids)
    return count


def _filter(
    to: str | None,
    sender: str | None,
    account: str | None,
    since: str | None,
    until: str | None,
    state: str | None,
) -> "Filter":
    import time

    from sipgram.services.messaging.operator.records import STATES, Filter

    if state is not None and state not in STATES:
        raise typer.BadParameter(f"{state} is not one of {', '.join(STATES)}")
    now = time.time()
    return Filter(
        to=aor_of(to),
        sender=aor_of(sender),
        account=aor_of(account),
        state=next((known for known in STATES if known == state), None),
        since_utc=time_from(since, now_utc=now),
        until_utc=time_from(until, now_utc=now),
    )


def _each(
    work: Callable[["MessageCommands", int], Awaitable[None]],
    ids: list[int],
    done: str,
    *,
    as_json: bool,
    data: "Data",
    database: str | None,
) -> None:
    """Do it to each message; what fails is told, the others go on, and the end is exit 2."""
    results: list[dict[str, object]] = []

    async def all_of_them(engine: "AsyncEngine") -> None:
        from sipgram.errors import SettingsError

        for id in ids:
            try:
                await work(_commands(engine), id)
            except SettingsError as error:
                results.append({"id": id, "error": str(error)})
                typer.echo(f"sipgram: {error}", err=True)
            else:
                results.append({"id": id, "done": done})
                if not as_json:
                    typer.echo(f"{done} {id}")

    on_database(all_of_them, data=data, database=database)
    if as_json:
        print_json(results)
    if any("error" in result for result in results):
        raise typer.Exit(2)


def _commands(engine: "AsyncEngine") -> "MessageCommands":
    import time

    from sipgram.services.messaging.operator.commands import MessageCommands

    return MessageCommands(engine, wall=time.time)


async def _print_body(commands: "MessageCommands", id: int) -> None:
    import getpass
    import os
    import sys

    who = f"{getpass.getuser()} (uid {os.getuid()})"
    sys.stdout.buffer.write(await commands.body(id, who=who))
    sys.stdout.buffer.flush()
    typer.echo(f"sipgram: it is noted that {who} read message {id}", err=True)


def _print(record: "Record") -> None:
    from sipgram.services.messaging.operator.reasons import time_of

    for name in ("id", "state", "sender", "aor", "content_type", "size", "call_id"):
        say(f"{name:13} {record[name]}")
    for name in ("received_utc", "expires_utc", "finished_utc"):
        say(f"{name.removesuffix('_utc'):13} {time_of(record[name])}")
    for why in record["why"]:
        say(f"why           {why}")
    for copy in record["copies"]:
        device = copy["device"] or "(no instance)"
        over = f" over {copy['flow']}" if copy["flow"] else ""
        say(f"copy          {device}: {_outcome(copy)}, {time_of(copy['at_utc'])}{over}")
    for attempt in record["attempts"]:
        answer = attempt["status"] or "no answer"
        say(
            f"attempt {attempt['number'] + 1:5} {time_of(attempt['at_utc'])} {attempt['contact']} "
            f"over {attempt['flow']}: {answer} {attempt['reason']}"
        )


def _outcome(copy: "Record") -> str:
    return f"{copy['state']} ({copy['status']})" if copy["status"] else str(copy["state"])
