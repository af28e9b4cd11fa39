"""Senders and devices on a bad network, which write down what they were told and what they got."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import cast

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import response

DOMAIN = "example.com"
REPEAT_S = 0.1
"""Shorter than T1, so that many requests repeat and a run takes minutes instead of hours."""
GIVE_UP_S = 12.0


class Peer(asyncio.DatagramProtocol, ABC):
    """One socket that loses and doubles what goes through it."""

    def __init__(self, server: tuple[str, int], *, chance: random.Random, loss: float) -> None:
        self.server = server
        self.chance = chance
        self.loss = loss
        self.port = 0
        self._transport: asyncio.DatagramTransport

    async def open(self) -> None:
        """Bind to a free port."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def error_received(self, exc: Exception) -> None:
        """The server is down at this moment."""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for _ in self._copies():
            self.receive(parse(data))

    def send(self, data: bytes) -> None:
        """Send, or lose, or send twice."""
        for _ in self._copies():
            self._transport.sendto(data, self.server)

    @abstractmethod
    def receive(self, message: Message) -> None:
        """Take a message."""

    def _copies(self) -> range:
        drawn = self.chance.random()
        return range(0 if drawn < self.loss else 2 if drawn > 1 - self.loss else 1)


class Caller(Peer):
    """A peer that sends requests and waits for their final responses."""

    def __init__(self, server: tuple[str, int], *, chance: random.Random, loss: float) -> None:
        super().__init__(server, chance=chance, loss=loss)
        self._open: dict[bytes, asyncio.Future[int]] = {}
        self._numbers: Iterator[int] = count()

    async def ask(
        self, method: str, to: str, sender: str, *, extra: str = "", body: str = ""
    ) -> int:
        """Send a request until it is answered; return the status, 0 for no answer."""
        number = next(self._numbers)
        branch = f"z9hG4bK-{self.port}-{number}"
        uri = f"sip:{DOMAIN}" if method == "REGISTER" else f"sip:{to}@{DOMAIN}"
        raw = (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch={branch};rport\r\nMax-Forwards: 70\r\n"
            f"From: <sip:{sender}@{DOMAIN}>;tag={self.port}-{number}\r\nTo: <sip:{to}@{DOMAIN}>\r\n"
            f"Call-ID: {self.port}-{number}\r\nCSeq: {number + 1} {method}\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        answered = self._open[branch.encode()] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(GIVE_UP_S):
                while not answered.done():
                    self.send(raw)
                    await asyncio.wait([answered], timeout=REPEAT_S)
            return int(answered.result())
        except TimeoutError:
            return 0
        finally:
            del self._open[branch.encode()]

    def receive(self, message: Message) -> None:
        waiting = self._open.get(message.branch)
        if message.status >= 200 and waiting is not None and not waiting.done():
            waiting.set_result(message.status)


@dataclass(frozen=True, slots=True)
class Taken:
    """One delivery to a device."""

    body: str
    identity: tuple[bytes, int, bytes]
    "Call-ID, CSeq and From tag."


@dataclass(slots=True)
class Told:
    """What a sender was told of its message."""

    body: str
    recipient: str
    status: int


class Device(Caller):
    """A phone with an instance, which comes and goes."""

    def __init__(
        self, server: tuple[str, int], user: str, name: str, *, chance: random.Random, loss: float
    ) -> None:
        super().__init__(server, chance=chance, loss=loss)
        self.user = user
        self.name = name
        self.is_on = True
        self.taken: list[Taken] = []
        self._answers: dict[bytes, bytes] = {}

    async def register(self, expires_s: int = 600) -> int:
        """Bind, or end the binding with 0."""
        contact = (
            f"Contact: <sip:{self.user}@127.0.0.1:{self.port}>"
            f';+sip.instance="<urn:uuid:{self.name}>"\r\nExpires: {expires_s}\r\n'
        )
        return await self.ask("REGISTER", self.user, self.user, extra=contact)

    def receive(self, message: Message) -> None:
        if message.status:
            super().receive(message)
        elif self.is_on and message.method == b"MESSAGE":
            answer = self._answers.get(message.branch)
            if answer is None:
                identity = (message.call_id, message.cseq, message.from_tag)
                self.taken.append(Taken(message.body.decode(), identity))
                answer = self._answers[message.branch] = response(message.raw, 200)
            self.send(answer)


@dataclass(slots=True)
class Sender:
    """Somebody who writes one message after the other to each of several people."""

    caller: Caller
    name: str
    told: list[Told] = field(default_factory=list)

    async def write(self, recipient: str, number: int) -> None:
        """Send one message and note what came of it."""
        body = f"{self.name}>{recipient}:{number:06}"
        extra = "Content-Type: text/plain\r\n"
        status = await self.caller.ask("MESSAGE", recipient, self.name, extra=extra, body=body)
        self.told.append(Told(body, recipient, status))
