"""HTTP beside SIP: uvicorn inside the server's own loop, which keeps the signals to itself."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, cast

import uvicorn
from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from sipgram.errors import SettingsError
from sipgram.http import description, docs, problem
from sipgram.http.caller import Guard
from sipgram.http.edge import Edge
from sipgram.http.upgrades import Upgrade, Upgrades
from sipgram.settings import HttpSettings

Problems = Callable[[], Awaitable[list[str]]]
"""Returns what keeps the node from its work, one phrase each; empty when all is well."""

Ailments = Callable[[], list[str]]
"""Returns what only a restart mends."""


def build(
    *,
    registry: CollectorRegistry,
    problems: Problems,
    version: str,
    guard: Guard | None = None,
    routers: Sequence[APIRouter] = (),
    limits: HttpSettings | None = None,
    ailments: Ailments = list,
) -> FastAPI:
    """Return the application: the routes that operators watch, and those of the features."""
    app = FastAPI(title="sipgram", version=version, docs_url=None, redoc_url=None)
    limits = limits or HttpSettings()
    app.state.guard = guard
    problem.install(app)
    for router in routers:
        app.include_router(router)

    def limit_of(path: str) -> int:
        return limits.batch_bytes_max if path.endswith(":batch") else limits.body_bytes_max

    app.add_middleware(Edge, limit_of=limit_of)
    docs.install(app)
    description.describe(app)

    @app.get("/healthz", summary="Is the process alive")
    async def healthz(response: Response) -> dict[str, object]:
        found = ailments()
        response.status_code = 503 if found else 200
        return {"status": "ill", "problems": found} if found else {"status": "ok"}

    @app.get("/readyz", summary="Can it take requests now")
    async def readyz(response: Response) -> dict[str, object]:
        found = await problems()
        response.status_code = 503 if found else 200
        return {"status": "not ready" if found else "ready", "problems": found}

    @app.get("/metrics", summary="Figures for Prometheus")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


class HttpServer:
    """One HTTP listener."""

    def __init__(self, app: FastAPI, *, upgrades: Upgrades | None = None) -> None:
        """``upgrades`` says which paths are WebSockets of the server's own, as SIP at /sip is."""
        ws = functools.partial(Upgrade, upgrades or {})
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws=cast(Any, ws),  # Called like a class, which is all that uvicorn does with it.
        )
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Bind and serve; return the address with the port that 0 became.

        Raises:
            SettingsError: the address cannot be bound.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(128)  # Before anybody is told of it; uvicorn does it again, later.
        except OSError as error:
            sock.close()
            raise SettingsError(f"cannot serve HTTP on {host}:{port}: {error.strerror}") from error
        bound = sock.getsockname()[:2]
        self._task = asyncio.create_task(self._server.serve(sockets=[sock]))
        return bound[0], bound[1]

    async def close(self) -> None:
        """Stop serving; requests in progress get a moment."""
        if self._task is not None:
            self._server.should_exit = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._task, timeout=2.0)


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave SIGTERM and SIGINT to the server's own life cycle."""
        yield
