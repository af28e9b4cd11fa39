"""A server without sockets that keeps messages, and bob's devices."""

from sipgram.services.messaging.history import NOBODYS, History
from sipgram.settings import MessagingSettings
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import response
from sipgram.testing.recording import RecordingFlow

from ...server.node import Node, texted
from .memory import MemoryStore

A, B, C = b'"<urn:uuid:a>"', b'"<urn:uuid:b>"', b'"<urn:uuid:c>"'


class House(Node):
    """bob's devices, and a sender without digest."""

    def __init__(
        self, store: MemoryStore | None = None, *, history: History = NOBODYS, **limits: int
    ) -> None:
        self.store = store or MemoryStore()
        settings = MessagingSettings(**limits)
        super().__init__(has_digest=False, store=self.store, history=history, messaging=settings)
        self._sent = 0

    def send(self, *headers: bytes, body: bytes = b"hi", sender: bytes = b"alice") -> list[int]:
        """Send bob a new message; return the statuses that came at once."""
        self._sent += 1
        self.receive(self.message(self._sent, *headers, body=body, sender=sender))
        return self.statuses()

    def message(
        self, number: int, *headers: bytes, body: bytes = b"hi", sender: bytes = b"alice"
    ) -> bytes:
        """Return the bytes of a message."""
        raw = texted(
            *headers,
            branch=b"z9hG4bK-%d" % number,
            sender=b"<sip:%b@example.com>;tag=%d" % (sender, number),
            body=body,
        )
        return raw.replace(b"Call-ID: ", b"Call-ID: %d-" % number, 1)

    def statuses(self) -> list[int]:
        """Return what the sender has heard."""
        return [parse(raw).status for raw in self.flow.take()]

    def answer_as(self, phone: RecordingFlow, status: int = 200) -> list[bytes]:
        """Answer all that a phone got; return the bodies."""
        got = [parse(raw) for raw in phone.take()]
        for message in got:
            self.receive(response(message.raw, status), flow=phone)
        return [message.body for message in got]

    def drained(self, phone: RecordingFlow, *, within_s: float = 1.0) -> list[bytes]:
        """Let a phone take whatever comes, at once; return the bodies in order."""
        bodies: list[bytes] = []
        end = self.clock.now + within_s
        while self.clock.now < end:
            self.advance(0.05)
            while got := self.answer_as(phone):
                bodies += got
        return bodies

    @property
    def inbox_states(self) -> list[str]:
        return [self.store.states[id] for id in sorted(self.store.states)]


def only(phone: RecordingFlow) -> Message:
    (raw,) = phone.take()
    return parse(raw)
