"""``sipgram register``: one registration, and what the registrar says to it."""

from typing import Annotated

import typer

from sipgram.cli import session
from sipgram.client.settings import ClientSettings
from sipgram.client.trace import printable


def register(
    aor: session.From,
    server: session.Server = None,
    password_env: session.PasswordEnv = None,
    expires: Annotated[
        int, typer.Option(metavar="S", min=1, help="How long to be registered.")
    ] = 3600,
    as_json: session.Json = False,
    trace: session.Trace = False,
) -> None:
    """Register once, print the account's contacts, and take the registration back.

    Exit code: 0, or 4 refused, 5 no answer, 2 bad usage.
    """

    async def work() -> int:
        me = session.client(
            aor,
            server=server,
            password_env=password_env,
            trace=trace,
            register=True,
            settings=ClientSettings(expires_s=expires),
        )
        async with me:
            bindings = me.bindings
        if as_json:
            contacts = [{"contact": b.contact, "expires_s": b.expires_s} for b in bindings]
            session.show({"aor": me.aor, "bindings": contacts})
            return session.DELIVERED
        print(f"registered {me.aor}")
        for binding in bindings:
            print(printable(f"{binding.contact} for {binding.expires_s} s"))
        return session.DELIVERED

    session.run("register", work)
