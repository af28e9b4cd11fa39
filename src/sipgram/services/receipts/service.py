"""Receipts that the server sends in a device's place, or because there was none (RFC 5438 §8)."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from sipgram.errors import ParseError
from sipgram.payload import media_type
from sipgram.payload.body import Body
from sipgram.payload.imdn import Imdn, Status, enclosed
from sipgram.services.receipts.plain_forms import opened
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import Aor

HEADERS: Final = (b"Priority: non-urgent",)


class Post(Protocol):
    """Stores a message of the server's own; False when it cannot be delivered."""

    def __call__(
        self,
        *,
        sender: bytes,
        to: bytes,
        cause: bytes,
        content_type: bytes,
        body: bytes,
        headers: Sequence[bytes],
        now: float,
    ) -> bool: ...


class _About(NamedTuple):
    """A message as a receipt speaks of it."""

    message_id: str
    date_time: str
    sender: str
    recipient: str


class Receipts:
    """Answers messages that asked for it, and no others: a receipt asks for nothing (D24)."""

    def __init__(
        self, post: Post, *, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._post = post
        self._clock = clock
        self._wall = wall
        self.sent: dict[Status, int] = {"delivered": 0, "failed": 0}

    def on_delivered(self, request: Message, body: Body, now: float) -> None:
        """A device took the text alone: it cannot say so itself (D20)."""
        if "positive-delivery" in body.wishes:
            self._send(request, body, "delivered", now)

    def on_failed(self, request: Message) -> None:
        """The last copy has ended and no device took one (D15)."""
        body = opened(request)
        if body is not None and "negative-delivery" in body.wishes:
            self._send(request, body, "failed", self._clock())

    def _send(self, request: Message, body: Body, status: Status, now: float) -> None:
        about = _about(request, body)
        if about is None:
            return
        notice = Imdn.of(
            about.message_id, status, recipient_uri=about.recipient, date_time=about.date_time
        )
        cause = f"imdn\n{status}\n{about.message_id}".encode("utf-8", "replace")
        said = datetime.fromtimestamp(self._wall(), UTC)
        message = enclosed(
            notice,
            message_id=f"{status}-{about.message_id}",
            sender=about.recipient,
            to=about.sender,
            date_time=said.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        self.sent[status] += self._post(
            sender=about.recipient.encode(),
            to=about.sender.encode(),
            cause=cause,
            content_type=media_type.CPIM.encode(),
            body=bytes(message),
            headers=HEADERS,
            now=now,
        )


def _about(request: Message, body: Body) -> _About | None:
    """Name both ends by their AoRs, which cannot break a header."""
    assert body.cpim is not None
    try:
        sender, recipient = Aor.parse(request.from_uri), Aor.parse(request.to_uri)
    except ParseError:
        return None
    return _About(body.message_id, body.cpim.date_time, str(sender), str(recipient))
