"""Databases of both engines, empty and anew for each test that asks for ``database_address``."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from sipgram.db.engine import database_url

_NUMBERS = count()


class PostgresServer:
    """Debian's PostgreSQL in a folder of its own, on a unix socket, without fsync."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder

    def run(self, program: str, *arguments: str) -> None:
        # It refuses to run as root.
        switch = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
        command = [*switch * (os.getuid() == 0), str(self._programs / program), *arguments]
        subprocess.run(command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self._folder} -c fsync=off"
        data = str(self._folder / "data")
        self.run("initdb", "-D", data, "-U", "sipgram", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.run("pg_ctl", "-D", data, "-w", "-l", f"{self._folder}/log", "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"d{next(_NUMBERS)}"
        self.run("createdb", "-h", str(self._folder), "-U", "sipgram", name)
        return f"postgresql+asyncpg://sipgram@/{name}?host={self._folder}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Debian's PostgreSQL, started once; required in CI, skipped elsewhere when missing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        missing = "PostgreSQL is not installed: apt-get install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    folder = Path(tempfile.mkdtemp(prefix="sipgram-pg-"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        server = PostgresServer(found[-1].parent, folder)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of one engine and then of the other."""
    if request.param == "sqlite":
        return database_url(tmp_path)
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()
