"""A server with an API key, asked over real HTTP; phones stand beside it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from .running import Serve

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


def new_key(data: Path, *accounts: str, scope: str = "send,read") -> str:
    """Return a key of a server without accounts; for all of them when none is named."""
    named = [word for aor in accounts for word in ("--account", aor)] or ["--all-accounts"]
    data.mkdir(exist_ok=True)
    return command("key", "add", "test", *named, "--scope", scope, "--open", "--data", str(data))


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


def client_of(serve: Serve, key: str) -> httpx.AsyncClient:
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
