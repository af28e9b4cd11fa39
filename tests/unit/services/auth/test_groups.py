"""Groups in the database and in memory (D4), on both engines."""

from collections.abc import AsyncIterator

import pytest

from sipgram.db.engine import open_engine
from sipgram.db.migrations import upgrade
from sipgram.errors import SettingsError
from sipgram.services.auth import groups
from sipgram.services.auth.groups import GroupRows
from sipgram.services.auth.rules import Name
from sipgram.services.auth.table import AccountTable

TEAM = Name("team", "example.com")
ALICE, BOB = Name("alice", "example.com"), Name("bob", "example.com")


@pytest.fixture
async def rows(database_address: str) -> AsyncIterator[GroupRows]:
    engine = open_engine(database_address)
    await upgrade(engine)
    rows = GroupRows(engine)
    for name in (ALICE, BOB):
        await rows.add(name, password="secret", now_utc=1.0)
    yield rows
    await engine.dispose()


def members(table: AccountTable) -> list[str]:
    return [account.user for account in table.members_of("team", "example.com")]


async def test_d4_a_running_server_follows_its_groups(rows: GroupRows) -> None:
    table = AccountTable(rows)
    await table.load()
    assert members(table) == []

    await rows.join(TEAM, ALICE)
    await rows.join(TEAM, BOB)
    assert await table.refresh()
    assert members(table) == ["alice", "bob"]

    await rows.remove(ALICE)
    await table.refresh()
    assert members(table) == ["bob"]

    await rows.leave(TEAM, BOB)
    await table.refresh()
    assert members(table) == []


async def test_d4_groups_are_there_from_the_start(rows: GroupRows) -> None:
    await rows.join(TEAM, ALICE)

    table = AccountTable(rows)
    await table.load()

    assert members(table) == ["alice"]


async def test_d4_a_group_has_so_many_members_at_most(
    rows: GroupRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MEMBERS_MAX", 1)
    await rows.join(TEAM, ALICE)

    with pytest.raises(SettingsError, match="as many as a group may"):
        await rows.join(TEAM, BOB)


async def test_d4_there_are_so_many_groups_at_most(
    rows: GroupRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "GROUPS_MAX", 1)
    await rows.join(TEAM, ALICE)

    with pytest.raises(SettingsError, match="as many as there may be"):
        await rows.join(Name("all", "example.com"), BOB)
