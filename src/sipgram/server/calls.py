"""Calls between those who are registered here, and what goes on in their dialogs (RFC 3261 §16; D2, D31).

An INVITE to an AoR forks to its contacts; a request whose Route holds our signed token goes by
its Route. The dispatcher has found out by then who sent it, where that is asked.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import structlog

from sipgram.errors import Error, PeerError, Refusal
from sipgram.identity import NodeId
from sipgram.server.routing.hops import Hop, destination, hop_or_none, host_of, uri_of
from sipgram.server.routing.next_hops import Destination, HopTarget, NextHops, Trail
from sipgram.server.ways import Ways
from sipgram.services.answers import Answer, Later
from sipgram.services.registrar.gruu import PARAMETER
from sipgram.services.registrar.location import Binding, Locations
from sipgram.settings import CallSettings
from sipgram.sip.branch import Brancher
from sipgram.sip.invite_proxy import CallTimes, InviteFork, InviteProxy, Onward
from sipgram.sip.loops import LoopGuard, breadth_of
from sipgram.sip.message.address import Address
from sipgram.sip.message.grammar import shown
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.reply import build
from sipgram.sip.message.uri import SipUri, is_sips
from sipgram.sip.preferences import NONE, Preferences
from sipgram.sip.proxy import Target
from sipgram.sip.record_route import Course, RecordRoutes
from sipgram.sip.routing.hunt import WAIT_STEP_S, OneHop, Pursuit
from sipgram.sip.sink import AS_IT_IS, Carrier, Flow, T, is_secure
from sipgram.sip.targets import Disposition, arranged, one_flow_each
from sipgram.sip.transaction.invites import Invites

log = structlog.get_logger("sipgram.server")

REFRESHING: Final = (b"INVITE", b"UPDATE")
"""Requests in a dialog that may change where it leads (§12.2, RFC 3311)."""
REFRESHED_MAX: Final = 20_000
"""Contacts that came up within dialogs; beyond that the oldest is forgotten and asks for digest."""
AWAY: Final = (b"Retry-After: 30",)
_DEFAULTS: Final = CallSettings()
CONNECTS_MAX: Final = 1_000
"""Connections to contacts being opened at one time; beyond that the peer counts as away."""


class Calls:
    """Routes INVITE and ACK, and every other request in a dialog."""

    def __init__(
        self,
        proxy: InviteProxy,
        *,
        routes: RecordRoutes,
        ways: Ways,
        locations: Locations,
        clock: Callable[[], float],
        hops: NextHops | None = None,
        leads_to_trunk: Callable[[bytes], bool] = lambda uri: False,
        answer_s: float = 5.0,
        rearm: Callable[[], None] = lambda: None,
    ) -> None:
        """``rearm`` is called when something was done outside of the endpoint's own batches.

        Without ``hops`` nothing is looked up or connected to.
        """
        self._proxy = proxy
        self._hops = hops
        self._leads_to_trunk = leads_to_trunk
        self._answer_s = answer_s
        self._refreshed: OrderedDict[tuple[bytes, bytes], None] = OrderedDict()
        self.invites = proxy.invites
        self.routes = routes
        self.ways = ways
        self.locations = locations
        self.clock = clock
        self._rearm = rearm
        self._tasks: set[asyncio.Task[None]] = set()

    def course(self, request: Message) -> Course:
        """Read where a request goes by its Route.

        Raises:
            Refusal: 403 when it leads on, but to a trunk: nothing is relayed for strangers (D2).
            ParseError: 400, a Route value is malformed.
        """
        course = self.routes.course(request)
        # Within a dialog of ours the proxies of a Path have recorded their route as well.
        is_in_dialog = course.is_signed and request.to_tag
        if course.leads_on and not is_in_dialog and not self._leads_to_trunk(course.next_hop):
            raise Refusal(403, f"Route Leads To Others: {shown(course.next_hop)}")
        return course

    def check_loop(self, request: Message) -> None:
        """Refuse what has been here before, unchanged (§16.3 step 4).

        Raises:
            Refusal: 482.
        """
        if self._proxy.loops.is_loop(request):
            raise Refusal(482, "Loop Detected")

    def invite(self, request: Message, cuts: tuple[Cut, ...], flow: Flow, now: float) -> None:
        """Send a new INVITE to the contacts of its AoR.

        Raises:
            Refusal: 404 and 403 for whom we do not have, 440, 480 when no contact is left.
            ParseError: 400, a header that chooses between contacts is malformed.
        """
        breadth = breadth_of(request)
        wish = Disposition.of(request)
        bindings = self._bindings(request, flow, now)
        groups = arranged(bindings, wish)
        routing = _Routing(self, request, flow, wish)
        server = self.invites.open_server(request, flow, None, now)
        onward = Onward(flow, cuts, breadth, routing)
        InviteFork(request, server, self._proxy, onward).start(groups, now)

    def pass_on(
        self, request: Message, course: Course, cuts: tuple[Cut, ...], flow: Flow, now: float
    ) -> Answer | None:
        """Send a request of a dialog that began through us to its next hop (§16.6).

        Returns None for an INVITE, which has been sent then, or will be.

        Raises:
            Refusal: 480 when there is no way, 482 when it would come back.
            ParseError: 400, the next hop's URI is malformed.
        """
        hop = self._device(course)
        if hop is None:
            self._check_hop(course)
            hop = hop_or_none(course, self._flow_of(request, course))
        self._learn(request)
        if request.method == b"INVITE":
            again = Onward(flow, cuts, breadth_of(request), _Dialog(self))
            self._invite_again(request, course, again, hop, now)
            return None
        if hop is not None:
            return Pursuit(OneHop(hop, self._answer_s), cuts)

        async def locate() -> Pursuit:
            return Pursuit(await self._trail((destination(request, course),), request, now), cuts)

        return Later(locate())

    def is_expected(self, request: Message, course: Course) -> bool:
        """Say whether a signed request goes where its dialog leads (D2), and so needs no digest.

        That is the flow that our token names, the one that it was made for, or a Contact that
        replaced that one since (§12.2.1.2).
        """
        if course.is_expected or self.ways.named(course) is not None:
            return True
        return (request.call_id, host_of(course.next_hop)) in self._refreshed

    def pass_ack(self, request: Message, course: Course, cuts: tuple[Cut, ...], flow: Flow) -> None:
        """Send the ACK of a 2xx to its next hop; what has no way is dropped, as nobody answers it.

        Raises:
            PeerError, Refusal: there is no way.
        """
        hop = self._device(course)
        if hop is None:
            if not self.is_expected(request, course):
                raise Refusal(403, f"Dialog Does Not Lead To: {shown(course.next_hop)}")
            self._check_hop(course)
            hop = hop_or_none(course, self._flow_of(request, course))
        if hop is not None:
            self._proxy.forward_ack(request, hop, Onward(flow, cuts))
            return

        async def locate() -> None:
            if self._hops is None:
                return
            way = await self._hops.flow(destination(request, course), request=request)
            found = hop_or_none(course, way)
            if found is not None:
                self._proxy.forward_ack(request, found, Onward(flow, cuts))

        self._spawn(locate())

    def invite_onward(
        self,
        request: Message,
        destinations: tuple[Destination, ...],
        cuts: tuple[Cut, ...],
        flow: Flow,
        now: float,
    ) -> None:
        """Send a new INVITE to a trunk or another domain.

        Raises:
            Refusal: 440.
        """
        breadth = breadth_of(request)
        server = self.invites.open_server(request, flow, None, now)
        routing = _Routing(self, request, flow, Disposition.of(request))
        fork = InviteFork(request, server, self._proxy, Onward(flow, cuts, breadth, routing))
        self._hunt(fork, routing, destinations, request, now)

    def learn(self, response: Message) -> None:
        """Hear of a 2xx in a dialog: its Contact may be another than before (§12.2.1.2)."""
        if 200 <= response.status < 300:
            self._learn(response)

    def _learn(self, message: Message) -> None:
        contact = uri_of(message.value(b"contact") or b"")
        host = host_of(contact) if contact else b""
        if host and message.method in REFRESHING:
            self._refreshed[message.call_id, host] = None
            self._refreshed.move_to_end((message.call_id, host))
            if len(self._refreshed) > REFRESHED_MAX:
                self._refreshed.popitem(last=False)

    def _flow_of(self, request: Message, course: Course) -> Flow | None:
        """Return the flow that there is to the next hop.

        Raises:
            Refusal: 480, a sips: URI may not go by it (§26.2.2).
        """
        flow = self.ways.flow_of(course)
        if flow is not None and is_sips(request.uri) and not is_secure(flow):
            raise Refusal(480, "No Way By TLS")
        return flow

    async def _trail(
        self, destinations: tuple[Destination, ...], request: Message, since: float
    ) -> Trail:
        if self._hops is None:
            raise Refusal(480, f"No Way To: {shown(request.uri)}", AWAY)
        return await self._hops.trail(
            destinations, request=request, within_s=self._answer_s, since=since
        )

    def redirected(self, contacts: Sequence[Address], source: Flow, now: float) -> list[Binding]:
        """Return the contacts of those AoRs in a 3xx that live here; others are not followed."""
        found: list[Binding] = []
        for contact in contacts:
            try:
                entry = self.locations.find(contact.uri)
            except (PeerError, Refusal):
                continue
            found += [b for b in entry.bindings if b.expires > now and b.takes(b"INVITE")]
        return one_flow_each([b for b in found if b.source is not source])

    def _bindings(self, request: Message, flow: Flow, now: float) -> list[Binding]:
        preferences = Preferences.of(request)
        bindings = self.locations.find(request.uri).bindings
        left = [b for b in bindings if b.expires > now and b.takes(b"INVITE")]
        if len(left) > 1:
            left = one_flow_each(left)
        # D6: not back to where it came from, unless that is the only device there is.
        left = [b for b in left if b.source is not flow] or left
        if preferences is not NONE:
            left = preferences.apply(left)
        if is_sips(request.uri):
            left = secure(left)
        if not left:
            raise Refusal(480, "Temporarily Unavailable", AWAY)
        return left

    def _device(self, course: Course) -> Hop | None:
        """Return the device that a GRUU of ours names as remote target (RFC 5627 §5.5).

        It is reached where it is registered now, on another flow than the dialog began on
        perhaps.

        Raises:
            Refusal: 404 and 480, there is no such device, or it is away.
        """
        if PARAMETER not in course.uri or course.leads_on:
            return None
        entry = self.locations.find(course.uri)
        if not entry.only:
            return None
        live = [b for b in entry.bindings if b.expires > self.clock()]
        if not live:
            raise Refusal(480, "Temporarily Unavailable", AWAY)
        binding = max(live, key=lambda b: b.updated)
        return Hop(
            binding.uri,
            binding.flow,
            binding.name,
            instance=binding.instance,
            routes=binding.routes,
        )

    def _check_hop(self, course: Course) -> None:
        if course.flow:
            return
        hop = SipUri.parse(course.next_hop)
        host = hop.host.decode("ascii")
        if host in self.locations.domains or self.locations.is_own_address(host, hop.port or 5060):
            # Who gave our own address as Contact would have us send it to ourselves.
            raise Refusal(482, "Loop Detected: the next hop is this server")

    def _invite_again(
        self, request: Message, course: Course, onward: Onward, known: Hop | None, now: float
    ) -> None:
        server = self.invites.open_server(request, onward.source, None, now)
        fork = InviteFork(request, server, self._proxy, onward)
        if known is not None:
            fork.start(([known],), now)
            return
        routing = onward.routing
        assert isinstance(routing, _Dialog)
        self._hunt(fork, routing, (destination(request, course),), request, now)

    def _hunt(
        self,
        fork: InviteFork,
        routing: "_Dialog",
        destinations: tuple[Destination, ...],
        request: Message,
        now: float,
    ) -> None:
        """Start a fork with the first hop, once the hops are known."""

        async def locate() -> None:
            try:
                routing.trail = trail = await self._trail(destinations, request, now)
            except Refusal as error:
                log.info("INVITE has no way", reason=str(error))
                first = None
            else:
                first = trail.next(self.clock())
            # Nobody to be tried: 480, or 487 once cancelled.
            fork.start(() if first is None else ([first],), self.clock())

        if not self._spawn(locate()):
            fork.start((), now)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do something that must wait; False when too much of it waits already."""
        if len(self._tasks) >= CONNECTS_MAX:
            work.close()
            return False

        async def run() -> None:
            try:
                await work
            except Error as error:
                log.info("dialog has no way", reason=str(error))
            except Exception as error:
                log.error("request failed", exc_info=error)
            self._rearm()

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def refuse_open(self, brancher_tag: Callable[[Message], bytes], now: float) -> None:
        """Stop the phones that ring and answer their callers 480: nobody will do it later."""
        for server in self.invites.open_servers():
            server.cancel(now)
            request, flow = server.request, server.flow
            if request is not None:
                tag = brancher_tag(request)
                data = build(request, 480, to_tag=tag, host=flow.host, port=flow.port)
                server.respond(480, data, now)


