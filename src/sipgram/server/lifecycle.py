"""The server's life: start, say what listens, work, drain on SIGTERM, end."""

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Histogram

from sipgram.db.engine import database_url
from sipgram.db.locks import alone_in, alone_on
from sipgram.errors import SettingsError, Unavailable
from sipgram.http.app import HttpServer
from sipgram.http.app import build as build_http
from sipgram.net.certificates import Certificates
from sipgram.server import demo
from sipgram.server.app import Server, build
from sipgram.server.configuration import http_address
from sipgram.server.metrics import registry_of
from sipgram.server.parts.health import Database, Health, Lag
from sipgram.server.parts.time_keeping import keep_time
from sipgram.services.messaging.operator.purge import keep_house
from sipgram.settings import Settings

log = structlog.get_logger("sipgram.server")

LAG_PROBE_S = 0.02
SWEEP_EVERY_S = 1.0
SWEEP_AORS = 500
"""AoRs looked through for expired bindings in one turn; well under 5 ms."""
ACCOUNTS_EVERY_S = 0.5
DRAIN_LOOK_S = 0.02
RENEW_EVERY_S = 86_400.0
GC_THRESHOLD = 200_000
"""Generation 0 rarely fills: nothing on the hot path makes reference cycles."""


async def run(settings: Settings, *, with_demo: bool, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``say`` gets each line for standard output.

    Raises:
        SettingsError: something of the settings cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        data = Path(settings.server.data)
        stack.enter_context(alone_in(data))
        lock = await stack.enter_async_context(
            alone_on(settings.server.database or database_url(data))
        )
        if with_demo:
            await demo.add_accounts(settings)
        server = await build(settings)
        stack.push_async_callback(server.close)
        for address in server.listeners:
            say(f"listening {address.transport} {_shown(address.host, address.port)}")
        registry, lag = registry_of(server)
        health = health_of(server)
        if settings.server.http != "none":
            await _serve_http(server, registry, health, stack, say)
        tasks = await stack.enter_async_context(_Background(health))
        tasks.start(_probe_lag(loop, lag, health.lag))
        tasks.start(_sweep(server, loop))
        if lock is not None:
            tasks.start(lock.watch(stop.set))
        tasks.start(server.keeping.follow())
        tasks.start(keep_house(server.keeping.purge))
        tasks.start(_follow_documents(server))
        tasks.start(server.pusher.run())
        tasks.start(keep_time(server.wall, server.writer))
        if server.accounts is not None:
            tasks.start(_follow_accounts(server))
        if with_demo:
            tasks.start(demo.echo(settings, server.listeners))
        if server.certificates is not None:
            loop.add_signal_handler(signal.SIGHUP, _reload, server.certificates)
            tasks.start(_renew(server.certificates))
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 50, 1000)
        say("ready")
        if with_demo:
            say(demo.instructions(settings, server.listeners))
        await stop.wait()
        await _drain(server, settings.server.drain_s)


async def _serve_http(
    server: Server,
    registry: CollectorRegistry,
    health: Health,
    stack: AsyncExitStack,
    say: Callable[[str], None],
) -> None:
    assert server.api is not None
    app = build_http(
        registry=registry,
        problems=health.problems,
        ailments=health.ailments,
        version=version("sipgram"),
        guard=server.api.guard,
        routers=server.api.routers(),
        limits=server.settings.http,
    )
    await stack.enter_async_context(server.api.running())
    http = HttpServer(app, upgrades={"/sip": server.endpoint.web_connection})
    bound = await http.start(*http_address(server.settings))
    stack.push_async_callback(http.close)
    stack.callback(server.api.listeners.hub.cut)  # First of all, as it is done last.
    say(f"listening http {_shown(*bound)}")


def health_of(server: Server) -> Health:
    """Return who watches the parts of a server."""
    clock = asyncio.get_running_loop().time
    return Health(
        writer=server.writer,
        database=Database(server.engine, clock=clock),
        deaf=server.endpoint.deaf,
        is_draining=lambda: server.dispatcher.is_draining,
        clock=clock,
    )


async def _drain(server: Server, drain_s: float) -> None:
    """Take nothing new and let what is open end (DESIGN §4: exit 0 within 10 s)."""
    server.dispatcher.is_draining = True
    for _ in range(round(drain_s / DRAIN_LOOK_S)):
        if not server.endpoint.table.unanswered_count:
            break
        await asyncio.sleep(DRAIN_LOOK_S)
    server.dispatcher.refuse_open()
    log.info("drained", open=server.endpoint.table.open_count)


def _reload(certificates: Certificates) -> None:
    """Take new certificates for new connections; broken files leave the old ones in use."""
    try:
        certificates.reload()
    except SettingsError as error:
        log.error("certificates not reloaded", reason=str(error))
    else:
        log.info("certificates reloaded", files=[shown.file for shown in certificates.shown])


async def _renew(certificates: Certificates) -> None:
    """Look daily, so that a server that runs for years renews what it made for itself."""
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        _reload(certificates)


async def _probe_lag(loop: asyncio.AbstractEventLoop, histogram: Histogram, lag: Lag) -> None:
    while True:
        due = loop.time() + LAG_PROBE_S
        await asyncio.sleep(LAG_PROBE_S)
        now = loop.time()
        late_s = max(0.0, now - due)
        histogram.observe(late_s)
        lag.note(late_s, now)


async def _sweep(server: Server, loop: asyncio.AbstractEventLoop) -> None:
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        server.locations.sweep(loop.time(), at_most=SWEEP_AORS)
        server.mailroom.tick(loop.time())
        server.presence.tick(loop.time())
        server.pusher.tick(loop.time())
        server.close_idle(loop.time())


async def _follow_documents(server: Server) -> None:
    while True:
        await asyncio.sleep(ACCOUNTS_EVERY_S)
        try:
            await server.presence.follow()
        except Unavailable as error:
            log.warning("documents not read", reason=str(error))


async def _follow_accounts(server: Server) -> None:
    assert server.accounts is not None
    assert server.gate is not None
    changed = False
    while True:
        await asyncio.sleep(0 if changed else ACCOUNTS_EVERY_S)
        changed = False
        try:
            changed = await server.accounts.refresh()
        except (Unavailable, SettingsError) as error:
            log.warning("accounts not refreshed", reason=str(error))
            continue
        if changed:
            server.gate.forget()
            server.locations.forget_accounts()
            server.presence.forget_accounts()


class _Background:
    """Tasks that run as long as the server; one that fails is logged, the others go on."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=getattr(work, "__qualname__", "task"))
        task.add_done_callback(self._on_end)
        self._tasks.append(task)

    async def __aenter__(self) -> "_Background":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._health.failed.append(task.get_name())
            log.error("background task failed", task=task.get_name(), exc_info=error)


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
