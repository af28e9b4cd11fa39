"""Senders and devices on a bad network, which write down what they were told and what they got."""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, cast

from sipgram.sip.message.framing import StreamFramer
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import response

DOMAIN = "example.com"
REPEAT_S = 0.1
"""Shorter than T1, so that many requests repeat and a run takes minutes instead of hours."""
GIVE_UP_S = 12.0
CONNECT_EVERY_S = 0.1

Transport = Literal["udp", "tcp"]


class Peer(asyncio.DatagramProtocol, ABC):
    """One socket that loses and doubles what goes through it, or a connection made again and again."""

    def __init__(
        self,
        ports: dict[str, int],
        *,
        chance: random.Random,
        loss: float = 0.0,
        transport: Transport = "udp",
    ) -> None:
        """``ports`` are the server's, which it may still be filling in."""
        self.ports = ports
        self.chance = chance
        self.loss = loss
        self.transport = transport
        self.port = 0
        self.connections = 0
        "Connections made so far: what was sent on an earlier one may be lost."
        self._datagrams: asyncio.DatagramTransport
        self._stream: asyncio.StreamWriter | None = None
        self._is_open = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Bind to a free port, or connect."""
        if self.transport == "tcp":
            self._connecting = asyncio.create_task(self._stay_connected())
            await self._is_open.wait()
            return
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))

    def close(self) -> None:
        """Close the socket."""
        if self._connecting is not None:
            self._connecting.cancel()
        else:
            self._datagrams.close()

    def hang_up(self) -> None:
        """Lose the connection, as a phone does that changes networks; a datagram has none."""
        if self._stream is not None:
            self._stream.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._datagrams = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def error_received(self, exc: Exception) -> None:
        """The server is down at this moment."""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for _ in self._copies():
            self.receive(parse(data))

    def send(self, data: bytes) -> None:
        """Send, or lose, or send twice; a stream loses only by ending."""
        if self.transport == "udp":
            for _ in self._copies():
                self._datagrams.sendto(data, ("127.0.0.1", self.ports["udp"]))
        elif self._stream is not None:
            self._stream.write(data)

    @abstractmethod
    def receive(self, message: Message) -> None:
        """Take a message."""

    def connected(self) -> None:
        """A new connection is there."""

    def _copies(self) -> range:
        drawn = self.chance.random()
        return range(0 if drawn < self.loss else 2 if drawn > 1 - self.loss else 1)

    async def _stay_connected(self) -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["tcp"])
                self.port = writer.get_extra_info("sockname")[1]
                self._stream = writer
                self.connections += 1
                self._is_open.set()
                self.connected()
                try:
                    await self._read(reader)
                finally:
                    self._stream = None
                    writer.transport.abort()
            await asyncio.sleep(CONNECT_EVERY_S)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        framer = StreamFramer()
        while data := await reader.read(65_536):
            for raw in framer.feed(data):
                self.receive(parse(raw))


class Caller(Peer):
    """A peer that sends requests and waits for their final responses."""

    def __init__(
        self,
        ports: dict[str, int],
        *,
        chance: random.Random,
        loss: float = 0.0,
        transport: Transport = "udp",
    ) -> None:
        super().__init__(ports, chance=chance, loss=loss, transport=transport)
        self._open: dict[bytes, asyncio.Future[Message]] = {}
        self._numbers: Iterator[int] = count()
        self.name = f"{chance.randrange(2**32):08x}"

    async def ask(
        self, method: str, to: str, sender: str, *, extra: str = "", body: str = ""
    ) -> int:
        """Send a request until it is answered; return the status, 0 for no answer."""
        answer = await self.answer(method, to, sender, extra=extra, body=body)
        return 0 if answer is None else answer.status

    async def answer(
        self, method: str, to: str, sender: str, *, extra: str = "", body: str = ""
    ) -> Message | None:
        """Send a request until it is answered; return the final response, None without one."""
        number = next(self._numbers)
        branch = f"z9hG4bK-{self.name}-{number}"
        uri = f"sip:{DOMAIN}" if method == "REGISTER" else f"sip:{to}@{DOMAIN}"
        via = f"SIP/2.0/{self.transport.upper()} 127.0.0.1:{self.port};branch={branch};rport"
        # A phone registers under one Call-ID (RFC 3261 §10.2).
        call = f"{self.name}-r" if method == "REGISTER" else f"{self.name}-{number}"
        raw = (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: {via}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:{sender}@{DOMAIN}>;tag={self.name}-{number}\r\nTo: <sip:{to}@{DOMAIN}>\r\n"
            f"Call-ID: {call}\r\nCSeq: {number + 1} {method}\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        answered: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._open[branch.encode()] = answered
        sent_on = -1
        try:
            async with asyncio.timeout(GIVE_UP_S):
                while not answered.done():
                    # A stream loses nothing but with its end.
                    if self.transport == "udp" or sent_on != self.connections:
                        sent_on = self.connections
                        self.send(raw)
                    await asyncio.wait([answered], timeout=REPEAT_S)
            return await answered
        except TimeoutError:
            return None
        finally:
            del self._open[branch.encode()]

    def receive(self, message: Message) -> None:
        waiting = self._open.get(message.branch)
        if message.status >= 200 and waiting is not None and not waiting.done():
            waiting.set_result(message)


@dataclass(frozen=True, slots=True)
class Taken:
    """One delivery to a device; ``at`` is monotonic."""

    body: str
    identity: tuple[bytes, int, bytes]
    "Call-ID, CSeq and From tag."
    at: float


@dataclass(slots=True)
class Told:
    """What a sender was told of its message, and when it began to send it."""

    body: str
    recipient: str
    status: int
    begun: float


class Device(Caller):
    """A phone with an instance, which comes and goes."""

    def __init__(
        self,
        ports: dict[str, int],
        user: str,
        name: str,
        *,
        chance: random.Random,
        loss: float = 0.0,
        transport: Transport = "udp",
    ) -> None:
        super().__init__(ports, chance=chance, loss=loss, transport=transport)
        self.user = user
        self.device = name
        self.is_on = True
        self.asked = 0.0
        "When it first asked to be registered; 0 for one that was there from the beginning."
        self.known = 0.0
        "When it was registered."
        self.taken: list[Taken] = []
        self._answers: dict[bytes, bytes] = {}
        self._work: set[asyncio.Task[int]] = set()

    async def register(self, expires_s: int = 600) -> int:
        """Bind, or end the binding with 0."""
        parameter = ";transport=tcp" if self.transport == "tcp" else ""
        contact = (
            f"Contact: <sip:{self.user}@127.0.0.1:{self.port}{parameter}>"
            f';+sip.instance="<urn:uuid:{self.device}>"\r\nExpires: {expires_s}\r\n'
        )
        return await self.ask("REGISTER", self.user, self.user, extra=contact)

    def connected(self) -> None:
        """Register anew: the binding led to the connection that is gone."""
        if self.connections > 1 and self.is_on:
            task = asyncio.get_running_loop().create_task(self.register())
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    def close(self) -> None:
        for task in self._work:
            task.cancel()
        super().close()

    def receive(self, message: Message) -> None:
        if message.status:
            super().receive(message)
        elif self.is_on and message.method == b"MESSAGE":
            answer = self._answers.get(message.branch)
            if answer is None:
                identity = (message.call_id, message.cseq, message.from_tag)
                body = message.body.decode().partition("\n")[0]
                self.taken.append(Taken(body, identity, time.monotonic()))
                answer = self._answers[message.branch] = response(message.raw, 200)
            self.send(answer)


@dataclass(slots=True)
class Sender:
    """Somebody who writes one message after the other to each of several people."""

    caller: Caller
    user: str
    told: list[Told] = field(default_factory=list)

    async def write(self, recipient: str, number: int, *, size: int = 0) -> Told:
        """Send one message, filled up to ``size`` octets, and note what came of it."""
        body = f"{self.user}>{recipient}:{number:06}"
        extra = "Content-Type: text/plain\r\n"
        begun = time.monotonic()
        status = await self.caller.ask(
            "MESSAGE", recipient, self.user, extra=extra, body=f"{body}\n".ljust(size, "x")
        )
        self.told.append(Told(body, recipient, status, begun))
        return self.told[-1]
