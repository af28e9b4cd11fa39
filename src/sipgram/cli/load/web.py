"""Load over WebSocket (RFC 7118): connections that do nothing, and MESSAGEs relayed between some.

The peers are this process's, the server is another, whose CPU and memory are read from /proc.
Frames are written and read by hand here, so that what the peers cost stays small.
"""

import asyncio
import base64
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar, cast

from sipgram.cli.load import process, servers
from sipgram.errors import Unavailable

BATCH: Final = 200
"""Connections opened at one time; the server takes 1,000 handshakes."""
TEXT: Final = 0x81
_MASKED: Final = 0x80
_KEY: Final = bytes(4)
"""A mask that changes nothing: the server has to undo it all the same."""
LIMIT_S: Final = 300.0
BODY: Final = b"m" * 100

P = TypeVar("P", bound="Peer")


@dataclass(frozen=True, slots=True)
class WebLoad:
    """What is put on the server."""

    idle: int
    "Connections that register and then do nothing."
    count: int
    "MESSAGEs relayed."
    window: int
    "Of these on their way at one time."
    pairs: int = 8
    "Connections that send, and as many that receive."


@dataclass(frozen=True, slots=True)
class WebFigures:
    """What was measured."""

    memory_before_mb: float
    memory_idle_mb: float
    "With the idle connections, each with its binding."
    kb_per_connection: float
    relayed: int
    failed: int
    cpu_us: float
    "Of the server for one MESSAGE and its answer."
    per_s: float


