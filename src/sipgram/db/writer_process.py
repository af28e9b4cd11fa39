"""The writer's child process: rows in, commits out (DESIGN §2, "Durable means committed").

Run by path with ``python -I -S``: it imports nothing but the standard library, so that it
starts in milliseconds. A frame is four bytes of length and a marshalled value; marshal is
the fastest way between two processes of one interpreter, and nobody else writes here.
"""

import contextlib
import ctypes
import marshal
import os
import signal
import socket
import sqlite3
import struct
import sys
import threading
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

PR_SET_PDEATHSIG = 1
LENGTH = struct.Struct(">I")

CHECKPOINT_ROWS = 2_000
"""Rows committed between two checkpoints."""
CHECKPOINT_END_S = 2.0
WAL_PAGES_MAX = 20_000
"""A commit moves the pages by itself beyond so many, when the thread lags behind."""

Row = tuple[Any, ...]

Answer = tuple[str, str] | None
"""None for a committed row, else ``away`` (try again) or ``row`` (never fits), and why."""

# Nothing is wrong with the row when SQLite says one of these.
AWAY = frozenset(
    getattr(sqlite3, name)
    for name in (
        "SQLITE_BUSY",
        "SQLITE_LOCKED",
        "SQLITE_NOMEM",
        "SQLITE_READONLY",
        "SQLITE_IOERR",
        "SQLITE_CORRUPT",
        "SQLITE_FULL",
        "SQLITE_CANTOPEN",
        "SQLITE_NOTADB",
    )
)


def main() -> None:
    """Serve the socket whose number is the first argument until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent: it drains first.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[2]):
        return  # The parent died before prctl; no signal will come.
    with socket.socket(fileno=int(sys.argv[1])) as peer, contextlib.suppress(OSError):
        serve(peer)


def serve(peer: socket.socket) -> None:
    """Take one frame of settings, then frames of rows, each answered by one frame."""
    settings = receive(peer)
    if settings is None:
        return
    try:
        database = opened(settings)
    except sqlite3.Error as error:
        send(peer, ("away", str(error)))
        return
    send(peer, None)
    statements = Statements(settings["statements"], settings["many"])
    checkpoints = Checkpoints(settings)
    while (rows := receive(peer)) is not None:
        send(peer, committed(database, statements, rows))
        checkpoints.note(len(rows))
    checkpoints.close()
    database.close()


class Checkpoints:
    """Moves committed pages from the WAL into the file beside the commits, in a thread.

    SQLite does it within a commit otherwise, which then takes ten times as long. A passive
    checkpoint holds up no writer, and its reads and fsyncs leave the interpreter alone.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._rows = 0
        self._is_due = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def note(self, rows: int) -> None:
        """Count committed rows."""
        self._rows += rows
        if self._rows >= CHECKPOINT_ROWS:
            self._rows = 0
            self._is_due.set()

    def close(self) -> None:
        """End the thread."""
        self._is_over = True
        self._is_due.set()
        self._thread.join(CHECKPOINT_END_S)

    def _run(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            database = opened(self._settings)
            while self._is_due.wait() and not self._is_over:
                self._is_due.clear()
                with contextlib.suppress(sqlite3.Error):  # Busy or full: the next one may do.
                    database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            database.close()


def opened(settings: dict[str, Any]) -> sqlite3.Connection:
    """Open the database so that a commit has reached the disk when it returns."""
    database = sqlite3.connect(settings["path"], isolation_level=None)
    database.execute(f"PRAGMA busy_timeout = {settings['busy_timeout_ms']}")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA foreign_keys = ON")
    database.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX}")
    if settings["pages_max"]:
        database.execute(f"PRAGMA max_page_count = {settings['pages_max']}")
    return database


class Statements:
    """What a row's number stands for."""

    def __init__(self, known: list[tuple[str, str]], many: int) -> None:
        """Each is known for one row, and some for ``many`` rows one behind the other as well."""
        self._known = known
        self._many = many

    def write_all(self, database: sqlite3.Connection, index: int, rows: list[Row]) -> None:
        """Write rows of one kind, in their order."""
        one, of_many = self._known[index]
        if of_many and len(rows) >= self._many:
            whole = len(rows) - len(rows) % self._many
            starts = range(0, whole, self._many)
            database.executemany(
                of_many,
                [tuple(chain.from_iterable(rows[at : at + self._many])) for at in starts],
            )
            rows = rows[whole:]
        database.executemany(one, rows)

    def write(self, database: sqlite3.Connection, index: int, row: Row) -> None:
        """Write one row."""
        database.execute(self._known[index][0], row)


def committed(
    database: sqlite3.Connection, statements: Statements, rows: list[tuple[int, Row]]
) -> list[Answer]:
    """Commit all rows together; when one does not fit, each gets its own verdict.

    An empty list says that all are committed.
    """
    try:
        database.execute("BEGIN IMMEDIATE")
        for index, group in groupby(rows, itemgetter(0)):
            statements.write_all(database, index, [row for _, row in group])
        database.execute("COMMIT")
        return []
    except (sqlite3.Error, OverflowError, ValueError) as error:
        rolled_back(database)
        if is_away(error):
            return [("away", str(error))] * len(rows)
        return one_by_one(database, statements, rows)


def one_by_one(
    database: sqlite3.Connection, statements: Statements, rows: list[tuple[int, Row]]
) -> list[Answer]:
    """Write each row under its own savepoint and commit those that fit."""
    answers: list[Answer] = []
    try:
        database.execute("BEGIN IMMEDIATE")
        for index, row in rows:
            database.execute("SAVEPOINT one")
            try:
                statements.write(database, index, row)
                answers.append(None)
            except (sqlite3.Error, OverflowError, ValueError) as error:
                if is_away(error):
                    raise
                answers.append(("row", str(error)))
                database.execute("ROLLBACK TO one")
            database.execute("RELEASE one")
        database.execute("COMMIT")
    except sqlite3.Error as error:
        rolled_back(database)
        return [("away", str(error))] * len(rows)
    return answers


def is_away(error: Exception) -> bool:
    """Tell whether the database failed, and not the row."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in AWAY


def rolled_back(database: sqlite3.Connection) -> None:
    """End a transaction that failed; SQLite has ended some by itself."""
    if database.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            database.execute("ROLLBACK")


def receive(peer: socket.socket) -> Any:
    """Return the next frame's value, or None when the parent is gone."""
    head = exactly(peer, LENGTH.size)
    body = exactly(peer, LENGTH.unpack(head)[0]) if head else b""
    return marshal.loads(body) if body else None


def exactly(peer: socket.socket, size: int) -> bytes:
    """Return ``size`` bytes, or none when the stream ends before."""
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size:
        count = peer.recv_into(view[filled:])
        if not count:
            return b""
        filled += count
    return bytes(buffer)


def send(peer: socket.socket, value: Any) -> None:
    """Send one frame."""
    body = marshal.dumps(value)
    peer.sendall(LENGTH.pack(len(body)) + body)


if __name__ == "__main__":
    main()
