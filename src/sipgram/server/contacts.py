"""How contacts are reached: their flow, a stream for what is large, a new connection (D26 to D28).

A connection that is being opened is a flow like others: what is sent on it waits in its client
transaction, and goes out on the stream once that is there (RFC 3261 §18.1.1 has the Via changed
by the transport as well). Nothing on the way of a small message comes here.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Protocol, cast

from sipgram.errors import ParseError
from sipgram.net.tcp import TcpFlow
from sipgram.net.udp import UdpFlow, shown_address
from sipgram.services.registrar.location import Binding
from sipgram.services.registrar.streams import Opened
from sipgram.sip.message.address import Address
from sipgram.sip.message.grammar import split_list
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import SipUri
from sipgram.sip.proxy import Target
from sipgram.sip.sink import Flow, T
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.table import TransactionTable

LARGE_BYTES: Final = 1_300
LARGE_BYTES_V6: Final = 1_200
"""D26: above it a stream is looked for."""
DATAGRAM_BYTES_MAX: Final = 65_000
"""D26: above it nothing else will do."""
LARGE_CONNECT_S: Final = 1.0
"""D26: how long a large request waits for a connection before it goes by datagram."""
REOPEN_S: Final = 2.0
"""D28: how long one connection to a contact may take to open."""
UDP_ONLY_S: Final = 600.0
"""How long it is remembered that a contact takes no connection; a phone may get another firmware."""
ADDRESSES_MAX: Final = 20_000
"""Contacts of which it is remembered whether they take connections."""
DIALS_MAX: Final = 1_000
"""Connections being opened at one time; beyond that none is."""
MOVE_S: Final = 0.2
"""After the 200 to a REGISTER: some phones read one message per packet (D17)."""

Place = tuple[str, int]


class Sockets(Protocol):
    """What is asked of the endpoint."""

    table: TransactionTable

    async def connect(self, host: str, port: int, *, timeout_s: float) -> TcpFlow:
        """Open a TCP connection."""

    def after_batch(self) -> None:
        """Something may have become due."""


class Like(Protocol):
    """What a flow that is not open yet looks like."""

    @property
    def host(self) -> bytes: ...
    @property
    def is_reliable(self) -> bool: ...
    @property
    def via_line(self) -> bytes: ...


class Dialled:
    """A connection that is opened when it is first used."""

    def __init__(self, like: Like, place: Place, dial: Callable[["Dialled"], bool]) -> None:
        """``like`` is the flow in whose place it stands, or what it will be like."""
        self.host = like.host
        self.port = place[1]
        self.place = place
        self.is_reliable = like.is_reliable
        self.via_line = like.via_line
        self.is_open = True
        self._dial: Callable[[Dialled], bool] | None = dial

    def send(self, data: bytes) -> bool:
        """Begin to connect; what is sent stays with its transaction until then."""
        if self._dial is not None:
            dial, self._dial = self._dial, None
            self.is_open = dial(self)
        return self.is_open

    def reply_flow(self, request: Message) -> Flow:
        """Return itself; no request comes in here."""
        return self

    def __str__(self) -> str:
        return f"tcp:{shown_address(self.place)}"


class Dialler:
    """Opens connections to contacts: a ``Carrier`` for large requests, and for closed streams."""

    def __init__(
        self,
        sockets: Sockets,
        *,
        on_stream: Callable[[Target], Binding | None],
        clock: Callable[[], float],
    ) -> None:
        """``on_stream`` returns another binding of a device, which is on a connection."""
        self._sockets = sockets
        self._on_stream = on_stream
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        # By contact address: the stream there, or until when none is tried.
        self._known: OrderedDict[Place, Dialled | TcpFlow | float] = OrderedDict()

    # ---- large requests (D26) --------------------------------------------------------------

    def carry(self, target: T, size: int) -> tuple[T, Flow] | None:
        flow = target.flow
        if size <= (LARGE_BYTES_V6 if b":" in flow.host else LARGE_BYTES):
            return target, flow
        other = self._on_stream(target)
        if other is not None:
            # It is a binding, as the target was, whatever more the caller knows of that.
            return cast(T, other), other.flow
        stream = self._stream_to(target)
        if stream is not None:
            return target, stream
        return None if size > DATAGRAM_BYTES_MAX else (target, flow)

    def give_up(self, target: Target, flow: Flow) -> bool:
        place = _public_place(_next_hop(target), target.flow)
        if place is None or not isinstance(flow, Dialled | TcpFlow):
            return False
        known = self._known.get(place)
        if known is flow:
            self._remember(place, self._clock() + UDP_ONLY_S)
            return True
        return isinstance(known, float)

    def _stream_to(self, target: Target) -> Flow | None:
        place = _public_place(_next_hop(target), target.flow)
        if place is None:
            return None
        known = self._known.get(place)
        if isinstance(known, float):
            if self._clock() < known:
                return None
        elif known is not None and known.is_open:
            return known
        if len(self._tasks) >= DIALS_MAX:
            return None
        dialled = Dialled(target.flow, place, partial(self._begin, self._found, LARGE_CONNECT_S))
        self._remember(place, dialled)
        return dialled

    def _found(self, dialled: Dialled, stream: TcpFlow | None) -> None:
        self._remember(dialled.place, stream or self._clock() + UDP_ONLY_S)

    def _remember(self, place: Place, what: Dialled | TcpFlow | float) -> None:
        self._known[place] = what
        self._known.move_to_end(place)
        if len(self._known) > ADDRESSES_MAX:
            self._known.popitem(last=False)

    # ---- closed streams (D28) --------------------------------------------------------------

    def reopen(self, hop: SipUri, flow: Flow, opened: Opened) -> Flow | None:
        """Return a flow that connects to ``hop`` when it is used; None when it is behind NAT."""
        place = _public_place(bytes(hop), flow)
        if place is None or not isinstance(flow, TcpFlow) or flow.transport != "tcp":
            return None  # No phone has a certificate that speaks for its address.
        return Dialled(flow, place, partial(self._begin, lambda _, s: opened(s), REOPEN_S))

    # ---- connecting ------------------------------------------------------------------------

    def _begin(
        self, told: Callable[[Dialled, TcpFlow | None], None], within_s: float, dialled: Dialled
    ) -> bool:
        if len(self._tasks) >= DIALS_MAX:
            told(dialled, None)
            return False
        task = asyncio.get_running_loop().create_task(self._open(told, within_s, dialled))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _open(
        self, told: Callable[[Dialled, TcpFlow | None], None], within_s: float, dialled: Dialled
    ) -> None:
        table = self._sockets.table
        try:
            stream = await self._sockets.connect(*dialled.place, timeout_s=within_s)
        except OSError:
            dialled.is_open = False
            told(dialled, None)
            table.transport_failed((dialled,), self._clock())
        else:
            dialled.is_open = False
            told(dialled, stream)

            def mover(request: bytes) -> tuple[Flow, bytes]:
                return stream, request.replace(dialled.via_line, stream.via_line, 1)

            table.move({dialled: mover}, self._clock())
        self._sockets.after_batch()


class ContactRoutes:
    """Chooses the flow of a binding (D27), and hears when it has closed (D28)."""

    def __init__(self, dialler: Dialler) -> None:
        self.reopen = dialler.reopen
        self.is_over = False
        "The server ends: a connection that closes says nothing about its phone."

    def watch(self, flow: Flow, closed: Callable[[], None]) -> None:
        def told(_: object) -> None:
            if not self.is_over:
                closed()

        if isinstance(flow, TcpFlow):
            flow.closed.add_done_callback(told)

    @staticmethod
    def flow_to(contact: SipUri, source: Flow) -> Flow:
        if not isinstance(source, UdpFlow) or contact.param(b"transport") not in (None, b"udp"):
            return source
        port = contact.port or 5060
        if contact.host.strip(b"[]") != source.host or port == source.port:
            return source
        # From the listener that the phone knows, with the zone that its address has.
        return source.listener.flow((source.address[0], port))


class Contacts(NamedTuple):
    """The three that the server is built with."""

    dialler: Dialler
    routes: ContactRoutes
    moves: "Moves"


def build_contacts(
    sockets: Sockets,
    *,
    on_stream: Callable[[Target], Binding | None],
    clock: Callable[[], float],
) -> Contacts:
    """Wire them."""
    dialler = Dialler(sockets, on_stream=on_stream, clock=clock)
    return Contacts(dialler, ContactRoutes(dialler), Moves(sockets.table, clock=clock))


class _Move(NamedTuple):
    """A device that is reached in another way."""

    old: Binding
    flow: Flow
    "Of the old one, which may be called back meanwhile."
    new: Binding


class Moves:
    """Sends what waits for a device on to where it has registered now (D28).

    All moves of a fifth of a second together, since each looks at all requests there are.
    """

    def __init__(self, table: TransactionTable, *, clock: Callable[[], float]) -> None:
        self.due = NEVER
        self._table = table
        self._clock = clock
        self._moves: list[_Move] = []

    def add(self, old: Binding, new: Binding) -> None:
        """``new`` has taken the place of ``old``."""
        if not self._moves:
            self._table.wake(self, MOVE_S, self._clock())
        self._moves.append(_Move(old, old.flow, new))

    def fire(self, now: float) -> None:
        """Move them."""
        moves, self._moves = self._moves, []
        by_flow: dict[Flow, list[_Move]] = {}
        for move in moves:
            if move.new.is_bound:
                by_flow.setdefault(move.flow, []).append(move)
        self._table.move({flow: partial(_moved, of) for flow, of in by_flow.items()}, now)


def _moved(moves: list[_Move], request: bytes) -> tuple[Flow, bytes] | None:
    """Write a request to an old contact as one to the new."""
    method, _, rest = request.partition(b" ")
    for old, flow, new in moves:
        start = b"%b SIP/2.0\r\n%b" % (old.uri, flow.via_line)
        if not rest.startswith(start) or old.routes != new.routes:
            continue
        if new.flow.is_reliable and not flow.is_reliable and b"\r\nContent-Length:" not in rest:
            return None  # A stream must be told where it ends.
        start_now = b"%b %b SIP/2.0\r\n%b" % (method, new.uri, new.flow.via_line)
        return new.flow, start_now + rest[len(start) :]
    return None


def _next_hop(target: Target) -> bytes:
    if not target.routes:
        return target.uri
    first = split_list(target.routes.partition(b":")[2].strip())[0]
    return Address.parse(first, of="Route").uri


def _public_place(hop: bytes, flow: Flow) -> Place | None:
    """Return where a connection reaches the one behind a flow; None when NAT is between."""
    try:
        parsed = SipUri.parse(hop)
    except ParseError:
        return None
    host = parsed.host.strip(b"[]").lower()
    is_tls = parsed.scheme == b"sips" or parsed.param(b"transport") in (b"tls", b"ws", b"wss")
    if host != flow.host or is_tls:
        return None
    # The zone of a link-local address stands in the flow alone (D30).
    zoned = flow.address[0] if isinstance(flow, UdpFlow | TcpFlow) else host.decode()
    return zoned, parsed.port or 5060
