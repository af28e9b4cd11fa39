"""What operators watch: /healthz, /readyz and /metrics (DESIGN.md §4)."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sipgram.errors import SettingsError
from sipgram.http.app import HttpServer
from sipgram.http.app import build as build_http
from sipgram.server.app import Server, build
from sipgram.server.metrics import registry_of
from sipgram.server.parts.health import Health
from sipgram.settings import AuthSettings, ServerSettings, Settings
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    listeners = ("udp:127.0.0.1:0", "tcp:127.0.0.1:0")
    settings = Settings(
        server=ServerSettings(domains=("example.com",), listen=listeners, data=str(tmp_path)),
        auth=AuthSettings(mode="none"),
    )
    built = await build(settings)
    yield built
    await built.close()


class Watched:
    """The HTTP side of a server; ``troubles`` is what it complains of."""

    def __init__(self, server: Server, health: Health | None = None) -> None:
        registry, self.lag = registry_of(server)
        self.troubles: list[str] = []
        self.app = build_http(
            registry=registry,
            problems=self._problems,
            ailments=list if health is None else health.ailments,
            version="0",
        )
        self.http = HttpServer(self.app)
        self.address = ("", 0)

    async def _problems(self) -> list[str]:
        return self.troubles

    async def get(self, path: str) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        return int(head.split()[1]), body


@pytest.fixture
async def watched(server: Server) -> AsyncIterator[Watched]:
    watched = Watched(server)
    watched.address = await watched.http.start("127.0.0.1", 0)
    yield watched
    await watched.http.close()


def figures(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(sipgram_\S+) (\S+)$", text, re.M)}


async def test_healthz_says_that_the_process_lives(watched: Watched) -> None:
    assert await watched.get("/healthz") == (200, '{"status":"ok"}')


async def test_it_answers_as_soon_as_its_address_is_told(server: Server) -> None:
    """Whoever reads ``listening http`` may connect at once."""
    watched = Watched(server)
    watched.address = await watched.http.start("127.0.0.1", 0)

    _, writer = await asyncio.open_connection(*watched.address)

    writer.close()
    await writer.wait_closed()
    await watched.http.close()


async def test_readyz_tells_what_is_in_the_way(watched: Watched) -> None:
    status, body = await watched.get("/readyz")
    assert (status, json.loads(body)) == (200, {"status": "ready", "problems": []})

    watched.troubles.append("draining")
    status, body = await watched.get("/readyz")
    assert (status, json.loads(body)) == (503, {"status": "not ready", "problems": ["draining"]})


async def test_metrics_count_what_came_and_what_was_answered(
    server: Server, watched: Watched
) -> None:
    flow = server.endpoint.udp_flow("127.0.0.1", 9)
    assert flow is not None
    now = asyncio.get_running_loop().time()
    for n, method in enumerate((b"MESSAGE", b"MESSAGE", b"PUBLISH")):
        via = b"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK%d" % n
        raw = request(method, via=via, headers=(b"Expires: 0",))  # Not to be stored.
        server.dispatcher.on_request(parse(raw), flow, now)
    watched.lag.observe(0.003)

    status, text = await watched.get("/metrics")

    found = figures(text)
    assert status == 200
    assert found['sipgram_requests_total{method="MESSAGE"}'] == 2
    assert found['sipgram_requests_total{method="PUBLISH"}'] == 1
    assert found['sipgram_answers_total{status="480"}'] == 2
    assert found['sipgram_answers_total{status="489"}'] == 1
    assert found["sipgram_stray_responses_total"] == 0
    assert found["sipgram_bindings"] == 0
    assert found["sipgram_connections"] == 0
    assert found["sipgram_transactions_open"] == 0
    assert found["sipgram_transactions_answered"] == 3
    assert found['sipgram_loop_lag_seconds_bucket{le="0.002"}'] == 0
    assert found['sipgram_loop_lag_seconds_bucket{le="0.004"}'] == 1  # "Under 5 ms" can be shown.
    assert found['sipgram_loop_lag_seconds_bucket{le="0.005"}'] == 1


async def test_what_is_not_there_is_404(watched: Watched) -> None:
    assert (await watched.get("/nowhere"))[0] == 404


async def test_a_taken_http_port_is_one_line(watched: Watched) -> None:
    host, port = watched.address
    second = HttpServer(watched.app)

    with pytest.raises(SettingsError, match=f"cannot serve HTTP on {host}:{port}: Address already"):
        await second.start(host, port)
    await second.close()
