"""One server for one data folder, and for one database: two would restore each other's bindings.

A folder is held by ``flock``, a PostgreSQL database by an advisory lock on a connection of its own.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy.engine import make_url

from sipgram.db.engine import connected, sqlite_path
from sipgram.errors import SettingsError, Unavailable

log = structlog.get_logger("sipgram.db")

LOCK_NAME: Final = "sipgram.lock"
SERVES: Final = 0x73697068
"""The number of the advisory lock of a server that runs."""
RELEASE_S: Final = 3.0
"""So long the session of a server that was killed may take to be gone."""
RETRY_S: Final = 0.2


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the data folder.

    Raises:
        SettingsError: another server has it, or it cannot be written to.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"data folder cannot be used: {folder}: {error.strerror}") from error
    with _held(folder / LOCK_NAME, f"another sipgram serves from this data folder: {folder}"):
        yield


@contextmanager
def _held(file: Path, refusal: str) -> Iterator[None]:
    try:
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        text = f"data folder cannot be used: {file.parent}: {error.strerror}"
        raise SettingsError(text) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(refusal) from error
        yield
    finally:
        os.close(lock)


class DatabaseLock:
    """The advisory lock, on its connection; it is got again when the connection was lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lost = asyncio.Event()
        self._connection: Any = None

    async def take(self) -> None:
        """Get the lock; ``SettingsError`` when another server has it."""
        if not await self._try(RELEASE_S):
            shown = make_url(self._url).render_as_string(hide_password=True)
            raise SettingsError(f"another sipgram serves from this database: {shown}")

    async def watch(self, on_taken: Callable[[], None]) -> None:
        """See to it that the lock stays ours; ``on_taken`` hears when another server has it."""
        while True:
            await self._lost.wait()
            log.warning("the lock of the database was lost with its connection")
            while True:
                try:
                    if await self._try(RELEASE_S):
                        break
                except Unavailable:
                    await asyncio.sleep(RETRY_S)
                else:
                    log.critical("another sipgram serves from this database now: this one ends")
                    on_taken()
                    return

    async def close(self) -> None:
        """Give the lock back."""
        if self._connection is not None:
            with suppress(Exception):  # It ends with the connection, whatever becomes of that.
                await self._connection.close(timeout=1.0)

    async def _try(self, within_s: float) -> bool:
        self._connection = connection = await connected(self._url)
        self._lost.clear()
        for _ in range(round(within_s / RETRY_S)):
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", SERVES):
                connection.add_termination_listener(lambda _: self._lost.set())
                return True
            await asyncio.sleep(RETRY_S)
        await connection.close()
        return False


@asynccontextmanager
async def alone_on(url: str) -> AsyncIterator[DatabaseLock | None]:
    """Hold a database: PostgreSQL's, or a SQLite file that may lie outside of the data folder.

    Raises:
        SettingsError: another server has it.
        Unavailable: the database does not answer.
    """
    if make_url(url).get_backend_name() == "sqlite":
        file = sqlite_path(url).absolute()
        if not file.parent.is_dir():
            yield None  # The engine makes it, or says why not.
            return
        with _held(file.with_name(f"{file.name}.lock"), f"another sipgram serves from {file}"):
            yield None
        return
    lock = DatabaseLock(url)
    try:
        await lock.take()
        yield lock
    finally:
        await lock.close()
