"""``sipgram device``: which devices are waited for, and waiting for one no more (DELIVERY.md D7)."""

from typing import TYPE_CHECKING, Annotated

import typer

from sipgram.cli.database import DATA, Data, Database
from sipgram.cli.operator.options import AsJson, To, aor_of, on_database, print_json, say

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

devices = typer.Typer(no_args_is_help=True, help="See which devices are waited for; forget one.")


@devices.command("list")
def list_(
    to: To = None, as_json: AsJson = False, data: Data = DATA, database: Database = None
) -> None:
    """List the devices that are away and waited for."""

    async def work(engine: "AsyncEngine") -> None:
        from sipgram.services.messaging.operator.reasons import time_of
        from sipgram.services.messaging.operator.records import MessageRecords

        found = await MessageRecords(engine).devices(aor_of(to))
        if as_json:
            print_json(found)
            return
        for record in found:
            device = record["device"] or "(no instance)"
            say(f"{record['aor']}  {device}  last seen {time_of(record['seen_utc'])}")

    on_database(work, data=data, database=database)


@devices.command()
def forget(
    aor: Annotated[str, typer.Argument(metavar="AOR", help="The account.")],
    device: Annotated[
        str, typer.Argument(metavar="DEVICE", help="As `list` shows it; '' for the nameless one.")
    ],
    as_json: AsJson = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Wait for a device no more; what waited for it alone has ended then."""

    async def work(engine: "AsyncEngine") -> None:
        import time

        from sipgram.services.messaging.operator.commands import MessageCommands

        name = aor_of(aor) or ""
        is_gone = await MessageCommands(engine, wall=time.time).forget(name, device.encode())
        if as_json:
            print_json({"aor": name, "device": device, "registered": not is_gone})
        else:
            more = "" if is_gone else "; it is registered, and known again when it goes"
            say(f"forgotten {name} {device or '(no instance)'}{more}")

    on_database(work, data=data, database=database)
