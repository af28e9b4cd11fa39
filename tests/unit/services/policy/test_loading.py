"""From a setting to a policy."""

from pathlib import Path

import pytest

from sipgram.errors import SettingsError
from sipgram.policy import Letter, Policy
from sipgram.services.policy.loading import load

SOURCE = """
from sipgram.policy import Policy, Refused

class Curfew(Policy):
    async def may_send(self, letter):
        return Refused("Night")

curfew = Curfew()
number = 3
broken = lambda: 1 / 0

class Half:
    async def may_send(self, letter):
        return None

class Plain(Policy):
    def may_send(self, letter):
        return None

class Failing(Policy):
    def __init__(self):
        raise KeyError("key")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "curfew.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("name", ["Curfew", "curfew"])
async def test_a_class_or_an_object_of_a_file_is_taken(file: Path, name: str) -> None:
    refused = await load(f"{file}:{name}").may_send(Letter("sip:a@x", "sip:b@x"))
    assert refused is not None
    assert refused.reason == "Night"


def test_a_module_is_imported() -> None:
    with pytest.raises(SettingsError, match="has no async may_send"):
        load("sipgram.errors:Error")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("curfew", "is not MODULE:OBJECT"),
        ("curfew:not a name", "is not MODULE:OBJECT"),
        ("no_such_module:x", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("{file}x.py:x", "FileNotFoundError"),
        ("{file}:missing", "nothing is called missing"),
        ("{file}:number", "has no async may_send"),
        ("{file}:Half", "has no async rewrite_target"),
        ("{file}:Plain", "has no async may_send"),
        ("{file}:Failing", "KeyError: 'key'"),
    ],
)
def test_what_is_no_policy_is_named(file: Path, path: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(path.format(file=file))


async def test_what_a_policy_leaves_out_changes_nothing() -> None:
    class Nothing(Policy):
        pass

    letter = Letter("sip:a@x", "sip:b@x", body=b"gr\xc3\xbc\xc3\x9fe")
    assert letter.text == "grüße"
    assert await Nothing().may_send(letter) is None
    assert await Nothing().rewrite_target(letter) is None
