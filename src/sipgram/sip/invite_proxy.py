"""The response context of a forwarded INVITE (RFC 3261 §16.6-16.10; DELIVERY.md D5, D6, D11).

Targets are tried by groups, those of one group at once. Every 2xx goes up as it comes and ends
the search; of the failures the best one goes up when nothing is open any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, Protocol

from sipgram.errors import ParseError
from sipgram.sip.best_response import Failures, relayed
from sipgram.sip.branch import Brancher
from sipgram.sip.loops import BREADTH, LoopGuard, shares
from sipgram.sip.message.address import Address, parse_list
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.reply import build
from sipgram.sip.proxy import OutcomeUser, Target
from sipgram.sip.sink import AS_IT_IS, SMALL_BYTES, Carrier, Cause, ClientSide, Flow
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.client_invite import ClientInviteTransaction
from sipgram.sip.transaction.invites import Invites
from sipgram.sip.transaction.server_invite import ServerInviteTransaction

TIMER_C_STEP_S: Final = 30.0
"""Timer C is looked at this often, so that an answered call is not held in its queue to the end."""
FOLLOWED: Final = (300, 301, 302)
"""Redirections to other addresses of the one who is called (§21.3)."""
TIMER_C_GRAIN_S: Final = 5.0
"""Timer C may fire this much late: it only has to be more than three minutes."""
ELSEWHERE: Final = b'SIP;cause=200;text="Call completed elsewhere"'
"""Keeps a phone from showing a missed call (RFC 3326 §2)."""


class Routing(Protocol):
    """What the caller of the proxy decides about each branch."""

    def lines(self, target: Target) -> bytes:
        """Return the header lines to put in for one target, as Record-Route."""

    def redirect(self, contacts: Sequence[Address]) -> Sequence[Target]:
        """Return the targets that a 3xx leads to, none for what is not followed."""

    def fail_over(self, target: Target, status: int, now: float) -> Target | None:
        """Return another way when one said 430 or 503, or nothing at all, which is 0 (D5, D33)."""

    def silence_s(self, now: float) -> float:
        """Return how long a target may give no sign of life; 0 when that is for Timer B."""

    def returned(self, response: Message, data: bytes) -> bytes:
        """Return a response as it goes up (§16.7 step 8)."""


class PlainRouting:
    """Puts nothing in and follows nothing."""

    def lines(self, target: Target) -> bytes:
        return b""

    def redirect(self, contacts: Sequence[Address]) -> Sequence[Target]:
        return ()

    def fail_over(self, target: Target, status: int, now: float) -> Target | None:
        return None

    def silence_s(self, now: float) -> float:
        return 0.0

    def returned(self, response: Message, data: bytes) -> bytes:
        return data


PLAIN: Final = PlainRouting()


@dataclass(frozen=True, slots=True)
class Onward:
    """How an INVITE goes on, alike for all its branches."""

    source: Flow
    "Where it came in."
    cuts: tuple[Cut, ...] = ()
    breadth: int = BREADTH
    "How many branches it may have at one time, here and further down (``loops.breadth_of``)."
    routing: Routing = PLAIN


@dataclass(frozen=True, slots=True)
class CallTimes:
    """How long phones ring, in seconds."""

    timer_c_s: float = 185.0
    "After the last provisional response of a branch; §16.6 step 11: more than 3 minutes."
    group_s: float = 20.0
    "Before the next group is tried, when there is one."


class InviteProxy:
    """What all forks of INVITEs share."""

    def __init__(
        self,
        invites: Invites,
        brancher: Brancher,
        loops: LoopGuard,
        *,
        times: CallTimes,
        user: OutcomeUser,
        carrier: Carrier = AS_IT_IS,
    ) -> None:
        self.carrier = carrier
        self.invites = invites
        self.brancher = brancher
        self.loops = loops
        self.times = times
        self.user = user

    def forward_ack(self, request: Message, target: Target, onward: Onward) -> bool:
        """Send the ACK of a 2xx on, without a transaction (§16.11); False when the flow is dead.

        It may come again for each 2xx that does. Its branch is then the same again, of which
        §16.11 says how it is made without state.
        """
        branch = self.brancher.live(request, target.name) + self.loops.hash(request)
        return target.flow.send(_copied(request, target, target.flow, branch, onward, b""))


def _copied(
    request: Message, target: Target, flow: Flow, branch: bytes, onward: Onward, lines: bytes
) -> bytes:
    """Return a request as one target gets it (§16.6), with these lines below our Via."""
    source = onward.source
    top = flow.via_line + branch + b"\r\n" + target.routes + lines
    # What may be large may yet go on a stream, where it has to be told.
    if request.content_length < 0 and (flow.is_reliable or len(request.raw) > SMALL_BYTES // 2):
        top += b"Content-Length: %d\r\n" % len(request.body)
    old = tuple((*span, b"") for span in request.spans(b"max-breadth"))
    cuts = sorted(onward.cuts + old) if old else onward.cuts
    return request.forwarded(target.uri, top, source.host, source.port, cuts)


class InviteFork:
    """One INVITE on its way; the user of its server transaction."""

    __slots__ = (
        "_failures",
        "_groups",
        "_is_cancelled",
        "_is_decided",
        "_loop_hash",
        "_onward",
        "_open",
        "_proxy",
        "_request",
        "_server",
        "_tried",
        "due",
    )

    def __init__(
        self,
        request: Message,
        server: ServerInviteTransaction,
        proxy: InviteProxy,
        onward: Onward,
    ) -> None:
        self.due = NEVER
        self._request = request
        self._server = server
        self._proxy = proxy
        self._onward = onward
        self._loop_hash = proxy.loops.hash(request)
        self._groups: list[list[Target]] = []
        self._open: dict[bytes, _Branch] = {}
        self._tried: set[bytes] = set()  # §16.5: a URI is not tried more than once.
        self._is_decided = False  # A 2xx or 6xx came: no new branches.
        self._is_cancelled = False  # The caller took it back.
        self._failures = Failures()
        server.user = self

    def start(self, groups: Sequence[Sequence[Target]], now: float) -> None:
        """Try the groups one after the other, as ``targets.arranged`` has put them."""
        self._groups = [list(group) for group in groups]
        if self._server.is_cancelled:  # While somebody thought about the targets.
            self.on_cancel(now)
        else:
            self._settle(now)

    # ---- from the caller -------------------------------------------------------------------

    def on_cancel(self, now: float) -> None:
        """§16.10: "MUST generate a CANCEL request for all pending client transactions"."""
        self._is_cancelled = True
        self._decide(now)
        self._settle(now)

    def on_undelivered(self, cause: Cause, now: float) -> None:
        """The caller cannot be told; §16.9 has no more to be done about it."""

    # ---- from the branches -----------------------------------------------------------------

    def on_provisional(self, response: Message, now: float) -> None:
        """§16.7 step 5: "Any provisional response other than 100 (Trying)" goes up at once."""
        if self._server.is_open:
            self._server.respond(response.status, self._relayed(response), now)

    def on_success(self, branch: "_Branch", response: Message, now: float) -> None:
        """§16.7 step 5: any 2xx to an INVITE goes up at once, after another final one too."""
        self._open.pop(branch.name, None)
        self._server.respond(response.status, self._relayed(response), now)
        self._decide(now, reason=ELSEWHERE)

    def on_rejected(self, branch: "_Branch", response: Message, now: float) -> None:
        """A branch ended with 300 or more."""
        status = response.status
        self._open.pop(branch.name, None)
        if not branch.is_given_up and status != 487:
            self._proxy.user.on_outcome(branch.target, b"INVITE", status)
        if self._follow(branch, response, now):
            return
        if branch.is_given_up and status == 487:
            self._failures.take_own(408)
        else:
            data = self._relayed(response)
            self._failures.take(response, data, is_cancelled=self._is_cancelled)
        if status >= 600:
            self._decide(now)
        self._settle(now)

    def on_dead(self, branch: "_Branch", cause: Cause, now: float) -> None:
        """A branch ended without a final response."""
        if self._open.pop(branch.name, None) is None:
            return  # The ACK of its final response could not be sent.
        if cause == "transport-error" and self._try_otherwise(branch, now):
            return
        self._proxy.user.on_outcome(branch.target, b"INVITE", 0)
        other = self._fail_over(branch, 0, now) if cause == "transport-error" else None
        if other is not None:
            self._try([other], branch.share, now)
            return
        # §16.9 would have it a 503, thus 500 further up (D11); a phone whose connection is gone
        # is away (D28), which is what the caller wants to know.
        self._failures.take_own(480 if cause == "transport-error" else 408)
        self._settle(now)

    def fire(self, now: float) -> None:
        """The group has rung for long enough, or the next hop was silent for too long."""
        if self._onward.routing.silence_s(now):
            self._pass_over(now)
        elif self._groups:
            for branch in list(self._open.values()):
                branch.give_up(now)
            self._begin_group(now)

    # ---- trying ----------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Go on with the next group, or answer, when nothing is open."""
        while not self._open and self._groups:
            self._begin_group(now)
        if not self._open and self._server.is_open:
            self._answer(now)

    def _begin_group(self, now: float) -> None:
        self.due = NEVER
        targets = [t for t in self._groups.pop(0) if t.name not in self._tried]
        self._try(targets, self._free // (len(self._groups) + 1), now)
        if self._groups and self._open:
            self._proxy.invites.wake(self, self._proxy.times.group_s, now)

    def _pass_over(self, now: float) -> None:
        """Try another hop instead of those that gave no sign of life (RFC 3263 §4.3; D33)."""
        for branch in [b for b in self._open.values() if not b.is_heard]:
            other = self._fail_over(branch, 0, now)
            del self._open[branch.name]  # A late 2xx of it still goes up.
            branch.give_up(now)
            if other is not None:
                self._try([other], branch.share, now)
            else:
                self._failures.take_own(480)
        self._settle(now)

    @property
    def _free(self) -> int:
        """What of Max-Breadth the open branches leave."""
        return self._onward.breadth - sum(branch.share for branch in self._open.values())

    def _try(self, targets: Sequence[Target], breadth: int, now: float) -> None:
        """Send to each target, as far as the breadth goes; the others wait for their turn."""
        unique = {target.name: target for target in targets}
        parts = shares(max(breadth, min(1, self._free)), len(unique))
        fresh = list(unique.values())
        if len(parts) < len(fresh):
            self._groups.insert(0, fresh[len(parts) :])
        branches = [_Branch(self, t, part) for t, part in zip(fresh, parts, strict=False)]
        live = self._proxy.brancher.live
        for branch in branches:
            branch.name = live(self._request, branch.target.name) + self._loop_hash
            self._tried.add(branch.target.name)
            self._open[branch.name] = branch
        silence_s = self._onward.routing.silence_s(now)
        if silence_s:
            self._proxy.invites.wake(self, silence_s, now)
        for branch in branches:  # All are known before the first is sent, which may fail.
            self._send(branch, now)

    def _send(self, branch: "_Branch", now: float) -> None:
        """Send to one target, on its flow or, what is large, as the carrier says (D26)."""
        target, flow = branch.target, branch.target.flow
        data = self._copied_for(branch, flow)
        if len(data) > SMALL_BYTES and not flow.is_reliable:
            found = self._proxy.carrier.carry(target, len(data))
            if found is None:
                del self._open[branch.name]
                self._failures.take_own(513)
                self._settle(now)
                return
            branch.target, flow = found
            data = self._copied_for(branch, flow)
        branch.start(self._proxy, data, flow, now)

    def _copied_for(self, branch: "_Branch", flow: Flow) -> bytes:
        lines = self._onward.routing.lines(branch.target)
        lines += b"Max-Breadth: %d\r\n" % branch.share
        return _copied(self._request, branch.target, flow, branch.name, self._onward, lines)

    def _follow(self, branch: "_Branch", response: Message, now: float) -> bool:
        """Try what a failure leads to; False when it leads nowhere (§16.7 step 4)."""
        targets: Sequence[Target] = ()
        if self._is_decided or branch.is_given_up:
            return False
        if response.status in FOLLOWED:
            try:
                contacts = parse_list(response.values(b"contact"), of="Contact")
            except ParseError:
                return False  # It goes up as it is, should nothing better come.
            found = self._onward.routing.redirect(contacts)
            targets = [target for target in found if target.name not in self._tried]
        elif response.status in (430, 503):
            other = self._fail_over(branch, response.status, now)
            targets = () if other is None else (other,)
        if targets:
            self._try(targets, branch.share, now)
        return bool(targets)

    def _fail_over(self, branch: "_Branch", status: int, now: float) -> Target | None:
        if self._is_decided or branch.is_given_up:
            return None
        other = self._onward.routing.fail_over(branch.target, status, now)
        return None if other is None or other.name in self._tried else other

    def _try_otherwise(self, branch: "_Branch", now: float) -> bool:
        """Send it another way, when the one that was found for it is dead (D26)."""
        target, flow = branch.target, branch.flow
        if flow is target.flow or self._is_decided or branch.is_given_up:
            return False
        if not self._proxy.carrier.give_up(target, flow):
            return False
        self._open[branch.name] = branch
        self._send(branch, now)
        return True

    def _decide(self, now: float, *, reason: bytes = b"") -> None:
        """Open no more branches and cancel those that are open (§16.7 step 10)."""
        self._is_decided = True
        self._groups.clear()
        self.due = NEVER
        for branch in list(self._open.values()):
            branch.cancel(now, reason=reason)

    def _relayed(self, response: Message) -> bytes:
        data = relayed(response, is_stream=self._server.flow.is_reliable)
        return self._onward.routing.returned(response, data)

    def _answer(self, now: float) -> None:
        flow, request = self._server.flow, self._request
        best = self._failures.best
        if isinstance(best, int):
            status = 487 if self._is_cancelled else best
            best = build(
                request,
                status,
                to_tag=self._proxy.brancher.tag(request),
                host=flow.host,
                port=flow.port,
                reason="Request Terminated" if status == 487 else "",
            )
        self._server.respond(int(best[8:11]), best, now)


class _Branch:
    """One target of a fork: the user of its client transaction, with Timer C (§16.8)."""

    __slots__ = (
        "_ends",
        "_fork",
        "_proxy",
        "_transaction",
        "due",
        "flow",
        "is_given_up",
        "name",
        "share",
        "target",
    )

    _proxy: InviteProxy

    def __init__(self, fork: InviteFork, target: Target, share: int) -> None:
        self.name = b""
        self.target = target
        self.share = share  # Of Max-Breadth.
        self.due = NEVER
        self.flow = target.flow  # Where it goes, or went.
        self.is_given_up = False  # Its 487 means that nobody answered.
        self._fork = fork
        self._ends = NEVER  # When Timer C fires.
        self._transaction: ClientInviteTransaction | None = None

    @property
    def is_heard(self) -> bool:
        """Whether there was a response."""
        return self._ends != NEVER

    def start(self, proxy: InviteProxy, data: bytes, flow: Flow, now: float) -> None:
        """Send the request."""
        self._proxy = proxy
        self.flow = flow
        self._transaction = proxy.invites.start_client(data, self.name, flow, self, now)

    def cancel(self, now: float, *, reason: bytes = b"") -> None:
        """Take the request back from this target."""
        if self._transaction is not None:
            self._transaction.cancel(now, reason=reason)

    def give_up(self, now: float) -> None:
        """Take it back since nobody answers."""
        self.is_given_up = True
        self.cancel(now)

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        """Take a response (§16.7)."""
        status = response.status
        self.target.is_silent = False
        if status >= 200:
            self.due = NEVER
            if status < 300:
                self._fork.on_success(self, response, now)
            else:
                self._fork.on_rejected(self, response, now)
            return
        if self._ends == NEVER or status > 100:
            # Set by the first of any sort, as Timer B ends the wait for that; reset by 101 to
            # 199 (§16.7 step 2).
            self._ends = now + self._proxy.times.timer_c_s
        if self.due == NEVER and not self.is_given_up:
            self._sleep(now)
        if status > 100:
            self._fork.on_provisional(response, now)

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        """There will be no final response."""
        self.due = NEVER
        self.flow = transaction.flow
        self.target.is_silent = self._ends == NEVER
        self._fork.on_dead(self, cause, now)

    def fire(self, now: float) -> None:
        """Look whether Timer C has fired: then "the proxy MUST generate a CANCEL" (§16.8)."""
        if now < self._ends - 1e-6:
            self._sleep(now)
        else:
            self.give_up(now)

    def _sleep(self, now: float) -> None:
        # Whole steps, so that the lengths of timers stay few: it may fire one of them late.
        left = ceil((self._ends - now) / TIMER_C_GRAIN_S - 1e-6) * TIMER_C_GRAIN_S
        self._proxy.invites.wake(self, min(left, TIMER_C_STEP_S), now)
