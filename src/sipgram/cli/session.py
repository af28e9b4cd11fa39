"""What the client's commands share: whose account, which server, how errors end."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Annotated, Any, Final, NoReturn

import typer

from sipgram.client.client import Client
from sipgram.client.messages import NoAnswer, Rejected
from sipgram.client.settings import ClientSettings
from sipgram.client.trace import printable, to_stream
from sipgram.errors import SettingsError, UsageError

DELIVERED: Final = 0
BAD_USAGE: Final = 2
STORED: Final = 3
REFUSED: Final = 4
NO_ANSWER: Final = 5
PASSWORD_VARIABLE: Final = "SIPGRAM_PASSWORD"
TLS_CA_VARIABLE: Final = "SIPGRAM_TLS_CA"
"""Names a PEM file of the authorities that the server's certificate must come from."""

From = Annotated[
    str, typer.Option("--from", metavar="AOR", help="Your account, as in alice@example.com.")
]
Server = Annotated[
    str | None,
    typer.Option(
        metavar="TRANSPORT:HOST:PORT",
        help="The server, udp:, tcp: or tls:; by default the account's domain over UDP.",
    ),
]
PasswordEnv = Annotated[
    str | None,
    typer.Option(
        metavar="VAR",
        help=f"The environment variable that holds the password; {PASSWORD_VARIABLE} is looked at "
        "without this.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Trace = Annotated[bool, typer.Option("--trace", help="Show each message on standard error.")]
Timeout = Annotated[
    float | None, typer.Option(metavar="S", min=0.001, help="Give up after so many seconds.")
]


def client(
    aor: str,
    *,
    server: str | None,
    password_env: str | None,
    trace: bool,
    register: bool = False,
    settings: ClientSettings | None = None,
) -> Client:
    """Return the client that the options describe.

    Raises:
        UsageError, SettingsError: an option makes no sense.
    """
    authorities = os.environ.get(TLS_CA_VARIABLE, "")
    if authorities:
        settings = replace(settings or ClientSettings(), tls_ca=authorities)
    return Client(
        aor,
        password=_password(password_env),
        server=server,
        register=register,
        settings=settings,
        trace=to_stream(sys.stderr) if trace else None,
    )


def run(command: str, work: Callable[[], Coroutine[Any, Any, int]]) -> NoReturn:
    """Run one command to its exit code; what went wrong is told in one line."""
    try:
        code = asyncio.run(work())
    except Rejected as error:
        code = refused(command, error)
    except NoAnswer as error:
        code = silent(command, error)
    except (UsageError, SettingsError) as error:
        say(command, str(error), hint=f"sipgram {command} --help")
        code = BAD_USAGE
    except KeyboardInterrupt:
        code = 130
    raise typer.Exit(code)


def refused(command: str, error: Rejected) -> int:
    """Say on standard error that the answer was no, and what may help; return the exit code."""
    password = f"is the password right? --password-env VAR or {PASSWORD_VARIABLE} names it"
    hints = {
        401: password,
        403: "may this account do that?",
        404: "is the address right?",
        407: password,
        480: "nobody is there; try again later",
    }
    hint = hints.get(error.status, "--trace shows the messages")
    if error.retry_after_s is not None:
        hint = f"try again in {error.retry_after_s} s"
    say(command, f"refused: {error}", hint=hint)
    return REFUSED


def silent(command: str, error: NoAnswer) -> int:
    """Say on standard error that there was no answer; return the exit code."""
    say(command, error.reason, hint="is --server right, and does it run?")
    return NO_ANSWER


def say(command: str, what: str, *, hint: str) -> None:
    """Write one line on standard error."""
    print(printable(f"sipgram {command}: {what} ({hint})"), file=sys.stderr)


def show(values: dict[str, object]) -> None:
    """Print one JSON object on a line of its own, at once."""
    print(json.dumps(values), flush=True)


def _password(variable: str | None) -> str | None:
    if variable is None:
        return os.environ.get(PASSWORD_VARIABLE)
    if variable not in os.environ:
        raise UsageError(f"environment variable is not set: {variable}")
    return os.environ[variable]
