"""A node of example.com that serves presence; its watchers and publishers are on 192.0.2.9."""

from itertools import count

from sipgram.identity import NodeId
from sipgram.server.parts.presence import PresenceParts, WatcherFlows, assemble
from sipgram.services.events.store import NoEventStore
from sipgram.settings import EventSettings, PresenceSettings, Settings
from sipgram.sip.branch import Brancher
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.uri import SipUri
from sipgram.sip.sink import Flow
from sipgram.testing.messages import request, response
from sipgram.testing.recording import RecordingFlow

from ...server.node import EPOCH, SECRET, Node

PIDF_HEADERS = (b"Event: presence", b"Content-Type: application/pidf+xml")


class House(Node):
    """The node, and short ways to subscribe, publish and look at what went out."""

    def __init__(
        self,
        *,
        has_digest: bool = False,
        events: EventSettings | None = None,
        presence: PresenceSettings | None = None,
        store: NoEventStore | None = None,
    ) -> None:
        super().__init__(has_digest=has_digest)
        settings = Settings(
            events=events or EventSettings(), presence=presence or PresenceSettings()
        )
        self.waiting: dict[str, int] = {}
        self.parts: PresenceParts = assemble(
            settings,
            locations=self.locations,
            store=store or NoEventStore(),
            brancher=Brancher(SECRET, node=NodeId("n1")),
            table=self.table,
            address_of=lambda flow: b"192.0.2.100:5060",
            flows=WatcherFlows(SourceFlows(), self.locations),
            clock=self.clock,
            wall=lambda: self.clock.now + EPOCH,
            waiting_of=lambda aor: self.waiting.get(aor, 0),
        )
        self.services |= self.parts.routes
        self._numbers = count(1)

    # ---- what goes in ----------------------------------------------------------------------

    def subscribe(
        self,
        *headers: bytes,
        event: bytes = b"presence",
        expires: int | None = 3600,
        watcher: bytes = b"alice",
        contact: bytes = b"",
        to: bytes = b"<sip:bob@example.com>",
        uri: bytes = b"sip:bob@example.com",
        call_id: bytes = b"",
        cseq: int = 1,
        flow: RecordingFlow | None = None,
    ) -> Message:
        """Send a SUBSCRIBE; return its answer."""
        number = next(self._numbers)
        contact = contact or b"sip:%b@192.0.2.9" % watcher
        lines = (b"Event: " + event, b"Contact: <%b>" % contact, *headers)
        if expires is not None:
            lines += (b"Expires: %d" % expires,)
        raw = request(
            b"SUBSCRIBE",
            uri,
            via=b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-s%d" % number,
            sender=b"<sip:%b@example.com>;tag=w%b" % (watcher, watcher),
            to=to,
            call_id=call_id or b"sub-%d" % number,
            cseq=cseq,
            headers=lines,
        )
        return self.ask(raw, flow=flow)

    def publish(
        self,
        body: bytes = b"",
        *headers: bytes,
        user: bytes = b"bob",
        etag: bytes = b"",
        expires: int | None = 3600,
        call_id: bytes = b"",
        event: bytes = b"presence",
        content_type: bytes = b"application/pidf+xml",
        flow: RecordingFlow | None = None,
    ) -> Message:
        """Send a PUBLISH; return its answer."""
        number = next(self._numbers)
        lines: tuple[bytes, ...] = (b"Event: " + event, *headers)
        if body:
            lines += (b"Content-Type: " + content_type,)
        if etag:
            lines += (b"SIP-If-Match: " + etag,)
        if expires is not None:
            lines += (b"Expires: %d" % expires,)
        aor = b"sip:%b@example.com" % user
        raw = request(
            b"PUBLISH",
            aor,
            via=b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-p%d" % number,
            sender=b"<%b>;tag=p%d" % (aor, number),
            to=b"<%b>" % aor,
            call_id=call_id or b"pub-%d" % number,
            headers=lines,
            body=body,
        )
        return self.ask(raw, flow=flow)

    # ---- what comes out --------------------------------------------------------------------

    def notifies(
        self, *, status: int = 200, flow: RecordingFlow | None = None, within_s: float = 0.06
    ) -> list[Message]:
        """Return the NOTIFYs of the next moments; each is answered with ``status``, 0 for not."""
        flow = flow or self.flow
        found: list[Message] = []
        end = self.clock.now + within_s
        while True:
            # In steps below T1: nothing that is answered here is sent twice.
            self.advance(min(0.25, end - self.clock.now))
            sent = flow.take()
            for raw in sent:
                found.append(parse(raw))
                assert found[-1].method == b"NOTIFY", raw
                if status:
                    self.receive(response(raw, status), flow=flow)
            if not sent and self.clock.now >= end:
                return found

    def notify(self, *, status: int = 200, flow: RecordingFlow | None = None) -> Message:
        """Return the one NOTIFY of the next moments."""
        (found,) = self.notifies(status=status, flow=flow)
        return found

    def watched(self, **arguments: bytes) -> bytes:
        """Subscribe and take the first NOTIFY; return our tag of the dialog."""
        answer = self.subscribe(**arguments)  # type: ignore[arg-type]  # Headers of tests alone.
        assert answer.status == 200, answer.raw
        self.notify()
        return answer.to_tag


class SourceFlows:
    """Every contact is reached where its request came from."""

    def flow_to(self, contact: SipUri, source: Flow) -> Flow:
        return source


def pidf(basic: str = "open", *, id: str = "t1", note: str = "", contact: str = "") -> bytes:
    """Return a document of bob."""
    shown = f"<contact>{contact}</contact>" if contact else ""
    shown += f"<note>{note}</note>" if note else ""
    return (
        '<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" '
        f'entity="sip:bob@example.com"><tuple id="{id}"><status><basic>{basic}</basic></status>'
        f"{shown}</tuple></presence>"
    ).encode()


def state_of(notify: Message) -> bytes:
    """Return the value of Subscription-State up to its parameters."""
    return (notify.value(b"subscription-state") or b"").partition(b";")[0]
