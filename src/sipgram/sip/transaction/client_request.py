"""Non-INVITE client transaction (RFC 3261 §17.1.2, Figure 6).

It has one deadline at a time, Timer E or what is left of Timer F, whichever is first. State
Completed with Timer K is left out: all that it does is to absorb repeated responses, and a
response that matches no transaction is dropped anyway (RFC 6026 §8.9 for strays at a proxy).
"""

import enum

from sipgram.sip.message.message import Message
from sipgram.sip.sink import Cause, ClientUser, Flow, Sink
from sipgram.sip.timers import NEVER


class State(enum.Enum):
    """The states of Figure 6 that can be told apart from outside."""

    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    TERMINATED = "Terminated"


_TRYING, _PROCEEDING, _TERMINATED = State.TRYING, State.PROCEEDING, State.TERMINATED


class ClientRequestTransaction:
    """One request, sent until it is answered."""

    __slots__ = (
        "_ends",
        "_interval_e",
        "_out",
        "_told",
        "branch",
        "due",
        "flow",
        "method",
        "request",
        "state",
        "user",
    )

    def __init__(
        self,
        request: bytes,
        branch: bytes,
        method: bytes,
        flow: Flow,
        user: ClientUser,
        out: Sink,
    ) -> None:
        self.state = _TRYING
        self.request = request
        self.branch = branch
        self.method = method
        self.flow = flow
        self.user: ClientUser | None = user
        self.due = NEVER
        self._out = out
        self._interval_e = out.timers.t1  # Seconds until the next retransmission.
        self._ends = NEVER  # When Timer F fires.
        self._told = False  # Whether the user knows that T1 has gone by.

    def start(self, now: float) -> None:
        """Send the request and arm Timers E and F.

        Over a reliable transport there is no Timer E, yet the first deadline is T1 there too:
        nearly every request is answered by then, and none of them waits in a queue for the
        32 seconds of Timer F.
        """
        self._ends = now + 64 * self._interval_e
        if self.flow.send(self.request):
            self._out.wake(self, self._interval_e, now)
        else:
            self._fail("transport-error", now)

    def receive(self, response: Message, now: float) -> None:
        """Take a response that matched this transaction (§17.1.3)."""
        user = self.user
        if user is None:
            return
        if response.status < 200:
            # The text speaks of the first 1xx only; Figure 6 delivers every one.
            self.state = _PROCEEDING
        else:
            self._terminate()
        user.on_response(self, response, now)

    def fire(self, now: float) -> None:
        """Take the deadline: retransmit (Timer E), or give up (Timer F)."""
        if self.state is _TERMINATED:
            return
        left = self._ends - now
        if left <= 1e-6:
            self._fail("timeout", now)
            return
        if self.user is not None and not self._told:
            self._told = True
            self.user.on_waiting(now)
        if self.flow.is_reliable:
            self._out.wake(self, self._out.timers.rest(left), now)
            return
        if not self.flow.send(self.request):
            self._fail("transport-error", now)
            return
        t2 = self._out.timers.t2
        proceeding = self.state is _PROCEEDING
        self._interval_e = t2 if proceeding else min(2 * self._interval_e, t2)
        self._out.wake(self, min(self._interval_e, self._out.timers.rest(left)), now)

    def transport_failed(self, now: float) -> None:
        """The transport could not send the request (§17.1.4)."""
        self._fail("transport-error", now)

    def move(self, flow: Flow, request: bytes, now: float) -> None:
        """Send the request on another flow, since this one will not carry it."""
        self.flow, self.request = flow, request
        if not flow.send(request):
            self._fail("transport-error", now)

    def abandon(self) -> None:
        """Forget the request without telling anybody."""
        self._terminate()

    def _fail(self, cause: Cause, now: float) -> None:
        user = self.user
        if user is not None:
            self._terminate()
            user.on_failure(self, cause, now)

    def _terminate(self) -> None:
        self.state = _TERMINATED
        self.due = NEVER
        self.user = None
        self.request = b""  # The object itself stays in the timers' queue until T1.
        self._out.end_client(self.branch)
