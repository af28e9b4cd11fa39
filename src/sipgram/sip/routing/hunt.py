"""A non-INVITE request that is tried at one hop after the other (RFC 3263 §4.3; DELIVERY.md D31, D33).

Nothing is kept for later: there is an answer within ``answer_s``, and it is 480 when no hop gave one.
"""

from typing import Final, NamedTuple, Protocol

from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.reply import build
from sipgram.sip.proxy import Proxy, Target
from sipgram.sip.sink import SMALL_BYTES, Cause, ClientSide, Flow, ServerSide
from sipgram.sip.timers import NEVER

RETRY_AFTER: Final = b"Retry-After: 30"
WAIT_STEP_S: Final = 0.25
"""Waits are a multiple of this, so that the lengths of timers stay few."""


class Hops(Protocol):
    """The hops of one request, the best first, with a memory of those that fail."""

    def next(self, now: float) -> Target | None:
        """Return the hop to try now; None when there is none, or no time left."""

    def wait_s(self, now: float) -> float:
        """Return how long the present one may be silent."""

    def failed(self, now: float, *, retry_after_s: float | None = None) -> Target | None:
        """Note that the present one failed and return the next."""

    def succeeded(self) -> None:
        """Note that the present one answered."""


class Pursuit(NamedTuple):
    """Where a request goes on to, once that is known: what becomes a ``Hunt``."""

    hops: Hops
    cuts: tuple[Cut, ...] = ()


class OneHop:
    """The only hop of a request whose way is known (D31)."""

    def __init__(self, target: Target, within_s: float) -> None:
        self._target: Target | None = target
        self._within_s = within_s

    def next(self, now: float) -> Target | None:
        target, self._target = self._target, None
        return target

    def wait_s(self, now: float) -> float:
        return self._within_s

    def failed(self, now: float, *, retry_after_s: float | None = None) -> Target | None:
        return None

    def succeeded(self) -> None:
        return None


class Hunt:
    """One request and its hops; a late answer of an earlier hop counts as well as one of the last."""

    __slots__ = (
        "_branch",
        "_cuts",
        "_hops",
        "_proxy",
        "_request",
        "_server",
        "_source",
        "_target",
        "due",
    )

    def __init__(
        self, request: Message, server: ServerSide, proxy: Proxy, pursuit: Pursuit, source: Flow
    ) -> None:
        """``source`` is the flow that the request came in on."""
        self.due = NEVER
        self._request = request
        self._server = server
        self._proxy = proxy
        self._hops = pursuit.hops
        self._cuts = pursuit.cuts
        self._source = source
        self._branch = b""  # Of the hop that is being tried.
        self._target: Target | None = None

    def start(self, now: float) -> None:
        """Try the first hop."""
        self._try(self._hops.next(now), now)

    def on_waiting(self, now: float) -> None:
        """T1 went by without an answer (RFC 4320 §4.1)."""
        if self._server.is_open:
            self._server.expect(now)

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        """Take a response; a 503 leads to the next hop, any other final one ends the search."""
        status = response.status
        if status < 200 or not self._server.is_open:
            return
        is_present = transaction.branch == self._branch
        if status == 503:
            if is_present:
                self._try(self._hops.failed(now, retry_after_s=_retry_after(response)), now)
            return
        if is_present:
            self._hops.succeeded()
        if status == 408:  # D13: it is never forwarded.
            self._answer(480, "Temporarily Unavailable", now)
            return
        self.due = NEVER
        self._server.respond(self._relayed(response), now)

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        """A hop is out of reach."""
        target = self._target
        if target is None or transaction.branch != self._branch or not self._server.is_open:
            return
        flow = transaction.flow
        is_other_way = cause == "transport-error" and flow is not target.flow
        if is_other_way and self._proxy.carrier.give_up(target, flow):
            self._send(target, now)  # D26: the stream that was found for a large one is dead.
        else:
            self._try(self._hops.failed(now), now)

    def fire(self, now: float) -> None:
        """The present hop has been silent for long enough; it may yet answer."""
        if self._server.is_open:
            self._try(self._hops.failed(now), now)

    def _try(self, target: Target | None, now: float) -> None:
        self._target = target
        if target is None:
            self._answer(480, "Next Hop Is Out Of Reach", now)
            return
        self._branch = self._proxy.brancher.live(self._request, target.name)
        # Before it is sent: that may fail at once, and then there is another deadline.
        steps = max(1, int(self._hops.wait_s(now) / WAIT_STEP_S))
        self._proxy.table.wake(self, steps * WAIT_STEP_S, now)
        self._send(target, now)

    def _send(self, target: Target, now: float) -> None:
        flow = target.flow
        data = self._copied(target, flow)
        if len(data) > SMALL_BYTES and not flow.is_reliable:
            found = self._proxy.carrier.carry(target, len(data))
            if found is None:
                self._answer(513, f"No Way For {len(data)} Octets", now)
                return
            target, flow = found
            self._target = target
            data = self._copied(target, flow)
        self._proxy.table.start_client(data, self._branch, self._request.method, flow, self, now)

    def _copied(self, target: Target, flow: Flow) -> bytes:
        request, source = self._request, self._source
        top = flow.via_line + self._branch + b"\r\n" + target.routes
        # What may be large may yet go on a stream, where it has to be told.
        if request.content_length < 0 and (flow.is_reliable or len(request.raw) > SMALL_BYTES // 2):
            top += b"Content-Length: %d\r\n" % len(request.body)
        return request.forwarded(target.uri, top, source.host, source.port, self._cuts)

    def _answer(self, status: int, reason: str, now: float) -> None:
        self.due = NEVER
        self._target = None
        source = self._server.flow
        data = build(
            self._request,
            status,
            to_tag=self._proxy.brancher.tag(self._request),
            host=source.host,
            port=source.port,
            reason=reason,
            headers=(RETRY_AFTER,) if status == 480 else (),
        )
        self._server.respond(data, now)

    def _relayed(self, response: Message) -> bytes:
        data = response.relayed()
        if response.content_length >= 0 or not self._server.flow.is_reliable:
            return data
        line = b"\r\nContent-Length: %d\r\n\r\n" % len(response.body)
        return data.replace(b"\r\n\r\n", line, 1)


def _retry_after(response: Message) -> float | None:
    text = (response.value(b"retry-after") or b"").partition(b";")[0].partition(b"(")[0].strip()
    return float(text) if text.isdigit() and len(text) < 10 else None
