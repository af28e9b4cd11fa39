"""Stand-ins around one machine that write down what it asks for (RFC 3261 §17)."""

from sipgram.sip.message.message import Message
from sipgram.sip.sink import Cause, ClientSide, Flow
from sipgram.sip.timers import Sleeper, Timers

Call = tuple[object, ...]


class RecordingSink:
    """A machine's ``Sink``: each call as a tuple, in order, for tests to compare.

    ``wake`` is written as ``("wake", due)`` and sets the sleeper's ``due`` as the real one does.
    """

    def __init__(self, timers: Timers | None = None) -> None:
        self.timers = timers or Timers()
        self.calls: list[Call] = []

    def take(self) -> list[Call]:
        """Return what was asked since the last call."""
        calls, self.calls = self.calls, []
        return calls

    def wake(self, sleeper: Sleeper, after_s: float, now: float) -> None:
        sleeper.due = now + after_s
        self.calls.append(("wake", now + after_s))

    def end_client(self, branch: bytes) -> None:
        self.calls.append(("end_client", branch))

    def complete_server(self, key: bytes, response: bytes, is_reliable: bool, now: float) -> None:
        self.calls.append(("complete_server", key, response))


class RecordingFlow:
    """A flow to nowhere: what was sent is in ``sent``; ``is_alive = False`` makes it dead."""

    def __init__(
        self, *, host: bytes = b"192.0.2.1", port: int = 5060, is_reliable: bool = False
    ) -> None:
        self.host = host
        self.port = port
        self.is_reliable = is_reliable
        self.via_line = b"Via: SIP/2.0/UDP proxy.example.com;rport;branch="
        self.is_alive = True
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> bool:
        if self.is_alive:
            self.sent.append(data)
        return self.is_alive

    def reply_flow(self, request: Message) -> Flow:
        return self

    def take(self) -> list[bytes]:
        """Return what was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


class RecordingUser:
    """A transaction user, of client transactions and of a table: each call as a tuple."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def take(self) -> list[Call]:
        """Return what was told since the last call."""
        calls, self.calls = self.calls, []
        return calls

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        self.calls.append(("response", response.status))

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        self.calls.append(("failure", cause))

    def on_waiting(self, now: float) -> None:
        self.calls.append(("waiting", now))

    def on_request(self, request: Message, flow: Flow, now: float) -> None:
        self.calls.append(("request", request.method))

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        self.calls.append(("stray", response.status))
