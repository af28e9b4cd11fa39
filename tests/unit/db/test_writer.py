"""The writer with its real child process; no sleeps, every wait is for an answer."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sipgram.db import writer_process
from sipgram.db.engine import database_url, open_engine
from sipgram.db.migrations import upgrade
from sipgram.db.sqlite_writer import SqliteWriter
from sipgram.db.statements import MANY, known_statements
from sipgram.db.writer import ROWS_PER_FRAME_MAX, Writer
from sipgram.errors import Refusal, Unavailable, UsageError


def binding(
    user: str, *, account_id: Any = None, cseq: int = 1, path: bytes = b""
) -> tuple[Any, ...]:
    return (
        *(
            f"{user}@example.com",
            b"<urn:uuid:1>;1",
            account_id,
            b"sip:x@192.0.2.1",
            b"<urn:uuid:1>",
        ),
        *(1, b"call-1", cseq, path, "udp:192.0.2.1:5060", b"", b"", 1000, 1.5, 3600.5),
    )


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    engine = open_engine(database_url(tmp_path))
    await upgrade(engine)
    await engine.dispose()
    return tmp_path / "sipgram.db"


@pytest.fixture
def database(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def users(database: sqlite3.Connection) -> list[str]:
    return [row[0].split("@")[0] for row in database.execute("SELECT aor FROM bindings ORDER BY 1")]


def new_writer(path: Path, **options: Any) -> SqliteWriter:
    return SqliteWriter(path, statements=known_statements(), **options)


def submitted(
    writer: Writer, statement: str, row: tuple[Any, ...]
) -> "asyncio.Future[Exception | None]":
    answer: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    writer.submit(statement, row, answer.set_result)
    return answer


def test_every_statement_names_its_columns() -> None:
    columns = {statement.name: statement.columns for statement in known_statements()}

    assert columns["binding_put"][:3] == ("aor", "key", "account_id")
    assert columns["binding_refresh"] == ("call_id", "cseq", "expires_utc", "aor", "key")
    assert columns["binding_drop"] == ("aor", "key")
    assert columns["bindings_drop"] == ("aor",)


async def test_done_means_on_disk(path: Path, database: sqlite3.Connection) -> None:
    async with new_writer(path) as writer:
        assert await submitted(writer, "binding_put", binding("alice")) is None

        assert users(database) == ["alice"]
        assert writer.waiting_rows == 0


async def test_a_row_is_put_refreshed_and_dropped(path: Path, database: sqlite3.Connection) -> None:
    query = "SELECT cseq, path, expires_utc FROM bindings"
    key = ("alice@example.com", b"<urn:uuid:1>;1")
    async with new_writer(path) as writer:
        for row in (binding("alice"), binding("alice", cseq=2, path=b"<sip:p;lr>\xff")):
            assert await submitted(writer, "binding_put", row) is None
        assert database.execute(query).fetchall() == [(2, b"<sip:p;lr>\xff", 3600.5)]

        assert await submitted(writer, "binding_refresh", (b"call-2", 7, 99.0, *key)) is None
        assert database.execute(query).fetchall() == [(7, b"<sip:p;lr>\xff", 99.0)]

        assert await submitted(writer, "binding_drop", key) is None
        assert users(database) == []
        for user in ("alice", "bob"):
            await submitted(writer, "binding_put", binding(user))
        assert await submitted(writer, "bindings_drop", ("bob@example.com",)) is None
        assert users(database) == ["alice"]


@pytest.mark.parametrize(
    "count", [ROWS_PER_FRAME_MAX - 1, ROWS_PER_FRAME_MAX, 3 * ROWS_PER_FRAME_MAX + 1]
)
async def test_rows_are_answered_in_order(path: Path, count: int) -> None:
    """Frames longer than a socket's buffer go out in pieces."""
    answered: list[int] = []
    last = asyncio.Event()

    def note(number: int, error: Exception | None) -> None:
        assert error is None
        answered.append(number)
        if number == count - 1:
            last.set()

    async with new_writer(path) as writer:
        for number in range(count):
            row = binding(f"u{number:05d}", path=b"x" * 1000)
            writer.submit("binding_put", row, partial(note, number))
        await last.wait()

    assert answered == list(range(count))


