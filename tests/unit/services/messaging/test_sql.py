"""Every statement of the message store, one contract on both engines."""

import asyncio
import re
from typing import Any

from sqlalchemy import Boolean, LargeBinary, Text

from sipgram.db import tables
from sipgram.db.statements import ATTEMPTS_KEPT, Statement, known_statements
from sipgram.services.messaging.store import (
    AwayDevice,
    CopyOutcome,
    CopyState,
    DueMessage,
    FailedAttempt,
    StoredMessage,
    WaitingMessage,
)

from .shelf import BOB, HISTORY_S, RECORD_S, WALL, Shelf, message

A, B = b"<urn:uuid:a>", b"<urn:uuid:b>"


def copy(id: int, device: bytes, state: CopyState, status: int = 0) -> CopyOutcome:
    return CopyOutcome(id, device, state, status, b"sip:bob@192.0.2.1")


async def test_every_statement_runs(shelf: Shelf) -> None:
    """Those of other services too, on tables that hold nothing yet."""
    seen: dict[str, Exception | None] = {}
    for statement in known_statements():
        answer: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        shelf.writer.submit(statement.name, row_for(statement), answer.set_result)
        seen[statement.name] = await answer

    assert seen == dict.fromkeys(seen)


def row_for(statement: Statement) -> tuple[Any, ...]:
    """Return a row of the right types; nobody has an account."""
    found = re.search(r"(?:INTO|UPDATE|FROM) (\w+)", statement.sql)
    assert found is not None
    types = {column.name: column.type for column in tables.metadata.tables[found[1]].columns}
    row: list[Any] = []
    for name in statement.columns:
        kind = types.get(name) or types.get(name.partition("_")[2])
        if name == "account_id" and found[1] == "bindings":
            row.append(None)
        elif isinstance(kind, Boolean):
            row.append(False)
        elif isinstance(kind, LargeBinary):
            row.append(b"x")
        else:
            row.append("x" if isinstance(kind, Text) else 1)
    return tuple(row)


async def test_a_message_comes_back_to_the_byte(shelf: Shelf) -> None:
    for id in (3 << 40, 2 << 40):
        await shelf.put(id, kept=1, sender_id=9)

    page = await read(shelf, [3 << 40, 1, 2 << 40])

    assert [m.id for m in page] == [2 << 40, 3 << 40]
    assert page[0].body == b"\x00\xffhi"
    assert page[0].head == message(2 << 40).head


async def read(shelf: Shelf, ids: list[int]) -> list[StoredMessage]:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    shelf.rows.read(ids, answer.set_result)
    found: list[StoredMessage] = list(await answer)
    return found


async def test_what_waits_is_loaded_in_order_with_its_copies(shelf: Shelf) -> None:
    await shelf.did(
        shelf.rows.put, message(2), is_for_all=False, copies=[copy(2, A, "waiting", 486)]
    )
    await shelf.put(1)
    await shelf.ended(3, "delivered")
    await shelf.did(shelf.rows.note, [copy(1, B, "taken", 200), copy(3, B, "taken", 200)])
    await shelf.did(shelf.rows.share, 1, is_for_all=False)
    await shelf.did(shelf.rows.note, [copy(1, A, "waiting"), copy(1, B, "waiting")])

    waiting = [found async for found in shelf.rows.load_waiting()]
    copies = [found async for found in shelf.rows.load_copies()]

    head = (BOB, 7, b"sip:alice@example.com")
    size = message(1).size
    assert waiting == [
        WaitingMessage(1, *head, b"d1", b"", size, WALL, False),
        WaitingMessage(2, *head, b"d2", b"", size, WALL, False),
    ]
    assert sorted(copies, key=lambda c: (c.message_id, c.device)) == [
        copy(1, A, "waiting"),
        copy(1, B, "taken", 200),
        copy(2, A, "waiting", 486),
    ]
    assert await shelf.rows.load_one(3) is None
    one = await shelf.rows.load_one(2)
    assert one == (waiting[1], [copy(2, A, "waiting", 486)])