class Peer(asyncio.Protocol):
    """One WebSocket; ``on_message`` gets each SIP message."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        transport = self._transport
        key = base64.b64encode(os.urandom(16))
        transport.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n"
            b"Sec-WebSocket-Key: " + key + b"\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self.opened.done():
            head, blank, rest = bytes(buffer).partition(b"\r\n\r\n")
            if not blank:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.opened.set_exception(Unavailable(f"no WebSocket: {head[:60]!r}"))
                return
            self.opened.set_result(None)
            buffer[:] = rest
        while (end := _frame_end(buffer)) is not None:
            start, stop = end
            opcode, payload = buffer[0] & 15, bytes(buffer[start:stop])
            del buffer[:stop]
            if opcode == 9:
                self._transport.write(bytes((0x8A, _MASKED | len(payload))) + _KEY + payload)
            elif opcode == 1:
                self.on_message(payload)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(Unavailable("closed within the handshake"))

    def on_message(self, data: bytes) -> None:
        """Keep it."""
        self.heard.put_nowait(data)

    def send(self, data: bytes) -> None:
        """Write one text frame."""
        length = len(data)
        head = bytes((TEXT, _MASKED | 126)) + length.to_bytes(2, "big")
        if length < 126:
            head = bytes((TEXT, _MASKED | length))
        self._transport.write(head + _KEY + data)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    async def register(self, user: str) -> None:
        """Bind to a user.

        Raises:
            Unavailable: the answer is not 200.
        """
        aor = f"<sip:{user}@example.com>"
        self.send(
            (
                f"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/WS {user}.invalid;branch=z9hG4bK{user}\r\n"
                f"Max-Forwards: 70\r\nFrom: {aor};tag=1\r\nTo: {aor}\r\nCall-ID: r-{user}\r\n"
                f"CSeq: 1 REGISTER\r\nSupported: outbound, path\r\nExpires: 3600\r\n"
                f"Contact: <sip:{user}@{user}.invalid;transport=ws>;reg-id=1"
                f';+sip.instance="<urn:uuid:{user}>"\r\nContent-Length: 0\r\n\r\n'
            ).encode()
        )
        answer = await self.heard.get()
        if not answer.startswith(b"SIP/2.0 200 "):
            raise Unavailable(f"not registered: {answer[:40]!r}")


class Receiver(Peer):
    """Answers each MESSAGE 200."""

    def on_message(self, data: bytes) -> None:
        if not data.startswith(b"MESSAGE "):
            super().on_message(data)
            return
        head = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
        kept = [
            line + b";tag=r" if line.startswith(b"To: ") else line
            for line in head
            if line.startswith((b"Via: ", b"From: ", b"To: ", b"Call-ID: ", b"CSeq: "))
        ]
        self.send(b"\r\n".join((b"SIP/2.0 200 OK", *kept, b"Content-Length: 0\r\n\r\n")))


class Sender(Peer):
    """Keeps ``window`` MESSAGEs on their way until ``count`` were answered."""

    def begin(self, name: str, to: str, *, count: int, window: int) -> "asyncio.Future[None]":
        """Send the first ones; the future tells of the last answer."""
        self.done = asyncio.get_running_loop().create_future()
        self.failed = self._sent = self._answered = 0
        self._name, self._to, self._count = name, to, count
        for _ in range(min(window, count)):
            self._next()
        return self.done

    def on_message(self, data: bytes) -> None:
        if not data.startswith(b"SIP/2.0 ") or data.startswith(b"SIP/2.0 1"):
            return
        self._answered += 1
        self.failed += not data.startswith(b"SIP/2.0 200 ")
        if self._sent < self._count:
            self._next()
        elif self._answered == self._count:
            self.done.set_result(None)

    def _next(self) -> None:
        self._sent += 1
        name, number, to = self._name, self._sent, self._to
        self.send(
            (
                f"MESSAGE sip:{to}@example.com SIP/2.0\r\n"
                f"Via: SIP/2.0/WS {name}.invalid;branch=z9hG4bK{name}-{number}\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:{name}@example.com>;tag={name}\r\n"
                f"To: <sip:{to}@example.com>\r\nCall-ID: {name}-{number}\r\nCSeq: 1 MESSAGE\r\n"
                f"Content-Type: text/plain\r\nContent-Length: {len(BODY)}\r\n\r\n"
            ).encode()
            + BODY
        )


def measure(load: WebLoad) -> WebFigures:
    """Start a server, put the load on it, and end it.

    Raises:
        Unavailable: it did not start, or refused a peer.
    """
    with tempfile.TemporaryDirectory(prefix="sipgram-bench-") as folder:
        command = [
            *(sys.executable, "-m", "sipgram", "serve", "--domain", "example.com"),
            *("--data", str(Path(folder) / "data"), "--http", "none", "--auth", "none"),
            *("--listen", f"ws:{servers.HOST}:0"),
        ]
        with servers.started_command(command, folder=Path(folder)) as (pid, said):
            port = servers.listening_port(said, transport="ws")
            return asyncio.run(_measure(load, port=port, pid=pid))


async def _measure(load: WebLoad, *, port: int, pid: int) -> WebFigures:
    async with asyncio.timeout(LIMIT_S):
        before_mb = process.memory_mb(pid)
        idle: list[Peer] = []
        while len(idle) < load.idle:
            some = range(len(idle), min(load.idle, len(idle) + BATCH))
            idle += await asyncio.gather(*(_registered(Peer, f"i{n}", port) for n in some))
        idle_mb = process.memory_mb(pid)
        loop = asyncio.get_running_loop()
        receivers = [await _registered(Receiver, f"r{n}", port) for n in range(load.pairs)]
        senders = [await _opened(Sender, port) for _ in range(load.pairs)]
        share, window = load.count // load.pairs, max(1, load.window // load.pairs)
        cpu_s, began = process.cpu_s(pid), loop.time()
        await asyncio.gather(
            *(
                sender.begin(f"s{n}", f"r{n}", count=share, window=window)
                for n, sender in enumerate(senders)
            )
        )
        spent_s, took_s = process.cpu_s(pid) - cpu_s, loop.time() - began
        for peer in (*idle, *receivers, *senders):
            peer.close()
    relayed = share * load.pairs
    return WebFigures(
        memory_before_mb=before_mb,
        memory_idle_mb=idle_mb,
        kb_per_connection=(idle_mb - before_mb) * 1024 / max(1, load.idle),
        relayed=relayed,
        failed=sum(sender.failed for sender in senders),
        cpu_us=spent_s / relayed * 1e6,
        per_s=relayed / took_s,
    )


async def _opened(kind: type[P], port: int) -> P:
    _, peer = await asyncio.get_running_loop().create_connection(kind, servers.HOST, port)
    await peer.opened
    return peer


async def _registered(kind: type[P], user: str, port: int) -> P:
    peer = await _opened(kind, port)
    await peer.register(user)
    return peer


def _frame_end(buffer: bytearray) -> tuple[int, int] | None:
    """Return where the payload of the first frame begins and ends; None while it is not whole."""
    if len(buffer) < 2:
        return None
    length, start = buffer[1] & 127, 2
    if length == 126:
        length, start = int.from_bytes(buffer[2:4], "big"), 4
    elif length == 127:
        length, start = int.from_bytes(buffer[2:10], "big"), 10
    return None if len(buffer) < start + length else (start, start + length)
