"""Two ends of a TLS connection on loopback, as small as they can be."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from sipgram.net.sip_identity import identities_of_peer
from sipgram.net.tls import TlsListener


class End(asyncio.Protocol):
    """One end: what it knows of the other, and what it hears."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.heard = asyncio.Event()
        self.received = b""
        self.identities: frozenset[str] = frozenset()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.identities = identities_of_peer(transport.get_extra_info("peercert"))
        self.opened.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.heard.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)

    @property
    def ssl(self) -> ssl.SSLObject:
        """The TLS state."""
        return cast(ssl.SSLObject, self.transport.get_extra_info("ssl_object"))


class Listening:
    """A listener, and the ends that it made."""

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        *,
        handshake_s: float = 10.0,
        handshakes_max: int = 10,
    ) -> None:
        self.accepted: asyncio.Queue[End] = asyncio.Queue()
        self.listener = TlsListener(
            connection=self._connection,
            context=context,
            loop=asyncio.get_running_loop(),
            handshake_s=handshake_s,
            handshakes_max=handshakes_max,
        )
        self.port = 0

    def _connection(self) -> End:
        end = End()
        end.opened.add_done_callback(lambda _: self.accepted.put_nowait(end))
        return end

    async def connect(self, context: ssl.SSLContext, *, name: str | None = None) -> End:
        """Open a connection; ``name`` is the SNI.

        Raises:
            OSError: the handshake failed.
        """
        _, end = await asyncio.get_running_loop().create_connection(
            End, "127.0.0.1", self.port, ssl=context, server_hostname=name or ""
        )
        return end


@asynccontextmanager
async def listening(
    context: Callable[[], ssl.SSLContext], **limits: Any
) -> AsyncIterator[Listening]:
    """Listen on a free port of 127.0.0.1; at the end every connection is closed."""
    made = Listening(context, **limits)
    _, made.port = await made.listener.open("127.0.0.1", 0)
    try:
        yield made
    finally:
        await made.listener.close()
        while not made.accepted.empty():
            end = made.accepted.get_nowait()
            end.transport.abort()
            await end.closed
