"""The UAS core: what the client answers to requests (RFC 3261 §8.2, RFC 3428 §7)."""

from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from sipgram.client.composing import TypingSeen
from sipgram.client.events import EventQueue, Receipt, Typing
from sipgram.client.messages import Message as Text
from sipgram.client.messages import opened, read, sent_at, shown_aor
from sipgram.client.receipts import wanted
from sipgram.errors import PeerError
from sipgram.identity import Entropy
from sipgram.payload import media_type
from sipgram.payload.body import Body
from sipgram.payload.imdn import Imdn, Status
from sipgram.payload.iscomposing import IsComposing
from sipgram.sip.message.message import Message
from sipgram.sip.message.reply import build
from sipgram.sip.sink import Flow

ALLOW: Final = b"Allow: MESSAGE, NOTIFY, OPTIONS"
ACCEPT: Final = (
    b"Accept: text/plain, text/*, message/cpim, message/imdn+xml, application/im-iscomposing+xml,"
    b" multipart/mixed, multipart/alternative"
)
ACCEPT_ENCODING: Final = b"Accept-Encoding: deflate, identity"
SEEN_MAX: Final = 1_024
"""Messages remembered, so that one that the server sends again is shown once."""
RETRY_AFTER_S: Final = 30

_Answer = tuple[int, tuple[bytes, ...]]
"""Status and header lines."""


class Inbox:
    """Answers the requests that come in on the client's flows."""

    def __init__(
        self,
        events: EventQueue,
        *,
        entropy: Entropy,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_message: Callable[[Text], None] = lambda message: None,
        on_shown: Callable[[Text], Awaitable[None]] | None = None,
        on_receipt: Callable[[str, Status], None] = lambda message_id, status: None,
        on_notify: Callable[[Message], int] = lambda request: 481,
    ) -> None:
        """``on_message`` hears of each that was taken, ``on_shown`` when one is marked;
        ``on_notify`` returns the status for a NOTIFY.
        """
        self.is_open = False
        "Whether messages are taken; else they get 480, and the server keeps them."
        self._events = events
        self._entropy = entropy
        self._clock = clock
        self._on_message = on_message
        self._on_shown = on_shown
        self._on_receipt = on_receipt
        self._on_notify = on_notify
        self.typing = TypingSeen(lambda sender, active: events.note(Typing(sender, active)))
        self._seen: set[tuple[bytes, ...]] = set()
        self._seen_order: deque[tuple[bytes, ...]] = deque()

    def answer(self, request: Message, flow: Flow) -> bytes | None:
        """Return the response to a request that no transaction knows; None for none."""
        if not request.method or request.method == b"ACK":
            return None
        status, headers = self._judge(request)
        return build(
            request,
            status,
            to_tag=self._entropy.token().encode(),
            host=flow.host,
            port=flow.port,
            reason="; ".join(request.faults),
            headers=headers,
        )

    def _judge(self, request: Message) -> _Answer:
        if request.faults:
            return request.fault_status, ()
        if request.method == b"CANCEL":
            return 481, ()
        if request.method == b"NOTIFY":
            return self._on_notify(request), ()
        if request.method not in (b"MESSAGE", b"OPTIONS"):
            return 405, (ALLOW,)
        if request.has(b"require"):
            return 420, (b"Unsupported: " + b", ".join(request.values(b"require")),)
        if request.method == b"OPTIONS":
            return 200, (ALLOW, ACCEPT, ACCEPT_ENCODING)
        return self._take(request)

    def _take(self, request: Message) -> _Answer:
        """Judge a MESSAGE: 200 only once it is in the queue."""
        try:
            body = opened(request)
            identity = (request.call_id, b"%d" % request.cseq, request.from_tag, request.body)
            if identity in self._seen:
                return 200, ()
            if body.name == media_type.TYPING:
                return self._take_typing(request, body)
            if not self._offer(request, body):
                return 480, (b"Retry-After: %d" % RETRY_AFTER_S,)
        except PeerError as error:
            return error.status, (ACCEPT, ACCEPT_ENCODING) if error.status == 415 else ()
        self._remember(identity)
        return 200, ()

    def _take_typing(self, request: Message, body: Body) -> _Answer:
        status = IsComposing.parse(body.content)
        if self.is_open:
            self.typing.receive(shown_aor(request.from_uri), status)
        return 200, ()

    def _offer(self, request: Message, body: Body) -> bool:
        now_utc = self._clock()
        if body.name == media_type.IMDN:
            notice = Imdn.parse(body.content)
            sender = shown_aor(request.from_uri)
            receipt = Receipt(
                notice.message_id, notice.status, sender, sent_at(request, now_utc=now_utc)
            )
            if not self.is_open or not self._events.offer(receipt):
                return False
            self._on_receipt(notice.message_id, notice.status)
            return True
        wants = wanted(body.wishes)
        message = read(request, now_utc=now_utc, body=body, wants=wants, shown=self._on_shown)
        if not self.is_open or not self._events.offer(message):
            return False
        self.typing.message(message.sender)
        self._on_message(message)
        return True

    def _remember(self, identity: tuple[bytes, ...]) -> None:
        self._seen.add(identity)
        self._seen_order.append(identity)
        if len(self._seen_order) > SEEN_MAX:
            self._seen.discard(self._seen_order.popleft())
