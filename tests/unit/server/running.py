"""`sipgram serve` as a process of its own, on ports of the system's choice."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse

READY_WITHIN_S = 15.0
DRAINED_WITHIN_S = 10.0


class Listening(Protocol):
    """A server whose ports are known."""

    def port(self, transport: str) -> int:
        """Return the port of a listener."""


class Serve:
    """The process, from ``async with`` to its end; killed when the test leaves it running."""

    def __init__(
        self,
        *arguments: str,
        data: Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._arguments = [*arguments, "--data", str(data)]
        clean = {name: text for name, text in os.environ.items() if "SIPGRAM" not in name}
        self._environment = clean | dict(environment or {})
        self._cwd = cwd or data.parent
        self.lines: list[str] = []
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sipgram", "serve", *self._arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            cwd=self._cwd,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.communicate()

    async def line(self, pattern: str) -> str:
        """Read lines of standard output up to one that matches the whole pattern."""
        assert self.process.stdout is not None
        async with asyncio.timeout(READY_WITHIN_S):
            while data := await self.process.stdout.readline():
                self.lines.append(data.decode().rstrip("\n"))
                if re.fullmatch(pattern, self.lines[-1]):
                    return self.lines[-1]
        _, errors = await self.process.communicate()
        raise AssertionError(f"no line {pattern}: {self.lines}\n{errors.decode()}")

    async def ready(self) -> None:
        """Wait until it serves."""
        await self.line("ready")

    def port(self, transport: str) -> int:
        """Return the port of a listener, as it was printed."""
        pattern = rf"listening {transport} .+:(\d+)"
        (port,) = [m[1] for line in self.lines if (m := re.fullmatch(pattern, line))]
        return int(port)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Send a signal; return what was logged once the process has ended with 0."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> str:
        """Wait for a clean end within what DESIGN §4 allows; return what was logged."""
        async with asyncio.timeout(DRAINED_WITHIN_S):
            _, errors = await self.process.communicate()
        log = errors.decode()
        assert self.process.returncode == 0, log
        assert "Traceback" not in log
        return log


async def refused(*arguments: str, data: Path, environment: Mapping[str, str] | None = None) -> str:
    """Start a server that cannot run; return the one line that it says, with exit code 2."""
    async with Serve(*arguments, data=data, environment=environment) as serve:
        async with asyncio.timeout(READY_WITHIN_S):
            _, errors = await serve.process.communicate()
    lines = errors.decode().splitlines()
    assert serve.process.returncode == 2, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith("sipgram: ")
    return lines[0]


async def read_message(reader: asyncio.StreamReader) -> Message:
    """Read one whole message from a connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    return parse(head + await reader.readexactly(parse(head).content_length))
