"""``sipgram options``: what a server or a phone says that it can do (RFC 3261 §11)."""

import dataclasses
from typing import Annotated

import typer

from sipgram.cli import session
from sipgram.client.trace import printable


def options(
    aor: session.From,
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", help="Whom to ask; the account's server by default."),
    ] = None,
    server: session.Server = None,
    password_env: session.PasswordEnv = None,
    as_json: session.Json = False,
    trace: session.Trace = False,
    timeout: session.Timeout = None,
) -> None:
    """Ask what a target can do.

    Exit code: 0, or 4 refused, 5 no answer, 2 bad usage.
    """

    async def work() -> int:
        me = session.client(aor, server=server, password_env=password_env, trace=trace)
        async with me:
            found = await me.options(target, timeout_s=timeout)
        if as_json:
            session.show(dataclasses.asdict(found))
            return session.DELIVERED
        print(printable(f"{found.status} {found.reason} in {found.ms:g} ms"))
        for name in ("allow", "accept", "supported"):
            print(printable(f"{name}: {', '.join(getattr(found, name)) or '-'}"))
        print(printable(f"software: {found.software or '-'}"))
        return session.DELIVERED

    session.run("options", work)
