"""The response context of a forwarded non-INVITE request (RFC 3261 §16.6-16.7, DELIVERY.md D9-D13)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sipgram.sip.branch import Brancher
from sipgram.sip.keeping import Keeper, Keeping, Verdict
from sipgram.sip.loops import LoopGuard, spread
from sipgram.sip.message.adapting import PLAIN, REFUSES_BODY, Adapter, NoAdapter
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.reply import build
from sipgram.sip.redirection import FOLLOWED, Follow, Redirected, contacts_of, nowhere
from sipgram.sip.sink import (
    AS_IT_IS,
    SMALL_BYTES,
    Carrier,
    Cause,
    ClientSide,
    ClientUser,
    Flow,
    ServerSide,
)
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.table import TransactionTable

ENDS_COPY: Final = frozenset((400, 401, 403, 405, 406, 407, 413, 415, 416, 420, 488, 493, 501, 513))
"""Answers of a device after which trying it again is of no use (DELIVERY.md); 6xx besides."""
PREFERRED: Final = frozenset((401, 407, 415, 420, 484))
"""§16.7 step 6: answers that tell the sender how to succeed."""

_TAKEN, _GLOBAL, _AWAY, _HELPFUL, _FINAL, _NONE = range(6)
"""How good an answer is for the sender, best first."""


class Target(Protocol):
    """One contact to try."""

    uri: bytes
    name: bytes
    "Tells contacts apart that have the same URI, as phones behind two NATs may."
    flow: Flow
    routes: bytes
    "The Route line of its Path with CRLF, empty without one (RFC 3327)."
    instance: bytes
    "Its +sip.instance, empty for those without one (D5)."
    is_silent: bool
    "It left an earlier request unanswered: tried, but not waited for (D9)."
    cannot_read: frozenset[bytes]
    "Media types that it refused (D20, D21)."


class OutcomeUser(Protocol):
    """Who wants to know how the targets answered."""

    def on_outcome(self, target: Target, method: bytes, status: int) -> None:
        """Take a final status of 300 or more, or 0 when the target gave none."""

    def fail_over(self, target: Target) -> Target | None:
        """Return another flow to the device of a target that said 430 or whose flow is dead (D5)."""


@dataclass(frozen=True, slots=True)
class ForkTimes:
    """How long a sender is kept waiting, in seconds (D9)."""

    answer_s: float = 5.0
    "For the first 2xx."
    fork_s: float = 0.1
    "For the other devices, once one has taken it."


class Proxy:
    """What all forks share: the transactions, the branches, the times, who is told."""

    def __init__(
        self,
        table: TransactionTable,
        brancher: Brancher,
        *,
        times: ForkTimes,
        user: OutcomeUser,
        keeper: Keeper | None = None,
        adapter: Adapter | None = None,
        carrier: Carrier = AS_IT_IS,
        loops: LoopGuard | None = None,
        follow: Follow = nowhere,
    ) -> None:
        """Without ``keeper`` nothing is stored for devices that are away.

        By ``loops`` a request that forked is known when it comes back (RFC 5393).
        """
        self.loops = loops
        self.follow = follow
        self.carrier = carrier
        self.table = table
        self.brancher = brancher
        self.times = times
        self.user = user
        self.keeper = keeper
        self.adapter = adapter or NoAdapter()


class Fork:
    """One request on its way to several targets; the sender gets one final response.

    It outlives its answer while branches are open (D12). The table's client transactions refer
    to it and it to the server transaction, so that no cycle is left behind.
    """

    __slots__ = (
        "_best",
        "_cuts",
        "_is_concluded",
        "_keeping",
        "_lines",
        "_open",
        "_proxy",
        "_rank",
        "_request",
        "_server",
        "_tail",
        "_took",
        "due",
    )

    def __init__(
        self,
        request: Message,
        server: ServerSide,
        proxy: Proxy,
        keeping: Keeping | None = None,
    ) -> None:
        """``keeping`` is what is kept of the request already, for devices that are away."""
        self.due = NEVER
        self._keeping = keeping
        self._is_concluded = False
        self._took: tuple[tuple[Target, int], ...] = ()
        self._request = request
        self._server = server
        self._proxy = proxy
        self._open: dict[bytes, Target]
        self._best = b""
        self._rank = _NONE
        self._tail = b""  # Of each branch, and
        self._lines = b""  # lines of each copy, once it forks.

    def start(
        self, targets: Sequence[Target], source: Flow, cuts: Sequence[Cut], now: float
    ) -> None:
        """Send the request, which came in on ``source``, to every target at once (§16.6)."""
        self._cuts = cuts
        live = self._proxy.brancher.live
        request = self._request
        if len(targets) == 1 and not self._tail:
            target = targets[0]
            branch = live(request, target.name)
            self._open = {branch: target}
            if target.cannot_read:
                self._adapt_known(source, now)
            else:
                self._send(target, branch, source, cuts, now)
            return
        if len(targets) > 1:
            if not self._tail:
                self.mark(request)
            self._lines, self._cuts = spread(request, len(targets), cuts)
            cuts = self._cuts
        # All of them before the first is sent, which may fail; two of one name are one contact.
        tail = self._tail
        self._open = {live(request, target.name) + tail: target for target in targets}
        if any(target.cannot_read for target in targets):
            self._adapt_known(source, now)
            return
        for branch, target in list(self._open.items()):
            self._send(target, branch, source, cuts, now)
        if not targets:
            self._settle(now)

    def mark(self, request: Message) -> None:
        """Have a request known when it comes back, since it forks (RFC 5393 §4.2).

        It is this fork's own, or that to a group, of which this is one member's part.
        """
        if self._proxy.loops is not None:
            self._tail = self._proxy.loops.hash(request)

    def _send(
        self, target: Target, branch: bytes, source: Flow, cuts: Sequence[Cut], now: float
    ) -> None:
        request, flow = self._request, target.flow
        top = flow.via_line + branch + b"\r\n"
        if target.routes:
            top += target.routes
        if self._lines:
            top += self._lines
        if request.content_length < 0 and flow.is_reliable:
            top += b"Content-Length: %d\r\n" % len(request.body)
        data = request.forwarded(target.uri, top, source.host, source.port, cuts)
        if len(data) > SMALL_BYTES and not flow.is_reliable:
            self._send_large(target, branch, source, cuts, len(data), now, self)
            return
        self._proxy.table.start_client(data, branch, request.method, flow, self, now)

    def _send_large(
        self,
        target: Target,
        branch: bytes,
        source: Flow,
        cuts: Sequence[Cut],
        size: int,
        now: float,
        user: ClientUser,
    ) -> None:
        """Send what may be too large for a datagram (D26)."""
        request = self._request
        found = self._proxy.carrier.carry(target, size)
        if found is None:
            del self._open[branch]
            if self._rank > _FINAL:
                self._rank = _FINAL
                self._best = self._built(Verdict(513, f"No Way For {size} Octets", ()))
            self._keep(target, branch, 513, now)
            self._settle(now)
            return
        target, flow = found
        self._open[branch] = target
        top = flow.via_line + branch + b"\r\n" + target.routes + self._lines
        if request.content_length < 0 and user is self:
            top += b"Content-Length: %d\r\n" % len(request.body)
        data = request.forwarded(target.uri, top, source.host, source.port, cuts)
        self._proxy.table.start_client(data, branch, request.method, flow, user, now)

    # ---- other forms of a body -------------------------------------------------------------

    def _adapt_known(self, source: Flow, now: float) -> None:
        """Send to targets of which some have refused something before (D20)."""
        request, was_open = self._request, self._open
        self._open = {}
        sends = []
        for branch, target in was_open.items():
            edits = self._proxy.adapter.cuts(request, target) if target.cannot_read else ()
            if edits:
                branch = self._proxy.brancher.live(request, target.name + PLAIN) + self._tail
            self._open[branch] = target
            sends.append((target, branch, edits))
        for target, branch, edits in sends:
            if edits:
                self._send_adapted(target, branch, source, edits, now)
            else:
                self._send(target, branch, source, self._cuts, now)

    def _send_adapted(
        self, target: Target, branch: bytes, source: Flow, edits: Sequence[Cut], now: float
    ) -> None:
        request, flow = self._request, target.flow
        top = flow.via_line + branch + b"\r\n" + target.routes + self._lines
        cuts = sorted((*self._cuts, *edits))
        data = request.forwarded(target.uri, top, source.host, source.port, cuts)
        user = _Adapted(self, self._proxy.adapter, request)
        if len(data) > SMALL_BYTES and not flow.is_reliable:
            self._send_large(target, branch, source, cuts, len(data), now, user)
            return
        self._proxy.table.start_client(data, branch, request.method, flow, user, now)

    def _adapt(self, target: Target, branch: bytes, now: float) -> bool:
        """Try the other form of a body that a target refused, in the same fork (D20, D21)."""
        request = self._request
        plain = self._proxy.brancher.live(request, target.name + PLAIN) + self._tail
        if branch == plain or plain in self._open:
            return False  # That was the other form.
        edits = self._proxy.adapter.on_refused(request, target)
        if edits is None:
            return False
        if edits:
            self._open[plain] = target
            self._send_adapted(target, plain, self._server.flow, edits, now)
        elif self._rank > _TAKEN:
            self._rank, self._best = _TAKEN, self._built(Verdict(202, "", ()))
        self._settle(now)
        return True

    # ---- what the targets say --------------------------------------------------------------

    def on_waiting(self, now: float) -> None:
        """T1 went by without an answer: from here on the sender's patience counts."""
        if self.due == NEVER and self._server.is_open:
            self._server.expect(now)
            table = self._proxy.table
            left = self._proxy.times.answer_s - table.timers.t1
            table.wake(self, max(left, table.timers.t1), now)

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        """Take a response of one branch (§16.7)."""
        status = response.status
        if status < 200:
            return  # RFC 4320 §4.1: nothing but 100 may go up, and 100 is hop by hop.
        target = self._open.pop(transaction.branch)
        target.is_silent = False
        if status >= 300:
            self._proxy.user.on_outcome(target, self._request.method, status)
            if status == 430 and self._fail_over(target, now):
                return
            if status in REFUSES_BODY and self._adapt(target, transaction.branch, now):
                return
            if status in FOLLOWED and self._follow(target, response, now):
                return
            self._consider(status, response)
            self._keep(target, transaction.branch, status, now)
        elif self._rank == _NONE and not self._open and self._keeping is None:
            # The usual case: one device, and it took it.
            self._server.respond(self._relayed(response), now)
            return
        else:
            if self._rank > _TAKEN:
                self._rank, self._best = _TAKEN, self._relayed(response)
            if self._keeping is None:
                self._took += ((target, status),)
            else:
                self._keeping.on_taken(target, status, now)
        self._settle(now)

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        """A branch ended without a final response."""
        target = self._open.pop(transaction.branch)
        if cause == "transport-error" and self._try_otherwise(target, transaction, now):
            return
        target.is_silent = True
        self._proxy.user.on_outcome(target, self._request.method, 0)
        if cause == "transport-error" and self._fail_over(target, now):
            return
        self._note_away()
        self._keep(target, transaction.branch, 0, now)
        self._settle(now)

    def _try_otherwise(self, target: Target, transaction: ClientSide, now: float) -> bool:
        """Send a large request another way, when the one that was found for it is dead (D26)."""
        flow, branch = transaction.flow, transaction.branch
        if flow is target.flow or self._is_concluded:
            return False
        if not self._proxy.carrier.give_up(target, flow):
            return False
        self._open[branch] = target
        self._send(target, branch, self._server.flow, self._cuts, now)
        return True

    def _fail_over(self, target: Target, now: float) -> bool:
        """Try another flow to the same device, when there is one (RFC 5626 §5.3, D5)."""
        if self._is_concluded:
            return False  # Its copy is kept by now, and delivered from there.
        other = self._proxy.user.fail_over(target)
        if other is None:
            return False
        branch = self._proxy.brancher.live(self._request, other.name) + self._tail
        if branch in self._open:
            return False  # Another target of this fork already.
        self._open[branch] = other
        self._send(other, branch, self._server.flow, self._cuts, now)
        return True

    def _follow(self, target: Target, response: Message, now: float) -> bool:
        """Send it where the device says that it is to go, when somebody lives there; once."""
        if self._is_concluded or isinstance(target, Redirected):
            return False  # Its copy is kept.
        flow = self._server.flow
        others = self._proxy.follow(contacts_of(response), flow, now)
        live, tail = self._proxy.brancher.live, self._tail
        request = self._request
        found = {live(request, o.name) + tail: Redirected(o, target) for o in others}
        new = {branch: other for branch, other in found.items() if branch not in self._open}
        self._open.update(new)
        for branch, other in new.items():
            self._send(other, branch, flow, self._cuts, now)
        return bool(new)

    def fire(self, now: float) -> None:
        """The sender has waited long enough."""
        if self._is_concluded or not self._server.is_open:
            return
        if self._rank > _TAKEN:
            for target in self._open.values():
                target.is_silent = True
            self._note_away()
        self._answer(now)

    def _settle(self, now: float) -> None:
        """Answer when nothing better can come; else see to it that the wait ends."""
        if self._is_concluded or not self._server.is_open:
            return
        if not self._open:
            self._answer(now)
        elif self._rank == _TAKEN:
            if all(target.is_silent for target in self._open.values()):
                self._answer(now)
            elif self.due > now + self._proxy.times.fork_s:
                self._proxy.table.wake(self, self._proxy.times.fork_s, now)

    def _consider(self, status: int, response: Message) -> None:
        """Keep the best of the failures (§16.7 step 6): 6xx, then the lowest class.

        Of a MESSAGE, an answer that leaves the copy deliverable later counts as 480 (D9), and 480
        is better than a device's final no, since trying again may help.
        """
        if status >= 600:
            rank = _GLOBAL
        elif status == 408 or (status not in ENDS_COPY and self._request.method == b"MESSAGE"):
            rank = _AWAY
        else:
            rank = _HELPFUL if status in PREFERRED else _FINAL
        if rank < self._rank:
            self._rank = rank
            self._best = b"" if rank == _AWAY else self._relayed(response)

    def _relayed(self, response: Message) -> bytes:
        """Return the response as it goes up; a stream needs Content-Length (§18.3)."""
        data = response.relayed()
        if response.content_length >= 0 or not self._server.flow.is_reliable:
            return data
        line = b"\r\nContent-Length: %d\r\n\r\n" % len(response.body)
        return data.replace(b"\r\n\r\n", line, 1)

    def _note_away(self) -> None:
        """A target that gave no answer may yet take a copy later, like one that said 480."""
        if self._rank > _AWAY:
            self._rank, self._best = _AWAY, b""

    def _answer(self, now: float) -> None:
        """Answer the sender, once the copies of those who have not taken it are safe (D9)."""
        self.due = NEVER
        self._is_concluded = True
        for branch, target in self._open.items():
            self._keep(target, branch, 0, now)
        keeping = self._keeping
        if keeping is not None and keeping.conclude(self._kept, now):
            return
        response = self._best or self._built(Verdict(480, "", (b"Retry-After: 30",)))
        self._server.respond(response, now)

    def _keep(self, target: Target, branch: bytes, status: int, now: float) -> None:
        """Book a target that has not taken the message, or not yet; 0 is no answer."""
        keeping = self._keeping
        if keeping is None:
            keeper = self._proxy.keeper
            is_final = status in ENDS_COPY or status in (482,) or status >= 600
            if keeper is None or is_final or not self._server.is_open:
                return  # Nothing is owed, or nothing can be promised any more.
            keeping = self._keeping = keeper.open(self._request, self._cuts, now)
            if keeping is None:
                return
            for taker, its_status in self._took:
                keeping.on_taken(taker, its_status, now)
        if status in ENDS_COPY or status >= 600:
            keeping.on_refused(target, status, now)
        elif status == 482:  # It has had the message, under another branch.
            keeping.on_taken(target, status, now)
        else:
            keeping.on_owed(target, branch, status, now)

    def _kept(self, verdict: Verdict | None, now: float) -> None:
        """All copies are safe, or cannot be made so (D11)."""
        if verdict is not None:
            self._server.respond(self._built(verdict), now)
        elif self._rank == _TAKEN:
            self._server.respond(self._best, now)
        else:
            self._server.respond(self._built(Verdict(202, "", ())), now)

    def _built(self, verdict: Verdict) -> bytes:
        source = self._server.flow
        return build(
            self._request,
            verdict.status,
            to_tag=self._proxy.brancher.tag(self._request),
            host=source.host,
            port=source.port,
            reason=verdict.reason,
            headers=verdict.headers,
        )


class _Adapted:
    """The transaction user of a branch whose body was changed: the rest is the fork's."""

    __slots__ = ("_adapter", "_fork", "_request", "on_failure", "on_waiting")

    def __init__(self, fork: Fork, adapter: Adapter, request: Message) -> None:
        self._fork = fork
        self._adapter = adapter
        self._request = request
        self.on_failure = fork.on_failure
        self.on_waiting = fork.on_waiting

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        if 200 <= response.status < 300:
            self._adapter.on_taken(self._request, now)
        self._fork.on_response(transaction, response, now)
