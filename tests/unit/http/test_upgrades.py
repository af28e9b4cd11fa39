"""WebSockets on the HTTP port: some paths are the server's own, the others ASGI's."""

import asyncio
from typing import cast

from fastapi import FastAPI, WebSocket
from prometheus_client import CollectorRegistry

from sipgram.http.app import HttpServer, build

UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Own(asyncio.Protocol):
    """Tells what it gets, in capitals."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


async def _no_problems() -> list[str]:
    return []


def _app() -> FastAPI:
    return build(registry=CollectorRegistry(), problems=_no_problems, version="0")


async def test_a_path_of_our_own_gets_the_request_and_all_that_follows() -> None:
    made: list[Own] = []

    def make() -> Own:
        made.append(Own())
        return made[-1]

    http = HttpServer(_app(), upgrades={"/sip": make})
    reader, writer = await asyncio.open_connection(*await http.start("127.0.0.1", 0))
    writer.write(UPGRADE.format(path="/sip?x=1").encode())
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"first ")
    assert await reader.readexactly(6) == b"FIRST "
    writer.write(b"second")
    assert await reader.readexactly(6) == b"SECOND"
    writer.close()
    await made[0].lost
    await http.close()

    assert head.startswith(b"GET /SIP?X=1 HTTP/1.1\r\n")
    assert b"SEC-WEBSOCKET-KEY: DGHLIHNHBXBSZSBUB25JZQ==\r\n" in head


async def test_other_paths_are_those_of_the_application() -> None:
    app = _app()

    @app.websocket("/events")
    async def events(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("news")
        await socket.close()

    http = HttpServer(app, upgrades={"/sip": Own})
    reader, writer = await asyncio.open_connection(*await http.start("127.0.0.1", 0))
    writer.write(UPGRADE.format(path="/events").encode())
    head = await reader.readuntil(b"\r\n\r\n")
    frame = await reader.readexactly(6)
    writer.close()
    await writer.wait_closed()
    await http.close()

    assert head.startswith(b"HTTP/1.1 101 ")
    assert frame == b"\x81\x04news"
