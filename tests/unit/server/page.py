"""A web page's SIP stack as RFC 7118 has it: a WebSocket, a host that nobody can resolve, one flow."""

import asyncio
import contextlib
from typing import Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.reply import build
from sipgram.testing.messages import request

WAIT_S = 5.0


class Page:
    """One load of a page: a connection and an instance of its own."""

    def __init__(self, url: str, user: str, *, name: str = "p1", origin: str | None = None) -> None:
        self.url = url
        self.user = user.encode()
        self.name = name.encode()
        self.origin = origin
        self.socket: ClientConnection
        self._count = 0

    async def __aenter__(self) -> Self:
        self.socket = await connect(
            self.url,
            subprotocols=[Subprotocol("sip")],
            compression=None,
            origin=None if self.origin is None else Origin(self.origin),
            ping_interval=None,
            proxy=None,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    @property
    def contact(self) -> bytes:
        return b"<sip:%b@%b.invalid;transport=ws>" % (self.user, self.name)

    async def register(self, *, is_outbound: bool = True, expires_s: int = 600) -> Message:
        params = b';+sip.instance="<urn:uuid:%b>"' % self.name
        if is_outbound:
            params += b";reg-id=1"
        aor = b"<sip:%b@example.com>" % self.user
        headers = (
            b"Supported: path, outbound, gruu",
            b"Contact: " + self.contact + params,
            b"Expires: %d" % expires_s,
        )
        return await self.ask(b"REGISTER", b"sip:example.com", sender=aor, to=aor, headers=headers)

    async def ask(
        self,
        method: bytes,
        uri: bytes,
        *,
        sender: bytes = b"",
        to: bytes = b"",
        headers: tuple[bytes, ...] = (),
        body: bytes = b"",
        is_text: bool = True,
    ) -> Message:
        """Send a request; return its final response."""
        self._count += 1
        branch = b"%b-%d" % (self.name, self._count)
        data = request(
            method,
            uri,
            via=b"Via: SIP/2.0/WS %b.invalid;branch=z9hG4bK-%b" % (self.name, branch),
            sender=(sender or b"<sip:%b@example.com>" % self.user) + b";tag=" + self.name,
            to=to or b"<" + uri + b">",
            call_id=b"%b-%b" % (self.name, method if method == b"REGISTER" else branch),
            cseq=self._count,
            headers=headers,
            body=body,
        )
        await self.socket.send(data, text=is_text)
        while True:
            answer = await self.message()
            if answer.status >= 200:
                return answer

    async def frame(self) -> str | bytes:
        """Return the next message of the WebSocket as it came."""
        async with asyncio.timeout(WAIT_S):
            return await self.socket.recv()

    async def message(self) -> Message:
        """Return the next SIP message."""
        frame = await self.frame()
        return parse(frame.encode() if isinstance(frame, str) else frame)

    async def take(self, status: int = 200) -> Message:
        """Wait for a request and answer it."""
        found = await self.message()
        assert found.method, found.raw
        await self.answer(found, status)
        return found

    async def answer(self, found: Message, status: int = 200) -> None:
        await self.socket.send(build(found, status, to_tag=self.name, host=b"x", port=0), text=True)

    async def closed(self) -> int:
        """Wait for the end; return its code."""
        async with asyncio.timeout(WAIT_S):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        return self.socket.close_code or 0
