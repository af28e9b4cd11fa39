"""The client and its commands against a server of their own: publish, watch, winfo (RFC 3856, 3903)."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sipgram.client.client import Client
from sipgram.client.messages import Rejected
from sipgram.client.presence import Presence, PresenceUpdate, Watch, WatcherUpdate

from .running import Serve
from .test_presence import OPEN, command

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    listen = ("--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0")
    async with Serve(*OPEN, *listen, data=tmp_path / "d") as running:
        await running.ready()
        yield running


@pytest.fixture(params=["udp", "tcp"])
def server(serve: Serve, request: pytest.FixtureRequest) -> str:
    return f"{request.param}:127.0.0.1:{serve.port(request.param)}"


async def seen(news: Watch) -> Presence:
    async with asyncio.timeout(10):
        update = await anext(news)
    assert isinstance(update, PresenceUpdate)
    assert update.presence is not None
    return update.presence


async def test_what_one_publishes_the_other_sees(server: str) -> None:
    async with (
        Client(ALICE, server=server, register=False) as alice,
        Client(BOB, server=server, register=False) as bob,
        alice.watch("bob") as news,
    ):
        before = await seen(news)
        await bob.publish(Presence(activity="meal", note="Back at 2"))
        first = await seen(news)
        await bob.publish(Presence(activity="busy"))
        second = await seen(news)
        await bob.unpublish()
        after = await seen(news)

    assert (before.open, after.open) == (False, False)
    assert (first.open, first.activity, first.note) == (True, "meal", "Back at 2")
    assert (second.open, second.activity, second.note) == (True, "busy", "")
    assert b"<tuple" in second.pidf


async def test_watchers_are_told_to_the_watched(server: str) -> None:
    async with (
        Client(ALICE, server=server, register=False) as alice,
        Client(BOB, server=server, register=False) as bob,
        bob.watchers() as watchers,
        asyncio.timeout(10),
    ):
        nobody = await anext(watchers)
        async with alice.watch("bob"):
            somebody = await anext(watchers)
        gone = await anext(watchers)

    assert isinstance(nobody, WatcherUpdate)
    assert isinstance(somebody, WatcherUpdate)
    assert isinstance(gone, WatcherUpdate)
    assert [w.uri for w in somebody.watchers] == [ALICE]
    assert (nobody.watchers, gone.watchers) == ((), ())


async def test_a_block_ends_the_watch_for_good(serve: Serve, server: str, tmp_path: Path) -> None:
    async with Client(ALICE, server=server, register=False) as alice:
        async with alice.watch("bob") as news:
            await seen(news)
            await command("rules", "block", BOB, ALICE, data=tmp_path / "d")
            async with asyncio.timeout(10):
                rest = [update async for update in news]
        with pytest.raises(Rejected, match="403"):
            async with alice.watch("bob"):
                pass

    assert [u.reason for u in rest if isinstance(u, PresenceUpdate)] == ["rejected"]


async def test_a_shell_publishes_and_watches(serve: Serve) -> None:
    server = f"udp:127.0.0.1:{serve.port('udp')}"
    common = ("--server", server)
    publisher = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sipgram", "publish", "--from", BOB, *common),
        *("--activity", "away", "--note", "In a meeting"),
        stdin=DEVNULL,
        stdout=PIPE,
    )
    assert publisher.stdout is not None
    async with asyncio.timeout(20):
        assert await publisher.stdout.readline() == f"published {BOB}\n".encode()
    watcher = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sipgram", "watch", "bob", "--from", ALICE, *common),
        *("--count", "1", "--timeout", "15", "--json"),
        stdin=DEVNULL,
        stdout=PIPE,
    )
    output, _ = await watcher.communicate()
    publisher.terminate()
    await publisher.wait()

    assert (watcher.returncode, publisher.returncode) == (0, 0)
    assert json.loads(output) == {
        "event": "presence",
        "who": BOB,
        "state": "active",
        "open": True,
        "activity": "away",
        "note": "In a meeting",
        "reason": "",
    }
