"""Every transaction of one endpoint, and the way of a message to its own (RFC 3261 §17.1.3, §17.2.3).

Answered requests are kept as bytes alone: ``key -> response``, in buckets that Timer J ends.
"""

from collections import deque
from collections.abc import Collection
from typing import Final, Protocol

from sipgram.sip.message.message import Message
from sipgram.sip.sink import ClientUser, Flow
from sipgram.sip.timers import NEVER, Sleeper, TimerQueue, Timers
from sipgram.sip.transaction.client_request import ClientRequestTransaction
from sipgram.sip.transaction.server_request import ServerRequestTransaction

ANSWERED_MAX: Final = 1_000_000
"""Responses kept for retransmissions; beyond that the oldest go before their Timer J."""
OPEN_MAX: Final = 100_000
"""Requests being worked on at one time; beyond that the node is overloaded."""
BUCKET_S: Final = 0.25
"""Answered requests of this long a time are forgotten together."""


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
        self._answered: dict[bytes, bytes] = {}
        self._answered_max = answered_max
        self._buckets: deque[tuple[float, list[bytes]]] = deque()
        self._bucket: list[bytes] = []
        self._bucket_closes = -NEVER
        self._queue = TimerQueue()
        self.wake = self._queue.wake

    # ---- messages --------------------------------------------------------------------------

    def receive(self, message: Message, flow: Flow, now: float) -> None:
        """Take a message that came in on ``flow``."""
        if message.status:
            client = self._clients.get(message.branch)
            if client is not None and client.method == message.method and not message.faults:
                client.receive(message, now)
            else:
                self._user.on_stray(message, flow, now)
            return
        key = message.key
        answer = self._answered.get(key)
        if answer is not None:
            flow.reply_flow(message).send(answer)
            return
        server = self._servers.get(key)
        if server is not None:
            server.receive(now)
            return
        self._user.on_request(message, flow, now)

    def knows(self, key: bytes) -> bool:
        """Say whether a request of this key is being answered, or was within Timer J."""
        return key in self._servers or key in self._answered

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
        client = ClientRequestTransaction(request, branch, method, flow, user, self)
        self._clients[branch] = client
        client.start(now)
        return client

    def transport_failed(self, flows: Collection[Flow], now: float) -> None:
        """Flows are dead: fail what is waiting on them (§17.1.4), in one look at all there is."""
        dead = set(map(id, flows))
        for client in [c for c in self._clients.values() if id(c.flow) in dead]:
            client.transport_failed(now)

    # ---- time ------------------------------------------------------------------------------

    @property
    def next_due(self) -> float:
        """When ``advance`` has something to do."""
        first = self._buckets[0][0] if self._buckets else NEVER
        return min(self._queue.next_due, first)

    def advance(self, now: float) -> None:
        """Fire the timers up to ``now`` and forget what Timer J ends."""
        self._queue.advance(now)
        while self._buckets and self._buckets[0][0] <= now:
            self._forget_oldest()

    # ---- sizes -----------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether more requests are being worked on than the node can bear."""
        return len(self._servers) >= OPEN_MAX

    @property
    def open_count(self) -> int:
        """How many requests wait for their final response, in and out."""
        return len(self._servers) + len(self._clients)

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
        if is_reliable:
            return  # Timer J is zero.
        # A whole bucket goes, since to look for the first key of a dict that lost its first keys
        # takes longer with each of them.
        while len(self._answered) >= self._answered_max and self._buckets:
            self._forget_oldest()
        if now >= self._bucket_closes or not self._buckets:
            self._bucket = []
            self._bucket_closes = now + BUCKET_S
            self._buckets.append((self._bucket_closes + self.timers.longest, self._bucket))
        self._answered[key] = response
        self._bucket.append(key)

    def _forget_oldest(self) -> None:
        _, keys = self._buckets.popleft()
        for key in keys:
            self._answered.pop(key, None)


class Wake(Protocol):
    """The shape of ``TimerQueue.wake``."""

    def __call__(self, sleeper: Sleeper, after_s: float, now: float) -> None: ...
