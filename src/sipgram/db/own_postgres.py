"""A PostgreSQL server of one's own for a test or a measurement, from Debian's package."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sipgram.errors import Unavailable

_NUMBERS = count()


class PostgresServer:
    """PostgreSQL in a folder of its own, on a unix socket; without fsync unless it ``is_durable``.

    ``port`` lets it listen on 127.0.0.1 as well.
    """

    def __init__(
        self, programs: Path, folder: Path, *, port: int = 0, is_durable: bool = False
    ) -> None:
        self._port = port
        self._is_durable = is_durable
        self._programs = programs
        self._folder = folder

    @classmethod
    @contextmanager
    def running(cls, *, port: int = 0, is_durable: bool = False) -> Iterator["PostgresServer"]:
        """A server that is there until the end of the block; ``Unavailable`` if not installed."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            raise Unavailable("PostgreSQL is not installed: apt-get install postgresql")
        folder = Path(tempfile.mkdtemp(prefix="sipgram-pg-"))
        try:
            if os.getuid() == 0:
                shutil.chown(folder, "nobody", "nogroup")
            server = cls(found[-1].parent, folder, port=port, is_durable=is_durable)
            data = str(folder / "data")
            server.run(
                "initdb", "-D", data, "-U", "sipgram", "-A", "trust", "-E", "UTF8", "--no-sync"
            )
            server.start()
            try:
                yield server
            finally:
                server.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of its programs."""
        command = self._command(program, *arguments)
        subprocess.run(command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL)

    def _command(self, program: str, *arguments: str) -> list[str]:
        # Not as root, which they refuse.
        switch = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
        return [*switch * (os.getuid() == 0), str(self._programs / program), *arguments]

    def start(self) -> None:
        """Let it serve, again after ``stop``."""
        listen = f"127.0.0.1 -c port={self._port}" if self._port else ""
        options = f"-c listen_addresses={listen} -c unix_socket_directories={self._folder}"
        if not self._is_durable:
            options += " -c fsync=off"
        data, log = str(self._folder / "data"), f"{self._folder}/log"
        self.run("pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """End it as a crash does; nothing happens when it is not there."""
        if (self._folder / "data" / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"d{next(_NUMBERS)}"
        self.run("createdb", *self._place, "-U", "sipgram", name)
        return f"postgresql+asyncpg://sipgram@/{name}?host={self._folder}"

    def sql(self, database: str, *, text: str = "", file: Path | None = None) -> str:
        """Run statements in a database; return what they say."""
        what = ["-f", str(file)] if file is not None else ["-c", text]
        command = self._command("psql", *self._place, "-U", "sipgram", "-qAt", *what, database)
        done = subprocess.run(command, check=True, cwd=self._folder, capture_output=True, text=True)
        return done.stdout.strip()

    @property
    def _place(self) -> tuple[str, ...]:
        where = ("-h", str(self._folder))
        return (*where, "-p", str(self._port)) if self._port else where
