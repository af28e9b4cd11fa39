"""``sipgram user group`` as a person or a script uses it (D4)."""

import json
from pathlib import Path

import pytest

from .test_admin import add, run

TEAM = "team@example.com"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("alice", "bob"):
        add(tmp_path, f"{name}@example.com")
    return tmp_path


def group(data: Path, *words: str) -> str:
    done = run(data, "group", *words)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_groups_are_made_listed_and_removed(data: Path) -> None:
    said = group(data, "add", TEAM, "alice@example.com", "bob@example.com")
    assert said.splitlines()[0] == "sip:alice@example.com is a member of sip:team@example.com"
    assert group(data, "list") == (
        "sip:team@example.com  sip:alice@example.com  sip:bob@example.com\n"
    )

    group(data, "remove", TEAM, "alice@example.com")
    shown = json.loads(group(data, "list", "--json"))
    assert shown == [{"aor": "sip:team@example.com", "members": ["sip:bob@example.com"]}]

    group(data, "remove", TEAM)
    assert group(data, "list") == ""


def test_a_member_that_is_removed_is_a_member_no_more(data: Path) -> None:
    group(data, "add", TEAM, "alice@example.com", "bob@example.com")

    run(data, "remove", "bob@example.com")

    assert group(data, "list") == "sip:team@example.com  sip:alice@example.com\n"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("add", TEAM, "nobody@example.com"), "no account is called sip:nobody@example.com"),
        (("add", "alice@example.com", "bob@example.com"), "an account is called sip:alice@"),
        (("add", "Alice@example.com", "bob@example.com"), "differs only by case"),
        (("add", TEAM, "alice@example.com"), "is a member of sip:team@example.com already"),
        (("add", "all@example.com", TEAM), "no account is called sip:team@example.com"),
        (("remove", TEAM, "bob@example.com"), "is no member of sip:team@example.com"),
        (("remove", "all@example.com"), "no group is called sip:all@example.com"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(data: Path, words: tuple[str, ...], fault: str) -> None:
    """A group is no member of a group: none can hold itself."""
    group(data, "add", TEAM, "alice@example.com")

    done = run(data, "group", *words)

    assert done.exit_code == 2
    assert fault in done.output


def test_nobody_may_be_called_as_a_group(data: Path) -> None:
    group(data, "add", TEAM, "alice@example.com")

    assert "a group is called sip:TEAM@" in add(data, "TEAM@example.com").output
    assert "a group is called" in run(data, "alias", "bob@example.com", TEAM).output
