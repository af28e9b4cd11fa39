"""SIP over WebSocket, on a listener of its own and at /sip of the HTTP port (RFC 7118)."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from sipgram import Client
from sipgram import Message as Received
from sipgram.db import tables
from sipgram.http.app import HttpServer
from sipgram.http.app import build as build_http
from sipgram.net.ws.flow import MESSAGE_BYTES_MAX
from sipgram.server.app import Server, build
from sipgram.settings import (
    AuthSettings,
    ServerSettings,
    Settings,
    TransportSettings,
    WebSocketSettings,
)
from sipgram.sip.message.parser import parse

from .page import Page
from .wire_phone import WirePhone

BOB = b"sip:bob@example.com"
HTTP = "127.0.0.1"


def settings(
    data: Path,
    *,
    websocket: WebSocketSettings | None = None,
    transport: TransportSettings | None = None,
) -> Settings:
    listeners = ("udp:127.0.0.1:0", "tcp:127.0.0.1:0", "ws:127.0.0.1:0")
    return Settings(
        server=ServerSettings(domains=("example.com",), listen=listeners, data=str(data)),
        auth=AuthSettings(mode="none"),
        websocket=websocket or WebSocketSettings(),
        transport=transport or TransportSettings(),
    )


async def _no_problems() -> list[str]:
    return []


@asynccontextmanager
async def running(given: Settings) -> AsyncIterator[tuple[Server, str, str]]:
    """Yield the server, the URL of its listener, and that of its HTTP port."""
    server = await build(given)
    app = build_http(registry=CollectorRegistry(), problems=_no_problems, version="0")
    http = HttpServer(app, upgrades={"/sip": server.endpoint.web_connection})
    host, port = await http.start(HTTP, 0)
    (listener,) = [a for a in server.listeners if a.transport == "ws"]
    try:
        yield server, f"ws://{listener.host}:{listener.port}", f"ws://{host}:{port}/sip"
    finally:
        await server.close()
        await http.close()


@pytest.fixture(params=["listener", "http"])
async def url(request: pytest.FixtureRequest, server: tuple[Server, str, str]) -> str:
    return server[1] if request.param == "listener" else server[2]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[Server, str, str]]:
    async with running(settings(tmp_path)) as made:
        yield made


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(5):
        for _ in iter(is_so, True):
            await asyncio.sleep(0)


def udp_port(server: Server) -> int:
    (port,) = [a.port for a in server.listeners if a.transport == "udp"]
    return port


# ---- the handshake ---------------------------------------------------------------------------


async def test_the_subprotocol_sip_is_echoed_and_nothing_is_compressed(url: str) -> None:
    async with connect(url, subprotocols=[Subprotocol("sip")], proxy=None) as peer:
        assert peer.subprotocol == "sip"
        assert peer.response is not None
        assert "Sec-WebSocket-Extensions" not in peer.response.headers


@pytest.mark.parametrize("offered", [None, [Subprotocol("msrp")]])
async def test_another_subprotocol_or_none_is_refused(
    url: str, offered: list[Subprotocol] | None
) -> None:
    """RFC 7118 §4.1: the server "MUST" see "sip" among the values."""
    with pytest.raises(InvalidStatus) as caught:
        await connect(url, subprotocols=offered, proxy=None)
    assert caught.value.response.status_code == 400


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [
        (None, True),  # No page at all.
        ("https://example.com", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost:3000", True),  # On loopback only.
        ("https://evil.example.net", False),
        ("https://example.com.evil.example.net", False),
        ("null", False),
        ("http://[", False),
    ],
)
async def test_a_page_of_another_origin_is_refused(
    url: str, origin: str | None, is_let_in: bool
) -> None:
    page = Page(url, "bob", origin=origin)
    if is_let_in:
        async with page:
            assert (await page.register()).status == 200
        return
    with pytest.raises(InvalidStatus) as caught:
        await page.__aenter__()
    assert caught.value.response.status_code == 403


async def test_other_origins_are_a_setting(tmp_path: Path) -> None:
    given = settings(tmp_path, websocket=WebSocketSettings(origins=("https://chat.example.net",)))
    async with running(given) as (server, url, _):
        async with Page(url, "bob", origin="https://chat.example.net") as page:
            assert (await page.register()).status == 200
        with pytest.raises(InvalidStatus):
            await Page(url, "bob", origin="https://evil.example.net").__aenter__()
        assert server.web.refused["origin"] == 1


async def test_a_plain_http_request_is_told_what_is_spoken_here(
    server: tuple[Server, str, str],
) -> None:
    host, port = server[1].removeprefix("ws://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 426 ")
    writer.close()


# ---- messages --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_outbound", [True, False])
@pytest.mark.rfc("7118", "5")
async def test_a_page_registers_and_is_reached_by_its_flow(url: str, is_outbound: bool) -> None:
    """Its Via and Contact name hosts that do not exist (RFC 7118 §5.2, §5.3)."""
    async with Page(url, "alice", name="a") as alice, Page(url, "bob", name="b") as bob:
        answer = await bob.register(is_outbound=is_outbound)
        assert answer.status == 200
        assert b"sip:bob@b.invalid;transport=ws" in answer.values(b"contact")[0]
        assert b"expires=" in answer.values(b"contact")[0]
        asking = asyncio.create_task(alice.ask(b"MESSAGE", BOB, body="Grüße".encode()))
        got = await bob.take()
        answer = await asking

    assert got.body.decode() == "Grüße"
    assert got.uri == b"sip:bob@b.invalid;transport=ws"
    assert got.values(b"via")[0].startswith(b"SIP/2.0/WS 127.0.0.1:")
    assert answer.status == 200
    assert len(answer.values(b"via")) == 1


async def test_binary_and_fragmented_messages_are_taken(url: str) -> None:
    async with Page(url, "alice", name="a") as alice, Page(url, "bob", name="b") as bob:
        await bob.register()
        asking = asyncio.create_task(alice.ask(b"MESSAGE", BOB, body=b"\xff\x00", is_text=False))
        frame = await bob.frame()
        assert isinstance(frame, bytes)  # It is no UTF-8, which a text frame must be.
        assert frame.endswith(b"\r\n\r\n\xff\x00")
        await bob.answer(parse(frame))
        assert (await asking).status == 200
        pieces = [
            b"OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK9\r\n"
        ]
        pieces.append(b"From: <sip:a@example.com>;tag=1\r\nTo: <sip:example.com>\r\nCall-ID: f\r\n")
        pieces.append(b"CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\r\n")
        await alice.socket.send([piece.decode() for piece in pieces])
        assert (await alice.message()).status == 200


@pytest.mark.rfc("7118", "6")
async def test_crlf_keep_alives_are_answered_and_pings_as_well(url: str) -> None:
    async with Page(url, "bob") as page:
        await page.socket.send("\r\n\r\n")
        assert await page.frame() == "\r\n"
        await page.socket.send("\r\n")  # An answer to nothing.
        async with asyncio.timeout(5):
            await (await page.socket.ping())
        assert (await page.register()).status == 200


async def test_a_message_goes_from_udp_to_a_page_and_back(
    server: tuple[Server, str, str],
) -> None:
    async with WirePhone(udp_port(server[0])) as phone, Page(server[1], "bob") as page:
        await page.register()
        asking = asyncio.create_task(phone.ask(b"MESSAGE", BOB, body=b"hi"))
        assert (await page.take()).body == b"hi"
        assert (await asking).status == 200


async def test_d20_a_deflated_body_is_made_plain_for_a_page(
    server: tuple[Server, str, str],
) -> None:
    body = zlib.compress("Grüße".encode())
    async with WirePhone(udp_port(server[0])) as phone, Page(server[1], "bob") as page:
        await page.register()
        coded = (b"Content-Encoding: deflate", b"Content-Type: text/plain")
        asking = asyncio.create_task(phone.ask(b"MESSAGE", BOB, headers=coded, body=body))
        frame = await page.frame()
        assert isinstance(frame, str)
        assert frame.endswith("\r\n\r\nGrüße")
        assert "Content-Length: 7\r\n" in frame
        assert "Content-Encoding" not in frame
        asking.cancel()


async def test_an_invite_is_recorded_with_transport_ws(server: tuple[Server, str, str]) -> None:
    async with Page(server[1], "alice", name="a") as alice, Page(server[2], "bob", name="b") as bob:
        await bob.register()
        contact = (b"Contact: " + alice.contact,)
        asking = asyncio.create_task(alice.ask(b"INVITE", BOB, headers=contact))
        invite = await bob.message()
        await bob.answer(invite, 486)
        assert (await asking).status == 486

    routes = invite.values(b"record-route")
    assert all(b";transport=ws;lr" in value for value in routes), routes


# ---- bounds ----------------------------------------------------------------------------------


async def test_a_message_that_is_too_long_ends_the_connection(url: str) -> None:
    async with Page(url, "bob") as page:
        await page.socket.send("x" * (MESSAGE_BYTES_MAX + 1))
        assert await page.closed() == 1009


async def test_half_a_handshake_and_half_a_message_are_given_up(tmp_path: Path) -> None:
    given = settings(tmp_path, transport=TransportSettings(half_message_s=0.2))
    async with running(given) as (server, url, _), AsyncExitStack() as stack:
        host, port = url.removeprefix("ws://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        page = await stack.enter_async_context(Page(url, "bob"))
        page.socket.transport.write(b"\x81\xfe\x01")  # A frame's head, and no more.
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        assert await page.closed() in (1008, 1006)
        assert server.web.refused["handshake"] == 1
        assert not server.web.opening
        assert not server.endpoint.connections


async def test_too_many_handshakes_and_too_many_of_one_source_are_refused(tmp_path: Path) -> None:
    given = settings(tmp_path, websocket=WebSocketSettings(handshakes_max=2))
    async with running(given) as (server, url, _):
        host, port = url.removeprefix("ws://").split(":")
        opened = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        async with asyncio.timeout(5):
            try:
                rest = await opened[2][0].read()
            except ConnectionResetError:
                rest = b""
        for _, writer in opened:
            writer.close()
        assert rest == b""
        assert server.web.refused["crowd"] == 1


async def test_d28_a_page_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    given = settings(
        tmp_path, transport=TransportSettings(write_stall_s=0.2, write_bytes_max=10_000_000)
    )
    async with running(given) as (server, url, _), AsyncExitStack() as stack:
        page = await stack.enter_async_context(Page(url, "bob"))
        await page.register()
        page.socket.transport.pause_reading()
        (flow,) = server.endpoint.connections
        (binding,) = server.locations.find(BOB).bindings
        while flow.send(b"x" * 60_000) and not flow._stall_timer:
            pass
        async with asyncio.timeout(5):
            await flow.closed
        assert binding.entry is None
        page.socket.transport.abort()


async def test_a_silent_page_is_pinged_and_a_dead_one_is_found(tmp_path: Path) -> None:
    given = settings(tmp_path, websocket=WebSocketSettings(ping_s=0.1))
    async with running(given) as (server, url, _):
        host, port = url.removeprefix("ws://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Protocol: sip\r\n\r\n"
        )
        async with asyncio.timeout(5):
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"\x89\x00"  # Ping, and nothing answers it.
            with suppress(ConnectionResetError):
                await reader.read()
        writer.close()
        assert not server.endpoint.connections


async def test_closing_the_server_tells_pages_that_it_goes_away(
    server: tuple[Server, str, str],
) -> None:
    async with Page(server[1], "bob", name="a") as one, Page(server[2], "bob", name="b") as two:
        await one.register()
        await two.register()
        await server[0].endpoint.close()
        assert (await one.closed(), await two.closed()) == (1001, 1001)


# ---- devices ---------------------------------------------------------------------------------


async def test_d28_a_page_that_is_closed_is_away_at_once_and_its_mail_waits(
    server: tuple[Server, str, str],
) -> None:
    async with Page(server[1], "alice", name="a") as alice:
        async with Page(server[2], "bob", name="b") as bob:
            await bob.register(is_outbound=False)
        await until(lambda: not server[0].locations.find(BOB).bindings)
        assert (await alice.ask(b"MESSAGE", BOB, body=b"later")).status == 202
        async with Page(server[2], "bob", name="b2") as again:
            await again.register()
            assert (await again.take()).body == b"later"


async def test_d7_fifty_reloads_leave_no_debt(tmp_path: Path) -> None:
    """Each load is a new instance; two pages at most are waited for, beside the phones."""
    given = settings(tmp_path)
    async with (
        running(given) as (server, url, _),
        Page(url, "alice", name="a") as alice,
        WirePhone(udp_port(server)) as phone,
    ):
        at = (b"Contact: <sip:bob@127.0.0.1:%d>" % phone.port,)
        aor, domain = b"<" + BOB + b">", b"sip:example.com"
        bob = server.locations.find(BOB)
        await phone.ask(b"REGISTER", domain, sender=aor, to=aor, headers=at)
        for n in range(50):
            async with Page(url, "bob", name=f"load{n}") as page:
                assert (await page.register()).status == 200
            await until(lambda: not any(b.is_page for b in bob.bindings))
        asking = asyncio.create_task(alice.ask(b"MESSAGE", BOB, body=b"news"))
        assert (await phone.take()).body == b"news"
        assert (await asking).status == 200
        inbox = server.mailroom.ledger.find("sip:bob@example.com")
        assert inbox is not None
        pages = sorted(d.instance for d in inbox.devices.values() if d.is_page)
        assert pages == [b"<urn:uuid:load48>", b"<urn:uuid:load49>"]
        assert server.mailroom.ledger.waiting_count == 1
    async with running(given) as (server, url, _):
        inbox = server.mailroom.ledger.find("sip:bob@example.com")
        assert inbox is not None
        assert sum(device.is_page for device in inbox.devices.values()) == 2
        async with server.engine.connect() as connection:
            count = select(func.count()).select_from(tables.bindings)
            assert (await connection.execute(count)).scalar_one() == 1  # The phone's.


# ---- the client ------------------------------------------------------------------------------


async def test_the_client_library_speaks_it_too(url: str) -> None:
    async with (
        Client("sip:bob@example.com", server=url) as bob,
        Client("sip:alice@example.com", server=url) as alice,
    ):
        sent = await alice.send("bob", "Grüße")
        assert sent.status == 200
        async for event in bob.events():
            if isinstance(event, Received):
                assert event.text == "Grüße"
                break
