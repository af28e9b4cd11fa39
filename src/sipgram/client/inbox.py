"""The UAS core: what the client answers to requests (RFC 3261 §8.2, RFC 3428 §7)."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from sipgram.client.events import EventQueue
from sipgram.client.messages import read
from sipgram.identity import Entropy
from sipgram.sip.message.message import Message
from sipgram.sip.message.reply import build
from sipgram.sip.sink import Flow

ALLOW: Final = b"Allow: MESSAGE, OPTIONS"
ACCEPT: Final = b"Accept: text/plain, text/*"
NOT_SHOWN: Final = frozenset((b"application/im-iscomposing+xml", b"message/imdn+xml"))
"""Notices about messages are no messages: 415 tells their sender to stop (INTEROP: finch, baresip)."""
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
    ) -> None:
        self.is_open = False
        "Whether messages are taken; else they get 480, and the server keeps them."
        self._events = events
        self._entropy = entropy
        self._clock = clock
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
        if request.method not in (b"MESSAGE", b"OPTIONS"):
            return 405, (ALLOW,)
        if request.has(b"require"):
            return 420, (b"Unsupported: " + b", ".join(request.values(b"require")),)
        if request.method == b"OPTIONS":
            return 200, (ALLOW, ACCEPT)
        return self._take(request)

    def _take(self, request: Message) -> _Answer:
        """Judge a MESSAGE: 200 only once it is in the queue."""
        encoding = request.value(b"content-encoding") or b"identity"
        if encoding.lower() != b"identity":
            return 415, (b"Accept-Encoding: identity",)
        kind = (request.value(b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind in NOT_SHOWN:
            return 415, (ACCEPT,)
        identity = (request.call_id, b"%d" % request.cseq, request.from_tag, request.body)
        if identity not in self._seen:
            message = read(request, now_utc=self._clock())
            if not self.is_open or not self._events.offer(message):
                return 480, (b"Retry-After: %d" % RETRY_AFTER_S,)
            self._remember(identity)
        return 200, ()

    def _remember(self, identity: tuple[bytes, ...]) -> None:
        self._seen.add(identity)
        self._seen_order.append(identity)
        if len(self._seen_order) > SEEN_MAX:
            self._seen.discard(self._seen_order.popleft())
