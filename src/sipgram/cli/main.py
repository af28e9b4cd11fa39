"""``sipgram``: finds the command, and imports nothing that it does not need."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Final, NamedTuple

import typer

import sipgram

BAD_USAGE: Final = 2


class Command(NamedTuple):
    """Where a command lives: a function, or a Typer application of more commands."""

    module: str
    attribute: str
    help: str


COMMANDS: Final = {
    "serve": Command("sipgram.cli.serve", "serve", "Run the server."),
    "user": Command("sipgram.cli.admin", "users", "Manage the accounts of a server."),
    "key": Command("sipgram.cli.api.keys", "keys", "Manage the keys of the HTTP API."),
    "send": Command("sipgram.cli.send", "send", "Send a message and say what became of it."),
    "listen": Command("sipgram.cli.listen", "listen", "Register and print what comes in."),
    "register": Command("sipgram.cli.register", "register", "Register once."),
    "options": Command("sipgram.cli.options", "options", "Ask what a target can do."),
    "messages": Command(
        "sipgram.cli.operator.messages", "messages", "See what became of messages."
    ),
    "device": Command(
        "sipgram.cli.operator.devices", "devices", "See which devices are waited for."
    ),
    "backup": Command(
        "sipgram.cli.operator.backup", "backup", "Write a backup, also while serving."
    ),
    "restore": Command("sipgram.cli.operator.backup", "restore", "Put a backup in place."),
    "import": Command("sipgram.cli.operator.moving", "imports", "Take over from another server."),
    "db": Command("sipgram.cli.operator.schema", "schema", "See and upgrade the schema."),
    "publish": Command("sipgram.cli.presence", "publish", "Publish how you are."),
    "watch": Command("sipgram.cli.presence", "watch", "Watch somebody's presence."),
    "winfo": Command("sipgram.cli.presence", "winfo", "Watch who watches you."),
    "rules": Command("sipgram.cli.rules", "rules", "Say who may see whose presence."),
    "sms": Command("sipgram.cli.sms", "sms", "Make, read and count short messages."),
    "bench": Command("sipgram.cli.bench", "bench", "Measure a server."),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with the command's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        wanted = next((word for word in given if not word.startswith("-")), "")
        application(wanted)(args=given, prog_name="sipgram")
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in ("", "sipgram"):
            raise
        line = f"sipgram: {name} is not installed (pip install 'sipgram[server]')"
        print(line, file=sys.stderr)
        sys.exit(BAD_USAGE)


def application(wanted: str) -> typer.Typer:
    """Return the application, in which only the command ``wanted`` is more than its help."""
    app = typer.Typer(
        help="SIP SIMPLE messaging: a server, a client, and what measures them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for name, command in COMMANDS.items():
        if name != wanted:
            app.command(name, help=command.help)(_not_wanted)
            continue
        found = getattr(import_module(command.module), command.attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, help=command.help)
        else:
            app.command(name)(found)
    return app


def _not_wanted() -> None:
    """Stand for a command in the list of commands."""


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=lambda value: _version(value)),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def _version(is_asked: bool) -> None:
    """Print what runs, native parts and all."""
    if is_asked:
        typer.echo(f"sipgram {sipgram.__version__} (native: {_native()})")
        raise typer.Exit


def _native() -> str:
    try:
        native = import_module("sipgram.native")
    except ModuleNotFoundError:
        return "none"
    return str(native.describe()).removeprefix("native: ")


if __name__ == "__main__":
    main()
