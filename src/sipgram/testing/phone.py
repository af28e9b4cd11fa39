"""A phone in a few lines: registers, sends, answers, and remembers all of it (RFC 3261 §8, §10)."""

from collections.abc import Iterable

from sipgram.identity import Entropy
from sipgram.sip.message import reply
from sipgram.sip.message.message import Message
from sipgram.sip.message.request import build
from sipgram.sip.sink import Cause, ClientSide, Flow
from sipgram.sip.timers import Timers
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing.network import Address, FakeEndpoint


class Sending:
    """What became of one request; the user of its client transaction."""

    def __init__(self, request: bytes, started: float) -> None:
        self.request = request
        self.started = started
        self.finals: list[Message] = []
        "Final responses; a second one would be a fault of the transaction."
        self.provisionals: list[tuple[float, int]] = []
        "When each came, and its status."
        self.failure: Cause | None = None
        self.ended = 0.0
        "When the final response or the failure came."

    @property
    def status(self) -> int:
        """The final status, 0 while there is none."""
        return self.finals[0].status if self.finals else 0

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        if response.status < 200:
            self.provisionals.append((now, response.status))
        else:
            self.finals.append(response)
            self.ended = now

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        self.failure = cause
        self.ended = now

    def on_waiting(self, now: float) -> None:
        """Go on waiting."""


class Phone:
    """One device of one AoR.

    ``status`` answers what comes in, 0 not at all; ``delay_s`` is how long that takes. The
    timers are the sender's own, so that it may be less patient than the network is slow.
    """

    def __init__(
        self,
        endpoint: FakeEndpoint,
        aor: str,
        *,
        server: Address,
        entropy: Entropy,
        is_reliable: bool = False,
        status: int = 200,
        delay_s: float = 0.0,
        timers: Timers | None = None,
    ) -> None:
        """``aor`` is a sip: URI; ``server`` the address that everything is sent to."""
        self.aor = aor.encode()
        self.status = status
        self.delay_s = delay_s
        self.received: list[Message] = []
        "Requests, each once however often it was repeated."
        self.strays = 0
        self.endpoint = endpoint
        self.table = endpoint.table = TransactionTable(self, timers=timers or Timers())
        self._server = server
        self._is_reliable = is_reliable
        self._entropy = entropy
        self._cseq = 0
        self._register_call_id = self._entropy.token().encode()

    @property
    def contact(self) -> bytes:
        """Where requests reach this phone."""
        host, port = self.endpoint.address
        user = self.aor.partition(b":")[2].partition(b"@")[0]
        transport = b";transport=tcp" if self._is_reliable else b""
        return b"sip:%b@%b:%d%b" % (user, host.encode(), port, transport)

    def register(self, *, expires_s: int = 3600) -> Sending:
        """Bind the contact to the AoR; 0 ends the binding (RFC 3261 §10.2)."""
        domain = self.aor.partition(b"@")[2]
        headers = (b"Contact: <" + self.contact + b">", b"Expires: %d" % expires_s)
        return self._start(
            b"REGISTER",
            b"sip:" + domain,
            to=self.aor,
            call_id=self._register_call_id,
            headers=headers,
        )

    def send(self, to: str, body: bytes) -> Sending:
        """Send a text in pager mode (RFC 3428 §4)."""
        return self._start(
            b"MESSAGE",
            to.encode(),
            to=to.encode(),
            call_id=self._entropy.token().encode(),
            headers=(b"Content-Type: text/plain",),
            body=body,
        )

    def on_request(self, request: Message, flow: Flow, now: float) -> None:
        status = self.status
        if not status:  # Without a transaction, since that would send 100 after a while.
            if all(request.key != seen.key for seen in self.received):
                self.received.append(request)
            return
        self.received.append(request)
        server = self.table.open_server(request, flow, now)
        response = reply.build(
            request,
            status,
            to_tag=self._entropy.token().encode(),
            host=flow.host,
            port=flow.port,
        )
        network = self.endpoint.network
        if self.delay_s:
            network.call_later(self.delay_s, lambda: server.respond(response, network.clock.now))
        else:
            server.respond(response, now)

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        self.strays += 1

    def _start(
        self,
        method: bytes,
        uri: bytes,
        *,
        to: bytes,
        call_id: bytes,
        headers: Iterable[bytes],
        body: bytes = b"",
    ) -> Sending:
        self._cseq += 1
        branch = b"z9hG4bK" + self._entropy.token().encode()
        flow = self.endpoint.flow(self._server, is_reliable=self._is_reliable)
        request = build(
            method,
            uri,
            via=flow.via_line + branch,
            sender=b"<" + self.aor + b">;tag=" + self._entropy.token().encode(),
            to=b"<" + to + b">",
            call_id=call_id,
            cseq=self._cseq,
            headers=headers,
            body=body,
        )
        now = self.endpoint.network.clock.now
        sending = Sending(request, now)
        self.table.start_client(
            request, branch=branch, method=method, flow=flow, user=sending, now=now
        )
        return sending
