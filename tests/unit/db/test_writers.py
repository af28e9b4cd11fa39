"""What a writer promises, on both engines (DESIGN §2, "Durable means committed")."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db.engine import open_engine
from sipgram.db.migrations import upgrade
from sipgram.db.postgres_writer import PostgresWriter
from sipgram.db.statements import known_statements
from sipgram.db.writer import ROWS_PER_FRAME_MAX, Writer
from sipgram.db.writers import writer_for
from sipgram.errors import Refusal, Unavailable, UsageError

KEY = b"<urn:uuid:1>;1"


@pytest.fixture
async def engine(database_address: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(database_address)
    await upgrade(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
async def writer(engine: AsyncEngine, database_address: str) -> AsyncIterator[Writer]:
    async with writer_for(database_address, statements=known_statements()) as writer:
        yield writer


def binding(user: str, *, account_id: Any = None, cseq: Any = 1) -> tuple[Any, ...]:
    head = (f"{user}@example.com", KEY, account_id, b"<sip:x@192.0.2.1>", b"", 1, b"call-1", cseq)
    return (*head, b"\xff\x00", "udp:192.0.2.1:5060", b"", b"", 1000, 1.5, 3600.5)


def submitted(writer: Writer, statement: str, row: tuple[Any, ...]) -> "asyncio.Future[Any]":
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    writer.submit(statement, row, answer.set_result)
    return answer


async def all_rows(engine: AsyncEngine, query: str) -> list[tuple[Any, ...]]:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(query))]


async def users(engine: AsyncEngine) -> list[str]:
    rows = await all_rows(engine, "SELECT aor FROM bindings ORDER BY aor")
    return [row[0].split("@")[0] for row in rows]


async def test_rows_are_put_changed_and_dropped_in_order(
    writer: Writer, engine: AsyncEngine
) -> None:
    """One batch of several statements, with a key that comes twice."""
    message: tuple[Any, ...] = (1 << 60, "a@b", 0, *[b"x"] * 6, 1, 1.0, 2.0, "waiting", True)
    answers = [
        submitted(writer, statement, row)
        for statement, row in (
            ("binding_put", binding("alice")),
            ("binding_put", binding("alice", cseq=2)),
            ("binding_refresh", (b"call-2", 7, 99, "alice@example.com", KEY)),
            ("binding_put", binding("bob")),
            ("binding_drop", ("bob@example.com", KEY)),
            ("message_put", (*message, None, 2.0, b"", False, 0, 0)),
            ("message_share", (False, 1 << 60)),
            ("copy_put", (1 << 60, b"d", "taken", 200, b"", 1.0, "")),
            ("copy_wait", (1 << 60, b"d", "waiting", 0, b"", 1.0, "")),
        )
    ]

    assert [await answer for answer in answers] == [None] * len(answers)
    assert await all_rows(engine, "SELECT aor, cseq, path, expires_utc FROM bindings") == [
        ("alice@example.com", 7, b"\xff\x00", 99.0)
    ]
    assert await all_rows(engine, "SELECT id, is_for_all FROM messages") == [(1 << 60, False)]
    assert await all_rows(engine, "SELECT state FROM copies") == [("taken",)]


async def test_one_bad_row_does_not_fail_the_others(writer: Writer, engine: AsyncEngine) -> None:
    rows = (
        binding("alice"),
        binding("gone", account_id=99),
        binding("bob"),
        binding("huge", cseq=1 << 70),
        binding("odd", account_id=object()),
        binding("carol"),
    )
    answers = [submitted(writer, "binding_put", row) for row in rows]

    errors = [await answer for answer in answers]

    assert [type(error) for error in errors] == [
        *(type(None), Refusal, type(None), UsageError, UsageError, type(None))
    ]
    assert "account is gone" in str(errors[1])
    assert await users(engine) == ["alice", "bob", "carol"]


async def test_rows_are_answered_in_order(writer: Writer, engine: AsyncEngine) -> None:
    answered: list[int] = []
    count = 2 * ROWS_PER_FRAME_MAX + 1
    last = asyncio.Event()

    def note(number: int, error: Exception | None) -> None:
        assert error is None
        answered.append(number)
        if number == count - 1:
            last.set()

    for number in range(count):
        writer.submit("binding_put", binding(f"u{number:05d}"), partial(note, number))
    await last.wait()

    assert answered == list(range(count))
    assert len(await users(engine)) == count


async def test_closing_commits_what_was_submitted(
    engine: AsyncEngine, database_address: str
) -> None:
    async with writer_for(database_address, statements=known_statements()) as writer:
        answers = [submitted(writer, "binding_put", binding(user)) for user in ("alice", "bob")]

    assert [answer.result() for answer in answers] == [None, None]
    assert await users(engine) == ["alice", "bob"]
    with pytest.raises(Unavailable, match="closed"):
        writer.submit("binding_put", binding("carol"), lambda error: None)


@pytest.fixture
async def remote(postgres: Any) -> AsyncIterator[tuple[str, AsyncEngine]]:
    """An empty PostgreSQL database with our tables."""
    url: str = postgres.new_database()
    engine = open_engine(url)
    await upgrade(engine)
    yield url, engine
    await engine.dispose()


async def test_a_cut_connection_fails_its_rows_and_is_replaced(
    remote: tuple[str, AsyncEngine],
) -> None:
    url, engine = remote
    async with writer_for(url, statements=known_statements()) as writer, engine.begin() as other:
        first = writer.pid
        await other.execute(text("LOCK TABLE bindings"))  # So that the row is surely under way.
        answer = submitted(writer, "binding_put", binding("alice"))
        await asyncio.sleep(0)
        async with engine.connect() as third:
            await third.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": first})

        assert isinstance(await answer, Unavailable)
        with pytest.raises(Unavailable, match="restarting"):
            submitted(writer, "binding_put", binding("bob"))
        await other.rollback()
        await writer.available()

        assert writer.pid not in (None, first)
        assert await submitted(writer, "binding_put", binding("carol")) is None
    assert await users(engine) == ["carol"]


@pytest.mark.parametrize(
    ("busy_timeout_s", "answer_s", "reason"),
    [(0.02, 5.0, "lock timeout"), (5.0, 0.05, "restarting")],
)
async def test_a_lock_held_too_long_means_try_again_later(
    remote: tuple[str, AsyncEngine], busy_timeout_s: float, answer_s: float, reason: str
) -> None:
    url, engine = remote
    async with PostgresWriter(
        url, statements=known_statements(), busy_timeout_s=busy_timeout_s, answer_s=answer_s
    ) as writer:
        async with engine.begin() as other:
            await other.execute(text("LOCK TABLE bindings"))
            answer = await submitted(writer, "binding_put", binding("alice"))
        assert isinstance(answer, Unavailable)
        assert reason in answer.reason

        await writer.available()
        assert await submitted(writer, "binding_put", binding("alice")) is None


@pytest.mark.parametrize("name", ["missing", "nowhere"])
async def test_a_server_that_is_not_there_is_told_at_the_start(
    remote: tuple[str, AsyncEngine], name: str
) -> None:
    url = remote[0].replace("?", "missing?") if name == "missing" else remote[0] + "/nowhere"
    with pytest.raises(Unavailable, match="not able to open the database"):
        async with writer_for(url, statements=known_statements()):
            pass
