"""Connects to a SIP server by WebSocket (RFC 7118 §4.1)."""

import asyncio
import ipaddress
import ssl
from typing import Literal

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from sipgram.identity import SystemEntropy
from sipgram.net.endpoint import Address
from sipgram.net.tcp import StreamUser, TcpFlow
from sipgram.net.ws.flow import MESSAGE_BYTES_MAX, SUBPROTOCOL, WsFlow
from sipgram.settings import TransportSettings, WebSocketSettings


async def connect(
    address: Address,
    *,
    user: StreamUser,
    limits: TransportSettings,
    loop: asyncio.AbstractEventLoop,
    tls: ssl.SSLContext | None,
    domain: str,
) -> "ConnectedWs":
    """Open a WebSocket to an address, over TLS with ``tls``.

    The certificate must speak for the address's host, or for ``domain`` when that is an IP address.

    Raises:
        OSError: it cannot be reached, or it is no WebSocket for SIP.
    """
    is_secure = tls is not None
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        domain = address.host  # RFC 6455 §4.1: the URL's host, which an address is not.
    uri = WebSocketURI(is_secure, address.host, address.port, address.path, "")
    _, flow = await loop.create_connection(
        lambda: ConnectedWs(uri, user=user, limits=limits, loop=loop, domain=domain),
        address.host,
        address.port,
        ssl=tls,
        server_hostname=domain.strip("[]").removesuffix(".") if is_secure else None,
    )
    try:
        await flow.opened
    except BaseException:
        flow.abort()
        raise
    return flow


class ConnectedWs(WsFlow):
    """The client's side of a connection; ``opened`` tells of its handshake."""

    _protocol: ClientProtocol

    def __init__(
        self,
        uri: WebSocketURI,
        *,
        user: StreamUser,
        limits: TransportSettings,
        loop: asyncio.AbstractEventLoop,
        domain: str,
    ) -> None:
        protocol = ClientProtocol(
            uri, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=MESSAGE_BYTES_MAX
        )
        transport: Literal["ws", "wss"] = "wss" if uri.secure else "ws"
        super().__init__(
            protocol,
            user=user,
            limits=limits,
            settings=WebSocketSettings(),
            via_line=_via_line,
            loop=loop,
            transport=transport,
            domain=domain if uri.secure else "",
        )
        self.opened: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.opened.done():
            self.opened.set_exception(ConnectionResetError("closed within the handshake"))

    def _shake_hands(self, event: Request | Response) -> bool:
        error = self._protocol.handshake_exc
        if error is None and self._protocol.subprotocol != SUBPROTOCOL:
            error = InvalidHandshake("the server does not speak sip")
        if error is None:
            self.opened.set_result(None)
            return True
        if not self.opened.done():
            self.opened.set_exception(ConnectionRefusedError(f"no WebSocket for SIP: {error}"))
        self.abort()
        return False


def _via_line(flow: TcpFlow) -> bytes:
    """Name a host that cannot be reached, as nobody can connect to a client (RFC 7118 §5.2)."""
    name = SystemEntropy().token()[-12:].lower()
    return f"Via: SIP/2.0/{flow.transport.upper()} {name}.invalid;branch=".encode()
