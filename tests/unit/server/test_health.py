"""/readyz and /healthz tell the truth: each part is broken in turn (DESIGN.md §4)."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from sipgram.server.app import Server, build
from sipgram.server.lifecycle import health_of
from sipgram.server.metrics import FIGURES, LAG_NAME
from sipgram.server.parts.health import DEAD_LAG_S, LAG_LOOK_S, Health, Lag
from sipgram.settings import AuthSettings, ServerSettings, Settings

from .running import Serve
from .test_metrics import Watched

LISTENERS = ("udp:127.0.0.1:0", "tcp:127.0.0.1:0", "tls:127.0.0.1:0", "ws:127.0.0.1:0")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = Settings(
        server=ServerSettings(domains=("example.com",), listen=LISTENERS, data=str(tmp_path)),
        auth=AuthSettings(mode="none"),
    )
    built = await build(settings)
    yield built
    await built.close()


@pytest.fixture
async def health(server: Server) -> Health:
    return health_of(server)


async def test_a_whole_server_is_ready(health: Health) -> None:
    assert await health.problems() == []
    assert health.ailments() == []


async def test_a_server_that_drains_is_not_ready(server: Server, health: Health) -> None:
    server.dispatcher.is_draining = True
    assert await health.problems() == ["draining"]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls", "ws"])
async def test_a_listener_that_does_not_listen_is_named(
    server: Server, health: Health, transport: str
) -> None:
    (address,) = [a for a in server.listeners if a.transport == transport]
    endpoint = server.endpoint
    if transport == "udp":
        endpoint.udp[0].close()
    elif transport == "tls":
        await endpoint._tls_listeners[0].close()
    else:
        endpoint._servers[0 if transport == "tcp" else 1].close()

    found = await health.problems()

    assert len(found) == 1
    assert str(address).partition(":")[2] in found[0]
    assert found[0].startswith("listener: ")
    assert found[0].endswith(" is closed")


async def test_a_database_that_cannot_be_read_is_told(server: Server, health: Health) -> None:
    async with server.engine.begin() as connection:
        await connection.execute(text("DROP TABLE copies"))
        await connection.execute(text("ALTER TABLE accounts RENAME TO others"))

    (found,) = await health.problems()

    assert found == "database: no such table: accounts"


async def test_a_database_file_that_was_taken_away_is_told(
    server: Server, health: Health, tmp_path: Path
) -> None:
    """What is open can still be read and written, and is lost when the process ends."""
    file = tmp_path / str(server.engine.url.database).rpartition("/")[2]
    file.rename(tmp_path / "moved")

    assert await health.problems() == ["database: its file is gone or another"]
    # Who asks within a second hears the same again, and costs nothing.
    (tmp_path / "moved").rename(file)
    assert await health.problems() == ["database: its file is gone or another"]


async def test_a_writer_that_was_killed_is_told_until_it_is_back(
    server: Server, health: Health
) -> None:
    pid = server.writer.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        for _ in iter(lambda: server.writer.is_available, False):
            await asyncio.sleep(0)
        assert await health.problems() == ["writer: restarting"]
        await server.writer.available()
    assert await health.problems() == []


async def test_a_writer_that_hangs_or_lags_behind_is_told(server: Server) -> None:
    pid = server.writer.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    ended: asyncio.Queue[Exception | None] = asyncio.Queue()
    try:
        row = ("sip:a@example.com", b"")
        server.writer.submit("binding_drop", row, ended.put_nowait)
        async with asyncio.timeout(5):
            for _ in iter(lambda: bool(server.writer._committing), True):
                await asyncio.sleep(0)
        assert server.writer.trouble(commit_s=1e9, full_share=0.5) == ""
        assert server.writer.trouble(commit_s=-1.0, full_share=0.5) == "writer: no answer in -1 s"
        assert server.writer.trouble(commit_s=1e9, full_share=0.00005) == "writer: 1 rows wait"
    finally:
        os.kill(pid, signal.SIGCONT)
    async with asyncio.timeout(5):
        await ended.get()


async def test_a_disk_that_takes_nothing_is_told(server: Server, health: Health) -> None:
    writer = server.writer
    writer._committing = [lambda error: None]
    writer._answered([("away", "database or disk is full")])
    assert await health.problems() == ["writer: database or disk is full"]

    writer._committing = [lambda error: None]
    writer._answered(None)
    assert await health.problems() == []


async def test_lag_is_told_and_much_of_it_is_an_ailment(health: Health) -> None:
    now = asyncio.get_running_loop().time()
    health.lag.note(0.5, now)
    assert await health.problems() == []
    health.lag.note(2.0, now)
    assert await health.problems() == ["loop: 2.0 s late"]
    assert health.ailments() == []
    health.lag.note(DEAD_LAG_S + 1, now)
    assert health.ailments() == ["loop: 11.0 s late"]


def test_the_worst_of_the_last_seconds_counts_and_silence_is_lag() -> None:
    lag = Lag()
    assert lag.worst(0.0) == 0.0
    for at, late_s in ((1.0, 3.0), (2.0, 0.1), (3.0, 2.0), (4.0, 0.5)):
        lag.note(late_s, at)
    assert lag.worst(4.0) == 3.0
    assert lag.worst(1.5 + LAG_LOOK_S) == 2.5  # The probe has been silent since 4.0.
    lag.note(0.1, 1.5 + LAG_LOOK_S)
    assert lag.worst(1.5 + LAG_LOOK_S) == 2.0


async def test_healthz_tells_of_a_background_task_that_fell_over(
    server: Server, health: Health
) -> None:
    watched = Watched(server, health)
    watched.address = await watched.http.start("127.0.0.1", 0)
    assert await watched.get("/healthz") == (200, '{"status":"ok"}')
    health.failed.append("_sweep")
    status, body = await watched.get("/healthz")
    await watched.http.close()

    assert status == 503
    assert json.loads(body) == {"status": "ill", "problems": ["task: _sweep has ended"]}
    assert await health.problems() == ["task: _sweep has ended"]


async def test_what_metrics_shows_is_what_is_documented(server: Server) -> None:
    watched = Watched(server)
    watched.address = await watched.http.start("127.0.0.1", 0)
    _, body = await watched.get("/metrics")
    await watched.http.close()
    families = {family.name for family in text_string_to_metric_families(body)}

    shown = {name for name in families if name.startswith("sipgram_")}
    shown.discard(LAG_NAME + "_created")  # When it began, as the library adds.
    assert shown == {figure.name for figure in FIGURES} | {LAG_NAME}
    assert "process_resident_memory_bytes" in families
    page = Path(__file__).parents[3] / "docs" / "metrics.md"
    for name in shown:
        assert f"| `{name}" in page.read_text(encoding="utf-8")


def test_the_pages_of_settings_and_metrics_are_up_to_date() -> None:
    script = Path(__file__).parents[3] / "scripts" / "reference.py"
    done = subprocess.run([sys.executable, str(script), "--check"], check=False)
    assert done.returncode == 0, "run scripts/reference.py"


async def test_each_log_line_is_json_whoever_writes_it(tmp_path: Path) -> None:
    """A library's too: a broken HTTP request makes uvicorn complain."""
    arguments = ("--domain", "example.com", "--auth", "none", "--log-format", "json")
    ports = ("--listen", "ws:127.0.0.1:0", "--http", "127.0.0.1:0")
    async with Serve(*arguments, *ports, data=tmp_path / "data") as serve:
        await serve.ready()
        reader, writer = await asyncio.open_connection("127.0.0.1", serve.port("http"))
        writer.write(b"GET nonsense\r\n\r\n")
        await reader.read()
        writer.close()
        log = await serve.stop()

    lines = [json.loads(line) for line in log.splitlines()]
    assert {"event", "level", "timestamp"} <= set.intersection(*map(set, lines))
    assert "Invalid HTTP request received." in [line["event"] for line in lines]
