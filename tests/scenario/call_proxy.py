"""A proxy for calls, with no more around the machines than a call needs (RFC 3261 §16)."""

from collections.abc import Sequence
from dataclasses import dataclass

from sipgram.identity import NodeId
from sipgram.sip.branch import Brancher
from sipgram.sip.invite_proxy import CallTimes, InviteFork, InviteProxy, Onward
from sipgram.sip.loops import LoopGuard, breadth_of
from sipgram.sip.message import reply
from sipgram.sip.message.address import Address
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import Aor, SipUri
from sipgram.sip.proxy import Fork, ForkTimes, Proxy, Target
from sipgram.sip.record_route import Course, RecordRoutes, Side
from sipgram.sip.sink import Flow
from sipgram.sip.targets import Disposition, arranged
from sipgram.sip.timers import Timers
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing.network import FakeEndpoint, FakeFlow

from .call_phone import CallPhone

SECRET = b"s" * 32


@dataclass
class Hop:
    """A target: a contact, or the next hop of a dialog."""

    uri: bytes
    flow: Flow
    name: bytes
    q: float = 1.0
    is_silent: bool = False
    instance: bytes = b""
    routes: bytes = b""
    cannot_read: frozenset[bytes] = frozenset()


class CallProxy:
    """Routes INVITEs to the contacts of an AoR, and all else in a dialog by its Route."""

    def __init__(self, endpoint: FakeEndpoint) -> None:
        self.endpoint = endpoint
        self.table = TransactionTable(self, timers=Timers())
        endpoint.table = self.table
        self.contacts: dict[str, list[Hop]] = {}
        self.outcomes: list[tuple[bytes, bytes, int]] = []
        self.strays = 0
        self._flows: dict[bytes, Flow] = {}
        brancher = Brancher(SECRET, node=NodeId("n1"))
        self.loops = LoopGuard(SECRET, node=NodeId("n1"))
        self.routes = RecordRoutes(SECRET, is_ours=self._is_ours)
        self._brancher = brancher
        self._calls = InviteProxy(
            self.table.invites, brancher, self.loops, times=CallTimes(), user=self
        )
        self._others = Proxy(self.table, brancher, times=ForkTimes(), user=self)

    def bind(self, phone: CallPhone, *, q: float = 1.0) -> None:
        """Know the contact of a phone."""
        flow = self.endpoint.flow(phone.endpoint.address, is_reliable=phone.is_reliable)
        hop = Hop(phone.contact, flow, phone.contact, q)
        self.contacts.setdefault(str(Aor.parse(phone.aor)), []).append(hop)

    # ---- the table's user ------------------------------------------------------------------

    def on_request(self, request: Message, flow: Flow, now: float) -> None:
        method = request.method
        if method == b"CANCEL":
            found = self.table.invites.cancel(request, now)
            self._answer(request, flow, 200 if found else 481, now)
        elif request.faults or self.loops.is_loop(request) or not request.max_forwards:
            self._answer(request, flow, 400 if request.faults else 482, now)
        elif request.to_tag:
            self._pass_on(request, flow, self.routes.course(request), now)
        elif method == b"INVITE":
            server = self.table.invites.open_server(request, flow, None, now)
            hops = self.contacts.get(str(Aor.parse(request.uri)), [])
            groups = arranged(hops, Disposition.of(request))
            routing = _Routing(self, request, flow)
            onward = Onward(flow, breadth=breadth_of(request), routing=routing)
            InviteFork(request, server, self._calls, onward).start(groups, now)

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        self.strays += 1

    def fail_over(self, target: Target) -> Target | None:
        return None

    def on_outcome(self, target: Target, method: bytes, status: int) -> None:
        self.outcomes.append((target.uri, method, status))

    # ---- routing ---------------------------------------------------------------------------

    def side(self, flow: Flow) -> Side:
        """Name the side of us that a flow is on; a connection can only be named by a token."""
        if not flow.is_reliable:
            return Side(b"192.0.2.1:5060")
        name = b"c%b-%d" % (flow.host, flow.port)
        self._flows[name] = flow
        return Side(b"192.0.2.1:5060;transport=tcp", name)

    def _pass_on(self, request: Message, flow: Flow, course: Course, now: float) -> None:
        if not course.is_signed or course.leads_on or not (course.is_expected or course.flow):
            if request.method != b"ACK":
                self._answer(request, flow, 403 if course.leads_on else 481, now)
            return
        hop = Hop(course.uri, self._flow_by(course), course.next_hop)
        onward = Onward(flow, course.cuts, routing=_Routing(self, request, flow))
        if request.method == b"ACK":
            self._calls.forward_ack(request, hop, onward)
        elif request.method == b"INVITE":
            server = self.table.invites.open_server(request, flow, None, now)
            InviteFork(request, server, self._calls, onward).start([[hop]], now)
        else:
            other = self.table.open_server(request, flow, now)
            Fork(request, other, self._others).start([hop], flow, course.cuts, now)

    def _flow_by(self, course: Course) -> Flow:
        if course.flow:
            return self._flows[course.flow]
        uri = SipUri.parse(course.next_hop)
        return self.endpoint.flow((uri.host.decode(), uri.port or 5060))

    def _is_ours(self, uri: SipUri) -> bool:
        return uri.host == b"192.0.2.1"

    def _answer(self, request: Message, flow: Flow, status: int, now: float) -> None:
        tag = self._brancher.tag(request)
        data = reply.build(request, status, to_tag=tag, host=flow.host, port=flow.port)
        if request.method == b"INVITE":
            self.table.invites.answer(request, flow, status, data, now)
        elif request.method != b"ACK":
            self.table.answer(request, flow, data, now)


class _Routing:
    """Records the route, and follows redirections to AoRs that live here."""

    def __init__(self, proxy: CallProxy, request: Message, flow: Flow) -> None:
        self._proxy = proxy
        self._request = request
        self._source = flow

    def lines(self, target: Target) -> bytes:
        side = self._proxy.side
        assert isinstance(target.flow, FakeFlow)
        return self._proxy.routes.lines(
            self._request, source=side(self._source), target=side(target.flow)
        )

    def redirect(self, contacts: Sequence[Address]) -> Sequence[Target]:
        known = self._proxy.contacts
        return [hop for c in contacts for hop in known.get(str(Aor.parse(c.uri)), [])]

    def fail_over(self, target: Target, status: int, now: float) -> Target | None:
        return None

    def silence_s(self, now: float) -> float:
        return 0.0

    def returned(self, response: Message, data: bytes) -> bytes:
        return self._proxy.routes.returned(response, data)
