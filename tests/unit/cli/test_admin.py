"""``sipgram user`` as a person or a script uses it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sipgram.cli.admin import users


def run(data: Path, *words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(users, [*words, "--data", str(data)], input=given)


def add(data: Path, aor: str) -> Result:
    return run(data, "add", aor, "--password-stdin", given="secret\n")


def test_accounts_are_made_listed_and_removed(tmp_path: Path) -> None:
    data = tmp_path / "data"

    made = add(data, "alice@Example.com")
    add(data, "sip:bob@example.com")
    run(data, "alias", "alice@example.com", "tel:+1-555-0100")
    changed = run(data, "passwd", "alice@example.com", "--password-stdin", given="other\r\n")
    removed = run(data, "remove", "bob@example.com")
    listed = run(data, "list")

    assert (made.exit_code, made.stdout) == (0, "added sip:alice@example.com\n")
    assert (changed.exit_code, changed.stdout) == (0, "changed sip:alice@example.com\n")
    assert (removed.exit_code, removed.stdout) == (0, "removed sip:bob@example.com\n")
    assert (listed.exit_code, listed.stdout) == (0, "sip:alice@example.com  tel:+15550100\n")
    assert b"secret" not in (data / "sipgram.db").read_bytes()


def test_the_list_as_json(tmp_path: Path) -> None:
    add(tmp_path, "zoë@example.com")
    run(tmp_path, "alias", "zoë@example.com", "z@example.com")

    (shown,) = json.loads(run(tmp_path, "list", "--json").stdout)

    assert shown.pop("created_utc") > 0
    assert shown == {
        "id": 1,
        "aor": "sip:zoë@example.com",
        "aliases": ["sip:z@example.com"],
        "disabled": False,
        "takes_lists": None,
    }


@pytest.mark.parametrize(
    ("words", "given", "fault"),
    [
        (("add", "alice@example.com", "--password-stdin"), "x\n", "is called sip:alice@"),
        (("add", "ALICE@example.com", "--password-stdin"), "x\n", "differs only by case"),
        (("add", "bob", "--password-stdin"), "x\n", "has no domain, as in alice@example.com"),
        (("add", "bob@example.com", "--password-stdin"), "\n", "password is empty"),
        (("add", "bob@example.com"), None, "give it on standard input with --password-stdin"),
        (("passwd", "bob@example.com", "--password-stdin"), "x\n", "no account is called sip:bob@"),
        (("remove", "bob@example.com"), None, "sipgram user list shows the accounts"),
        (("alias", "alice@example.com", "tel:1"), None, "number is not"),
    ],
)
def test_faults_are_one_line_and_exit_2(
    tmp_path: Path, words: tuple[str, ...], given: str | None, fault: str
) -> None:
    add(tmp_path, "alice@example.com")

    result = run(tmp_path, *words, given=given)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert fault in result.stderr
    assert result.stderr.count("\n") == 1


def test_nothing_is_made_where_no_accounts_are(tmp_path: Path) -> None:
    result = run(tmp_path / "elsewhere", "list")

    assert result.exit_code == 2
    assert "sipgram.db does not exist (is --data the server's folder?)" in result.stderr
    assert not (tmp_path / "elsewhere").exists()


def test_a_database_url_takes_the_folders_place(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/other.db"
    words = ["add", "alice@example.com", "--password-stdin", "--database", url]

    result = CliRunner().invoke(users, words, input="secret\n")

    assert result.exit_code == 0
    assert (tmp_path / "other.db").exists()


def test_a_password_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "secret")
    monkeypatch.setattr("sipgram.cli.admin._is_terminal", lambda: True)

    assert run(tmp_path, "add", "alice@example.com").exit_code == 0


def test_importing_the_commands_loads_nothing_of_the_server() -> None:
    """`sipgram send` must start in under 0.4 s."""
    program = "import sys, sipgram.cli.admin; print('sqlalchemy' in sys.modules, 'asyncio' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.split()[0] == "False"


def test_an_account_says_whether_it_takes_messages_to_lists(tmp_path: Path) -> None:
    add(tmp_path, "alice@example.com")
    for word, takes in (("no", False), ("yes", True), ("default", None)):
        assert run(tmp_path, "lists", "alice@example.com", word).exit_code == 0
        (shown,) = json.loads(run(tmp_path, "list", "--json").stdout)
        assert shown["takes_lists"] is takes
