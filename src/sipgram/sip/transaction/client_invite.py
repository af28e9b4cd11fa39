"""INVITE client transaction (RFC 3261 §17.1.1, Figure 5, as RFC 6026 §8.4 changes it).

It has one deadline at a time: Timer A or what is left of Timer B, whichever is first; then D, or
M, or the 64*T1 that a cancelled request is still waited for. It never looks at the answer of its
own CANCEL.
"""

import enum
from typing import Final

from sipgram.sip.message.message import Message
from sipgram.sip.sink import Cause, Flow
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.hop_requests import ack_of, cancel_of
from sipgram.sip.transaction.invite_sink import InviteClientUser, InviteSink

TIMER_D_MIN_S: Final = 32.0
"""§17.1.1.2: "a value of at least 32 seconds for unreliable transports", whatever T1 is here."""


class State(enum.Enum):
    """The states of Figure 5."""

    CALLING = "Calling"
    PROCEEDING = "Proceeding"
    ACCEPTED = "Accepted"
    COMPLETED = "Completed"
    TERMINATED = "Terminated"


class ClientInviteTransaction:
    """One INVITE, sent until it is answered, and its failure acknowledged."""

    __slots__ = (
        "_cancel_reason",
        "_ends",
        "_interval_a",
        "_is_cancelled",
        "_out",
        "branch",
        "due",
        "flow",
        "request",
        "state",
        "user",
    )

    def __init__(
        self, request: bytes, branch: bytes, flow: Flow, user: InviteClientUser, out: InviteSink
    ) -> None:
        self.state = State.CALLING
        self.request = request
        self.branch = branch
        self.flow = flow
        self.user: InviteClientUser | None = user
        self.due = NEVER
        self._out = out
        self._interval_a = out.timers.t1  # Seconds until the next retransmission.
        self._ends = NEVER  # When Timer B fires.
        self._cancel_reason: bytes | None = None  # Not None once somebody wishes to cancel.
        self._is_cancelled = False  # Whether CANCEL has gone out.

    def start(self, now: float) -> None:
        """Send the request and arm Timers A and B."""
        longest = self._out.timers.longest
        self._ends = now + longest
        if not self.flow.send(self.request):
            self._fail("transport-error", now)
        else:
            self._out.wake(self, longest if self.flow.is_reliable else self._interval_a, now)

    def receive(self, response: Message, now: float) -> None:
        """Take a response that matched this transaction (§17.1.3)."""
        status = response.status
        if self.state in (State.CALLING, State.PROCEEDING):
            if status < 200:
                self._proceed(response, now)
            elif status < 300:
                self.state = State.ACCEPTED
                self.request = b""  # Nothing is made of it any more.
                self._out.wake(self, self._out.timers.longest, now)  # Timer M.
                self._deliver(response, now)
            else:
                self._complete(response, now)
        elif self.state is State.ACCEPTED and 200 <= status < 300:
            # Each of them goes to the TU (RFC 6026 §7.2): only the caller's ACK stops the
            # callee's retransmissions.
            self._deliver(response, now)
        elif self.state is State.COMPLETED and status >= 300:
            self._acknowledge(response, now)

    def cancel(self, now: float, *, reason: bytes = b"") -> None:
        """Take the request back, now or when a provisional response has come.

        §9.1: "If no provisional response has been received, the CANCEL request MUST NOT be
        sent; rather, the client MUST wait for the arrival of a provisional response". After a
        final response this has no effect. ``reason`` is a value of Reason (RFC 3326).
        """
        if self._cancel_reason is None:
            self._cancel_reason = reason
            if self.state is State.PROCEEDING:
                self._send_cancel(now)

    def fire(self, now: float) -> None:
        """Take the deadline of the present state."""
        if self.state is State.CALLING:
            self._retransmit(now)
        elif self.state is State.PROCEEDING:
            # §9.1: without a final response "in 64*T1 seconds … the client SHOULD then consider
            # the original transaction cancelled and SHOULD destroy the client transaction".
            self._fail("timeout", now)
        elif self.state is not State.TERMINATED:  # Timer D or M.
            self._terminate()

    def transport_failed(self, now: float) -> None:
        """The flow is dead (§17.1.4).

        Figure 5 has no such arrow in Proceeding and Accepted: the peer answers on a connection
        that it opens to our Via (§18.2.2), and Timer C of the proxy ends the wait.
        """
        if self.state in (State.CALLING, State.COMPLETED):
            self._fail("transport-error", now)

    def move(self, flow: Flow, request: bytes, now: float) -> None:
        """Send the request on another flow, since this one will not carry it.

        Once a response has come, the peer and the flow have found each other.
        """
        if self.state is State.CALLING:
            self.flow, self.request = flow, request
            if not flow.send(request):
                self._fail("transport-error", now)

    def _proceed(self, response: Message, now: float) -> None:
        if self.state is State.CALLING:
            self.state = State.PROCEEDING
            # §17.1.1.2: "In the "Proceeding" state, the client transaction SHOULD NOT retransmit
            # the request any longer."
            self.due = NEVER
        if self._cancel_reason is not None and not self._is_cancelled:
            self._send_cancel(now)
        self._deliver(response, now)

    def _complete(self, response: Message, now: float) -> None:
        self.state = State.COMPLETED
        is_sent = self.flow.send(ack_of(self.request, response))
        self._deliver(response, now)
        if not is_sent:
            self._fail("transport-error", now)
        elif self.flow.is_reliable:  # Timer D is zero.
            self._terminate()
        else:
            self._out.wake(self, max(TIMER_D_MIN_S, self._out.timers.longest), now)

    def _acknowledge(self, response: Message, now: float) -> None:
        """Send ACK again for a failure that came again; the TU has it already."""
        if not self.flow.send(ack_of(self.request, response)):
            self._fail("transport-error", now)

    def _retransmit(self, now: float) -> None:
        left = self._ends - now
        if left <= 1e-6:
            self._fail("timeout", now)
        elif not self.flow.send(self.request):
            self._fail("transport-error", now)
        else:
            self._interval_a *= 2
            self._out.wake(self, min(self._interval_a, self._out.timers.rest(left)), now)

    def _send_cancel(self, now: float) -> None:
        self._is_cancelled = True
        self._out.wake(self, self._out.timers.longest, now)
        cancel = cancel_of(self.request, reason=self._cancel_reason or b"")
        self._out.start_cancel(cancel, self.branch, self.flow, now)

    def _deliver(self, response: Message, now: float) -> None:
        if self.user is not None:
            self.user.on_response(self, response, now)

    def _fail(self, cause: Cause, now: float) -> None:
        user = self.user
        self._terminate()
        if user is not None:
            user.on_failure(self, cause, now)

    def _terminate(self) -> None:
        if self.state is not State.TERMINATED:
            self.state = State.TERMINATED
            self.due = NEVER
            self.user = None  # Who refers to us: no cycle is left behind.
            self.request = b""
            self._out.end_client(self.branch)
