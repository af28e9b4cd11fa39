"""WebSockets on the HTTP port that ASGI does not see: a path, and who takes the connection over.

uvicorn asks for a protocol when a request is an upgrade. The paths of ``upgrades`` get one of
the server's own, as a listener of its own would; all others get uvicorn's.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

Upgrades = Mapping[str, Callable[[], asyncio.Protocol]]
"""Who serves which path, made anew for each connection."""


class Upgrade(asyncio.Protocol):
    """Waits for the request, then hands the connection over.

    uvicorn sets this as the transport's protocol after the first bytes, so that it cannot step
    aside before the second ones.
    """

    def __init__(self, upgrades: Upgrades, **of_uvicorn: Any) -> None:
        self._upgrades = upgrades
        self._of_uvicorn = of_uvicorn
        self._transport: asyncio.Transport
        self._chosen: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._chosen is not None:
            self._transport.set_protocol(self._chosen)
        else:  # uvicorn gives the whole head of the request at once.
            self._chosen = self._choose(data)
            self._chosen.connection_made(self._transport)
        self._chosen.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._chosen is None else self._chosen.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._chosen is not None:
            self._chosen.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._chosen is not None:
            self._chosen.pause_writing()

    def resume_writing(self) -> None:
        if self._chosen is not None:
            self._chosen.resume_writing()

    def _choose(self, head: bytes) -> asyncio.Protocol:
        target = head.split(b" ", 2)[1].decode("ascii", "replace")
        make = self._upgrades.get(target.partition("?")[0])
        return WebSocketsSansIOProtocol(**self._of_uvicorn) if make is None else make()
