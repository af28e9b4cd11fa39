"""The writer for SQLite: a child process commits, because a thread beside a busy loop starves."""

import asyncio
import marshal
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sipgram.db.statements import MANY, Statement
from sipgram.db.writer import Answer, Link, Row, Writer
from sipgram.db.writer_process import LENGTH

_PROCESS = Path(__file__).with_name("writer_process.py")
_RECEIVE_BYTES = 65_536


class SqliteWriter(Writer):
    """Commits rows to one SQLite file.

    ``busy_timeout_s`` is how long another process may hold the file before rows fail.
    ``answer_s`` is how long a batch may take before its child is killed and another one started.
    ``pages_max`` bounds the file, in pages of 4 KiB.
    """

    def __init__(
        self,
        path: Path,
        *,
        statements: Iterable[Statement],
        rows_max: int = 20_000,
        busy_timeout_s: float = 2.0,
        answer_s: float = 4.0,
        pages_max: int | None = None,
    ) -> None:
        super().__init__(statements, rows_max=rows_max)
        self._answer_s = answer_s
        self._settings = {
            "path": str(path),
            "statements": [(statement.sql, statement.many) for statement in self._statements],
            "many": MANY,
            "busy_timeout_ms": int(busy_timeout_s * 1000),
            "pages_max": pages_max or 0,
        }

    def _connect(self, *, answered: Callable[[Answer], None], lost: Callable[[], None]) -> Link:
        return _Child(self._settings, answer_s=self._answer_s, answered=answered, lost=lost)


class _Child:
    """The child process and this end of its socket, without a thread."""

    def __init__(
        self,
        settings: dict[str, Any],
        *,
        answer_s: float,
        answered: Callable[[Answer], None],
        lost: Callable[[], None],
    ) -> None:
        self._answer_s = answer_s
        self._deadline: asyncio.TimerHandle | None = None
        self._loop = loop = asyncio.get_running_loop()
        self._answered = answered
        self._lost = lost
        self._received = bytearray()
        self._unsent = bytearray()
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-I", "-S", str(_PROCESS)]
            try:
                # A session of its own: a terminal's Ctrl-C is not for it.
                self._process = subprocess.Popen(
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
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._reap)
        loop.add_reader(self._socket, self._readable)
        self._send(marshal.dumps(settings))

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def send(self, rows: list[tuple[int, Row]]) -> None:
        """Send one frame of rows."""
        self._send(marshal.dumps(rows))
        self._deadline = self._loop.call_later(self._answer_s, self._give_up)

    def _give_up(self) -> None:
        """A child that hangs answers nobody, and a sender waits for 5 s at most (D9)."""
        self._process.kill()
        self._lost()

    def can_send(self, row: Row) -> bool:
        """Tell whether the row holds nothing but what a database could."""
        try:
            marshal.dumps(row)
        except ValueError:
            return False
        return True

    def _send(self, body: bytes) -> None:
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
        if self._deadline is not None:
            self._deadline.cancel()
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
            self._process.kill()
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
            self._process.kill()  # It may have closed the socket only.
            self._lost()
            return
        self._received += data
        while len(self._received) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                return
            body = bytes(self._received[LENGTH.size : end])
            del self._received[:end]
            if self._deadline is not None:
                self._deadline.cancel()
            self._answered(marshal.loads(body))

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        if not self._ended.done():
            self._ended.set_result(None)
