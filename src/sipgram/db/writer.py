"""The writer: rows that a request waits for, committed in groups (DESIGN §2).

Everything submitted in one turn of the loop, or while a commit runs, goes into the next
batch and is committed together. Who commits is a ``Link``: ``sqlite_writer.py`` and
``postgres_writer.py`` have one each, and both writers behave alike.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import compress
from operator import not_
from typing import Any, Protocol, Self

from sipgram.db.statements import Statement
from sipgram.errors import Error, Refusal, Unavailable, UsageError

Done = Callable[[Exception | None], None]
"""Called once, from the loop, with None when the row is on disk."""

ROWS_PER_FRAME_MAX = 500
"""Rows committed together: above this a commit costs the same per row, and waits longer."""

PACE_S = 0.003
"""Least time between two commits while rows keep coming; a lone row is committed at once."""

_RESTART_FIRST_S = 0.1
_RESTART_MAX_S = 10.0


Row = tuple[Any, ...]

Verdict = tuple[str, str] | None
"""None for a committed row, else ``away`` (try again) or ``row`` (never fits), and why."""

Answer = tuple[str, str] | list[Verdict] | None
"""A link's hello, None or why it is away; then for each batch the verdicts, none for no fault."""


class Link(Protocol):
    """What commits: a child process, or a connection to a server."""

    @property
    def pid(self) -> int:
        """Return the process that commits."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is left."""

    def send(self, rows: list[tuple[int, Row]]) -> None:
        """Commit the rows, and answer once; ``ValueError`` when a row cannot be sent at all."""

    def can_send(self, row: Row) -> bool:
        """Tell whether a row by itself could be sent."""

    def close(self) -> None:
        """Begin to end; never waits."""

    async def ended(self) -> None:
        """Wait until it is gone, for some seconds at most."""


