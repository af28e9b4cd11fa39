"""What commands do beside a server, on both engines."""

from typing import Any

import pytest

from sipgram.errors import SettingsError
from sipgram.services.messaging.operator.commands import NEWS_KEPT_S, Change
from sipgram.services.messaging.store import AwayDevice, CopyOutcome

from ..shelf import BOB, HISTORY_S, RECORD_S, WALL, Shelf, message

A = b"<urn:uuid:a>"


async def told(shelf: Shelf) -> list[tuple[Any, ...]]:
    return [(c.kind, c.message_id, c.device) for c in await shelf.commands.news(0)]


async def test_cancel_ends_a_waiting_message_and_erases_it(shelf: Shelf) -> None:
    await shelf.put(1)
    await shelf.put(2, kept=2)

    await shelf.commands.cancel(1)
    await shelf.commands.cancel(2)

    assert await shelf.all("SELECT id, state, length(body), due_utc FROM messages ORDER BY id") == [
        (1, "cancelled", 0, WALL + RECORD_S),
        (2, "cancelled", 4, WALL + RECORD_S),
    ]
    assert await told(shelf) == [("cancel", 1, b""), ("cancel", 2, b"")]
    assert await shelf.commands.ended(1) == (BOB, b"sip:alice@example.com", message(1).size)


async def test_d15_a_message_whose_sender_asked_is_ended_by_the_server(shelf: Shelf) -> None:
    """Its body stays for the receipt; when no server runs, the next finds its time over."""
    await shelf.put(1, wants_failure=True)

    await shelf.commands.cancel(1)

    assert await shelf.all("SELECT state, length(body), due_utc FROM messages") == [
        ("waiting", 4, WALL)
    ]
    assert await told(shelf) == [("end", 1, b"")]


async def test_what_cannot_be_done_is_told(shelf: Shelf) -> None:
    await shelf.ended(1, "delivered")
    await shelf.ended(2, "expired")
    await shelf.ended(3, "failed", kept=1)
    shelf.wall = WALL + HISTORY_S

    for work, fault in (
        (shelf.commands.cancel(1), "message 1 does not wait, it is delivered"),
        (shelf.commands.cancel(9), "no message has this id: 9"),
        (shelf.commands.requeue(1), "message 1 was delivered"),
        (shelf.commands.requeue(2), "message 2 is expired and its body was erased"),
        (shelf.commands.requeue(3), "message 3 is failed and about to be removed"),
        (shelf.commands.body(2, who="root"), "body was erased"),
        (shelf.commands.forget(BOB, A), "has no device that is waited for: <urn:uuid:a>"),
    ):
        with pytest.raises(SettingsError, match=fault):
            await work
    assert await told(shelf) == []


async def test_a_dead_letter_that_was_kept_waits_again(shelf: Shelf) -> None:
    await shelf.put(1, kept=1)
    await shelf.did(shelf.rows.note, [CopyOutcome(1, A, "refused", 415, b"")])
    await shelf.did(shelf.rows.finish, 1, "failed")
    shelf.wall = WALL + 100

    assert await shelf.commands.requeue(1) == "failed"

    found = await shelf.rows.load_one(1)
    assert found is not None
    assert found[1] == []
    assert await shelf.all("SELECT expires_utc, due_utc FROM messages") == [(WALL + 160,) * 2]
    assert await told(shelf) == [("requeue", 1, b"")]


async def test_a_waiting_message_is_tried_at_those_who_refused_it(shelf: Shelf) -> None:
    await shelf.put(1, is_for_all=False)
    await shelf.did(shelf.rows.note, [CopyOutcome(1, A, "refused", 415, b"")])

    assert await shelf.commands.requeue(1) == "waiting"

    assert await shelf.all("SELECT state FROM copies") == [("waiting",)]


async def test_a_forgotten_device_leaves_no_debt(shelf: Shelf) -> None:
    await shelf.put(1, is_for_all=False)
    await shelf.did(shelf.rows.note, [CopyOutcome(1, A, "waiting", 0, b"")])
    await shelf.did(shelf.rows.away, AwayDevice(BOB, 7, A, False, WALL))

    assert await shelf.commands.forget(BOB, A)

    assert await shelf.all("SELECT count(*) FROM copies") == [(0,)]
    assert await shelf.all("SELECT count(*) FROM devices") == [(0,)]
    assert await told(shelf) == [("forget", 0, A)]


async def test_d36_who_reads_a_body_is_on_record(shelf: Shelf) -> None:
    await shelf.put(1)

    assert await shelf.commands.body(1, who="root (uid 0)") == b"\x00\xffhi"

    assert await shelf.all("SELECT message_id, who, at_utc FROM readings") == [
        (1, "root (uid 0)", WALL)
    ]
    assert await told(shelf) == [("read", 1, b"root (uid 0)")]


async def test_many_are_cancelled_at_once(shelf: Shelf) -> None:
    await shelf.put(1)
    await shelf.ended(2, "expired")
    await shelf.put(3)

    assert await shelf.commands.cancel_many([1, 2, 3, 4]) == 2

    assert await told(shelf) == [("cancel", 1, b""), ("cancel", 3, b"")]


async def test_news_are_kept_for_an_hour(shelf: Shelf) -> None:
    await shelf.put(1)
    await shelf.put(2)
    await shelf.commands.cancel(1)
    newest = await shelf.commands.newest()
    shelf.wall = WALL + NEWS_KEPT_S + 1

    await shelf.commands.cancel(2)

    assert await shelf.commands.news(0) == [Change(newest + 1, "cancel", 2, BOB, b"")]
    assert await shelf.commands.news(newest + 1) == []