@pytest.mark.parametrize("count", [MANY - 1, MANY, MANY + 1, 3 * MANY])
async def test_the_last_of_equal_rows_of_one_batch_stays(
    path: Path, database: sqlite3.Connection, count: int
) -> None:
    """Many rows of one statement are written in their order, as if each came by itself."""
    async with new_writer(path) as writer:
        rows = [binding(f"u{number % 7}", cseq=number) for number in range(count)]
        answers = [submitted(writer, "binding_put", row) for row in rows]
        assert await asyncio.gather(*answers) == [None] * count

    kept = database.execute("SELECT aor, cseq FROM bindings ORDER BY cseq").fetchall()
    assert kept == [(f"u{n % 7}@example.com", n) for n in range(count - 7, count)]


async def test_closing_commits_what_was_submitted(path: Path, database: sqlite3.Connection) -> None:
    async with new_writer(path) as writer:
        answers = [submitted(writer, "binding_put", binding(user)) for user in ("alice", "bob")]

    assert [answer.result() for answer in answers] == [None, None]
    assert users(database) == ["alice", "bob"]
    with pytest.raises(Unavailable, match="closed"):
        writer.submit("binding_put", binding("carol"), lambda error: None)


async def test_one_bad_row_does_not_fail_the_others(
    path: Path, database: sqlite3.Connection
) -> None:
    """Its account was removed meanwhile, or a number is too large for the column."""
    async with new_writer(path) as writer:
        answers = [
            submitted(writer, "binding_put", row)
            for row in (
                binding("alice"),
                binding("gone", account_id=99),
                binding("bob"),
                binding("huge", cseq=1 << 70),
                binding("odd", account_id=object()),
            )
        ]
        errors = [await answer for answer in answers]

    assert [type(error) for error in errors] == [
        *(type(None), Refusal, type(None), UsageError, UsageError)
    ]
    assert "account is gone" in str(errors[1])
    assert users(database) == ["alice", "bob"]


@pytest.mark.parametrize("rows_max", [1, 3])
async def test_the_queue_has_a_bound(path: Path, rows_max: int) -> None:
    async with new_writer(path, rows_max=rows_max) as writer:
        answers = [submitted(writer, "binding_put", binding(f"u{n}")) for n in range(rows_max)]

        with pytest.raises(Unavailable, match=f"has {rows_max} rows waiting"):
            submitted(writer, "binding_put", binding("more"))

        assert [await answer for answer in answers] == [None] * rows_max
        assert await submitted(writer, "binding_put", binding("more")) is None


async def test_a_crashed_child_fails_its_rows_and_is_replaced(
    path: Path, database: sqlite3.Connection
) -> None:
    async with new_writer(path) as writer:
        first = writer.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # So that the row is surely under way when it dies.
        answer = submitted(writer, "binding_put", binding("alice"))
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)

        assert isinstance(await answer, Unavailable)
        with pytest.raises(Unavailable, match="restarting"):
            submitted(writer, "binding_put", binding("bob"))
        states = [writer.is_available]
        await writer.available()

        assert await submitted(writer, "binding_put", binding("carol")) is None
        assert [*states, writer.is_available] == [False, True]
        assert writer.pid not in (None, first)
    assert users(database) == ["carol"]


async def test_a_child_that_hangs_fails_its_rows_in_time_and_is_replaced(
    path: Path, database: sqlite3.Connection
) -> None:
    """D9: the sender who waits for the commit hears 500 instead of nothing."""
    async with new_writer(path, answer_s=0.05) as writer:
        hung = writer.pid
        assert hung is not None
        os.kill(hung, signal.SIGSTOP)

        error = await submitted(writer, "binding_put", binding("alice"))
        assert isinstance(error, Unavailable)

        await writer.available()
        assert writer.pid not in (None, hung)
    async with new_writer(path) as writer:
        assert await submitted(writer, "binding_put", binding("bob")) is None
    assert users(database) == ["bob"]


