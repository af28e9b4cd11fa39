"""``sipgram bench``: what a request costs, beside Kamailio where it is installed.

Each round starts each server afresh and puts the same load on it, one after the other; figures
are compared within a round only. What they mean stands in bench/README.md. Nothing of it is
imported before a command runs, so that every other command starts fast.
"""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sipgram.cli.load.comparison import Choice
    from sipgram.cli.load.generator import Load

bench = typer.Typer(no_args_is_help=True, help="Measure this server, beside Kamailio.")

Users = Annotated[int, typer.Option("--users", help="Users registered, u0 and on.")]
Count = Annotated[int, typer.Option("--count", help="MESSAGEs sent.")]
Window = Annotated[int, typer.Option("--window", help="Requests on their way at one time.")]
Rounds = Annotated[int, typer.Option("--rounds", min=1, max=100, help="Paired rounds.")]
Kamailio = Annotated[
    bool | None,
    typer.Option("--kamailio/--no-kamailio", help="Compare with it; when installed by default."),
]
Sipgram = Annotated[
    bool, typer.Option("--sipgram/--no-sipgram", help="Without: Kamailio's figures alone.")
]
Pure = Annotated[bool, typer.Option("--pure", help="Measure sipgram with SIPGRAM_PURE=1.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, every run in it.")]
MemoryToo = Annotated[
    bool, typer.Option("--memory", help="Memory during the load and 40 s after it.")
]
TargetText = Annotated[
    str | None,
    typer.Option("--target", metavar="udp:HOST:PORT", help="A running server instead."),
]
ServerPid = Annotated[
    int | None, typer.Option("--server-pid", help="With --target: whose CPU to count.")
]
Domain = Annotated[str, typer.Option("--domain", help="The domain that users live in.")]

_BAD_USAGE = 2
_FAILED = 1
_DOMAIN = "example.com"


@bench.command()
def relay(
    users: Users = 1000,
    count: Count = 50_000,
    window: Window = 64,
    domain: Domain = _DOMAIN,
    rounds: Rounds = 3,
    kamailio: Kamailio = None,
    sipgram: Sipgram = True,
    pure: Pure = False,
    memory: MemoryToo = False,
    as_json: Json = False,
    target: TargetText = None,
    server_pid: ServerPid = None,
) -> None:
    """Relay MESSAGEs over UDP, without digest."""
    from sipgram.cli.load.comparison import Choice
    from sipgram.cli.load.generator import Load

    load = Load("relay", users=users, count=count, window=window, domain=domain)
    choice = Choice(rounds, kamailio, sipgram, pure, memory, target, server_pid)
    _run(load, choice, as_json=as_json)


@bench.command()
def digest(
    users: Users = 1000,
    count: Count = 50_000,
    window: Window = 64,
    nonce_uses: Annotated[
        int,
        typer.Option(
            "--nonce-uses", min=0, help="A fresh nonce after so many; Kamailio takes 255."
        ),
    ] = 128,
    password_env: Annotated[
        str | None,
        typer.Option("--password-env", metavar="VAR", help="With --target: everybody's password."),
    ] = None,
    domain: Domain = _DOMAIN,
    rounds: Rounds = 3,
    kamailio: Kamailio = None,
    sipgram: Sipgram = True,
    pure: Pure = False,
    memory: MemoryToo = False,
    as_json: Json = False,
    target: TargetText = None,
    server_pid: ServerPid = None,
) -> None:
    """The same with digest on each MESSAGE: MD5, qop=auth, one nonce for many."""
    import os
    import secrets

    from sipgram.cli.load.comparison import Choice
    from sipgram.cli.load.generator import Load

    password = os.environ.get(password_env) if password_env else secrets.token_hex(8)
    if not password:
        typer.echo(f"sipgram bench: {password_env} is not set", err=True)
        raise typer.Exit(_BAD_USAGE)
    load = Load(
        "digest",
        users=users,
        count=count,
        window=window,
        nonce_uses=nonce_uses,
        password=password,
        domain=domain,
    )
    choice = Choice(rounds, kamailio, sipgram, pure, memory, target, server_pid)
    _run(load, choice, as_json=as_json)


@bench.command()
def tcp(
    users: Users = 1000,
    count: Count = 50_000,
    window: Window = 64,
    senders: Annotated[int, typer.Option("--senders", help="Connections that send.")] = 8,
    receivers: Annotated[int, typer.Option("--receivers", help="Connections that receive.")] = 8,
    domain: Domain = _DOMAIN,
    rounds: Rounds = 3,
    kamailio: Kamailio = None,
    sipgram: Sipgram = True,
    pure: Pure = False,
    memory: MemoryToo = False,
    as_json: Json = False,
    target: TargetText = None,
    server_pid: ServerPid = None,
) -> None:
    """Relay MESSAGEs over TCP."""
    from sipgram.cli.load.comparison import Choice
    from sipgram.cli.load.generator import Load

    load = Load(
        "tcp",
        users=users,
        count=count,
        window=window,
        senders=senders,
        receivers=receivers,
        domain=domain,
    )
    choice = Choice(rounds, kamailio, sipgram, pure, memory, target, server_pid)
    _run(load, choice, as_json=as_json)


