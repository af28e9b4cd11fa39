"""Calls between those who are registered here, and what goes on in their dialogs (RFC 3261 §16; D2, D31).

An INVITE to an AoR forks to its contacts; a request whose Route holds our signed token goes by
its Route. The dispatcher has found out by then who sent it, where that is asked.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from sipgram.errors import Error, PeerError, Refusal
from sipgram.identity import NodeId
from sipgram.server.ways import Ways
from sipgram.services.answers import Answer, Forward, Later, Reply
from sipgram.services.registrar.location import Binding, Locations
from sipgram.settings import CallSettings
from sipgram.sip.branch import Brancher
from sipgram.sip.invite_proxy import CallTimes, InviteFork, InviteProxy, Onward
from sipgram.sip.loops import LoopGuard, breadth_of
from sipgram.sip.message.address import Address
from sipgram.sip.message.grammar import shown
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.reply import build
from sipgram.sip.message.uri import SipUri
from sipgram.sip.preferences import NONE, Preferences
from sipgram.sip.proxy import AS_IT_IS, Carrier, Target
from sipgram.sip.record_route import Course, RecordRoutes
from sipgram.sip.sink import Flow
from sipgram.sip.targets import Disposition, arranged, one_flow_each
from sipgram.sip.transaction.invites import Invites

log = structlog.get_logger("sipgram.server")

AWAY: Final = (b"Retry-After: 30",)
_DEFAULTS: Final = CallSettings()
CONNECTS_MAX: Final = 1_000
"""Connections to contacts being opened at one time; beyond that the peer counts as away."""


@dataclass(slots=True)
class Hop:
    """The next hop in a dialog."""

    uri: bytes
    flow: Flow
    name: bytes
    is_silent: bool = False
    instance: bytes = b""
    routes: bytes = b""
    cannot_read: frozenset[bytes] = frozenset()


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
        rearm: Callable[[], None] = lambda: None,
    ) -> None:
        """``rearm`` is called when something was done outside of the endpoint's own batches."""
        self._proxy = proxy
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
            Refusal: 403 when it leads on: nothing is relayed for strangers (D2).
            ParseError: 400, a Route value is malformed.
        """
        course = self.routes.course(request)
        # Within a dialog of ours the proxies of a Path have recorded their route as well.
        if course.leads_on and not (course.is_signed and request.to_tag):
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
        self._check_hop(course)
        onward = self.ways.flow_of(course)
        if request.method == b"INVITE":
            breadth = breadth_of(request)
            self._invite_again(request, course, Onward(flow, cuts, breadth), onward, now)
            return None
        if onward is not None:
            return Forward((_hop(course, onward),), cuts)

        async def connect() -> Reply | Forward:
            return Forward((_hop(course, await self.ways.connect(course)),), cuts)

        return Later(connect())

    def pass_ack(self, request: Message, course: Course, cuts: tuple[Cut, ...], flow: Flow) -> None:
        """Send the ACK of a 2xx to its next hop; what has no way is dropped, as nobody answers it.

        Raises:
            PeerError, Refusal: there is no way.
        """
        self._check_hop(course)
        found = self.ways.flow_of(course)
        if found is not None:
            self._proxy.forward_ack(request, _hop(course, found), Onward(flow, cuts))
            return

        async def connect() -> None:
            hop = _hop(course, await self.ways.connect(course))
            self._proxy.forward_ack(request, hop, Onward(flow, cuts))

        self._spawn(connect())

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
        if not left:
            raise Refusal(480, "Temporarily Unavailable", AWAY)
        return left

    def _check_hop(self, course: Course) -> None:
        if course.flow:
            return
        hop = SipUri.parse(course.next_hop)
        host = hop.host.decode("ascii")
        if host in self.locations.domains or self.locations.is_own_address(host, hop.port or 5060):
            # Who gave our own address as Contact would have us send it to ourselves.
            raise Refusal(482, "Loop Detected: the next hop is this server")

    def _invite_again(
        self, request: Message, course: Course, onward: Onward, flow: Flow | None, now: float
    ) -> None:
        server = self.invites.open_server(request, onward.source, None, now)
        fork = InviteFork(request, server, self._proxy, onward)
        if flow is not None:
            fork.start(([_hop(course, flow)],), now)
            return

        async def connect() -> None:
            try:
                hop = _hop(course, await self.ways.connect(course))
            except Refusal:
                fork.start((), self.clock())  # Nobody to be tried: 480, or 487 once cancelled.
            else:
                fork.start(([hop],), self.clock())

        if not self._spawn(connect()):
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
        rearm=rearm,
    )


class _Routing:
    """Records the route of a new INVITE, and follows redirections to AoRs that live here."""

    def __init__(self, calls: Calls, request: Message, source: Flow, wish: Disposition) -> None:
        self._calls = calls
        self._request = request
        self._source = source
        self._wish = wish
        contact = request.value(b"contact") or b""
        self._contact = _uri_of(contact)

    def lines(self, target: Target) -> bytes:
        side = self._calls.ways.side
        return self._calls.routes.lines(
            self._request,
            source=side(self._source, self._contact),
            target=side(target.flow, target.uri),
        )

    def redirect(self, contacts: Sequence[Address]) -> Sequence[Target]:
        if not self._wish.may_recurse:
            return ()
        return self._calls.redirected(contacts, self._source, self._calls.clock())

    def fail_over(self, target: Target) -> Target | None:
        return self._calls.locations.fail_over(target)


def _uri_of(contact: bytes) -> bytes:
    try:
        return Address.parse(contact, of="Contact").uri
    except PeerError:
        return b""  # The phones will say what they think of it.


def _hop(course: Course, flow: Flow) -> Hop:
    return Hop(course.uri, flow, course.next_hop + b" " + course.flow)
