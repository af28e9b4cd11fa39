"""Connections of an endpoint, and peers that behave badly (RFC 3261 §18; D27, D28)."""

import asyncio
import socket
import struct
from contextlib import suppress

import pytest

from sipgram.settings import TransportSettings

from .answering import Outcome, endpoint_on, messaged, read_response, until

LOOPBACKS = ("127.0.0.1", "::1")


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_a_request_over_a_connection_is_answered_on_it(host: str) -> None:
    async with endpoint_on(f"tcp:[{host}]:0") as (_, user, (bound,)):
        reader, writer = await asyncio.open_connection(host, bound.port)

        writer.write(messaged(1)[:40])
        await writer.drain()
        writer.write(messaged(1)[40:] + messaged(2))

        first, second = [await read_response(reader) for _ in range(2)]
        assert (first.status, first.branch) == (200, b"z9hG4bK-1")
        assert second.branch == b"z9hG4bK-2"
        message, flow = user.requests.get_nowait()
        assert message.body == b"hi"
        assert flow.host == host.encode()
        writer.close()
        await writer.wait_closed()


async def test_a_ping_is_answered() -> None:
    async with endpoint_on("tcp:127.0.0.1:0") as (_, _, (bound,)):
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)

        writer.write(b"\r\n\r\n")

        assert await reader.readexactly(2) == b"\r\n"
        writer.close()
        await writer.wait_closed()


async def test_half_a_message_is_a_400_and_the_end() -> None:
    limits = TransportSettings(half_message_s=0.05)
    async with endpoint_on("tcp:127.0.0.1:0", limits=limits) as (endpoint, _, (bound,)):
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)

        writer.write(messaged()[:-1])

        answer = await read_response(reader)
        assert answer.status == 400
        assert answer.reason == b"Content-Length is 2 but 1 bytes of body came"
        assert await reader.read() == b""
        await until(lambda: not endpoint.connections)
        writer.close()


async def test_half_a_message_and_the_end_of_the_stream_is_a_400_at_once() -> None:
    """As of netcat, which has no more to send."""
    async with endpoint_on("tcp:127.0.0.1:0") as (_, _, (bound,)):
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)

        writer.write(messaged()[:-1])
        writer.write_eof()

        assert (await read_response(reader)).status == 400
        assert await reader.read() == b""
        writer.close()


async def test_a_stream_that_cannot_be_followed_is_a_400_and_the_end() -> None:
    async with endpoint_on("tcp:127.0.0.1:0") as (_, _, (bound,)):
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)

        writer.write(messaged().replace(b"Content-Length: 2\r\n", b""))

        answer = await read_response(reader)
        assert answer.reason == b"Content-Length is missing, which a stream needs"
        assert await reader.read() == b""
        writer.close()


async def test_garbage_is_not_answered_and_ends_the_connection() -> None:
    async with endpoint_on("tcp:127.0.0.1:0") as (_, user, (bound,)):
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)

        writer.write(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")

        assert await reader.read() == b""
        assert user.requests.empty()
        writer.close()


async def test_connections_are_bounded() -> None:
    limits = TransportSettings(connections_max=2)
    async with endpoint_on("tcp:127.0.0.1:0", limits=limits) as (endpoint, _, (bound,)):
        streams = [await asyncio.open_connection("127.0.0.1", bound.port) for _ in range(2)]
        await until(lambda: len(endpoint.connections) == 2)

        reader, third = await asyncio.open_connection("127.0.0.1", bound.port)

        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert endpoint.refused == 1
        third.close()
        streams.pop()[1].close()
        await until(lambda: len(endpoint.connections) == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)
        writer.write(messaged())
        assert (await read_response(reader)).status == 200
        writer.close()
        streams.pop()[1].close()


async def test_a_peer_that_resets_fails_what_waits_on_its_connection() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    async with endpoint_on() as (endpoint, _, _):
        flow = await endpoint.connect(*listener.getsockname())
        peer, _ = await loop.sock_accept(listener)
        outcome = Outcome()
        endpoint.table.start_client(
            messaged(),
            branch=b"z9hG4bK-1",
            method=b"MESSAGE",
            flow=flow,
            user=outcome,
            now=loop.time(),
        )

        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

        assert await outcome.ended == "transport-error"
        assert not endpoint.connections
        assert not flow.send(b"x")
    listener.close()


async def test_a_peer_that_resets_does_not_hurt_the_others() -> None:
    async with endpoint_on("tcp:127.0.0.1:0") as (endpoint, _, (bound,)):
        rude = socket.create_connection(("127.0.0.1", bound.port))
        rude.sendall(messaged()[:-1])
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)
        await until(lambda: len(endpoint.connections) == 2)

        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.close()

        writer.write(messaged())
        assert (await read_response(reader)).status == 200
        await until(lambda: len(endpoint.connections) == 1)
        writer.close()


async def test_d28_a_peer_that_does_not_read_is_cut_at_the_limit() -> None:
    limits = TransportSettings(write_bytes_max=200_000)
    async with endpoint_on("tcp:127.0.0.1:0", limits=limits) as (endpoint, user, (bound,)):
        user.body = b"x" * 50_000
        loop = asyncio.get_running_loop()
        with socket.create_connection(("127.0.0.1", bound.port)) as peer:
            peer.setblocking(False)
            await until(lambda: bool(endpoint.connections))
            (flow,) = endpoint.connections

            with suppress(OSError):
                for n in range(1_000):
                    await loop.sock_sendall(peer, messaged(n))

            await flow.closed
            assert not endpoint.connections


async def test_what_was_queued_goes_out_before_the_close() -> None:
    async with endpoint_on("tcp:127.0.0.1:0") as (endpoint, user, (bound,)):
        user.body = b"x" * 60_000
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)
        for n in range(10):
            writer.write(messaged(n))
        for _ in range(10):
            await user.requests.get()

        closing = asyncio.create_task(endpoint.close())
        everything = await reader.read()
        while more := await reader.read():
            everything += more
        await closing

        assert everything.count(b"SIP/2.0 200 ") == 10
        assert len(everything) > 600_000
        writer.close()


async def test_to_connect_to_nobody_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname()
    async with endpoint_on() as (endpoint, _, _):
        with pytest.raises(ConnectionRefusedError):
            await endpoint.connect(host, port)
        assert not endpoint.connections