def build_calls(
    invites: Invites,
    *,
    secret: bytes,
    node: NodeId,
    locations: Locations,
    ways: Ways,
    clock: Callable[[], float],
    settings: CallSettings = _DEFAULTS,
    carrier: Carrier = AS_IT_IS,
    hops: NextHops | None = None,
    leads_to_trunk: Callable[[bytes], bool] = lambda uri: False,
    answer_s: float = 5.0,
    rearm: Callable[[], None] = lambda: None,
) -> Calls:
    """Wire the parts that an INVITE passes; any node with the secret takes up its dialogs."""
    loops = LoopGuard(secret, node=node)
    brancher = Brancher(secret, node=node)
    times = CallTimes(timer_c_s=settings.timer_c_s, group_s=settings.group_s)
    return Calls(
        InviteProxy(invites, brancher, loops, times=times, user=locations, carrier=carrier),
        routes=RecordRoutes(secret, is_ours=lambda uri: locations.is_ours(uri.host.decode())),
        ways=ways,
        locations=locations,
        clock=clock,
        hops=hops,
        leads_to_trunk=leads_to_trunk,
        answer_s=answer_s,
        rearm=rearm,
    )


class _Dialog:
    """How an INVITE within a dialog goes on; its hops are found by name, where there is one."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.trail: Trail | None = None

    def lines(self, target: Target) -> bytes:
        return b""

    def redirect(self, contacts: Sequence[Address]) -> Sequence[Target]:
        return ()

    def fail_over(self, target: Target, status: int, now: float) -> Target | None:
        if self.trail is None or status == 430:
            return None
        return self.trail.failed(now)

    def silence_s(self, now: float) -> float:
        return 0.0 if self.trail is None else max(WAIT_STEP_S, self.trail.wait_s(now))

    def returned(self, response: Message, data: bytes) -> bytes:
        self._calls.learn(response)
        return data


class _Routing(_Dialog):
    """Records the route of a new INVITE, and follows redirections to AoRs that live here."""

    def __init__(self, calls: Calls, request: Message, source: Flow, wish: Disposition) -> None:
        super().__init__(calls)
        self._request = request
        self._source = source
        self._wish = wish
        contact = request.value(b"contact") or b""
        self._contact = uri_of(contact)

    def lines(self, target: Target) -> bytes:
        side = self._calls.ways.side
        return self._calls.routes.lines(
            self._request,
            source=side(self._source, self._contact),
            target=side(target.flow, target.uri, is_server=isinstance(target, HopTarget)),
        )

    def redirect(self, contacts: Sequence[Address]) -> Sequence[Target]:
        if not self._wish.may_recurse:
            return ()
        found = self._calls.redirected(contacts, self._source, self._calls.clock())
        return [t for t in found if not is_sips(self._request.uri) or is_secure(t.flow)]

    def fail_over(self, target: Target, status: int, now: float) -> Target | None:
        if isinstance(target, HopTarget):
            return super().fail_over(target, status, now)
        other = None if status == 503 else self._calls.locations.fail_over(target)
        is_fit = other is None or not is_sips(self._request.uri) or is_secure(other.flow)
        return other if is_fit else None

    def returned(self, response: Message, data: bytes) -> bytes:
        return self._calls.routes.returned(response, data)


def secure(targets: Sequence[T]) -> list[T]:
    """Return those that are reached by TLS, as a sips: URI asks for (§26.2.2).

    Raises:
        Refusal: 480, there is none.
    """
    left = [target for target in targets if is_secure(target.flow)]
    if not left:
        raise Refusal(480, "No Device Is There By TLS", AWAY)
    return left
