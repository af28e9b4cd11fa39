"""A server with an API key, asked over real HTTP; phones stand beside it."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx

from sipgram.db.engine import database_url, open_engine
from sipgram.db.migrations import upgrade
from sipgram.identity import SystemEntropy
from sipgram.server.configuration import load
from sipgram.server.lifecycle import run
from sipgram.services.keys.service import made
from sipgram.services.keys.sql import KeyRows

from .running import Listening, Serve

OPEN = ("--auth", "none", "--domain", "example.com", "--http", "127.0.0.1:0")
UDP = ("--listen", "udp:127.0.0.1:0")
ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"


def command(*arguments: str, stdin: str = "") -> str:
    """Run ``sipgram``; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "sipgram", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


async def new_key(data: Path, *accounts: str, scope: str = "send,read") -> str:
    """Return a key of a server without accounts; for all of them when none is named."""
    engine = open_engine(database_url(data))
    await upgrade(engine)
    _, key = await made(
        KeyRows(engine),
        "test",
        scopes=tuple(scope.split(",")),
        aors=accounts,
        is_for_all=not accounts,
        per_minute=0,
        expires_utc=None,
        entropy=SystemEntropy(),
        now_utc=time.time(),
        is_open=True,
    )
    await engine.dispose()
    return key


class Here:
    """The whole server within the test's own process."""

    def __init__(self, data: Path, environment: Mapping[str, str], *, mode: str) -> None:
        server = {
            "domains": ["example.com"],
            "listen": ["udp:127.0.0.1:0"],
            "http": "127.0.0.1:0",
            "data": str(data),
        }
        flags: dict[str, dict[str, object]] = {"server": {**server}, "auth": {"mode": mode}}
        self.settings = load(file=None, environment=environment, flags=flags)
        self.lines: list[str] = []
        self._is_ready = asyncio.Event()
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(run(self.settings, with_demo=False, say=self._say))
        ready = asyncio.create_task(self._is_ready.wait())
        await asyncio.wait((self._task, ready), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            await self._task
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def _say(self, line: str) -> None:
        self.lines.append(line)
        if line == "ready":
            self._is_ready.set()

    def port(self, transport: str) -> int:
        """Return the port of a listener."""
        return Serve.port(self, transport)  # type: ignore[arg-type]  # It reads the lines alone.


@asynccontextmanager
async def served_here(
    data: Path,
    *,
    key: str = "",
    environment: Mapping[str, str] | None = None,
    mode: str = "none",
) -> AsyncIterator[tuple[Here, httpx.AsyncClient]]:
    """Run a server in this process; give it with a client that shows ``key``."""
    async with Here(data, environment or {}, mode=mode) as here, client_of(here, key) as client:
        yield here, client


@asynccontextmanager
async def served(
    data: Path,
    *arguments: str,
    key: str = "",
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[Serve, httpx.AsyncClient]]:
    """Run a server; give it with a client that shows ``key``."""
    options = arguments or (*OPEN, *UDP)
    async with Serve(*options, data=data, environment=environment) as serve:
        await serve.ready()
        async with client_of(serve, key) as client:
            yield serve, client


def client_of(serve: Listening, key: str) -> httpx.AsyncClient:
    """Return a client of a running server."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    base = f"http://127.0.0.1:{serve.port('http')}"
    return httpx.AsyncClient(base_url=base, headers=headers, timeout=10, trust_env=False)


async def until_state(
    client: httpx.AsyncClient, id: str, *states: str, within_s: float = 10.0
) -> dict[str, Any]:
    """Ask for a message until it is in one of the states."""
    async with asyncio.timeout(within_s):
        while True:
            answer = await client.get(f"/v1/messages/{id}")
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            if found["state"] in states:
                return found
            await asyncio.sleep(0)