@bench.command()
def register(
    users: Users = 60_000,
    window: Window = 64,
    domain: Domain = _DOMAIN,
    rounds: Rounds = 3,
    kamailio: Kamailio = None,
    sipgram: Sipgram = True,
    pure: Pure = False,
    memory: MemoryToo = False,
    as_json: Json = False,
    target: TargetText = None,
    server_pid: ServerPid = None,
) -> None:
    """Register users, then refresh every binding; figures apart."""
    from sipgram.cli.load.comparison import Choice
    from sipgram.cli.load.generator import Load

    load = Load("register", users=users, window=window, domain=domain)
    choice = Choice(rounds, kamailio, sipgram, pure, memory, target, server_pid)
    _run(load, choice, as_json=as_json)


@bench.command()
def store(
    users: Users = 100,
    count: Count = 20_000,
    window: Window = 256,
    domain: Domain = _DOMAIN,
    rounds: Rounds = 3,
    kamailio: Kamailio = None,
    sipgram: Sipgram = True,
    pure: Pure = False,
    memory: MemoryToo = False,
    as_json: Json = False,
    target: TargetText = None,
    server_pid: ServerPid = None,
) -> None:
    """Send MESSAGEs to users who are away: stored, 202; beside Kamailio's msilo on PostgreSQL."""
    from sipgram.cli.load.comparison import Choice
    from sipgram.cli.load.generator import Load

    load = Load("store", users=users, count=count, window=window, domain=domain)
    choice = Choice(rounds, kamailio, sipgram, pure, memory, target, server_pid)
    _run(load, choice, as_json=as_json)


@bench.command()
def rate(
    per_s: Annotated[int, typer.Option("--rate", help="MESSAGEs a second.")] = 5000,
    seconds: Annotated[int, typer.Option("--seconds", help="For how long.")] = 10,
    users: Users = 1000,
    domain: Domain = _DOMAIN,
    rounds: Rounds = 1,
    kamailio: Kamailio = None,
    sipgram: Sipgram = True,
    pure: Pure = False,
    memory: MemoryToo = False,
    as_json: Json = False,
    target: TargetText = None,
    server_pid: ServerPid = None,
) -> None:
    """Send MESSAGEs over UDP at a steady pace, whether the server keeps up or not."""
    from sipgram.cli.load.comparison import Choice
    from sipgram.cli.load.generator import Load

    # What is still open at the end has Timer F, 32 s, to be answered.
    load = Load(
        "rate", users=users, rate=per_s, seconds=seconds, domain=domain, limit_s=seconds + 60
    )
    choice = Choice(rounds, kamailio, sipgram, pure, memory, target, server_pid)
    _run(load, choice, as_json=as_json)


@bench.command()
def ws(
    idle: Annotated[int, typer.Option("--idle", help="Registered connections that rest.")] = 5000,
    count: Count = 20_000,
    window: Window = 64,
    rounds: Rounds = 1,
    as_json: Json = False,
) -> None:
    """Hold idle WebSockets, then relay MESSAGEs between others (RFC 7118); sipgram alone."""
    import dataclasses
    import json

    from sipgram.cli.load.web import WebLoad, measure
    from sipgram.errors import Unavailable

    for _ in range(rounds):
        try:
            found = measure(WebLoad(idle, count, window))
        except (Unavailable, OSError) as error:
            typer.echo(f"sipgram bench: {error}", err=True)
            raise typer.Exit(_FAILED) from error
        if as_json:
            typer.echo(json.dumps(dataclasses.asdict(found)))
        else:
            typer.echo(
                f"idle {idle}: {found.memory_idle_mb:.0f} MB, before {found.memory_before_mb:.0f}, "
                f"{found.kb_per_connection:.1f} KB each; relayed {found.relayed}: "
                f"{found.cpu_us:.1f} us of CPU each, {found.per_s:.0f}/s, {found.failed} failed"
            )
        if found.failed:
            raise typer.Exit(_FAILED)


def _run(load: "Load", choice: "Choice", *, as_json: bool) -> None:
    """Measure and print; exit 2 when it cannot be measured, 1 when a request failed."""
    import dataclasses
    import json

    from sipgram.cli.load import report
    from sipgram.cli.load.comparison import compare
    from sipgram.errors import SettingsError, Unavailable

    try:
        rounds = compare(load, choice, tell=lambda line: typer.echo(line, err=True))
    except (SettingsError, Unavailable) as error:
        typer.echo(f"sipgram bench: {error}", err=True)
        raise typer.Exit(_BAD_USAGE) from None
    if as_json:
        typer.echo(json.dumps(report.as_json(rounds, load=load), ensure_ascii=False))
    else:
        machine = dataclasses.astuple(report.machine())
        typer.echo(" · ".join(str(fact) for fact in machine if fact is not None))
        report.print_rounds(rounds, load=load)
    if report.failed(rounds):
        raise typer.Exit(_FAILED)
