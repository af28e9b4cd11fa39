"""From a new request to the service that answers it, and from its answer to transactions.

The one place where the error tree becomes SIP responses (RFC 3261 §8.2, §16).
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

import structlog

from sipgram.errors import Ignored, PeerError, Refusal
from sipgram.identity import AccountId
from sipgram.server.admission import Gate, OwnRegistrars, check_for_us, check_routing
from sipgram.server.calls import Calls, secure
from sipgram.server.excuses import Excuses
from sipgram.server.groups import Parts
from sipgram.server.routes import ALLOW, AS_UAS, CAPABILITIES, FOR_SERVERS, METHODS, OVERLOADED
from sipgram.server.routing.next_hops import Destination
from sipgram.server.routing.outward import Outward
from sipgram.services.answers import Answer, Asked, Commitment, Forward, Later, Reply, Split, Told
from sipgram.services.registrar.location import Locations
from sipgram.sip.branch import Brancher
from sipgram.sip.message.grammar import shown
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.parser import readdressed
from sipgram.sip.message.reply import build
from sipgram.sip.message.uri import Aor, SipUri, is_sips
from sipgram.sip.proxy import Fork, Proxy
from sipgram.sip.record_route import Course
from sipgram.sip.routing.hunt import Hunt, Pursuit
from sipgram.sip.sink import Flow, ServerSide, is_secure
from sipgram.sip.transaction.table import TransactionTable

log = structlog.get_logger("sipgram.server")

FAULTS_SHOWN_MAX: Final = 5
"""Faults told in the reason phrase of a 400."""
LATER_MAX: Final = 20_000
"""Requests that wait for something at one time; beyond that the node is overloaded."""


class Service(Protocol):
    """What ``ROUTES`` may hold."""

    def handle(
        self, request: Message, source: Flow, account_id: int | None, now: float
    ) -> Answer: ...


class Dispatcher:
    """The transaction user of the server's endpoint."""

    def __init__(
        self,
        locations: Locations,
        *,
        gate: Gate | None,
        brancher: Brancher,
        routes: Mapping[bytes, Service],
        clock: Callable[[], float],
        late: Callable[[Message, float], bool] = lambda response, now: False,
    ) -> None:
        """``gate`` is None when every From is believed (``--auth none``).

        ``late`` takes a 2xx that no transaction waits for, and says whether it knew it (D12).
        """
        self._locations = locations
        self._gate = gate
        self._brancher = brancher
        self._routes = routes
        self._clock = clock
        self._late = late
        self._outward: Outward | None = None
        self._blocked_at = gate if gate is not None and gate.has_blocked else None
        self._registrars = OwnRegistrars(locations)
        self._tasks: set[asyncio.Task[None]] = set()
        self._table: TransactionTable
        self._proxy: Proxy
        self._calls: Calls
        self.is_draining = False
        self.requests: dict[bytes, int] = dict.fromkeys((*METHODS, b"other"), 0)
        self.answers: dict[int, int] = {}
        self.strays = 0
        self._excuse = Excuses(clock).excuse

    def attach(
        self,
        table: TransactionTable,
        proxy: Proxy,
        calls: Calls,
        *,
        outward: Outward | None = None,
        rearm: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the transactions of the endpoint that this is the user of.

        ``rearm`` is called when something was done outside of the endpoint's own batches.
        """
        self._table = table
        self._proxy = proxy
        self._calls = calls
        self._outward = outward
        self._rearm = rearm

    # ---- the table's user ------------------------------------------------------------------

    def on_request(self, request: Message, flow: Flow, now: float) -> None:
        """Answer or forward one new request; whatever goes wrong, it gets an answer."""
        method = request.method
        counts = self.requests
        counts[method if method in counts else b"other"] += 1
        try:
            if self._blocked_at is not None:
                self._blocked_at.check_address(flow)
            answer = self._decide(request, method, flow, now)
        except Ignored:
            return
        except Exception as error:
            answer = self._excuse(error, request)
        if isinstance(answer, Forward):
            server = self._table.open_server(request, flow, now)
            fork = Fork(request, server, self._proxy, answer.deposit)
            fork.start(answer.targets, flow, answer.cuts, now)
        elif isinstance(answer, Reply):
            self._reply(answer, request, flow, now)
        elif isinstance(answer, Commitment):
            server = self._table.open_server(request, flow, now)
            if flow.is_reliable:  # A datagram's sender repeats it, which tells the transaction.
                server.expect(now)
            self._commit(answer, request, flow, server)
        elif isinstance(answer, Split):
            server = self._table.open_server(request, flow, now)
            self._split(answer, request, flow, server, now)
        elif isinstance(answer, Pursuit):
            server = self._table.open_server(request, flow, now)
            Hunt(request, server, self._proxy, answer, flow).start(now)
        elif answer is not None and len(self._tasks) < LATER_MAX:
            self._wait(answer, request, flow, self._table.open_server(request, flow, now))
        elif answer is not None:
            answer.work.close()
            self._reply(OVERLOADED, request, flow, now)

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        """Drop a response that no transaction waits for (RFC 6026 §8.9), but a late 2xx (D12)."""
        if not (200 <= response.status < 300 and self._late(response, now)):
            self.strays += 1

    @property
    def later_count(self) -> int:
        """Requests that wait for something, as for a connection or the policy."""
        return len(self._tasks)

    def refuse_open(self) -> None:
        """Answer what is still open with 480, since nobody will answer it later."""
        away = Reply(480, "Temporarily Unavailable: going down", (b"Retry-After: 5",))
        for server in self._table.open_servers():
            request, flow = server.request, server.flow
            if request is not None:
                server.respond(self._built(away, request, flow), self._clock())
        self._calls.refuse_open(self._brancher.tag, self._clock())

    # ---- deciding --------------------------------------------------------------------------

    def _decide(self, request: Message, method: bytes, flow: Flow, now: float) -> Answer | None:
        service = self._routes.get(method)
        if service is None or request.faults or self.is_draining or self._table.is_full:
            return self._decide_without_service(request, flow, now)
        check_routing(request)
        if method == b"OPTIONS" and self._is_server(request.uri):
            if self._gate is not None:
                self._gate.check_agent(request, flow)
            check_for_us(request)
            return CAPABILITIES
        if request.max_forwards == 0 and method != b"REGISTER":  # §16.3 step 3
            raise Refusal(483, "Too Many Hops: Max-Forwards is 0")
        routes: tuple[Cut, ...] = ()
        course = None
        if request.has(b"route"):
            course = self._calls.course(request)
            if course.is_signed and request.to_tag:
                return self._pass_on(request, course, flow, now)
            routes = course.cuts
        if method == b"REGISTER":
            self._registrars.check(request.uri)
        gate = self._gate
        account_id = None if gate is None else gate.admit(request, flow, now)
        if method in AS_UAS:
            check_for_us(request)
        if course is not None and course.leads_on:
            return self._go_outward(request, course, account_id, flow, now)
        try:
            answer = service.handle(request, flow, account_id, now)
        except Refusal as error:
            if error.status not in (403, 404) or not self._may_be_elsewhere(request):
                raise
            return self._elsewhere(error, request, routes, account_id, flow, now)
        is_plain = request.uri.startswith(b"sip:")  # Nearly always.
        if not is_plain and isinstance(answer, Forward) and is_sips(request.uri):
            answer.targets = secure(answer.targets)
        if gate is not None or routes:
            if isinstance(answer, Forward):
                answer.cuts = self._cuts(request, routes, is_trusted=account_id is None)
            elif isinstance(answer, Later):
                finish = partial(self._finish, request, routes, account_id is None)
                return answer._replace(finish=finish)
        return answer

    def _decide_without_service(self, request: Message, flow: Flow, now: float) -> Answer | None:
        """Answer what no service should see, and pass on what has none."""
        method = request.method
        if method == b"ACK":
            self._take_ack(request, flow)
            return None
        if request.faults:
            if not request.branch and not request.call_id:
                return None  # Nothing of it could be matched to anything: garbage.
            shown_faults = "; ".join(request.faults[:FAULTS_SHOWN_MAX])
            raise PeerError(shown_faults, status=request.fault_status)
        if method == b"CANCEL":
            return self._cancel(request, now)
        course = self._calls.course(request)
        is_in_dialog = course.is_signed and request.to_tag != b""
        is_full = self._table.is_full or (method == b"INVITE" and self._calls.invites.is_full)
        if is_full or (self.is_draining and not is_in_dialog):
            return OVERLOADED
        check_routing(request)
        if not is_in_dialog and (method in FOR_SERVERS or self._is_server(request.uri)):
            return Reply(405, f"Method Not Allowed: {shown(method)}", (ALLOW,))
        if request.max_forwards == 0:
            raise Refusal(483, "Too Many Hops: Max-Forwards is 0")
        self._calls.check_loop(request)
        if is_in_dialog:
            return self._pass_on(request, course, flow, now)
        return self._begin(request, course, flow, now)

    def _begin(self, request: Message, course: Course, flow: Flow, now: float) -> Answer | None:
        """Send a request that no service answers to the phones of its AoR, once it is admitted."""
        gate = self._gate
        account_id = None if gate is None else gate.admit(request, flow, now)
        cuts = self._cuts(request, course.cuts, is_trusted=account_id is None)
        if course.leads_on:
            return self._go_outward(request, course, account_id, flow, now)
        try:
            if request.method == b"INVITE":
                self._calls.invite(request, cuts, flow, now)
                return None
            answer = self._routes[b"MESSAGE"].handle(request, flow, account_id, now)
        except Refusal as error:
            if error.status not in (403, 404):
                raise
            return self._elsewhere(error, request, course.cuts, account_id, flow, now)
        if isinstance(answer, Forward):
            answer.cuts = cuts
            if is_sips(request.uri):
                answer.targets = secure(answer.targets)
        return answer

    def _may_be_elsewhere(self, request: Message) -> bool:
        """Say whether a refusal of ours is about whom we do not have, and not about who asks."""
        if request.method not in AS_UAS:
            return True
        domain = Aor.parse(request.uri).domain
        return (
            request.method != b"REGISTER" and domain != "" and not self._locations.is_ours(domain)
        )

    def _elsewhere(
        self,
        error: Refusal,
        request: Message,
        routes: tuple[Cut, ...],
        account_id: AccountId | None,
        flow: Flow,
        now: float,
    ) -> Answer | None:
        """Send what is for nobody here to a trunk or another domain, if that may be; else refuse."""
        if request.to_tag:  # D2: it names no AoR of ours.
            raise Refusal(481, "Dialog Did Not Begin Here") from error
        outward = self._outward
        if outward is None or not self._may_relay(account_id, flow):
            raise error
        destinations = outward.by_uri(request)
        if not destinations:
            raise error
        return self._send_outward(request, destinations, routes, account_id, flow, now)

    def _go_outward(
        self,
        request: Message,
        course: Course,
        account_id: AccountId | None,
        flow: Flow,
        now: float,
    ) -> Answer | None:
        """Send a request to the trunk that its Route leads to (D2)."""
        if self._outward is None or not self._may_relay(account_id, flow):
            raise Refusal(403, f"Route Leads To Others: {shown(course.next_hop)}")
        destinations = self._outward.by_route(request, course)
        return self._send_outward(request, destinations, course.cuts, account_id, flow, now)

    def _may_relay(self, account_id: AccountId | None, flow: Flow) -> bool:
        outward, has_gate = self._outward, self._gate is not None
        return outward is not None and outward.may_relay(account_id, flow, has_gate=has_gate)

    def _send_outward(
        self,
        request: Message,
        destinations: tuple[Destination, ...],
        routes: tuple[Cut, ...],
        account_id: AccountId | None,
        flow: Flow,
        now: float,
    ) -> Answer | None:
        assert self._outward is not None
        cuts = self._cuts(request, routes, is_trusted=account_id is None)
        if request.method == b"INVITE":
            self._calls.invite_onward(request, destinations, cuts, flow, now)
            return None
        return Later(self._outward.pursuit(request, destinations, cuts, now))

    def _pass_on(self, request: Message, course: Course, flow: Flow, now: float) -> Answer | None:
        """Send a request on within its dialog, which our token admits (D2).

        Where it leads to somebody whom the dialog did not name, its sender has to be known.
        """
        if self._gate is not None and not self._calls.is_expected(request, course):
            account_id = self._gate.admit(request, flow, now)
            if not self._may_relay(account_id, flow):
                raise Refusal(403, f"Dialog Does Not Lead To: {shown(course.next_hop)}")
        cuts = self._cuts(request, course.cuts, is_trusted=False)
        return self._calls.pass_on(request, course, cuts, flow, now)

    def _take_ack(self, request: Message, flow: Flow) -> None:
        """Pass the ACK of a 2xx on (§16.11); no ACK is ever answered."""
        if request.faults or request.to_tag in (b"", self._brancher.tag(request)):
            return  # Of an answer that we gave statelessly (D3).
        try:
            course = self._calls.course(request)
            if course.is_signed and request.max_forwards != 0:
                cuts = self._cuts(request, course.cuts, is_trusted=False)
                self._calls.pass_ack(request, course, cuts, flow)
        except (PeerError, Refusal) as error:
            log.info("ACK has no way", reason=str(error))

    def _cuts(
        self, request: Message, routes: tuple[Cut, ...], *, is_trusted: bool
    ) -> tuple[Cut, ...]:
        """Return the lines to leave out: what brought it here, and what was for us alone."""
        cuts = routes
        if self._gate is not None and not is_trusted:
            if request.has(b"proxy-authorization"):
                cuts += self._gate.credentials(request)
            # D2: the untrusted assert nothing, and whom an anonymous one prefers to be is for us
            # alone (RFC 3325 §9.2).
            for name in (b"p-asserted-identity", b"p-preferred-identity"):
                if request.has(name):
                    cuts += tuple((*span, b"") for span in request.spans(name))
        return cuts if len(cuts) < 2 else tuple(sorted(cuts))

    def _finish(
        self, request: Message, routes: tuple[Cut, ...], is_trusted: bool, answer: Forward
    ) -> None:
        cuts = self._cuts(request, routes, is_trusted=is_trusted)
        if isinstance(answer, Asked):  # Its first line may be longer or shorter now.
            by = len(answer.request.raw) - len(request.raw)
            cuts = tuple((start + by, end + by, line) for start, end, line in cuts)
        answer.cuts = cuts
        if is_sips(request.uri):
            answer.targets = [t for t in answer.targets if is_secure(t.flow)]

    def _is_server(self, uri: bytes) -> bool:
        """Say whether a Request-URI names the server itself and no user of it."""
        if b"@" in uri or not uri[:4].lower().startswith(b"sip"):
            return False
        return self._locations.is_ours(SipUri.parse(uri).host.decode("ascii"))

    def _cancel(self, request: Message, now: float) -> Reply:
        """Answer a CANCEL; only an INVITE is taken back by it (D32, §9.2)."""
        found = self._calls.invites.cancel(request, now) or any(
            self._table.knows(request.key.removesuffix(b"CANCEL") + method) for method in METHODS
        )
        return Reply(200 if found else 481)

    # ---- answering -------------------------------------------------------------------------

    def _reply(self, reply: Reply, request: Message, flow: Flow, now: float) -> None:
        response = self._built(reply, request, flow)
        if request.faults:
            # To where it came from, whatever its Via says: it may be at fault as well, and who
            # writes by hand wants to see what is wrong.
            flow.send(response)
        elif reply.status in (401, 407):
            # D3: statelessly, since libpurple sends its credentials under the same branch.
            flow.reply_flow(request).send(response)
        elif request.method == b"INVITE":
            # Not in the table's memory, which would answer its ACK for ever.
            invites = self._calls.invites
            if invites.is_full:
                flow.reply_flow(request).send(response)
            else:
                invites.answer(request, flow, reply.status, response, now)
        else:
            self._table.answer(request, flow, response, now)

    def _built(self, reply: Reply, request: Message, flow: Flow) -> bytes:
        self.answers[reply.status] = self.answers.get(reply.status, 0) + 1
        return build(
            request,
            reply.status,
            to_tag=self._brancher.tag(request),
            host=flow.host,
            port=flow.port,
            reason=reply.reason,
            headers=reply.headers,
            body=reply.body,
        )

    def _commit(self, commit: Commitment, request: Message, flow: Flow, server: ServerSide) -> None:
        def done(error: Exception | None) -> None:
            try:
                reply = commit.reply(error)
            except Exception as failure:
                reply = self._excuse(failure, request)
            server.respond(self._built(reply, request, flow), self._clock())
            self._rearm()

        try:
            commit.start(done)
        except Exception as error:
            done(error)

    def _split(
        self, split: Split, request: Message, flow: Flow, server: ServerSide, now: float
    ) -> None:
        """Send a message to each member of a group (D4)."""
        parts = Parts(server, len(split.uris))
        for uri in split.uris:
            part, side = readdressed(request, uri), parts.part()

            def finish(answer: Forward, part: Message = part) -> None:
                routes = self._calls.course(part).cuts if part.has(b"route") else ()
                answer.cuts = self._cuts(part, routes, is_trusted=split.account_id is None)

            try:
                answer = self._routes[b"MESSAGE"].handle(part, flow, split.account_id, now)
                if isinstance(answer, Forward):
                    finish(answer)
            except Exception as error:
                answer = self._excuse(error, part)
            if isinstance(answer, Forward):
                fork = Fork(part, side, self._proxy, answer.deposit)
                fork.mark(request)
                fork.start(answer.targets, flow, answer.cuts, now)
            elif isinstance(answer, Commitment):
                self._commit(answer, part, flow, side)
            elif isinstance(answer, Later):
                self._wait(answer._replace(finish=finish), part, flow, side)
            elif isinstance(answer, Reply):
                side.respond(self._built(answer, part, flow), now)

    def _wait(
        self,
        later: Later,
        request: Message,
        flow: Flow,
        server: ServerSide,
    ) -> None:
        server.expect(self._clock())

        async def run() -> None:
            try:
                answer = await later.work
            except Exception as error:
                answer = self._excuse(error, request)
            now = self._clock()
            if isinstance(answer, Forward):
                if later.finish is not None:
                    later.finish(answer)
                asked, side = request, server
                if isinstance(answer, Asked):
                    asked, side = answer.request, Told(server, answer.told)
                fork = Fork(asked, side, self._proxy, answer.deposit)
                fork.start(answer.targets, flow, answer.cuts, now)
            elif isinstance(answer, Pursuit):
                Hunt(request, server, self._proxy, answer, flow).start(now)
            elif isinstance(answer, Commitment):
                self._commit(answer, request, flow, server)
            elif isinstance(answer, Split):
                self._split(answer, request, flow, server, now)
            else:
                server.respond(self._built(answer, request, flow), now)
            self._rearm()

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