class Writer(ABC):
    """Commits rows to one database; ``async with`` starts and stops its link.

    ``rows_max`` bounds the rows that wait.
    """

    def __init__(self, statements: Iterable[Statement], *, rows_max: int = 20_000) -> None:
        self._statements = tuple(statements)
        self._index = {statement.name: place for place, statement in enumerate(self._statements)}
        self._rows_max = rows_max
        # Side by side, so that a batch is handed over as it stands.
        self._rows: list[tuple[int, Row]] = []
        self._dones: list[Done] = []
        self._committing: list[Done] = []
        self._flush_due = False
        self._flushed_at = 0.0
        self._away: str | None = "starting"
        self._failing = ""  # Why the last batch is not on disk, empty when it is.
        self._closing = False
        self._available = asyncio.Event()
        self._restart_s = _RESTART_FIRST_S
        self._restart: asyncio.TimerHandle | None = None
        self._link: Link | None = None
        self._ending: list[Link] = []
        self._started: asyncio.Future[None] | None = None
        self._idle: asyncio.Future[None] | None = None

    @abstractmethod
    def _connect(self, *, answered: Callable[[Answer], None], lost: Callable[[], None]) -> Link:
        """Return a new link, which calls both from the loop; ``OSError`` when there is none."""

    async def __aenter__(self) -> Self:
        """Start the link; ``Unavailable`` when it cannot open the database."""
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.create_future()
        self._spawn()
        try:
            await self._started
        except Unavailable:
            await self._end_links()
            raise
        finally:
            self._started = None
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commit what was submitted, then end the link."""
        if self._dones or self._committing:
            self._idle = self._loop.create_future()
            self._closing = True
            await self._idle
        self._closing = True
        self._away = "closed"
        if self._restart is not None:
            self._restart.cancel()
        await self._end_links()

    @property
    def pid(self) -> int | None:
        """The process that commits, None while it is away."""
        return self._link.pid if self._link else None

    @property
    def is_available(self) -> bool:
        """Whether ``submit`` takes rows, but for a full queue."""
        return self._available.is_set() and not self._closing

    async def available(self) -> None:
        """Wait until the link is there, after a crash too."""
        await self._available.wait()

    @property
    def waiting_rows(self) -> int:
        """Rows submitted and not yet answered."""
        return len(self._dones) + len(self._committing)

    def trouble(self, *, commit_s: float, full_share: float) -> str:
        """Return why rows are not written in time, empty when they are.

        A commit under way for ``commit_s``, and a queue that is full to ``full_share``, are trouble.
        """
        if self._away is not None or self._closing:
            return f"writer: {self._away or 'closing'}"
        if self._failing:
            return f"writer: {self._failing}"
        if self._committing and self._loop.time() > self._flushed_at + commit_s:
            return f"writer: no answer in {commit_s:g} s"
        if self.waiting_rows >= self._rows_max * full_share:
            return f"writer: {self.waiting_rows} rows wait"
        return ""

    def submit(self, statement: str, row: Row, done: Done) -> None:
        """Queue a row; ``done`` hears ``None``, ``Unavailable`` or ``UsageError``.

        ``row`` holds str, bytes, int, float or None in the order of the statement's columns.
        ``UsageError`` says that the row can never be written, as when its account is gone.
        Raises ``Unavailable`` at once when the queue is full or the link is away; ``done``
        is not called then.
        """
        if self._away is not None or self._closing:
            raise Unavailable(f"the writer is {self._away or 'closing'}")
        if len(self._dones) + len(self._committing) >= self._rows_max:
            raise Unavailable(f"the writer has {self._rows_max} rows waiting")
        self._rows.append((self._index[statement], row))
        self._dones.append(done)
        if not self._flush_due and not self._committing:
            # At the end of this turn: what comes in the same turn shares the commit.
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._link is None or self._committing or not self._dones:
            return
        rows, dones = self._rows[:ROWS_PER_FRAME_MAX], self._dones[:ROWS_PER_FRAME_MAX]
        del self._rows[:ROWS_PER_FRAME_MAX], self._dones[:ROWS_PER_FRAME_MAX]
        try:
            self._link.send(rows)
        except ValueError:
            self._refuse_unsendable(self._link, rows, dones)
            return
        self._committing = dones
        self._flushed_at = self._loop.time()

    def _refuse_unsendable(
        self, link: Link, rows: list[tuple[int, Row]], dones: list[Done]
    ) -> None:
        """Take out the rows that hold what no database could, and queue the rest again."""
        can_send = [link.can_send(row) for _, row in rows]
        self._rows[:0] = compress(rows, can_send)
        self._dones[:0] = compress(dones, can_send)
        for done in compress(dones, map(not_, can_send)):
            self._tell(done, UsageError("a row holds something else than text, bytes or numbers"))
        self._flush()
        self._note_idle()

    def _answered(self, answer: Answer) -> None:
        """Take what the link says: its hello, or the verdicts on the rows in flight."""
        if self._away is not None:
            self._opened(answer)
            return
        assert not isinstance(answer, tuple)  # Hello is said once.
        self._restart_s = _RESTART_FIRST_S
        committing, self._committing = self._committing, []
        # The next commit runs while this one's callbacks do, unless the last one is so fresh that
        # a few more rows should share it: a commit costs as much as some thirty rows.
        left = self._flushed_at + PACE_S - self._loop.time()
        if self._dones and left > 0 and not self._closing:
            self._flush_due = True
            self._loop.call_later(left, self._flush)
        else:
            self._flush()
        self._failing = next((said[1] for said in answer or () if said and said[0] == "away"), "")
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

    def _opened(self, answer: Answer) -> None:
        if answer is None:
            self._away = None
            self._available.set()
            if self._started is not None and not self._started.done():
                self._started.set_result(None)
            return
        self._away = f"not able to open the database: {answer[1]}"

    def _lost(self) -> None:
        """The link is gone: fail what it held, start another."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
            self._ending = [*(old for old in self._ending if not old.has_ended), link]
        reason = self._away or "restarting"
        self._away = reason
        self._available.clear()
        failed = self._committing + self._dones
        self._rows, self._dones, self._committing = [], [], []
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
            self._link = self._connect(answered=self._answered, lost=self._lost)
        except OSError as error:  # No process or socket left.
            self._away = f"not able to start: {error.strerror}"
            self._lost()

    def _note_idle(self) -> None:
        if self._idle is None or self._idle.done() or self._dones or self._committing:
            return
        self._idle.set_result(None)

    async def _end_links(self) -> None:
        if self._link is not None:
            self._link.close()
            self._ending.append(self._link)
            self._link = None
        for link in self._ending:
            await link.ended()
        self._ending.clear()


class LastOf:
    """Calls ``done`` when the last of several rows is on disk, or with the first error."""

    __slots__ = ("done", "is_told", "left")

    def __init__(self, left: int, done: Done) -> None:
        self.left = left
        self.done = done
        self.is_told = False

    def __call__(self, error: Exception | None) -> None:
        self.left -= 1
        if not self.is_told and (error is not None or not self.left):
            self.is_told = True
            self.done(error)


def _error(verdict: Verdict) -> Error | None:
    if verdict is None:
        return None
    kind, reason = verdict
    if kind == "away":
        return Unavailable(f"the row is not on disk: {reason}")
    if "foreign key" in reason.lower():
        # Another process removed the account, and the news is not here yet.
        return Refusal(404, "Not Found: the account is gone")
    return UsageError(f"the row does not fit its table: {reason}")
