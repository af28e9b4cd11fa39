"""A phone that calls and is called: as much of a user agent as calls through a proxy need (RFC 3261 §12-15)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from sipgram.identity import Entropy
from sipgram.sip.message import reply
from sipgram.sip.message.address import Address, parse_list
from sipgram.sip.message.message import Message
from sipgram.sip.message.request import build
from sipgram.sip.sink import Cause, ClientSide, Flow
from sipgram.sip.timers import Timers
from sipgram.sip.transaction.client_invite import ClientInviteTransaction
from sipgram.sip.transaction.server_invite import ServerInviteTransaction
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing.network import Address as NetAddress
from sipgram.testing.network import FakeEndpoint


@dataclass
class Dialog:
    """One side's view of a dialog (§12.2)."""

    call_id: bytes
    local: bytes
    "Our From or To value, with its tag."
    remote: bytes
    target: bytes
    routes: Sequence[bytes]
    cseq: int = 100


@dataclass
class Answering:
    """How a phone answers an INVITE."""

    provisionals: Sequence[int] = (180,)
    after_s: float = 0.1
    "When the provisional responses go, all at once."
    final: int = 200
    "0 to ring for ever."
    final_after_s: float = 1.0
    headers: Sequence[bytes] = ()


@dataclass
class Sent:
    """What became of one request that is not INVITE; the user of its transaction."""

    statuses: list[int] = field(default_factory=list)
    failure: Cause | None = None

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        self.statuses.append(response.status)

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        self.failure = cause

    def on_waiting(self, now: float) -> None:
        """Go on waiting."""


class Call:
    """One INVITE that a phone sent; acknowledges each 2xx however often it comes (§13.2.2.4)."""

    def __init__(self, phone: "CallPhone", invite: bytes, cseq: int, local: bytes) -> None:
        self._phone = phone
        self.invite = invite
        self.cseq = cseq
        self.local = local
        self.provisionals: list[int] = []
        self.finals: list[Message] = []
        "Each failure, and each 2xx once for each time that it came."
        self.failure: Cause | None = None
        self.dialogs: dict[bytes, Dialog] = {}
        "By the callee's tag: forks may give several."
        self.ended = 0.0
        self.client: ClientInviteTransaction

    @property
    def status(self) -> int:
        return self.finals[0].status if self.finals else 0

    @property
    def dialog(self) -> Dialog:
        (found,) = self.dialogs.values()
        return found

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        if response.status < 200:
            self.provisionals.append(response.status)
            return
        self.finals.append(response)
        self.ended = self.ended or now
        if response.status < 300:
            routes = _uris(response.values(b"record-route"), "Record-Route")[::-1]
            (target,) = _uris(response.values(b"contact"), "Contact")
            dialog = Dialog(
                call_id=response.call_id,
                local=self.local,
                remote=response.value(b"to") or b"",
                target=target,
                routes=routes,
                cseq=self.cseq,
            )
            self.dialogs.setdefault(response.to_tag, dialog)
            self._phone.ack(dialog, self.cseq)

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        self.failure = cause
        self.ended = self.ended or now

    def cancel(self) -> None:
        self.client.cancel(self._phone.now)


class Ringing:
    """One INVITE that a phone got; repeats its 2xx until the ACK comes (§13.3.1.4)."""

    def __init__(self, phone: "CallPhone", request: Message, tag: bytes) -> None:
        self._phone = phone
        self.request = request
        self.tag = tag if not request.to_tag else b""
        self.is_acked = False
        self.was_cancelled = False
        self.times_sent = 0
        self.server: ServerInviteTransaction
        to = request.value(b"to") or b""
        self.dialog = Dialog(
            call_id=request.call_id,
            local=to if request.to_tag else to + b";tag=" + tag,
            remote=request.value(b"from") or b"",
            target=_uris(request.values(b"contact"), "Contact")[0],
            routes=_uris(request.values(b"record-route"), "Record-Route"),
        )

    def respond(self, status: int, headers: Sequence[bytes] = ()) -> None:
        if not self.server.is_open:
            return
        response = self._built(status, headers)
        self.server.respond(status, response, self._phone.now)
        if 200 <= status < 300:
            self.times_sent = 1
            self._phone.later(0.5, lambda: self._repeat(response, 0.5))

    def _repeat(self, response: bytes, interval_s: float) -> None:
        if self.is_acked or self.times_sent > 10:
            return
        self.times_sent += 1
        self.server.respond(200, response, self._phone.now)
        following = min(2 * interval_s, 4.0)
        self._phone.later(following, lambda: self._repeat(response, following))

    def on_cancel(self, now: float) -> None:
        self.was_cancelled = True
        self.respond(487)

    def on_undelivered(self, cause: Cause, now: float) -> None:
        """Its ACK is missing; the caller will see."""

    def _built(self, status: int, headers: Sequence[bytes]) -> bytes:
        flow = self.server.flow
        recorded = [b"Record-Route: " + v for v in self.request.values(b"record-route")]
        return reply.build(
            self.request,
            status,
            to_tag=self.tag,
            host=flow.host,
            port=flow.port,
            headers=[*recorded, b"Contact: <" + self._phone.contact + b">", *headers]
            if status < 300
            else headers,
        )


