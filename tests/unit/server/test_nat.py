"""Phones behind NAT and connections that last, seen from outside (D27)."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sipgram.server.app import Server, build
from sipgram.settings import (
    AuthSettings,
    RegistrarSettings,
    ServerSettings,
    Settings,
    TransportSettings,
)

from .wire_phone import HOST, WirePhone

BINDING_REQUEST = b"\0\1\0\0\x21\x12\xa4\x42" + b"transactionX"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Keeps phones alive every 0.5 s; a connection nobody needs is idle at once."""
    settings = Settings(
        server=ServerSettings(listen=("udp:127.0.0.1:0", "tcp:127.0.0.1:0"), data=str(tmp_path)),
        auth=AuthSettings(mode="none"),
        registrar=RegistrarSettings(spread=False),
        transport=TransportSettings(keep_alive_s=0.5, stream_idle_s=0.0),
    )
    running = await build(settings)
    yield running
    await running.close()


async def test_d27_a_udp_phone_behind_nat_gets_keep_alives(server: Server) -> None:
    async with WirePhone(server.listeners[0].port) as phone:
        assert (await phone.register(b"bob", contact="sip:bob@10.1.2.3:5060")).status == 200

        assert [await phone.datagram() for _ in range(2)] == [b"\r\n\r\n"] * 2
        assert len(server.keep_alives) == 1


async def test_d27_a_udp_phone_without_nat_gets_none(server: Server) -> None:
    async with WirePhone(server.listeners[0].port) as phone:
        await phone.register(b"bob")

        assert len(server.keep_alives) == 0


async def test_d27_a_refresh_does_not_double_the_keep_alives(server: Server) -> None:
    async with WirePhone(server.listeners[0].port) as phone:
        for cseq in (1, 2, 3):
            await phone.register(b"bob", contact="sip:bob@10.1.2.3:5060", cseq=cseq)

        assert len(server.keep_alives) == 1


async def test_d27_a_restored_binding_is_kept_alive(server: Server, tmp_path: Path) -> None:
    async with WirePhone(server.listeners[0].port) as phone:
        await phone.register(b"bob", contact="sip:bob@10.1.2.3:5060")
        await server.close()

        again = await build(server.settings)
        try:
            assert await phone.datagram() == b"\r\n\r\n"
        finally:
            await again.close()


async def test_d27_stun_and_short_datagrams_on_the_sip_port(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the Binding request is answered, and nothing says a word about the others."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setblocking(False)
        peer.bind((HOST, 0))
        broken = BINDING_REQUEST[:-1] + b"XX"
        for data in (b"", b"\r\n", b"\0\0\0\0", b"\r\n\r\n", broken, b"\0" * 40, BINDING_REQUEST):
            peer.sendto(data, (HOST, server.listeners[0].port))

        answer = await loop.sock_recv(peer, 1_500)

        assert answer[:2] == b"\x01\x01"
        assert answer[8:20] == b"transactionX"
        mixed = int.from_bytes(answer[26:28], "big") ^ 0x2112
        assert mixed == peer.getsockname()[1]
    assert server.dispatcher.requests[b"other"] == 0
    assert capsys.readouterr() == ("", "")


async def test_d27_an_idle_stream_is_closed_and_one_that_holds_a_binding_is_not(
    server: Server,
) -> None:
    port = server.listeners[1].port
    idle, idle_writer = await asyncio.open_connection(HOST, port)
    held, held_writer = await asyncio.open_connection(HOST, port)
    held_writer.write(
        b"REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/TCP 10.1.2.3;branch=z9hG4bK-1\r\n"
        b"From: <sip:bob@localhost>;tag=1\r\nTo: <sip:bob@localhost>\r\nCall-ID: 1\r\n"
        b"CSeq: 1 REGISTER\r\nContact: <sip:bob@10.1.2.3;transport=tcp>\r\nMax-Forwards: 70\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    await held.readuntil(b"\r\n\r\n")

    server.close_idle(asyncio.get_running_loop().time())

    assert await idle.read() == b""
    assert len(server.endpoint.connections) == 1
    held_writer.write(b"\r\n\r\n")
    assert await held.readexactly(2) == b"\r\n"
    for writer in (idle_writer, held_writer):
        writer.close()


async def test_d27_a_connection_is_pinged_by_tcp(server: Server) -> None:
    reader, writer = await asyncio.open_connection(HOST, server.listeners[1].port)
    writer.write(b"\r\n\r\n")
    await reader.readexactly(2)
    (flow,) = server.endpoint.connections

    option = socket.SO_KEEPALIVE
    assert flow._transport is not None
    assert flow._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, option)
    writer.close()
