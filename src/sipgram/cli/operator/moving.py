"""``sipgram import``: accounts, aliases and waiting messages from another server's database."""

from typing import TYPE_CHECKING, Annotated

import typer

from sipgram.cli.database import DATA, Data, Database, run
from sipgram.cli.operator.options import AsJson, print_json, say

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from sipgram.server.moving.records import Report

imports = typer.Typer(no_args_is_help=True, help="Take over from another server's database.")

FromUrl = Annotated[
    str,
    typer.Option(
        "--from", metavar="URL", help="As in postgresql://kamailio@host/kamailio or sqlite:///FILE."
    ),
]
Domain = Annotated[
    str, typer.Option("--domain", help="For rows that name no domain (use_domain off).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be taken.")]


@imports.command()
def kamailio(
    url: FromUrl,
    domain: Domain = "localhost",
    dry_run: DryRun = False,
    as_json: AsJson = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Take subscribers, aliases and msilo's messages; run again it takes what is new."""
    _run("kamailio", url, domain=domain, is_dry=dry_run, as_json=as_json, to=(data, database))


@imports.command()
def flexisip(
    url: FromUrl,
    domain: Domain = "localhost",
    dry_run: DryRun = False,
    as_json: AsJson = False,
    data: Data = DATA,
    database: Database = None,
) -> None:
    """Take the account manager's accounts and aliases; run again it takes what is new."""
    _run("flexisip", url, domain=domain, is_dry=dry_run, as_json=as_json, to=(data, database))


def _run(
    kind: str, url: str, *, domain: str, is_dry: bool, as_json: bool, to: "tuple[Data, Database]"
) -> None:
    async def work(engine: "AsyncEngine") -> None:
        import time

        from sipgram.server.moving.flexisip import Flexisip
        from sipgram.server.moving.kamailio import Kamailio
        from sipgram.server.moving.moving import Moving
        from sipgram.server.moving.records import Report
        from sipgram.server.moving.source import Source

        report = Report()
        async with Source(url) as source:
            known = Kamailio if kind == "kamailio" else Flexisip
            origin = known(source, report, domain=domain)
            await Moving(engine, report, wall=time.time, is_dry=is_dry).run(origin)
        if as_json:
            print_json({"dry_run": is_dry, **report.as_json()})
        else:
            _print(report, is_dry=is_dry)

    data, database = to
    run(
        work,
        data=data,
        database=database,
        command="sipgram import",
        hint="nothing more was taken",
        missing="no accounts yet",
        new=True,
    )


def _print(report: "Report", *, is_dry: bool) -> None:
    verb = "would be taken" if is_dry else "taken"
    for kind in ("accounts", "aliases", "messages"):
        typer.echo(
            f"{kind}: {report.taken[kind]} {verb}, {report.present[kind]} there already, "
            f"{report.skipped[kind]} skipped"
        )
    for case in report.reasons:
        say(f"skipped {case['kind']} {case['name']}: {case['reason']}")
    for note in report.notes:
        say(f"note: {note}")
