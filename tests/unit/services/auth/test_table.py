"""Accounts in the database, and their copy in memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db.engine import open_engine
from sipgram.db.migrations import upgrade
from sipgram.errors import SettingsError, Unavailable
from sipgram.identity import AccountId
from sipgram.services.auth import sql
from sipgram.services.auth.rules import Name
from sipgram.services.auth.sql import AccountRows
from sipgram.services.auth.table import AccountTable
from sipgram.sip.message.digest import ha1

ALICE, BOB = Name("alice", "example.com"), Name("bob", "example.com")


@pytest.fixture
async def engine(database_address: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(database_address)
    await upgrade(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
def rows(engine: AsyncEngine) -> AccountRows:
    return AccountRows(engine)


async def add(rows: AccountRows, *names: Name) -> None:
    for name in names:
        await rows.add(name, password="secret", now_utc=1.0)


async def loaded(rows: AccountRows, **options: Any) -> AccountTable:
    table = AccountTable(rows, **options)
    await table.load()
    return table


async def test_accounts_are_found_by_name_and_by_credentials(rows: AccountRows) -> None:
    await add(rows, ALICE, BOB)

    table = await loaded(rows)

    alice = table.account_of("alice", "example.com")
    assert alice is not None
    assert (alice.user, alice.domain, alice.aors) == (
        *("alice", "example.com"),
        ("sip:alice@example.com",),
    )
    for username in ("alice", "alice@example.com"):
        found = table.ha1_of(username, "example.com", "MD5")
        assert found == (alice, ha1(username, "example.com", "secret"))
        assert table.ha1_of(username, "example.com", "SHA-256") is None
    assert table.account_of("Alice", "example.com") is None
    assert table.ha1_of("alice", "example.org", "MD5") is None
    assert len(table) == 2


async def test_hashes_of_the_wanted_algorithms_are_held(rows: AccountRows) -> None:
    await add(rows, ALICE)

    table = await loaded(rows, algorithms=("SHA-256",))

    found = table.ha1_of("alice", "example.com", "SHA-256")
    assert found is not None
    assert found[1] == ha1("alice", "example.com", "secret", "SHA-256")
    assert table.ha1_of("alice", "example.com", "MD5") is None


async def test_d4_names_that_differ_only_by_case_are_refused(rows: AccountRows) -> None:
    await add(rows, ALICE)

    for clash in (ALICE, Name("ALICE", "example.com")):
        with pytest.raises(SettingsError, match="already, or differs only by case"):
            await add(rows, clash)
    await add(rows, Name("alice", "example.org"))
    with pytest.raises(SettingsError, match="differs only by case"):
        await rows.add_alias(ALICE, Name("Alice", "example.org"))
    assert len(await rows.page()) == 2


async def test_d4_a_name_made_again_is_another_account(rows: AccountRows) -> None:
    await add(rows, ALICE)
    table = await loaded(rows)
    first = table.account_of("alice", "example.com")

    await rows.remove(ALICE)
    await add(rows, ALICE)
    await table.refresh()

    second = table.account_of("alice", "example.com")
    assert first is not None
    assert second is not None
    assert second.id > first.id


async def test_another_process_changes_are_noticed(rows: AccountRows) -> None:
    await add(rows, ALICE, BOB)
    removed: list[AccountId] = []
    table = await loaded(rows, on_removed=(removed.append,))
    bob = table.account_of("bob", "example.com")
    assert bob is not None
    assert await table.refresh() is False

    await rows.set_password(ALICE, "other")
    await rows.add_alias(ALICE, Name("+15550100", ""))
    await rows.add_alias(Name("+15550100", ""), Name("al", "example.com"))
    await rows.remove(BOB)
    await add(rows, Name("carol", "example.com"))

    assert await table.refresh() is True
    alice = table.account_of("+15550100", "")
    assert alice is not None
    assert alice.aors == ("sip:alice@example.com", "sip:al@example.com", "tel:+15550100")
    assert table.account_of("al", "example.com") is alice
    found = table.ha1_of("alice", "example.com", "MD5")
    assert found == (alice, ha1("alice", "example.com", "other"))
    assert table.account_of("bob", "example.com") is None
    assert table.ha1_of("bob", "example.com", "MD5") is None
    assert table.account_of("carol", "example.com") is not None
    assert removed == [bob.id]
    assert await table.refresh() is False


async def test_a_follower_refreshes_until_it_is_cancelled(rows: AccountRows) -> None:
    heard = asyncio.Event()
    await add(rows, ALICE)
    table = await loaded(rows, on_removed=(lambda _: heard.set(),))
    failures: list[Exception] = []

    follower = asyncio.create_task(table.follow(every_s=0.01, on_failure=failures.append))
    await rows.remove(ALICE)
    await heard.wait()

    assert len(table) == 0
    follower.cancel()
    with pytest.raises(asyncio.CancelledError):
        await follower
    assert failures == []


async def test_a_failed_refresh_is_told_and_tried_again(
    rows: AccountRows, engine: AsyncEngine
) -> None:
    await add(rows, ALICE)
    table = await loaded(rows)
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE account_changes RENAME TO away"))
    told: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    def note(error: Exception) -> None:
        if not told.done():
            told.set_result(error)

    follower = asyncio.create_task(table.follow(every_s=0.01, on_failure=note))
    assert isinstance(await told, Unavailable)

    assert table.account_of("alice", "example.com") is not None
    follower.cancel()
    with pytest.raises(asyncio.CancelledError):
        await follower


async def test_a_follower_that_is_too_far_behind_reads_everything(
    rows: AccountRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "CHANGES_KEPT", 2)
    await add(rows, ALICE, BOB)
    removed: list[AccountId] = []
    table = await loaded(rows, on_removed=(removed.append,))
    bob = table.account_of("bob", "example.com")

    await rows.remove(BOB)
    await add(rows, *(Name(f"u{n}", "example.com") for n in range(3)))

    assert await table.refresh() is True
    assert len(table) == 4
    assert bob is not None
    assert removed == [bob.id]


async def test_a_restored_database_is_read_anew(rows: AccountRows, engine: AsyncEngine) -> None:
    await add(rows, ALICE, BOB)
    table = await loaded(rows)
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM account_changes WHERE seq > 1"))
        await connection.execute(text("DELETE FROM accounts WHERE id > 1"))

    assert await table.refresh() is True
    assert len(table) == 1


async def test_the_table_is_bounded(rows: AccountRows) -> None:
    await add(rows, ALICE, BOB)
    table = await loaded(rows, accounts_max=2)
    await add(rows, Name("carol", "example.com"))

    with pytest.raises(SettingsError, match="more accounts than accounts_max: 2"):
        await table.refresh()
    assert len(table) == 2
    with pytest.raises(SettingsError, match="more accounts than accounts_max: 2"):
        await loaded(rows, accounts_max=2)
    assert len(await loaded(rows, accounts_max=3)) == 3


async def test_pages_are_read_to_the_end(
    rows: AccountRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "PAGE_ROWS", 2)
    await add(rows, *(Name(f"u{n}", "example.com") for n in range(5)))

    table = await loaded(rows)
    assert len(table) == 5
    for n in range(5):
        await rows.set_password(Name(f"u{n}", "example.com"), f"p{n}")
    while await table.refresh():
        pass

    for n in range(5):
        found = table.ha1_of(f"u{n}", "example.com", "MD5")
        assert found is not None
        assert found[1] == ha1(f"u{n}", "example.com", f"p{n}")


async def test_a_disabled_account_is_nobody(rows: AccountRows, engine: AsyncEngine) -> None:
    await add(rows, ALICE)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE accounts SET disabled = true"))

    table = await loaded(rows)

    assert table.account_of("alice", "example.com") is None
    assert table.ha1_of("alice", "example.com", "MD5") is None


async def test_what_nobody_is_called_cannot_be_changed(rows: AccountRows) -> None:
    await add(rows, ALICE)
    nobody = Name("Alice", "example.com")

    for attempt in (
        rows.set_password(nobody, "x"),
        rows.remove(nobody),
        rows.add_alias(nobody, BOB),
    ):
        with pytest.raises(SettingsError, match="no account is called sip:Alice@"):
            await attempt
    with pytest.raises(SettingsError, match="make this an alias: tel:"):
        await add(rows, Name("+15550100", ""))
