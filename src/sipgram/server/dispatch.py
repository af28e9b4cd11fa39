"""From a new request to the service that answers it, and from its answer to transactions.

The one place where the error tree becomes SIP responses (RFC 3261 §8.2, §16).
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

import structlog

from sipgram.errors import PeerError, Refusal, Unavailable
from sipgram.server.admission import Gate, check_for_us, check_routing, own_routes
from sipgram.server.routes import ALLOW, CAPABILITIES, METHODS
from sipgram.services.answers import Answer, Commit, Forward, Reply
from sipgram.services.registrar.location import Locations
from sipgram.sip.branch import Brancher
from sipgram.sip.message.grammar import shown
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.reply import build
from sipgram.sip.message.uri import SipUri
from sipgram.sip.proxy import Fork, Proxy
from sipgram.sip.sink import Flow
from sipgram.sip.transaction.server_request import ServerRequestTransaction
from sipgram.sip.transaction.table import TransactionTable

log = structlog.get_logger("sipgram.server")

OVERLOADED: Final = Reply(503, "Service Unavailable: draining or overloaded", (b"Retry-After: 5",))
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
        *,
        locations: Locations,
        gate: Gate | None,
        brancher: Brancher,
        routes: Mapping[bytes, Service],
        clock: Callable[[], float],
    ) -> None:
        """``gate`` is None when every From is believed (``--auth none``)."""
        self._locations = locations
        self._gate = gate
        self._brancher = brancher
        self._routes = routes
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._table: TransactionTable
        self._proxy: Proxy
        self.is_draining = False
        self.requests: dict[bytes, int] = dict.fromkeys((*METHODS, b"other"), 0)
        self.answers: dict[int, int] = {}
        self.strays = 0

    def attach(
        self, table: TransactionTable, proxy: Proxy, *, rearm: Callable[[], None] = lambda: None
    ) -> None:
        """Take the transactions of the endpoint that this is the user of.

        ``rearm`` is called when something was done outside of the endpoint's own batches.
        """
        self._table = table
        self._proxy = proxy
        self._rearm = rearm

    # ---- the table's user ------------------------------------------------------------------

    def on_request(self, request: Message, flow: Flow, now: float) -> None:
        """Answer or forward one new request; whatever goes wrong, it gets an answer."""
        method = request.method
        counts = self.requests
        counts[method if method in counts else b"other"] += 1
        try:
            answer = self._decide(request, method, flow, now)
        except Exception as error:
            answer = self._excuse(error, request)
        if isinstance(answer, Forward):
            server = self._table.open_server(request, flow, now)
            Fork(request, server, self._proxy).start(answer.targets, flow, answer.cuts, now)
        elif isinstance(answer, Reply):
            self._reply(answer, request, flow, now)
        elif isinstance(answer, Commit):
            self._commit(answer, request, flow, now)
        elif answer is not None and len(self._tasks) < LATER_MAX:
            self._wait(answer.work, request, flow, self._table.open_server(request, flow, now))
        elif answer is not None:
            answer.work.close()
            self._reply(OVERLOADED, request, flow, now)

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        """Drop a response that no transaction waits for (RFC 6026 §8.9)."""
        self.strays += 1

    def refuse_open(self) -> None:
        """Answer what is still open with 480, since nobody will answer it later."""
        away = Reply(480, "Temporarily Unavailable: going down", (b"Retry-After: 5",))
        for server in self._table.open_servers():
            request, flow = server.request, server.flow
            if request is not None:
                server.respond(self._built(away, request, flow), self._clock())

    # ---- deciding --------------------------------------------------------------------------

    def _decide(self, request: Message, method: bytes, flow: Flow, now: float) -> Answer | None:
        service = self._routes.get(method)
        if service is None or request.faults or self.is_draining or self._table.is_full:
            return self._decide_without_service(request)
        check_routing(request)
        if method == b"OPTIONS" and self._is_server(request.uri):
            check_for_us(request)
            return CAPABILITIES
        if request.max_forwards == 0 and method != b"REGISTER":  # §16.3 step 3
            raise Refusal(483, "Too Many Hops: Max-Forwards is 0")
        routes = own_routes(request, self._locations) if request.has(b"route") else ()
        gate = self._gate
        account_id = None if gate is None else gate.admit(request, flow, now)
        if method == b"REGISTER":
            check_for_us(request)
        answer = service.handle(request, flow, account_id, now)
        if (gate is not None or routes) and isinstance(answer, Forward):
            answer.cuts = self._cuts(request, account_id, routes)
        return answer

    def _decide_without_service(self, request: Message) -> Reply | None:
        """Answer what no service should see."""
        method = request.method
        if method == b"ACK":
            return None  # Of an answer that we gave statelessly (D3).
        if request.faults:
            if not request.branch and not request.call_id:
                return None  # Nothing of it could be matched to anything: garbage.
            shown_faults = "; ".join(request.faults[:FAULTS_SHOWN_MAX])
            raise PeerError(shown_faults, status=request.fault_status)
        if self.is_draining or self._table.is_full:
            return OVERLOADED
        if method == b"CANCEL":
            return self._cancel(request)
        check_routing(request)
        return Reply(405, f"Method Not Allowed: {shown(method)}", (ALLOW,))

    def _cuts(
        self, request: Message, account_id: int | None, routes: tuple[Cut, ...]
    ) -> tuple[Cut, ...]:
        """Return the lines to leave out: what brought it here, and what was for us alone."""
        cuts = routes
        if self._gate is not None and account_id is not None:
            if request.has(b"proxy-authorization"):
                cuts += self._gate.credentials(request)
            # D2: the untrusted assert nothing, and whom an anonymous one prefers to be is for us
            # alone (RFC 3325 §9.2).
            for name in (b"p-asserted-identity", b"p-preferred-identity"):
                if request.has(name):
                    cuts += tuple((*span, b"") for span in request.spans(name))
        return cuts if len(cuts) < 2 else tuple(sorted(cuts))

    def _is_server(self, uri: bytes) -> bool:
        """Say whether a Request-URI names the server itself and no user of it."""
        if b"@" in uri or not uri[:4].lower().startswith(b"sip"):
            return False
        return self._locations.is_ours(SipUri.parse(uri).host.decode("ascii"))

    def _cancel(self, request: Message) -> Reply:
        """Answer a CANCEL; a MESSAGE is not taken back by it (D32, §9.2)."""
        found = any(
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
        elif reply.status in (401, 407) or request.method == b"INVITE":
            # D3: statelessly, since libpurple sends its credentials under the same branch. An
            # INVITE too, whose ACK would match what the table keeps and be answered for ever.
            flow.reply_flow(request).send(response)
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

    def _commit(self, commit: Commit, request: Message, flow: Flow, now: float) -> None:
        server = self._table.open_server(request, flow, now)
        server.expect(now)

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

    def _wait(
        self,
        work: Coroutine[Any, Any, Reply | Forward],
        request: Message,
        flow: Flow,
        server: ServerRequestTransaction,
    ) -> None:
        server.expect(self._clock())

        async def run() -> None:
            try:
                answer = await work
            except Exception as error:
                answer = self._excuse(error, request)
            now = self._clock()
            if isinstance(answer, Forward):
                Fork(request, server, self._proxy).start(answer.targets, flow, answer.cuts, now)
            else:
                server.respond(self._built(answer, request, flow), now)
            self._rearm()

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _excuse(self, error: Exception, request: Message) -> Reply:
        """Turn an error into an answer: the only place where that is decided."""
        match error:
            case Refusal():
                return Reply(error.status, error.reason, error.headers)
            case PeerError():
                return Reply(error.status, error.reason)
            case Unavailable():
                log.warning("unavailable", reason=error.reason)
                # D11: 500, since 503 would tell the peer to send nothing at all here.
                return Reply(500, error.reason, (b"Retry-After: %d" % error.retry_after_s,))
            case _:
                log.error("request failed", call_id=request.call_id, exc_info=error)
                return Reply(500)
