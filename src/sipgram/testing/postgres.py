"""A PostgreSQL server of a test's own, from Debian's package."""

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
    """PostgreSQL in a folder of its own, on a unix socket, without fsync."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder

    @classmethod
    @contextmanager
    def running(cls) -> Iterator["PostgresServer"]:
        """A server that is there until the end of the block; ``Unavailable`` if not installed."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            raise Unavailable("PostgreSQL is not installed: apt-get install postgresql")
        folder = Path(tempfile.mkdtemp(prefix="sipgram-pg-"))
        try:
            if os.getuid() == 0:
                shutil.chown(folder, "nobody", "nogroup")
            server = cls(found[-1].parent, folder)
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
        """Run one of its programs, not as root, which they refuse."""
        switch = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
        command = [*switch * (os.getuid() == 0), str(self._programs / program), *arguments]
        subprocess.run(command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """Let it serve, again after ``stop``."""
        options = f"-c listen_addresses= -c unix_socket_directories={self._folder} -c fsync=off"
        data, log = str(self._folder / "data"), f"{self._folder}/log"
        self.run("pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """End it as a crash does; nothing happens when it is not there."""
        if (self._folder / "data" / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"d{next(_NUMBERS)}"
        self.run("createdb", "-h", str(self._folder), "-U", "sipgram", name)
        return f"postgresql+asyncpg://sipgram@/{name}?host={self._folder}"
