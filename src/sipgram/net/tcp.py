"""SIP over TCP and TLS: connections that last, and limits on what a peer may hold up (RFC 3261 §18).

``ws.flow`` is what a WebSocket makes of it.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Literal, Protocol, cast

from sipgram.errors import PeerError
from sipgram.net.sip_identity import identities_of_peer, is_among
from sipgram.net.udp import shown_address
from sipgram.settings import TransportSettings
from sipgram.sip.message.framing import PONG, StreamFramer
from sipgram.sip.message.message import Message

HIGH_WATER_BYTES: Final = 65_536
"""Unread bytes from which on a peer counts as not reading."""
TIMER_SLACK_S: Final = 0.01
"""A loop may fire a timer this much early."""


PINGS: Final = 3
"""Pings without an answer after which a connection is dead."""


class StreamUser(Protocol):
    """Whoever drives the connections: the endpoint."""

    def on_stream_message(self, data: bytes, flow: "TcpFlow", now: float) -> None:
        """Take one whole message."""

    def on_stream_fault(
        self, remainder: bytes, error: PeerError | None, flow: "TcpFlow", now: float
    ) -> None:
        """The stream cannot be followed, or (no error) a half message took too long; it closes next."""

    def on_stream_closed(self, flow: "TcpFlow", now: float) -> None:
        """The connection is gone."""

    def after_batch(self) -> None:
        """All messages of one read were handed over."""

    def admit(self, flow: "TcpFlow") -> bool:
        """Say whether one more connection is allowed."""


class TcpFlow(asyncio.Protocol):
    """One TCP or TLS connection, whoever opened it."""

    is_reliable = True

    def __init__(
        self,
        *,
        user: StreamUser,
        limits: TransportSettings,
        via_line: Callable[["TcpFlow"], bytes],
        loop: asyncio.AbstractEventLoop,
        transport: Literal["tcp", "tls", "ws", "wss"] = "tcp",
        domain: str = "",
    ) -> None:
        """With a ``domain`` the peer's certificate must speak for it, or the flow never opens."""
        self.transport = transport
        self.identities: frozenset[str] = frozenset()
        "SIP domains that the peer's certificate speaks for, once it was checked (RFC 5922)."
        self._domain = domain
        self.host = b""
        self.port = 0
        self.address = ("", 0)
        self.local: tuple[str, int] = ("", 0)
        self.via_line = b""
        self.is_open = False
        self.is_loopback = False
        self._user = user
        self._limits = limits
        self._make_via_line = via_line
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        # A TLS transport still says goodbye when is_closing() is false, and drops what is written.
        self._is_closing = False
        self.heard = loop.time()
        "When something came last."
        self._framer = StreamFramer()
        self._partial_timer: asyncio.TimerHandle | None = None
        self._partial_began = 0.0
        self._stall_timer: asyncio.TimerHandle | None = None
        self.closed = loop.create_future()
        "Resolved once the connection is gone."

    # ---- the flow --------------------------------------------------------------------------

    def send(self, data: bytes) -> bool:
        transport = self._transport
        if transport is None or self._is_closing or transport.is_closing():
            return False
        if transport.get_write_buffer_size() + len(data) > self._limits.write_bytes_max:
            self.abort()
            return False
        transport.write(data)
        return True

    def reply_flow(self, request: Message) -> "TcpFlow":
        """Return this connection: responses use the one that brought the request (§18.2.2)."""
        return self

    def close(self) -> None:
        """Close after what is written has gone out; a peer that does not read is cut off."""
        if self._is_closing:
            return  # Closed twice, asyncio's TLS transport cannot be asked or aborted any more.
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()
            if self._stall_timer is None and self._transport.get_write_buffer_size():
                self.pause_writing()

    def abort(self) -> None:
        """Close at once."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def __str__(self) -> str:
        return f"{self.transport}:{shown_address(self.address)}"

    # ---- asyncio's side --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        if not peer or not local:  # Gone again before we looked.
            transport.abort()
            return
        self.address = (peer[0], peer[1])
        self.local = (local[0].partition("%")[0], local[1])  # D30: no zone in a header.
        self.host = peer[0].partition("%")[0].encode()
        self.port = peer[1]
        self.is_loopback = self.host.startswith(b"127.") or self.host == b"::1"
        self._framer = StreamFramer(bare_lf=self.is_loopback)
        if self.transport in ("tls", "wss"):
            self.identities = identities_of_peer(transport.get_extra_info("peercert"))
            if self._domain and not is_among(self.identities, self._domain):
                transport.abort()
                return
        self.via_line = self._make_via_line(self)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        _ping(transport, self._limits.stream_ping_s)
        self._transport = transport
        self.is_open = True
        if not self._user.admit(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        now = self.heard = self._loop.time()
        messages = self._fed(data, now)
        self._watch_partial(now, is_new=messages > 0)
        self._user.after_batch()

    def _fed(self, data: bytes, now: float) -> int:
        """Hand over each whole message; return how many there were."""
        count = 0
        while True:
            try:
                messages = self._framer.feed(data)
            except PeerError as error:
                self._user.on_stream_fault(self._framer.remainder, error, self, now)
                self.close()
                return count
            if self._framer.pings:
                self.send(PONG * self._framer.pings)
                self._framer.pings = 0
            for message in messages:
                self._user.on_stream_message(message, self, now)
            count += len(messages)
            if not messages or not self._framer.remainder:
                return count
            data = b""  # A fault behind the messages comes to light now.

    def eof_received(self) -> None:
        """Answer what will never be whole; asyncio then closes the connection."""
        if self._framer.has_partial:
            self._half_message()
        self._is_closing = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._transport = None
        for timer in (self._partial_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)
        self._user.on_stream_closed(self, self._loop.time())

    def pause_writing(self) -> None:
        self._stall_timer = self._loop.call_later(self._limits.write_stall_s, self.abort)

    def resume_writing(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _watch_partial(self, now: float, *, is_new: bool) -> None:
        """Give a message that has begun ``half_message_s`` in all to arrive (D27).

        ``is_new`` says that what is there began with this read. The timer is left to run then:
        on a busy connection most reads end in the middle of a message.
        """
        if not self._has_partial:
            if self._partial_timer is not None:
                self._partial_timer.cancel()
                self._partial_timer = None
            return
        if is_new or self._partial_timer is None:
            self._partial_began = now
        if self._partial_timer is None:
            self._partial_timer = self._loop.call_later(
                self._limits.half_message_s, self._look_at_partial
            )

    @property
    def _has_partial(self) -> bool:
        return self._framer.has_partial

    def _look_at_partial(self) -> None:
        left = self._partial_began + self._limits.half_message_s - self._loop.time()
        if left > TIMER_SLACK_S:
            self._partial_timer = self._loop.call_later(left, self._look_at_partial)
        else:
            self._partial_timer = None
            self._half_message()

    def _half_message(self) -> None:
        self._user.on_stream_fault(self._framer.remainder, None, self, self._loop.time())
        self.close()


def _ping(transport: asyncio.Transport, every_s: float) -> None:
    """Have the system ping a silent peer, which keeps NATs open and finds dead connections (D27).

    By TCP itself: it needs nothing of the peer's SIP, and no work of ours. RFC 5626 §4.4.1 leaves
    pings by CRLF to the side that registered; these we answer. What was sent and is not
    acknowledged ends the connection after as long, where TCP alone would try for 15 minutes.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or not every_s or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    again_s = max(1, round(every_s / 12))
    first_s = max(1, round(every_s))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, first_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, again_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PINGS)
        give_up_ms = 1000 * (first_s + PINGS * again_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, give_up_ms)
    except OSError:
        return  # The peer has gone already.