async def test_d36_a_body_is_erased_when_its_last_copy_ends(shelf: Shelf) -> None:
    await shelf.ended(1, "delivered")
    await shelf.ended(2, "failed", kept=1)

    assert await shelf.all(
        "SELECT id, state, length(head) > 0, length(body), finished_utc, due_utc FROM messages "
        "ORDER BY id"
    ) == [
        (1, "delivered", False, 0, WALL, WALL + RECORD_S),
        (2, "failed", True, 4, WALL, WALL + HISTORY_S),
    ]


async def test_what_has_ended_ends_no_second_time(shelf: Shelf) -> None:
    await shelf.ended(1, "delivered")
    await shelf.did(shelf.rows.finish, 1, "expired")
    await shelf.put(2)
    await shelf.commands.cancel(2)
    await shelf.did(shelf.rows.finish, 2, "delivered")  # A device took it all the same.

    assert await shelf.all("SELECT state FROM messages ORDER BY id") == [("delivered",)] * 2


async def test_a_copy_keeps_its_latest_attempts(shelf: Shelf) -> None:
    await shelf.put(1)
    for number in range(ATTEMPTS_KEPT + 3):
        shelf.wall = WALL + number
        shelf.rows.attempt(FailedAttempt(1, A, b"sip:b@192.0.2.1", "udp:192.0.2.1:1", 486, b"Busy"))
    shelf.rows.attempt(FailedAttempt(1, B, b"sip:b@192.0.2.1", "udp:192.0.2.1:1", 0))
    await shelf.put(2)  # Behind them in the writer's line.

    found = await shelf.all(
        "SELECT number, at_utc FROM attempts WHERE status = 486 ORDER BY number"
    )

    assert found == [(n, WALL + n) for n in range(3, ATTEMPTS_KEPT + 3)]
    assert await shelf.all("SELECT number FROM attempts WHERE status = 0") == [(0,)]


async def test_devices_go_and_come_back(shelf: Shelf) -> None:
    away = AwayDevice(BOB, 7, A, False, WALL)
    await shelf.did(shelf.rows.away, away)
    await shelf.did(shelf.rows.away, AwayDevice(BOB, 7, B, True, WALL))
    await shelf.did(shelf.rows.away, AwayDevice(BOB, 7, B, True, WALL + 1))
    await shelf.did(shelf.rows.back, BOB, A)

    assert [found async for found in shelf.rows.load_devices()] == [
        AwayDevice(BOB, 7, B, True, WALL + 1)
    ]


async def test_the_device_of_a_binding_is_waited_for(shelf: Shelf) -> None:
    binding = ("k", None, "c", A.decode(), 0, "call", 1, "", "udp:h:1", "", "", 1000, 1.0)
    values = ", ".join("NULL" if v is None else repr(v) for v in binding)
    blob = "CAST({} AS bytea)" if shelf.engine.dialect.name == "postgresql" else "CAST({} AS BLOB)"
    cells = values.split(", ")
    for place in (0, 2, 3, 5, 7, 9, 10):
        cells[place] = blob.format(cells[place])
    await shelf.run(f"INSERT INTO bindings VALUES ('{BOB}', {', '.join(cells)}, {WALL + 60})")

    assert [found async for found in shelf.rows.load_bound()] == [
        AwayDevice(BOB, 0, A, False, WALL)
    ]


async def test_what_has_expired_is_due_in_order(shelf: Shelf) -> None:
    for id, expires_utc in ((1, WALL + 5), (2, WALL + 1), (3, WALL + 90), (4, WALL)):
        await shelf.put(id, expires_utc=expires_utc)
    await shelf.did(shelf.rows.finish, 4, "expired")
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    shelf.rows.due(WALL + 10, 5, answer.set_result)

    its = (BOB, b"sip:alice@example.com", message(1).size, False)
    assert await answer == [DueMessage(2, *its), DueMessage(1, *its)]


async def test_a_dropped_message_leaves_nothing(shelf: Shelf) -> None:
    await shelf.put(1)
    await shelf.did(shelf.rows.note, [copy(1, A, "waiting")])
    shelf.rows.attempt(FailedAttempt(1, A, b"", "", 0))

    await shelf.did(shelf.rows.drop, 1)

    for table in ("messages", "copies", "attempts"):
        assert await shelf.all(f"SELECT count(*) FROM {table}") == [(0,)]