async def test_closing_while_the_child_is_away_ends_at_once(path: Path) -> None:
    async with new_writer(path) as writer:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        assert isinstance(await submitted(writer, "binding_put", binding("a")), Unavailable)

    assert not writer.is_available


async def test_the_child_dies_with_its_parent(path: Path) -> None:
    """Even when the parent had no time to close anything."""
    program = f"""
import asyncio, os, signal
from pathlib import Path
from sipgram.db.sqlite_writer import SqliteWriter

async def main():
    async with SqliteWriter(Path({str(path)!r}), statements=()) as writer:
        print(writer.pid, flush=True)
        input()
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = os.pidfd_open(int(await parent.stdout.readline()))
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(child, gone.set)

    await parent.communicate(b"\n")

    await gone.wait()
    asyncio.get_running_loop().remove_reader(child)
    os.close(child)


async def test_a_terminal_signal_does_not_end_the_child(path: Path) -> None:
    async with new_writer(path) as writer:
        pid = writer.pid
        assert pid is not None
        for name in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, name)

        assert await submitted(writer, "binding_put", binding("alice")) is None
        assert writer.pid == pid


async def test_a_full_disk_means_try_again_later(path: Path, database: sqlite3.Connection) -> None:
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    async with new_writer(path, pages_max=pages + 2) as writer:
        errors = [
            await submitted(writer, "binding_put", binding(f"u{n}", path=b"x" * 3000))
            for n in range(6)
        ]

        assert isinstance(errors[-1], Unavailable)
        assert "full" in errors[-1].reason
        assert await submitted(writer, "bindings_drop", ("u0@example.com",)) is None


async def test_a_locked_database_means_try_again_later(
    path: Path, database: sqlite3.Connection
) -> None:
    async with new_writer(path, busy_timeout_s=0.02) as writer:
        database.execute("BEGIN IMMEDIATE")
        answers = [submitted(writer, "binding_put", binding(user)) for user in ("alice", "bob")]
        errors = [await answer for answer in answers]
        assert [type(error) for error in errors] == [Unavailable, Unavailable]

        database.execute("ROLLBACK")
        assert await submitted(writer, "binding_put", binding("alice")) is None


async def test_a_database_that_cannot_be_opened_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="not able to open the database"):
        async with new_writer(tmp_path / "missing" / "sipgram.db"):
            pass


async def test_a_callback_that_fails_does_not_stop_the_others(path: Path) -> None:
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))

    def fail(_: Exception | None) -> None:
        raise ZeroDivisionError

    async with new_writer(path) as writer:
        writer.submit("binding_put", binding("alice"), fail)
        assert await submitted(writer, "binding_put", binding("bob")) is None

    assert [type(context["exception"]) for context in heard] == [ZeroDivisionError]


def test_a_batch_that_meets_a_full_disk_halfway_is_undone(path: Path) -> None:
    """The child's own steps, in this process: nothing of the batch is left."""
    known = [(statement.sql, statement.many) for statement in known_statements()]
    statements = writer_process.Statements(known, MANY)
    settings = {"path": str(path), "busy_timeout_ms": 10, "pages_max": 1}
    with closing(writer_process.opened(settings)) as database:
        rows = [(0, binding(f"u{n}", path=b"x" * 3000)) for n in range(9)]
        rows.insert(0, (0, binding("gone", account_id=99)))

        for commit in (writer_process.committed, writer_process.one_by_one):
            answers = commit(database, statements, rows)
            assert {answer and answer[0] for answer in answers} == {"away"}
            assert not database.in_transaction
        assert users(database) == []
