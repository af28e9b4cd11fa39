"""The writer: rows that a request waits for, committed in groups (DESIGN §2).

SQLite is written by a child process (``writer_process.py``), because a thread beside a
busy loop starves. Everything submitted in one turn of the loop, or while a commit runs,
goes into the next frame and is committed together.
"""

import asyncio
import marshal
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from sipgram.db.statements import Statement
from sipgram.db.writer_process import LENGTH
from sipgram.errors import Error, Unavailable, UsageError

Done = Callable[[Exception | None], None]
"""Called once, from the loop, with None when the row is on disk."""

ROWS_PER_FRAME_MAX = 500
"""Rows committed together: above this a commit costs the same per row, and waits longer."""

PACE_S = 0.003
"""Least time between two commits while rows keep coming; a lone row is committed at once."""

_PROCESS = Path(__file__).with_name("writer_process.py")
_RECEIVE_BYTES = 65_536
_RESTART_FIRST_S = 0.1
_RESTART_MAX_S = 10.0


class Writer:
    """Commits rows to one SQLite file; ``async with`` starts and stops its child.

    ``rows_max`` bounds the rows that wait. ``busy_timeout_s`` is how long another process
    may hold the file before rows fail. ``pages_max`` bounds the file, in pages of 4 KiB.
    """

    def __init__(
        self,
        path: Path,
        *,
        statements: Iterable[Statement],
        rows_max: int = 20_000,
        busy_timeout_s: float = 2.0,
        pages_max: int | None = None,
    ) -> None:
        known = tuple(statements)
        self._index = {statement.name: place for place, statement in enumerate(known)}
        self._settings = {
            "path": str(path),
            "statements": [statement.sql for statement in known],
            "busy_timeout_ms": int(busy_timeout_s * 1000),
            "pages_max": pages_max or 0,
        }
        self._rows_max = rows_max
        self._waiting: deque[tuple[int, tuple[Any, ...], Done]] = deque()
        self._committing: list[Done] = []
        self._flush_due = False
        self._flushed_at = 0.0
        self._away: str | None = "starting"
        self._closing = False
        self._available = asyncio.Event()
        self._restart_s = _RESTART_FIRST_S
        self._restart: asyncio.TimerHandle | None = None
        self._child: _Child | None = None
        self._ending: list[_Child] = []
        self._started: asyncio.Future[None] | None = None
        self._idle: asyncio.Future[None] | None = None

    async def __aenter__(self) -> "Writer":
        """Start the child; ``Unavailable`` when it cannot open the file."""
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.create_future()
        self._spawn()
        try:
            await self._started
        except Unavailable:
            await self._end_children()
            raise
        finally:
            self._started = None
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commit what was submitted, then end the child."""
        if self._waiting or self._committing:
            self._idle = self._loop.create_future()
            self._closing = True
            await self._idle
        self._closing = True
        self._away = "closed"
        if self._restart is not None:
            self._restart.cancel()
        await self._end_children()

    @property
    def pid(self) -> int | None:
        """The child's process id, None while it is away."""
        return self._child.process.pid if self._child else None

    @property
    def is_available(self) -> bool:
        """Whether ``submit`` takes rows, but for a full queue."""
        return self._available.is_set() and not self._closing

    async def available(self) -> None:
        """Wait until the child is there, after a crash too."""
        await self._available.wait()

    @property
    def waiting_rows(self) -> int:
        """Rows submitted and not yet answered."""
        return len(self._waiting) + len(self._committing)

    def submit(self, statement: str, row: tuple[Any, ...], done: Done) -> None:
        """Queue a row; ``done`` hears ``None``, ``Unavailable`` or ``UsageError``.

        ``row`` holds str, bytes, int, float or None in the order of the statement's columns.
        ``UsageError`` says that the row can never be written, as when its account is gone.
        Raises ``Unavailable`` at once when the queue is full or the child is away; ``done``
        is not called then.
        """
        if self._away is not None or self._closing:
            raise Unavailable(f"the writer is {self._away or 'closing'}")
        if len(self._waiting) + len(self._committing) >= self._rows_max:
            raise Unavailable(f"the writer has {self._rows_max} rows waiting")
        self._waiting.append((self._index[statement], row, done))
        if not self._flush_due and not self._committing:
            # At the end of this turn: what comes in the same turn shares the commit.
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._child is None or self._committing or not self._waiting:
            return
        batch = list(islice(self._waiting, ROWS_PER_FRAME_MAX))
        for _ in batch:
            self._waiting.popleft()
        try:
            frame = marshal.dumps([(index, row) for index, row, _ in batch])
        except ValueError:
            self._refuse_unmarshallable(batch)
            return
        self._committing = [done for _, _, done in batch]
        self._flushed_at = self._loop.time()
        self._child.send(frame)

    def _refuse_unmarshallable(self, batch: list[tuple[int, tuple[Any, ...], Done]]) -> None:
        """Take out the rows that hold what no database could, and queue the rest again."""
        refused: list[Done] = []
        for item in reversed(batch):
            try:
                marshal.dumps(item[1])
            except ValueError:
                refused.append(item[2])
            else:
                self._waiting.appendleft(item)
        for done in reversed(refused):
            self._tell(done, UsageError("a row holds something else than text, bytes or numbers"))
        self._flush()
        self._note_idle()

    def _answered(self, answer: Any) -> None:
        """Take a frame of the child: its hello, or the verdicts on the rows in flight."""
        if self._away is not None:
            self._opened(answer)
            return
        self._restart_s = _RESTART_FIRST_S
        committing, self._committing = self._committing, []
        # The next commit runs while this one's callbacks do, unless the last one is so fresh that
        # a few more rows should share it: a commit costs as much as some thirty rows.
        left = self._flushed_at + PACE_S - self._loop.time()
        if self._waiting and left > 0 and not self._closing:
            self._flush_due = True
            self._loop.call_later(left, self._flush)
        else:
            self._flush()
        if not answer:
            for done in committing:
                self._tell(done, None)
        else:
            for done, verdict in zip(committing, answer, strict=True):
                self._tell(done, _error(verdict))
        self._note_idle()

    def _tell(self, done: Done, error: Error | None) -> None:
        try:
            done(error)
        except Exception as failure:  # A task boundary: one caller's fault is not the next one's.
            self._loop.call_exception_handler(
                {"message": "a row's done callback failed", "exception": failure}
            )

    def _opened(self, answer: tuple[str, str] | None) -> None:
        if answer is None:
            self._away = None
            self._available.set()
            if self._started is not None and not self._started.done():
                self._started.set_result(None)
            return
        self._away = f"not able to open the database: {answer[1]}"

    def _lost(self) -> None:
        """The child's socket closed: fail what it held, start another."""
        child, self._child = self._child, None
        if child is not None:
            child.close()
            self._ending = [*(old for old in self._ending if not old.has_ended), child]
        reason = self._away or "restarting"
        self._away = reason
        self._available.clear()
        failed = self._committing + [done for _, _, done in self._waiting]
        self._committing = []
        self._waiting.clear()
        for done in failed:
            self._tell(done, Unavailable(f"the writer is {reason}"))
        self._note_idle()
        if self._started is not None:
            if not self._started.done():
                self._started.set_exception(Unavailable(f"the writer is {reason}"))
        elif not self._closing:
            self._restart = self._loop.call_later(self._restart_s, self._spawn)
            self._restart_s = min(2 * self._restart_s, _RESTART_MAX_S)

    def _spawn(self) -> None:
        self._restart = None
        try:
            self._child = _Child(self._loop, answered=self._answered, lost=self._lost)
        except OSError as error:  # No process or socket left.
            self._away = f"not able to start: {error.strerror}"
            self._lost()
            return
        self._child.send(marshal.dumps(self._settings))

    def _note_idle(self) -> None:
        if self._idle is None or self._idle.done() or self._waiting or self._committing:
            return
        self._idle.set_result(None)

    async def _end_children(self) -> None:
        if self._child is not None:
            self._child.close()
            self._ending.append(self._child)
            self._child = None
        for child in self._ending:
            await child.ended()
        self._ending.clear()


