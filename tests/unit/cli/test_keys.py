"""``sipgram key``: a key is shown once, its hash is kept, and a revoked one is marked."""

import io
import json
import stat
from pathlib import Path

import pytest

from .conftest import Run

ALICE = "alice@example.com"


@pytest.fixture
def data(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data folder that knows alice."""
    folder = str(tmp_path / "data")
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    added = run("user", "add", ALICE, "--password-stdin", "--data", folder)
    assert added.code == 0, added.err
    return folder


def test_a_key_is_made_listed_and_revoked(run: Run, data: str) -> None:

    made = run("key", "add", "shop", "--account", ALICE, "--data", data)
    key = made.out.strip()
    listed = json.loads(run("key", "list", "--json", "--data", data).out)
    revoked = run("key", "revoke", listed[0]["id"], "--data", data)
    after = run("key", "list", "--data", data)

    assert key.startswith(f"sgk_{listed[0]['id']}_")
    assert listed[0]["accounts"] == [f"sip:{ALICE}"]
    assert listed[0]["scopes"] == ["send", "read"]
    assert revoked.code == 0
    assert after.out.rstrip().endswith("shop  (ended)")
    kept = b"".join(file.read_bytes() for file in Path(data).glob("sipgram.db*"))
    assert key.rpartition("_")[2].encode() not in kept


def test_a_key_goes_into_a_file_that_is_its_owners_alone(
    run: Run, tmp_path: Path, data: str
) -> None:
    file = tmp_path / "key"

    made = run("key", "add", "bot", "--account", ALICE, "--data", data, "--file", str(file))

    assert "sgk_" not in made.out
    assert file.read_text().startswith("sgk_")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_is_wrong_is_told_in_one_line(run: Run, data: str) -> None:
    wrong = (
        (("--account", "nobody@example.com"), "no account is called sip:nobody@example.com"),
        (("--account", "x"), "account is not as in alice@example.com"),
        (("--scope", "write", "--account", ALICE), "scope is not one of"),
        ((), "the key would act for no account"),
    )
    for arguments, reason in wrong:
        ran = run("key", "add", "k", *arguments, "--data", data)

        assert ran.code == 2
        assert reason in ran.err
        assert ran.err.count("\n") == 1
    gone = run("key", "revoke", "000000000000", "--data", data)
    assert "no key has this id" in gone.err