class CallPhone:
    """One phone, at one address, behind one proxy."""

    def __init__(
        self,
        endpoint: FakeEndpoint,
        user: str,
        *,
        server: NetAddress,
        entropy: Entropy,
        is_reliable: bool = False,
        answering: Answering | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.aor = f"sip:{user}@example.com".encode()
        self.answering = answering or Answering()
        self.is_reliable = is_reliable
        self.table = TransactionTable(self, timers=Timers())
        endpoint.table = self.table
        self.rung: list[Ringing] = []
        self.requests: list[Message] = []
        "All but INVITE, ACK and CANCEL."
        self.acks: list[Message] = []
        self.strays = 0
        self._server = server
        self._entropy = entropy

    # ---- calling ---------------------------------------------------------------------------

    def call(self, to: str, headers: Sequence[bytes] = ()) -> Call:
        """Invite an AoR."""
        uri = to.encode()
        local = b"<" + self.aor + b">;tag=" + self._token()
        dialog = Dialog(self._token(), local, b"<" + uri + b">", uri, (), 0)
        return self.invite(dialog, headers)

    def invite(self, dialog: Dialog, headers: Sequence[bytes] = ()) -> Call:
        """Send an INVITE, in a dialog a re-INVITE."""
        branch, invite = self._built(b"INVITE", dialog, headers)
        call = Call(self, invite, dialog.cseq, dialog.local)
        call.client = self.table.invites.start_client(invite, branch, self.flow, call, self.now)
        return call

    def request(self, method: bytes, dialog: Dialog) -> Sent:
        """Send another request in a dialog."""
        branch, data = self._built(method, dialog, ())
        sent = Sent()
        self.table.start_client(data, branch, method, self.flow, sent, self.now)
        return sent

    def ack(self, dialog: Dialog, cseq: int) -> None:
        """Acknowledge a 2xx: a request of its own, under a branch of its own."""
        held = dialog.cseq
        dialog.cseq = cseq - 1
        self.flow.send(self._built(b"ACK", dialog, ())[1])
        dialog.cseq = max(held, cseq)

    # ---- being called ----------------------------------------------------------------------

    def on_request(self, request: Message, flow: Flow, now: float) -> None:
        invites = self.table.invites
        match request.method:
            case b"INVITE":
                ringing = Ringing(self, request, self._token())
                self.rung.append(ringing)
                ringing.server = invites.open_server(request, flow, ringing, now)
                self._ring(ringing)
            case b"ACK":
                self.acks.append(request)
                for ringing in self.rung:
                    sent = ringing.request
                    if (sent.call_id, sent.cseq) == (request.call_id, request.cseq):
                        ringing.is_acked = True
            case b"CANCEL":
                self._answer(request, flow, 200 if invites.cancel(request, now) else 481)
            case _:
                self.requests.append(request)
                self._answer(request, flow, 200)

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        self.strays += 1

    def _ring(self, ringing: Ringing) -> None:
        how = self.answering
        if ringing.request.to_tag:  # A re-INVITE rings nowhere.
            ringing.respond(200)
            return
        for status in how.provisionals:
            self.later(how.after_s, partial(ringing.respond, status))
        if how.final:
            self.later(how.final_after_s, lambda: ringing.respond(how.final, how.headers))

    def _answer(self, request: Message, flow: Flow, status: int) -> None:
        response = reply.build(
            request, status, to_tag=self._token(), host=flow.host, port=flow.port
        )
        self.table.answer(request, flow, response, self.now)

    # ---- what all of it needs --------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.endpoint.network.clock.now

    def later(self, after_s: float, action: Callable[[], None]) -> None:
        self.endpoint.network.call_later(after_s, action)

    @property
    def flow(self) -> Flow:
        """The way to the proxy."""
        return self.endpoint.flow(self._server, is_reliable=self.is_reliable)

    @property
    def contact(self) -> bytes:
        """Where requests reach this phone."""
        host, port = self.endpoint.address
        transport = b";transport=tcp" if self.is_reliable else b""
        user = self.aor[4:].partition(b"@")[0]
        return b"sip:%b@%b:%d%b" % (user, host.encode(), port, transport)

    def _token(self) -> bytes:
        return self._entropy.token().encode()

    def _built(
        self, method: bytes, dialog: Dialog, headers: Sequence[bytes]
    ) -> tuple[bytes, bytes]:
        dialog.cseq += 1
        branch = b"z9hG4bK" + self._token()
        routes = [b"Route: <" + uri + b">" for uri in dialog.routes]
        data = build(
            method,
            dialog.target,
            via=self.flow.via_line + branch,
            sender=dialog.local,
            to=dialog.remote,
            call_id=dialog.call_id,
            cseq=dialog.cseq,
            headers=[*routes, b"Contact: <" + self.contact + b">", *headers],
        )
        return branch, data


def _uris(values: list[bytes], of: str) -> list[bytes]:
    addresses: list[Address] = parse_list(values, of=of)
    return [address.uri for address in addresses]
