"""INVITE server transaction (RFC 3261 §17.2.1, Figure 7, as RFC 6026 §8.5 changes it).

It has one deadline at a time: the 100 of Proceeding; Timer G or what is left of Timer H,
whichever is first; I; L. It never repeats a 2xx: who gave it does that, end to end (§13.3.1.4).
"""

import enum
from typing import Final

from sipgram.sip.message.message import Message
from sipgram.sip.message.reply import build
from sipgram.sip.sink import Cause, Flow
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.invite_sink import InviteServerUser, InviteSink

TRYING_AFTER_S: Final = 0.2
"""§17.2.1: "MUST generate a 100 (Trying) response unless it knows that the TU will generate a
provisional or final response within 200 ms"."""


class State(enum.Enum):
    """The states of Figure 7."""

    PROCEEDING = "Proceeding"
    ACCEPTED = "Accepted"
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    TERMINATED = "Terminated"


class ServerInviteTransaction:
    """One INVITE of a peer: one failure until its ACK, or every 2xx that is passed down."""

    __slots__ = (
        "_ends",
        "_interval_g",
        "_last",
        "_out",
        "due",
        "flow",
        "is_cancelled",
        "key",
        "request",
        "state",
        "user",
    )

    def __init__(
        self, request: Message, flow: Flow, user: InviteServerUser | None, out: InviteSink
    ) -> None:
        """``flow`` is where responses go; ``user`` may come later, by assignment."""
        self.state = State.PROCEEDING
        self.key = request.key
        self.flow = flow
        self.user = user
        self.due = NEVER
        self.is_cancelled = False
        "Whether a CANCEL came, for a user that comes later than it."
        self.request: Message | None = request
        "Until the final response."
        self._out = out
        self._last = b""  # The response that a retransmission of the request gets.
        self._interval_g = out.timers.t1
        self._ends = NEVER  # When Timer H fires.

    def start(self, now: float) -> None:
        """Begin, with the request passed to the TU."""
        self._out.wake(self, TRYING_AFTER_S, now)

    def receive(self, request: Message, now: float) -> bool:
        """Take the INVITE again, or an ACK of the same branch; False for one that is the TU's.

        RFC 6026 §7.1: "Any ACKs received from the network while in the "Accepted" state MUST be
        passed directly to the TU and not absorbed." Elsewhere an ACK is the hop's own.
        """
        if request.method != b"ACK":
            if self.state in (State.PROCEEDING, State.COMPLETED) and self._last:
                self._send(self._last, now)
            return True
        if self.state is State.COMPLETED:
            self.state = State.CONFIRMED
            if self.flow.is_reliable:  # Timer I is zero.
                self._terminate()
            else:
                self._out.wake(self, self._out.timers.t4, now)
        return self.state is not State.ACCEPTED

    def cancel(self, now: float) -> None:
        """Be told of a CANCEL; it has no effect once there is a final response (§9.2)."""
        if self.is_open and not self.is_cancelled:
            self.is_cancelled = True
            if self.user is not None:
                self.user.on_cancel(now)

    def respond(self, status: int, response: bytes, now: float) -> None:
        """Take a response of the TU; what the state has no use for is not sent."""
        if self.state is State.PROCEEDING:
            if status < 200:
                self.due = NEVER
                self._last = response
            elif status < 300:
                self._finish(State.ACCEPTED)
                self._out.wake(self, self._out.timers.longest, now)  # Timer L.
            else:
                self._complete(response, now)
            self._send(response, now)
        elif self.state is State.ACCEPTED and 200 <= status < 300:
            self._send(response, now)

    def fire(self, now: float) -> None:
        """Take the deadline of the present state."""
        if self.state is State.PROCEEDING:
            if self.request is not None:
                flow = self.flow
                self._last = build(self.request, 100, to_tag=b"", host=flow.host, port=flow.port)
                self._send(self._last, now)
        elif self.state is State.COMPLETED:
            self._repeat(now)
        else:  # Timer I or L.
            self._terminate()

    @property
    def is_open(self) -> bool:
        """Whether the first final response is still to come."""
        return self.state is State.PROCEEDING

    def _complete(self, response: bytes, now: float) -> None:
        self._finish(State.COMPLETED)
        self._last = response
        longest = self._out.timers.longest
        self._ends = now + longest
        self._out.wake(self, longest if self.flow.is_reliable else self._interval_g, now)

    def _repeat(self, now: float) -> None:
        left = self._ends - now
        if left <= 1e-6:
            self._tell("timeout", now)
            self._terminate()
            return
        self._send(self._last, now)
        self._interval_g = min(2 * self._interval_g, self._out.timers.t2)
        self._out.wake(self, min(self._interval_g, self._out.timers.rest(left)), now)

    def _send(self, response: bytes, now: float) -> None:
        if not self.flow.send(response):
            # RFC 6026 §8.8 has the TU told and the state kept, since the next one may get through.
            self._tell("transport-error", now)

    def _tell(self, cause: Cause, now: float) -> None:
        if self.user is not None:
            self.user.on_undelivered(cause, now)

    def _finish(self, state: State) -> None:
        self.state = state
        self.request = None
        self._last = b""

    def _terminate(self) -> None:
        if self.state is not State.TERMINATED:
            self.state = State.TERMINATED
            self.due = NEVER
            self._last = b""
            self.user = None  # Who refers to us: no cycle is left behind.
            self._out.end_server(self.key)
