"""Whether the server can do its work now, and if not, why: /readyz and /healthz tell the truth.

Ready means that a new request would be served; alive means that no restart would mend anything.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db import tables
from sipgram.db.writer import Writer

LAG_S: Final = 1.0
"""Who is later than this with a timer is not ready: each request waits as long."""
DEAD_LAG_S: Final = 10.0
"""Later than this, a restart is better than to wait."""
LAG_LOOK_S: Final = 5.0
"""The worst of so many seconds counts."""
COMMIT_S: Final = 5.0
"""A commit that takes longer is stuck."""
FULL_SHARE: Final = 0.8
"""A writer whose queue is fuller than this is behind."""
READ_S: Final = 2.0
"""How long the database may take to answer one small question."""
READ_EVERY_S: Final = 1.0
"""Who asks more often hears the same again."""


class Lag:
    """How late the loop was of late."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()
        self._noted: float | None = None

    def note(self, late_s: float, now: float) -> None:
        """Take how late a timer fired."""
        seen = self._seen
        while seen and seen[0][0] < now - LAG_LOOK_S:
            seen.popleft()
        while seen and seen[-1][1] <= late_s:
            seen.pop()  # A smaller one before a larger will never be the worst again.
        seen.append((now, late_s))
        self._noted = now

    def worst(self, now: float) -> float:
        """Return the worst of the last seconds; silence is lag as well."""
        late = [late_s for at, late_s in self._seen if at >= now - LAG_LOOK_S]
        since = 0.0 if self._noted is None else now - self._noted
        return max([*late, since if since > LAG_S else 0.0], default=0.0)


class Database:
    """Asks the database one small question, once a second at most."""

    def __init__(self, engine: AsyncEngine, *, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._asked = -READ_EVERY_S
        self._said = ""
        self._asking: asyncio.Future[str] | None = None
        file = _file_of(engine.url)
        self._file = None if file is None else (file, _number_of(file))

    async def trouble(self) -> str:
        """Return why it cannot be read, empty when it can."""
        if self._asking is not None:
            return await asyncio.shield(self._asking)
        if self._clock() < self._asked + READ_EVERY_S:
            return self._said
        self._asking = asyncio.ensure_future(self._ask())
        try:
            self._said = await asyncio.shield(self._asking)
        finally:
            self._asking = None
            self._asked = self._clock()
        return self._said

    async def _ask(self) -> str:
        if self._file is not None and _number_of(self._file[0]) != self._file[1]:
            return "database: its file is gone or another"  # What is open is lost with us.
        try:
            async with asyncio.timeout(READ_S), self._engine.connect() as connection:
                await connection.execute(select(tables.accounts.c.id).limit(1))
        except TimeoutError:
            return f"database: no answer in {READ_S:g} s"
        except (DBAPIError, OSError) as error:
            reason = getattr(error, "orig", None) or error
            return f"database: {reason}"
        return ""


class Health:
    """Puts together what is in the way."""

    def __init__(
        self,
        *,
        writer: Writer,
        database: Database,
        deaf: Callable[[], list[str]],
        is_draining: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        """``deaf`` returns the listeners that do not listen any more."""
        self.lag = Lag()
        self.failed: list[str] = []
        "Background tasks that fell over."
        self._writer = writer
        self._database = database
        self._deaf = deaf
        self._is_draining = is_draining
        self._clock = clock

    async def problems(self) -> list[str]:
        """Return what keeps the node from its work, one phrase each."""
        late_s = self.lag.worst(self._clock())
        found = [
            "draining" if self._is_draining() else "",
            self._writer.trouble(commit_s=COMMIT_S, full_share=FULL_SHARE),
            await self._database.trouble(),
            *(f"listener: {listener} is closed" for listener in self._deaf()),
            f"loop: {late_s:.1f} s late" if late_s > LAG_S else "",
            *self.ailments(),
        ]
        return [problem for problem in found if problem]

    def ailments(self) -> list[str]:
        """Return what only a restart mends."""
        late_s = self.lag.worst(self._clock())
        found = [f"task: {name} has ended" for name in self.failed]
        if late_s > DEAD_LAG_S:
            found.append(f"loop: {late_s:.1f} s late")
        return found


def _file_of(url: URL) -> Path | None:
    is_file = url.get_backend_name() == "sqlite" and url.database
    return Path(url.database) if is_file and url.database else None


def _number_of(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
