"""The INVITE transactions of one endpoint, beside the table of all others (RFC 3261 §17; RFC 6026).

``TransactionTable`` asks here for what it does not know itself, so that a MESSAGE pays nothing.
An ACK of a 2xx belongs to no transaction: it is not handled here but goes to the table's user,
who forwards it without one (§16.11).
"""

from collections.abc import Collection, Mapping
from typing import Final, Protocol

from sipgram.sip.message.message import Message
from sipgram.sip.sink import Cause, ClientSide, ClientUser, Flow, Mover
from sipgram.sip.timers import Sleeper, Timers
from sipgram.sip.transaction.client_invite import ClientInviteTransaction
from sipgram.sip.transaction.invite_sink import InviteClientUser, InviteServerUser
from sipgram.sip.transaction.server_invite import ServerInviteTransaction

INVITES_MAX: Final = 20_000
"""INVITE server transactions at one time, the 32 s of Timers H and L with them."""


class Requests(Protocol):
    """What is needed of the table of all other transactions."""

    timers: Timers

    @property
    def wake(self) -> "Wake":
        """The queue's own ``wake``."""

    def start_client(
        self, request: bytes, branch: bytes, method: bytes, flow: Flow, user: ClientUser, now: float
    ) -> object:
        """Send a request in a client transaction of its own."""


class Wake(Protocol):
    """The shape of ``TimerQueue.wake``."""

    def __call__(self, sleeper: Sleeper, after_s: float, now: float) -> None: ...


class Invites:
    """The INVITE machines, found by branch and key; also their sink."""

    def __init__(self, requests: Requests) -> None:
        self.timers = requests.timers
        self.wake = requests.wake
        self._requests = requests
        self._clients: dict[bytes, ClientInviteTransaction] = {}
        self._servers: dict[bytes, ServerInviteTransaction] = {}

    # ---- messages --------------------------------------------------------------------------

    def receive(self, message: Message, flow: Flow, now: float) -> bool:
        """Take an INVITE, an ACK or a response to an INVITE; False when it is for the user."""
        if message.status:
            client = self._clients.get(message.branch)
            if client is None or message.method != b"INVITE" or message.faults:
                return False
            client.receive(message, now)
            return True
        server = self._servers.get(message.key)
        return server is not None and server.receive(message, now)

    def cancel(self, request: Message, now: float) -> bool:
        """Take a CANCEL; False when it matches no INVITE that we know (§9.2: 481).

        The CANCEL itself is answered by whoever asks: 200 as soon as it matches.
        """
        server = self._servers.get(request.key.removesuffix(b"CANCEL") + b"INVITE")
        if server is None:
            return False
        server.cancel(now)
        return True

    def open_server(
        self, request: Message, flow: Flow, user: InviteServerUser | None, now: float
    ) -> ServerInviteTransaction:
        """Begin the server transaction of an INVITE that was passed up."""
        server = ServerInviteTransaction(request, flow.reply_flow(request), user, self)
        self._servers[request.key] = server
        server.start(now)
        return server

    def answer(
        self, request: Message, flow: Flow, status: int, response: bytes, now: float
    ) -> None:
        """Answer an INVITE that was passed up, at once and for good."""
        self.open_server(request, flow, None, now).respond(status, response, now)

    def start_client(
        self, request: bytes, branch: bytes, flow: Flow, user: InviteClientUser, now: float
    ) -> ClientInviteTransaction:
        """Send an INVITE whose top Via has ``branch``."""
        client = ClientInviteTransaction(request, branch, flow, user, self)
        self._clients[branch] = client
        client.start(now)
        return client

    def transport_failed(self, flows: Collection[Flow], now: float) -> None:
        """Flows are dead: fail what is waiting on them (§17.1.4), in one look at all there is."""
        dead = set(map(id, flows))
        for client in [c for c in self._clients.values() if id(c.flow) in dead]:
            client.transport_failed(now)

    def move(self, movers: Mapping[Flow, Mover], now: float) -> None:
        """Send what waits on some flows on others (``TransactionTable.move``)."""
        for client in [c for c in self._clients.values() if c.flow in movers]:
            found = movers[client.flow](client.request)
            if found is not None:
                client.move(*found, now)

    # ---- sizes -----------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether more INVITEs are being worked on than the node can bear."""
        return len(self._servers) >= INVITES_MAX

    @property
    def open_count(self) -> int:
        """How many INVITE transactions there are, those that only wait for Timers D to M too."""
        return len(self._servers) + len(self._clients)

    @property
    def ringing_count(self) -> int:
        """How many INVITEs that came in wait for their final response; looks at each of them."""
        return sum(server.is_open for server in self._servers.values())

    def open_servers(self) -> list[ServerInviteTransaction]:
        """Return the INVITEs that have no final response yet."""
        return [server for server in self._servers.values() if server.is_open]

    # ---- the machines' sink ----------------------------------------------------------------

    def start_cancel(self, cancel: bytes, branch: bytes, flow: Flow, now: float) -> None:
        self._requests.start_client(cancel, branch, b"CANCEL", flow, _Unheard(), now)

    def end_client(self, branch: bytes) -> None:
        self._clients.pop(branch, None)

    def end_server(self, key: bytes) -> None:
        self._servers.pop(key, None)


class _Unheard:
    """The user of a CANCEL: §9.1 has its answer make no difference."""

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        """Drop it."""

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        """The INVITE has its own deadline."""

    def on_waiting(self, now: float) -> None:
        """Go on waiting."""
