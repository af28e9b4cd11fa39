"""Every transaction of one endpoint, and the way of a message to its own (RFC 3261 §17.1.3, §17.2.3).

Answered requests are kept as bytes alone (``answered.py``).
"""

from collections.abc import Collection, Mapping
from typing import Final, Protocol

from sipgram.sip.message.message import Message
from sipgram.sip.sink import ClientUser, Flow, Mover
from sipgram.sip.timers import Sleeper, TimerQueue, Timers
from sipgram.sip.transaction.answered import AnsweredRequests
from sipgram.sip.transaction.client_request import ClientRequestTransaction
from sipgram.sip.transaction.invites import Invites
from sipgram.sip.transaction.server_request import ServerRequestTransaction

ANSWERED_MAX: Final = 1_000_000
"""Responses kept for retransmissions; beyond that the oldest go before their Timer J."""
OPEN_MAX: Final = 100_000
"""Requests being worked on at one time; beyond that the node is overloaded."""
INVITE_METHODS: Final = frozenset((b"INVITE", b"ACK"))
"""What ``Invites`` is asked about; all else pays for one look into this set."""


class RequestUser(Protocol):
    """Who takes the requests that no transaction knows."""

    def on_request(self, request: Message, flow: Flow, now: float) -> None:
        """Take a new request; answer it through the table, or statelessly on the flow."""

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        """Take a response that matches no transaction; it must not be forwarded (RFC 6026)."""


class TransactionTable:
    """The machines, found by branch and key; also their sink."""

    def __init__(
        self, user: RequestUser, *, timers: Timers, answered_max: int = ANSWERED_MAX
    ) -> None:
        self.timers = timers
        self._user = user
        self._clients: dict[bytes, ClientRequestTransaction] = {}
        self._servers: dict[bytes, ServerRequestTransaction] = {}
        self._answered = AnsweredRequests(keep_s=timers.longest, at_most=answered_max)
        self._queue = TimerQueue()
        self.wake = self._queue.wake
        self.invites = Invites(self)

    # ---- messages --------------------------------------------------------------------------

    def receive(self, message: Message, flow: Flow, now: float) -> None:
        """Take a message that came in on ``flow``."""
        if message.status:
            client = self._clients.get(message.branch)
            if client is not None and client.method == message.method and not message.faults:
                client.receive(message, now)
            elif not self.invites.receive(message, flow, now):
                self._user.on_stray(message, flow, now)
            return
        key = message.key
        answer = self._answered.of(key)
        if answer is not None:
            flow.reply_flow(message).send(answer)
            return
        server = self._servers.get(key)
        if server is not None:
            server.receive(now)
            return
        if message.method in INVITE_METHODS and self.invites.receive(message, flow, now):
            return
        self._user.on_request(message, flow, now)

    def knows(self, key: bytes) -> bool:
        """Say whether a request of this key is being answered, or was within Timer J."""
        return key in self._servers or self._answered.of(key) is not None

    def open_server(self, request: Message, flow: Flow, now: float) -> ServerRequestTransaction:
        """Begin the server transaction of a request that was passed up."""
        server = ServerRequestTransaction(request, flow.reply_flow(request), self, now)
        self._servers[request.key] = server
        return server

    def open_servers(self) -> list[ServerRequestTransaction]:
        """Return the requests that have no final response yet."""
        return list(self._servers.values())

    def answer(self, request: Message, flow: Flow, response: bytes, now: float) -> None:
        """Answer a request that was passed up, at once and for good."""
        flow.reply_flow(request).send(response)
        self.complete_server(request.key, response, flow.is_reliable, now)

    def start_client(
        self, request: bytes, branch: bytes, method: bytes, flow: Flow, user: ClientUser, now: float
    ) -> ClientRequestTransaction:
        """Send a request whose top Via has ``branch``."""
        old = self._clients.get(branch)
        if old is not None:  # A sender on a stream used its branch again: the same to the device.
            old.abandon()
        client = ClientRequestTransaction(request, branch, method, flow, user, self)
        self._clients[branch] = client
        client.start(now)
        return client

    def abandon(self, branch: bytes) -> None:
        """Forget a request that we sent, and its answer."""
        client = self._clients.get(branch)
        if client is not None:
            client.abandon()

    def take_over(self, branch: bytes, flow: Flow, user: ClientUser) -> bool:
        """Hear of a request that is on its way on ``flow``; False when it is not."""
        client = self._clients.get(branch)
        if client is None or client.flow is not flow:
            return False
        client.user = user
        return True

    def transport_failed(self, flows: Collection[Flow], now: float) -> None:
        """Flows are dead: fail what is waiting on them (§17.1.4), in one look at all there is."""
        dead = set(map(id, flows))
        for client in [c for c in self._clients.values() if id(c.flow) in dead]:
            client.transport_failed(now)
        self.invites.transport_failed(flows, now)

    def move(self, movers: Mapping[Flow, Mover], now: float) -> None:
        """Send what waits on some flows on others, in one look at all there is (D26, D28)."""
        for client in [c for c in self._clients.values() if c.flow in movers]:
            found = movers[client.flow](client.request)
            if found is not None:
                client.move(*found, now)
        self.invites.move(movers, now)

    # ---- time ------------------------------------------------------------------------------

    @property
    def next_due(self) -> float:
        """When ``advance`` has something to do."""
        return min(self._queue.next_due, self._answered.next_due)

    def advance(self, now: float) -> None:
        """Fire the timers up to ``now`` and forget what Timer J ends."""
        self._queue.advance(now)
        self._answered.advance(now)

    # ---- sizes -----------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether more requests are being worked on than the node can bear."""
        return len(self._servers) >= OPEN_MAX

    @property
    def open_count(self) -> int:
        """How many requests wait for their final response, in and out; INVITEs by those that came in."""
        return len(self._servers) + len(self._clients) + self.invites.ringing_count

    @property
    def unanswered_count(self) -> int:
        """How many senders wait for their final response."""
        return len(self._servers) + self.invites.ringing_count

    @property
    def answered_count(self) -> int:
        """How many responses are kept for retransmissions."""
        return len(self._answered)

    # ---- the machines' sink ----------------------------------------------------------------

    wake: "Wake"

    def end_client(self, branch: bytes) -> None:
        self._clients.pop(branch, None)

    def complete_server(self, key: bytes, response: bytes, is_reliable: bool, now: float) -> None:
        self._servers.pop(key, None)
        if not is_reliable:  # Else Timer J is zero.
            self._answered.keep(key, response, now)


class Wake(Protocol):
    """The shape of ``TimerQueue.wake``."""

    def __call__(self, sleeper: Sleeper, after_s: float, now: float) -> None: ...
