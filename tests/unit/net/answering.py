"""An endpoint over real sockets whose user answers everything."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sipgram.net.endpoint import Address, Endpoint
from sipgram.settings import TransportSettings
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.reply import build
from sipgram.sip.sink import Cause, ClientSide, Flow
from sipgram.sip.timers import Timers
from sipgram.testing.messages import request

LOOPBACKS = ("127.0.0.1", "::1")


class Answering:
    """An endpoint's user that keeps each request and answers 200."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[tuple[Message, Flow]] = asyncio.Queue()
        self.endpoint: Endpoint
        self.body = b""

    def on_request(self, request: Message, flow: Flow, now: float) -> None:
        self.requests.put_nowait((request, flow))
        status = request.fault_status if request.faults else 200
        data = build(
            request,
            status,
            to_tag=b"t",
            host=flow.host,
            port=flow.port,
            reason="; ".join(request.faults),
            body=self.body,
        )
        self.endpoint.table.answer(request, flow, data, now)

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        """Nobody waits for it."""


class Outcome:
    """The user of one client transaction."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[int | str] = asyncio.get_running_loop().create_future()

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        if response.status >= 200:
            self.ended.set_result(response.status)

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        self.ended.set_result(cause)

    def on_waiting(self, now: float) -> None:
        """The test waits."""


@asynccontextmanager
async def endpoint_on(
    *listeners: str, limits: TransportSettings | None = None, timers: Timers | None = None
) -> AsyncIterator[tuple[Endpoint, Answering, list[Address]]]:
    user = Answering()
    user.endpoint = endpoint = Endpoint(user, limits=limits, timers=timers)
    bound = [await endpoint.listen(Address.parse(text)) for text in listeners]
    try:
        yield endpoint, user, bound
    finally:
        await endpoint.close()


def messaged(branch: int = 1, *, transport: str = "TCP", body: bytes = b"hi") -> bytes:
    via = f"Via: SIP/2.0/{transport} 192.0.2.9:5060;rport;branch=z9hG4bK-{branch}"
    return request(via=via.encode(), body=body)


async def read_response(reader: asyncio.StreamReader) -> Message:
    head = await reader.readuntil(b"\r\n\r\n")
    length = parse(head).content_length
    return parse(head + await reader.readexactly(length))


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something has come to pass; the suite's timeout ends it."""
    loop = asyncio.get_running_loop()
    while not condition():
        await loop.run_in_executor(None, lambda: None)
