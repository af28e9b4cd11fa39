"""One WebSocket connection that carries SIP, whoever opened it (RFC 7118 §4-5, RFC 6455).

A TCP connection in all but how messages are cut: one in each WebSocket message, text or binary.
What holds for streams, as the bounds on writing and the silence that ends them, holds here.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Literal

from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, State

from sipgram.net.tcp import StreamUser, TcpFlow
from sipgram.net.ws.inflate import CODED_RE, inflated
from sipgram.settings import TransportSettings, WebSocketSettings
from sipgram.sip.message.framing import BODY_BYTES_MAX, HEAD_BYTES_MAX, PING, PONG

SUBPROTOCOL: Final = "sip"
MESSAGE_BYTES_MAX: Final = HEAD_BYTES_MAX + BODY_BYTES_MAX
"""A longer WebSocket message ends the connection (1009), as it would a TCP one."""
GOING_AWAY: Final = 1001
TOO_SLOW: Final = 1008
_SPREAD: Final = 997
"""Any prime: what is left of a port by it spreads the pings of connections that came at once."""


class WsFlow(TcpFlow):
    """One connection over ``ws`` or ``wss``; ``_shake_hands`` is what its two sides differ in."""

    def __init__(
        self,
        protocol: Protocol,
        *,
        user: StreamUser,
        limits: TransportSettings,
        settings: WebSocketSettings,
        via_line: Callable[[TcpFlow], bytes],
        loop: asyncio.AbstractEventLoop,
        transport: Literal["ws", "wss"],
        domain: str = "",
    ) -> None:
        super().__init__(
            user=user,
            limits=limits,
            via_line=via_line,
            loop=loop,
            transport=transport,
            domain=domain,
        )
        self._protocol = protocol
        self._settings = settings
        self._fragments: list[bytes | bytearray | memoryview] = []
        self._has_fragment = True  # Half a message: the handshake, to begin with.
        self._touched = loop.time()
        "When any octet came last; ``heard`` is for messages alone."
        self._pulse: asyncio.TimerHandle | None = None

    def _shake_hands(self, event: Request | Response) -> bool:
        """Take the peer's half of the handshake; say whether the connection is open now."""
        raise NotImplementedError

    # ---- the flow --------------------------------------------------------------------------

    def send(self, data: bytes) -> bool:
        protocol = self._protocol
        if not self.is_open or protocol.state is not State.OPEN:
            return False
        if CODED_RE.search(data):
            data = inflated(data, bytes_max=self._settings.inflate_bytes_max)
        if _is_text(data):
            protocol.send_text(data)
        else:
            protocol.send_binary(data)
        return super().send(b"".join(protocol.data_to_send()))

    def close(self) -> None:
        if self._protocol.state is State.OPEN and not self._is_closing:
            self._protocol.send_close(GOING_AWAY)
            self._flush()
        super().close()

    # ---- asyncio's side --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.is_open = False  # Not before the handshake.
        self._watch_partial(self._loop.time(), is_new=True)

    def data_received(self, data: bytes) -> None:
        now = self._touched = self._loop.time()
        protocol = self._protocol
        protocol.receive_data(data)
        events = protocol.events_received()
        for event in events:
            if isinstance(event, Frame):
                self._on_frame(event, now)
            elif self._shake_hands(event):
                self.is_open = True
                self._has_fragment = False
                self._beat()
        self._flush()
        self._watch_partial(now, is_new=bool(events))
        self._user.after_batch()

    def eof_received(self) -> None:
        """Close: a WebSocket does not live half."""
        self._protocol.receive_eof()
        self._is_closing = True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._pulse is not None:
            self._pulse.cancel()
        self._protocol.parser.close()  # It and the protocol hold each other.

    @property
    def _has_partial(self) -> bool:
        return self._has_fragment or bool(self._protocol.reader.buffer)

    def _half_message(self) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.fail(TOO_SLOW, "half a message")
            self._flush()
        super().close()

    def _on_frame(self, frame: Frame, now: float) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                self._on_message(bytes(frame.data), now)
            else:
                self._fragments = [frame.data]
                self._has_fragment = True
        elif opcode is Opcode.CONT:
            self._fragments.append(frame.data)
            if frame.fin:
                whole = b"".join(self._fragments)
                self._fragments = []
                self._has_fragment = False
                self._on_message(whole, now)

    def _on_message(self, data: bytes, now: float) -> None:
        self.heard = now
        if data[:1] in (b"\r", b"\n"):  # RFC 7118 §6, RFC 5626 §4.4.1.
            if data == PING:
                self.send(PONG)
                return
            data = data.lstrip(b"\r\n")
        if data:
            self._user.on_stream_message(data, self, now)

    def _flush(self) -> None:
        """Write what the protocol has to say for itself: handshakes, pongs, farewells."""
        for data in self._protocol.data_to_send():
            if data:
                super().send(data)
            else:  # Its mark for the end.
                super().close()

    # ---- pings -----------------------------------------------------------------------------

    def _beat(self) -> None:
        """Ping a silent peer, so that proxies on the way keep the connection, and find it dead."""
        every_s = self._settings.ping_s
        if not every_s:
            return
        first = self._pulse is None
        share = (self.port % _SPREAD + 1) / _SPREAD if first else 1.0
        silent_s = self._loop.time() - self._touched
        if silent_s > 2.5 * every_s:
            self.abort()
            return
        if not first and silent_s > every_s / 2 and self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._flush()
        self._pulse = self._loop.call_later(every_s * share, self._beat)


def _is_text(data: bytes) -> bool:
    """Say whether a text frame may hold it, which takes nothing but UTF-8 (RFC 7118 §5)."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