class _Child:
    """The child process and this end of its socket, without a thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        answered: Callable[[Any], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._answered = answered
        self._lost = lost
        self._received = bytearray()
        self._unsent = bytearray()
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-I", "-S", str(_PROCESS)]
            try:
                # A session of its own: a terminal's Ctrl-C is not for it.
                self.process = subprocess.Popen(
                    [*command, str(theirs.fileno()), str(os.getpid())],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError:
                self._socket.close()
                raise
        self._socket.setblocking(False)
        self._ended: asyncio.Future[None] = loop.create_future()
        self._pidfd = os.pidfd_open(self.process.pid)
        loop.add_reader(self._pidfd, self._reap)
        loop.add_reader(self._socket, self._readable)

    def send(self, body: bytes) -> None:
        """Send one frame; what the socket does not take now goes when it can."""
        self._unsent += LENGTH.pack(len(body)) + body
        if len(self._unsent) == LENGTH.size + len(body):
            self._writable()

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone and reaped."""
        return self._ended.done()

    def close(self) -> None:
        """Close the socket: the child ends when it reads that."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()

    async def ended(self) -> None:
        """Wait until the process is gone; killed when it takes more than 5 s."""
        try:
            async with asyncio.timeout(5):
                await asyncio.shield(self._ended)
        except TimeoutError:
            self.process.kill()
            await self._ended

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # The child is gone: the reader sees the end and tells.
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._socket, self._writable)
        else:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.process.kill()  # It may have closed the socket only.
            self._lost()
            return
        self._received += data
        while len(self._received) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                return
            body = bytes(self._received[LENGTH.size : end])
            del self._received[:end]
            self._answered(marshal.loads(body))

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.process.wait()
        if not self._ended.done():
            self._ended.set_result(None)


def _error(verdict: tuple[str, str] | None) -> Error | None:
    if verdict is None:
        return None
    kind, reason = verdict
    if kind == "away":
        return Unavailable(f"the row is not on disk: {reason}")
    return UsageError(f"the row does not fit its table: {reason}")
