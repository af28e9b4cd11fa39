"""Accepts SIP over WebSocket: the subprotocol, whose pages may connect, and how many (RFC 7118 §4)."""

import asyncio
from collections.abc import Callable
from typing import Final, Literal
from urllib.parse import urlsplit

import structlog
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from sipgram.net.tcp import StreamUser, TcpFlow
from sipgram.net.ws.flow import MESSAGE_BYTES_MAX, SUBPROTOCOL, WsFlow
from sipgram.settings import TransportSettings, WebSocketSettings

log = structlog.get_logger("sipgram.net")

LOGGED_MAX: Final = 1_000
"""Origins whose refusal is logged, each once."""
LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))


class WebSockets:
    """Makes the connections of one endpoint and counts whom it refused, by reason.

    ``is_ours`` says whether a host is a served domain or the address of a listener: pages from
    there may connect. A page of anybody else could otherwise use what a browser is trusted for
    by its address alone.
    """

    def __init__(
        self,
        *,
        settings: WebSocketSettings,
        limits: TransportSettings,
        is_ours: Callable[[str], bool],
    ) -> None:
        self.settings = settings
        self.limits = limits
        self._is_ours = is_ours
        self._logged: set[str] = set()
        self.opening: set[AcceptedWs] = set()
        "Connections whose handshake is not done."
        self.refused = {"origin": 0, "handshake": 0, "crowd": 0}

    def connection(
        self,
        *,
        user: StreamUser,
        via_line: Callable[[TcpFlow], bytes],
        loop: asyncio.AbstractEventLoop,
        transport: Literal["ws", "wss"],
    ) -> "AcceptedWs":
        """Return the protocol of a connection that somebody opens to us."""
        return AcceptedWs(self, user=user, via_line=via_line, loop=loop, transport=transport)

    def may_open(self, origin: str, flow: TcpFlow) -> bool:
        """Say whether a page of an origin may connect; what is no page has none (RFC 6454)."""
        if not origin or origin in self.settings.origins or "*" in self.settings.origins:
            return True
        try:
            host = urlsplit(origin).hostname or ""
        except ValueError:
            host = ""
        if host and (self._is_ours(host) or (flow.is_loopback and host in LOOPBACK)):
            return True
        if origin not in self._logged and len(self._logged) < LOGGED_MAX:
            self._logged.add(origin)
            log.warning("page refused by its origin", origin=origin, flow=str(flow))
        return False


class AcceptedWs(WsFlow):
    """The server's side of a connection."""

    _protocol: ServerProtocol

    def __init__(
        self,
        web: WebSockets,
        *,
        user: StreamUser,
        via_line: Callable[[TcpFlow], bytes],
        loop: asyncio.AbstractEventLoop,
        transport: Literal["ws", "wss"],
    ) -> None:
        protocol = ServerProtocol(
            subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=MESSAGE_BYTES_MAX
        )
        super().__init__(
            protocol,
            user=user,
            limits=web.limits,
            settings=web.settings,
            via_line=via_line,
            loop=loop,
            transport=transport,
        )
        self._web = web

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        web = self._web
        super().connection_made(transport)
        if len(web.opening) >= web.settings.handshakes_max:
            web.refused["crowd"] += 1
            self.abort()
            return
        web.opening.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self in self._web.opening:
            self._web.opening.discard(self)
            self._web.refused["handshake"] += 1

    def _shake_hands(self, event: Request | Response) -> bool:
        assert isinstance(event, Request)
        web, protocol = self._web, self._protocol
        web.opening.discard(self)
        origins = event.headers.get_all("Origin")
        if len(origins) > 1 or not web.may_open("".join(origins), self):
            response = protocol.reject(403, "Pages of this origin may not connect.\n")
            web.refused["origin"] += 1
        else:
            response = protocol.accept(event)
            web.refused["handshake"] += response.status_code != 101
        protocol.send_response(response)
        return response.status_code == 101
