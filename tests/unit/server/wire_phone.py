"""A phone on real sockets, on both transports if wished, that answers everything 200 (D26, D28)."""

import asyncio
import socket
from typing import Self

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.reply import build
from sipgram.testing.messages import request

from .running import read_message

HOST = "127.0.0.1"
SENDER_PORT = 5060
"""Stands in Via only: answers go to the source, by rport."""


class WirePhone:
    """One UDP socket, and a TCP listener of the same port once ``open_tcp`` was called."""

    def __init__(self, server: int) -> None:
        """``server`` is the port of the server's UDP listener."""
        self._server = server
        self._loop = asyncio.get_running_loop()
        self.socket, self.tcp = _pair()
        self.port: int = self.socket.getsockname()[1]
        self.streamed: asyncio.Queue[Message] = asyncio.Queue()
        "Requests that came over TCP."
        self.connections: list[asyncio.StreamWriter] = []
        self._listener: asyncio.Server | None = None
        self._count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()
        await self.close_tcp()
        self.tcp.close()

    async def open_tcp(self) -> None:
        """Take connections at the port of the UDP socket."""
        self._listener = await asyncio.start_server(self._serve, sock=self.tcp)

    async def close_tcp(self) -> None:
        """Take no more connections and close those there are."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self.connections:
            writer.close()
        self.connections.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        while True:
            try:
                message = await read_message(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            if message.method != b"ACK":
                writer.write(_answer(message))
            self.streamed.put_nowait(message)

    async def register(
        self,
        user: bytes,
        *,
        contact: str = "",
        params: bytes = b"",
        headers: tuple[bytes, ...] = (),
        cseq: int = 1,
    ) -> Message:
        """Bind to ``user``; the contact is the UDP socket's address unless another is given."""
        contact = contact or f"sip:{user.decode()}@{HOST}:{self.port}"
        lines = (b"Contact: <%b>%b" % (contact.encode(), params), b"Expires: 600", *headers)
        aor = b"<sip:%b@localhost>" % user
        return await self.ask(
            b"REGISTER", b"sip:localhost", sender=aor, to=aor, headers=lines, cseq=cseq
        )

    async def ask(
        self,
        method: bytes,
        uri: bytes,
        *,
        sender: bytes = b"<sip:alice@localhost>",
        to: bytes = b"",
        headers: tuple[bytes, ...] = (),
        body: bytes = b"",
        cseq: int = 1,
    ) -> Message:
        """Send a request; return its final response."""
        self._count += 1
        branch = b"%d-%d" % (self.port, self._count)
        via = b"Via: SIP/2.0/UDP %b:%d;rport;branch=z9hG4bK-%b" % (
            HOST.encode(),
            SENDER_PORT,
            branch,
        )
        data = request(
            method,
            uri,
            via=via,
            sender=sender + b";tag=" + branch,
            to=to or b"<" + uri + b">",
            call_id=b"%b@%d" % (method if method == b"REGISTER" else branch, self.port),
            cseq=cseq,
            headers=headers,
            body=body,
        )
        self.socket.sendto(data, (HOST, self._server))
        while True:
            answer = parse(await self.datagram())
            if answer.status >= 200:
                return answer

    async def datagram(self) -> bytes:
        """Return the next datagram."""
        return await self._loop.sock_recv(self.socket, 65_535)

    async def take(self) -> Message:
        """Wait for a request over UDP and answer it 200."""
        while True:
            message = parse(await self.datagram())
            if message.method and message.method != b"ACK":
                self.socket.sendto(_answer(message), (HOST, self._server))
                return message


def _pair() -> tuple[socket.socket, socket.socket]:
    """Return a UDP and a TCP socket of one port; connections are refused until the latter listens."""
    for _ in range(50):
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        streams = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        for sock in (datagrams, streams):
            sock.setblocking(False)
        streams.bind((HOST, 0))
        try:
            datagrams.bind(streams.getsockname())
        except OSError:
            datagrams.close()
            streams.close()
        else:
            return datagrams, streams
    raise AssertionError("no port is free for both transports")


def _answer(message: Message) -> bytes:
    return build(message, 200, to_tag=b"phone", host=HOST.encode(), port=0)
