"""Non-INVITE server transaction (RFC 3261 §17.2.2, Figure 8; RFC 4320).

It needs no timer until the request is repeated. State Completed is not an object: the table
keeps the response bytes under the transaction's key until Timer J (``Sink.complete_server``).
"""

import enum

from sipgram.sip.message.message import Message
from sipgram.sip.message.reply import build
from sipgram.sip.sink import Flow, Sink
from sipgram.sip.timers import NEVER


class State(enum.Enum):
    """The states of Figure 8."""

    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    COMPLETED = "Completed"


_TRYING, _PROCEEDING, _COMPLETED = State.TRYING, State.PROCEEDING, State.COMPLETED


class ServerRequestTransaction:
    """One request of a peer, answered once however often it comes."""

    __slots__ = ("_out", "due", "flow", "request", "started", "state")

    def __init__(self, request: Message, flow: Flow, out: Sink, now: float) -> None:
        """``flow`` is where responses go."""
        self.state = _TRYING
        self.flow = flow
        self.started = now
        self.due = NEVER
        self.request: Message | None = request
        self._out = out

    def receive(self, now: float) -> None:
        """Take a retransmission of the request.

        RFC 4320 §4.1: "An SIP element MUST respond to a non-INVITE request with a Status-Code
        of 100 if it has not otherwise responded after the amount of time it takes a client
        transaction's Timer E to be reset to T2", and not before. The 100 is there to stop
        retransmissions, so that its timer waits for the first of them, or for ``expect``.
        """
        if self.state is _PROCEEDING:
            self._send_trying()
        else:
            self.expect(now)

    def expect(self, now: float) -> None:
        """Be told that the answer takes its time: 100 goes out when it must.

        RFC 4320 §4.1 asks for it "without regard to transport", so that on a stream, where
        nothing is retransmitted, somebody has to say so.
        """
        if self.state is _TRYING and self.due == NEVER:
            left = self.started + self._out.timers.trying_after_s - now
            if left > 0:
                self._out.wake(self, self._out.timers.rest(left), now)
            else:
                self.fire(now)

    def fire(self, now: float) -> None:
        """Send 100 (Trying)."""
        if self.state is _TRYING:
            self.state = _PROCEEDING
            self._send_trying()

    def respond(self, response: bytes, now: float) -> None:
        """Send the final response; a second one is not sent."""
        request = self.request
        if request is None:
            return
        self.state = _COMPLETED
        self.due = NEVER
        self.request = None
        flow = self.flow
        flow.send(response)
        self._out.complete_server(request.key, response, flow.is_reliable, now)

    @property
    def is_open(self) -> bool:
        """Whether the final response is still to come."""
        return self.request is not None

    def _send_trying(self) -> None:
        if self.request is not None:
            flow = self.flow
            flow.send(build(self.request, 100, to_tag=b"", host=flow.host, port=flow.port))
