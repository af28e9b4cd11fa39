"""``sipgram serve``: the server in the foreground."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from sipgram.errors import Error

DEFAULT_FILE = Path("sipgram.toml")


def serve(
    config: Annotated[
        Path | None, typer.Option(help="Settings file; sipgram.toml when there is one.")
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option(help="Domain to serve; may be repeated.")
    ] = None,
    listen: Annotated[
        list[str] | None, typer.Option(help="TRANSPORT:HOST:PORT; may be repeated.")
    ] = None,
    http: Annotated[str | None, typer.Option(help="HOST:PORT, or none.")] = None,
    data: Annotated[str | None, typer.Option(help="Folder of what is kept.")] = None,
    database: Annotated[str | None, typer.Option(help="SQLAlchemy URL of the database.")] = None,
    node: Annotated[
        str | None, typer.Option(help="Two letters or digits, this node's name.")
    ] = None,
    auth: Annotated[str | None, typer.Option(help="digest or none.")] = None,
    insecure_open: Annotated[
        bool, typer.Option("--insecure-open", help="Allow --auth none on any listener.")
    ] = False,
    trust: Annotated[
        list[str] | None, typer.Option(help="Address or network that needs no digest.")
    ] = None,
    answer_s: Annotated[
        float | None, typer.Option(help="Longest wait of a sender, seconds.")
    ] = None,
    tls_cert: Annotated[
        list[str] | None, typer.Option(help="Certificate chain, PEM; may be repeated.")
    ] = None,
    tls_key: Annotated[
        list[str] | None, typer.Option(help="Its private key, PEM; as often as --tls-cert.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Add the accounts alice, bob and echo.")
    ] = False,
) -> None:
    """Run the server until SIGTERM or Ctrl-C."""
    flags: dict[str, dict[str, object]] = {
        "server": {
            "domains": domain or None,
            "listen": listen or None,
            "http": http,
            "data": data,
            "database": database,
            "node": node,
            "log_format": log_format,
            "log_level": log_level,
        },
        "auth": {"mode": auth, "insecure_open": insecure_open or None, "trust": trust or None},
        "messaging": {"answer_s": answer_s},
        "tls": {"cert": tls_cert or None, "key": tls_key or None},
    }
    given = {s: {k: v for k, v in values.items() if v is not None} for s, values in flags.items()}
    if config is None and DEFAULT_FILE.exists():
        config = DEFAULT_FILE
    _run(config, given, with_demo=demo)


def _run(
    config: Path | None, flags: Mapping[str, Mapping[str, object]], *, with_demo: bool
) -> None:
    from sipgram.server.configuration import load
    from sipgram.server.lifecycle import run
    from sipgram.server.logs import configure

    try:
        settings = load(file=config, environment=os.environ, flags=flags)
        configure(log_format=settings.server.log_format, level=settings.server.log_level)
        with _runner() as runner:
            runner.run(run(settings, with_demo=with_demo, say=_say))
    except Error as error:
        print(f"sipgram: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


def _say(line: str) -> None:
    print(line, flush=True)


def _runner() -> asyncio.Runner:
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
