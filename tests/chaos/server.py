"""The server as a process, on the same ports and data each time it is started again."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from .peers import DOMAIN

READY_WITHIN_S = 60.0


class Killed:
    """The server, started as often as it is killed."""

    def __init__(
        self,
        data: Path,
        *,
        database: str = "",
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        """``log`` takes what it writes to standard error."""
        self._data = data
        self._database = database
        self._environment = dict(environment or {})
        self._log = log
        self.ports = {"udp": 0, "tcp": 0}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it serves."""
        log = None if self._log is None else self._log.open("ab")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sipgram", "serve", "--auth", "none", "--http", "none"),
                *("--domain", DOMAIN, "--data", str(self._data), "--answer-s", "1"),
                *("--listen", f"udp:127.0.0.1:{self.ports['udp']}"),
                *("--listen", f"tcp:127.0.0.1:{self.ports['tcp']}"),
                *(("--database", self._database) if self._database else ()),
                stdout=asyncio.subprocess.PIPE,
                stderr=log or asyncio.subprocess.DEVNULL,
                env=os.environ | self._environment,
            )
        finally:
            if log is not None:
                log.close()
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_WITHIN_S):
            while (line := await self._process.stdout.readline()) != b"ready\n":
                assert line, "the server ended while it started"
                if line.startswith(b"listening "):
                    transport = line.split()[1].decode()
                    self.ports[transport] = int(line.rpartition(b":")[2])

    async def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """End it as an operator does."""
        assert self._process is not None
        self._process.terminate()
        assert await self._process.wait() == 0

    def kill_writer(self) -> None:
        """End its child alone."""
        for child in self.children:
            os.kill(child, signal.SIGKILL)

    @property
    def children(self) -> list[int]:
        """Its child processes: the writer, with SQLite."""
        assert self._process is not None
        pid = self._process.pid
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
