"""Pages of messages by filters and cursors, and the indexes that serve them."""

from typing import Any

import pytest
from sqlalchemy import text

from sipgram.services.messaging.operator.records import Filter, id_at
from sipgram.services.messaging.store import MessageState

from ..shelf import BOB, Shelf

CAROL = "sip:carol@example.com"
ALICE = "sip:alice@example.com"


async def filled(shelf: Shelf) -> None:
    """Six messages, a second apart."""
    for place, (aor, sender, state) in enumerate(
        (
            (BOB, b"sip:alice@example.com", "delivered"),
            (BOB, b"sip:alice@example.com:5070;transport=tcp", "failed"),
            (CAROL, b"sip:bob@example.com", "expired"),
            (BOB, b"sip:alice@example.community", "cancelled"),
            (BOB, b"sip:carol@example.com", "waiting"),
            (CAROL, b"sip:alice@example.com", "waiting"),
        ),
        1,
    ):
        await shelf.put(id_at(place), aor=aor, sender=sender)
        if state != "waiting":
            await shelf.did(shelf.rows.finish, id_at(place), state)


CASES: tuple[tuple[Filter, list[int]], ...] = (
    (Filter(), [6, 5, 4, 3, 2, 1]),
    (Filter(to=BOB), [5, 4, 2, 1]),
    (Filter(sender=ALICE), [6, 2, 1]),
    (Filter(sender=ALICE, to=BOB), [2, 1]),
    (Filter(account=CAROL), [6, 5, 3]),
    (Filter(state="waiting"), [6, 5]),
    (Filter(state="delivered"), [1]),
    (Filter(state="failed"), [2]),
    (Filter(state="expired", to=CAROL), [3]),
    (Filter(since_utc=2.0, until_utc=4.0), [3, 2]),
)


async def test_filters(shelf: Shelf) -> None:
    await filled(shelf)

    for which, places in CASES:
        found = [record["id"] >> 20 for record in await shelf.records.page(which)]
        assert found == [place * 1000 for place in places], which
        ids = await shelf.records.ids(which, before=None, at_most=50)
        assert [id >> 20 for id in ids] == found


async def test_pages_go_on_where_the_last_one_ended(shelf: Shelf) -> None:
    await filled(shelf)
    which, before, found = Filter(to=BOB), None, []

    while page := await shelf.records.page(which, before=before, at_most=2):
        before = page[-1]["id"]
        found.append([id_at(n) for n in range(1, 7) if id_at(n) in {r["id"] for r in page}])

    assert found == [[id_at(4), id_at(5)], [id_at(1), id_at(2)]]


FILTERS = (
    Filter(),
    Filter(to=BOB),
    Filter(sender=ALICE),
    Filter(account=BOB),
    Filter(state="waiting"),
    Filter(state="failed"),
    Filter(state="failed", since_utc=1.0),
    Filter(to=BOB, state="expired", until_utc=9e8),
)


@pytest.mark.parametrize("database_address", ["sqlite"], indirect=True)
@pytest.mark.parametrize("which", FILTERS, ids=str)
async def test_no_page_reads_the_whole_table(shelf: Shelf, which: Filter) -> None:
    """SQLite's plan: an index by what was asked for, never a scan but from the page's start.

    What is sorted are the messages of one sender whose URI has a port or parameters.
    """
    from sqlalchemy.dialects import sqlite

    from sipgram.db import tables

    for before in (None, 5):
        for query in which.queries(tables.messages.c.id, before=before, at_most=50):
            compiled = query.compile(
                dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
            )
            plan = [row[3] for row in await shelf.all(f"EXPLAIN QUERY PLAN {compiled}")]
            assert any(f"INDEX {name}" in plan[0] for name in indexes_for(str(compiled))) or (
                "WHERE" not in str(compiled) or which == Filter()
            ), (str(compiled), plan)
            is_range = "messages.sender >=" in str(compiled)
            assert is_range or all("TEMP B-TREE" not in step for step in plan), plan


def indexes_for(query: str) -> tuple[str, ...]:
    if "state = 'waiting'" in query:
        return ("messages_waiting",)
    return ("messages_over_aor", "messages_over_sender", "messages_dead")


@pytest.mark.parametrize("database_address", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("state = 'waiting' ORDER BY id", "messages_waiting"),
        ("state = 'waiting' AND due_utc <= 5 ORDER BY due_utc LIMIT 9", "messages_waiting_due"),
        ("state != 'waiting' AND due_utc <= 5 ORDER BY due_utc LIMIT 9", "messages_over_due"),
        ("state != 'waiting' AND aor = 'a' AND account_id = 1 LIMIT 9", "messages_over_aor"),
    ],
)
async def test_start_expiry_and_purge_go_by_an_index(shelf: Shelf, query: str, index: str) -> None:
    plan: list[tuple[Any, ...]] = await shelf.all(
        f"EXPLAIN QUERY PLAN SELECT id FROM messages WHERE {query}"
    )

    steps = [row[3] for row in plan]
    assert len(steps) == 1, steps
    assert f"INDEX {index}" in steps[0]


@pytest.mark.parametrize("database_address", ["postgresql"], indirect=True)
async def test_no_page_reads_the_whole_table_of_postgresql(shelf: Shelf) -> None:
    """Its plan when it may choose: with sequential scans forbidden there must be another way."""
    from sqlalchemy.dialects import postgresql

    from sipgram.db import tables

    async with shelf.engine.connect() as connection:
        await connection.execute(text("SET enable_seqscan = off"))
        column = tables.messages.c.id
        for query in (q for f in FILTERS for q in f.queries(column, before=5, at_most=50)):
            compiled = query.compile(
                dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]  # Of SQLAlchemy.
                compile_kwargs={"literal_binds": True},
            )
            plan = await connection.exec_driver_sql(f"EXPLAIN {compiled}".replace("%", "%%"))
            steps = "\n".join(row[0] for row in plan)
            assert "Seq Scan" not in steps, steps


async def test_what_is_shown_of_one_message(shelf: Shelf) -> None:
    await filled(shelf)
    await shelf.put(id_at(7), aor=CAROL)

    found = await shelf.records.find(id_at(7))

    assert found is not None
    state: MessageState = found["state"]
    assert (state, found["behind"], found["copies"], found["bindings"]) == (
        *("waiting", id_at(6)),
        *([], []),
    )
    assert await shelf.records.find(99) is None
