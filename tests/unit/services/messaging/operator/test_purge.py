"""What goes in small steps, on both engines (DELIVERY.md D36)."""

import pytest

from sipgram.services.messaging.operator.purge import BINDING_S, STEP_ROWS, Purge, drop_over
from sipgram.services.messaging.store import AwayDevice, CopyOutcome, FailedAttempt

from ..shelf import BOB, HISTORY_S, RECORD_S, WALL, Shelf

A = b"<urn:uuid:a>"


@pytest.fixture
def purge(shelf: Shelf) -> Purge:
    return Purge(shelf.engine, wall=lambda: shelf.wall)


async def settled(purge: Purge) -> int:
    """Go on until there is nothing more to do; return in how many steps."""
    count = 1
    while await purge.step():
        count += 1
    return count


async def ids(shelf: Shelf) -> list[int]:
    return [id for (id,) in await shelf.all("SELECT id FROM messages ORDER BY id")]


async def test_records_go_when_their_time_is_over(shelf: Shelf, purge: Purge) -> None:
    await shelf.ended(1, "delivered")
    await shelf.ended(2, "delivered", kept=1)
    await shelf.put(3)
    await shelf.did(shelf.rows.note, [CopyOutcome(1, A, "taken", 200, b"")])
    shelf.rows.attempt(FailedAttempt(1, A, b"", "", 486))

    shelf.wall = WALL + RECORD_S - 1
    await settled(purge)
    assert await ids(shelf) == [1, 2, 3]
    shelf.wall = WALL + RECORD_S
    await settled(purge)
    assert await ids(shelf) == [2, 3]
    assert await shelf.all(
        "SELECT (SELECT count(*) FROM copies) + (SELECT count(*) FROM attempts)"
    ) == [(0,)]
    shelf.wall = WALL + HISTORY_S
    await settled(purge)
    assert await ids(shelf) == [3]  # It waits: its end is not for the purge to decide.


async def test_a_step_is_bounded(shelf: Shelf, purge: Purge) -> None:
    for id in range(STEP_ROWS + 1):
        await shelf.put(id + 1)
        await shelf.did(shelf.rows.finish, id + 1, "delivered")
    shelf.wall = WALL + RECORD_S

    assert await purge.records() == STEP_ROWS
    assert await purge.records() == 1
    assert await purge.records() == 0


async def test_d36_the_mail_of_a_removed_account_goes(shelf: Shelf, purge: Purge) -> None:
    sender = b"sip:bob@example.com:5060;x"
    await shelf.put(1)
    await shelf.ended(2, "delivered")
    await shelf.put(3, account_id=8)  # A new account of that name.
    for id, kept in ((4, 2), (5, 3), (6, 0)):
        await shelf.ended(
            id,
            "delivered",
            aor="sip:carol@example.com",
            account_id=9,
            sender=sender,
            sender_id=7,
            kept=kept,
        )
    await shelf.put(10, aor="sip:carol@example.com", account_id=9, sender_id=7, kept=2)
    await shelf.did(shelf.rows.note, [CopyOutcome(1, A, "waiting", 0, b"")])
    await shelf.did(shelf.rows.away, AwayDevice(BOB, 7, A, False, WALL))
    await shelf.run(f"INSERT INTO removals VALUES (7, '{BOB}', {WALL})")

    await settled(purge)

    assert await ids(shelf) == [3, 5, 6, 10]
    assert await shelf.all("SELECT kept FROM messages WHERE id = 10") == [(0,)]
    for table in ("copies", "devices", "removals"):
        assert await shelf.all(f"SELECT count(*) FROM {table}") == [(0,)]


async def test_bindings_that_ended_long_ago_go(shelf: Shelf, purge: Purge) -> None:
    text = "CAST('' AS bytea)" if shelf.engine.dialect.name == "postgresql" else "x''"
    key = "CAST('k' AS bytea)" if shelf.engine.dialect.name == "postgresql" else "x'6b'"
    count = STEP_ROWS + 2
    for number in range(count):
        expires_utc = WALL + number % 2
        await shelf.run(
            f"INSERT INTO bindings VALUES ('u{number:04}', {key}, NULL, {text}, {text}, 0, {text}, "
            f"1, {text}, 'f', {text}, {text}, 1000, 1, {expires_utc})"
        )
    shelf.wall = WALL + BINDING_S

    assert await settled(purge) == 2

    assert await shelf.all("SELECT count(*) FROM bindings") == [(count // 2,)]


async def test_what_was_requeued_a_moment_ago_stays(shelf: Shelf) -> None:
    await shelf.put(1)
    await shelf.ended(2, "failed")
    await shelf.did(shelf.rows.note, [CopyOutcome(1, A, "taken", 200, b"")])

    assert await drop_over(shelf.engine, [1, 2]) == 1

    assert await ids(shelf) == [1]
    assert await shelf.all("SELECT count(*) FROM copies") == [(1,)]
