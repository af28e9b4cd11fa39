"""The command line as a whole: what it offers, what it imports, what it says when it cannot."""

import subprocess
import sys
from types import ModuleType

import pytest
import typer

from sipgram.cli import main as main_module
from sipgram.cli.main import COMMANDS, Command

from .conftest import Run

HEAVY = {"sqlalchemy", "fastapi", "structlog", "rich", "uvicorn", "uvloop", "alembic"}
"""Not pydantic: Typer itself has needed it since its 0.29 at the latest."""


def test_version_says_what_runs(run: Run) -> None:
    ran = run("--version")

    assert ran.code == 0
    name, _, native = ran.out.strip().partition(" (native: ")
    assert name.startswith("sipgram ")
    assert native.endswith(")")


@pytest.mark.parametrize(("said", "shown"), [("scan udp", "scan udp"), ("native: none", "none")])
def test_version_names_the_native_parts(
    run: Run, monkeypatch: pytest.MonkeyPatch, said: str, shown: str
) -> None:
    native = ModuleType("sipgram.native")
    monkeypatch.setattr(native, "describe", lambda: said, raising=False)
    monkeypatch.setitem(sys.modules, "sipgram.native", native)

    assert run("--version").out.endswith(f" (native: {shown})\n")


def test_help_lists_every_command_without_importing_one(run: Run) -> None:
    ran = run("--help")

    assert ran.code == 0
    for name, command in COMMANDS.items():
        assert f"  {name} " in ran.out
        assert command.help in ran.out


def test_unknown_command_is_bad_usage(run: Run) -> None:
    ran = run("sned")

    assert ran.code == 2
    assert "sned" in ran.err


def test_command_may_be_a_group(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    group = typer.Typer()
    group.command("one")(lambda: typer.echo("one"))
    group.command("two")(lambda: typer.echo("two"))
    module = ModuleType("fake_group")
    monkeypatch.setattr(module, "app", group, raising=False)
    monkeypatch.setitem(sys.modules, "fake_group", module)
    monkeypatch.setitem(COMMANDS, "user", Command("fake_group", "app", "Fake."))

    assert run("user", "two").out == "two\n"


def test_missing_library_is_one_line_with_a_hint(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "serve", Command("no_such_library", "serve", "Run the server."))

    ran = run("serve")

    assert ran.code == 2
    assert ran.err == (
        "sipgram: no_such_library is not installed (pip install 'sipgram[server]')\n"
    )


def test_missing_module_of_our_own_is_our_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "serve", Command("sipgram.nowhere", "serve", "Run the server."))

    with pytest.raises(ModuleNotFoundError):
        main_module.main(["serve"])


@pytest.mark.parametrize("command", ["send", "listen", "register", "options"])
def test_client_commands_import_nothing_heavy(command: str) -> None:
    """DESIGN §5: ``sipgram send`` starts in under 0.4 s; these modules would take longer."""
    words = [command, *(("bob", "hi") if command == "send" else ())]
    words += ["--from", "alice@example.com", "--server", "tcp:127.0.0.1:1"]
    script = (
        "import sys; from sipgram.cli.main import main\n"
        f"try: main({words})\n"
        "except SystemExit as ended: print(ended.code)\n"
        "print(*sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    code, modules = done.stdout.splitlines()
    loaded = set(modules.split())
    assert code == "5", done.stderr
    assert not HEAVY & loaded
    assert not {
        n for n in loaded if n.startswith(("sipgram.server", "sipgram.services", "sipgram.db"))
    }
    assert "sipgram.cli.serve" not in loaded
