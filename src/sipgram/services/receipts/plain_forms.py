"""CPIM as plain text for devices that refuse CPIM, and typing kept from those who refuse it (D20, D21).

A message to a list, of which the list service made a multipart to say who else has it, becomes the
text again that its sender wrote: the rest is optional (RFC 5365 §7.3).
"""

from collections.abc import Callable, Sequence
from typing import Final

from sipgram.errors import PeerError
from sipgram.payload import media_type, multipart
from sipgram.payload.body import Body
from sipgram.payload.media_type import MediaType
from sipgram.sip.message.adapting import ReadingTarget
from sipgram.sip.message.message import Cut, Message

CPIM: Final = media_type.CPIM.encode()
MULTIPART: Final = b"multipart/mixed"
TYPING: Final = media_type.TYPING.encode()


class PlainForms:
    """Knows what a device can read by what it refused (``sip.message.adapting.Adapter``).

    That is remembered with the binding: a phone that registers anew may have learnt to read.
    """

    def __init__(self, on_delivered: Callable[[Message, Body, float], None]) -> None:
        """``on_delivered`` hears that a device took the text of a message as plain text."""
        self._on_delivered = on_delivered
        self.converted = 0
        self.swallowed = 0

    def cuts(self, request: Message, target: ReadingTarget) -> Sequence[Cut]:
        kind = _type_of(request)
        if request.method != b"MESSAGE" or kind not in target.cannot_read or kind == TYPING:
            return ()
        if kind == MULTIPART:
            return _without_history(request)
        body = opened(request)
        return () if body is None else self._edits(request, body)

    def on_refused(self, request: Message, target: ReadingTarget) -> Sequence[Cut] | None:
        if request.method != b"MESSAGE":
            return None
        kind = _type_of(request)
        if kind == TYPING:
            return self._swallow(target, TYPING)
        if kind == MULTIPART and (edits := _without_history(request)):
            target.cannot_read |= {MULTIPART}
            return edits
        body = opened(request)
        if body is None:
            return None
        if body.name == media_type.TYPING:
            return self._swallow(target, TYPING)
        edits = self._edits(request, body)
        if not edits:
            return None
        target.cannot_read |= {CPIM}
        return edits

    def on_taken(self, request: Message, now: float) -> None:
        body = opened(request)
        if body is not None:
            self.converted += 1
            self._on_delivered(request, body, now)

    def _swallow(self, target: ReadingTarget, kind: bytes) -> Sequence[Cut]:
        target.cannot_read |= {kind}
        self.swallowed += 1
        return ()

    def _edits(self, request: Message, body: Body) -> Sequence[Cut]:
        """Return what makes the request one of plain text; none when there is no text in it."""
        if body.cpim is None or body.name != media_type.TEXT or body.is_notice:
            return ()
        return _with_body(request, body.content_type, body.content)


def _without_history(request: Message) -> Sequence[Cut]:
    """Return what makes a list service's multipart the one text in it; none for another body."""
    kind = MediaType.parse((request.value(b"content-type") or b"").decode("utf-8", "replace"))
    try:
        parts = multipart.parse(request.body, kind.parameters.get("boundary", ""))
    except PeerError:
        return ()
    texts = [part for part in parts if part.disposition != "recipient-list-history"]
    if len(parts) != 2 or len(texts) != 1:
        return ()
    content_type = texts[0].header("content-type") or media_type.TEXT
    if media_type.name_of(content_type.encode()) != media_type.TEXT:
        return ()
    return _with_body(request, content_type, texts[0].body)


def _with_body(request: Message, content_type: str, body: bytes) -> Sequence[Cut]:
    """Return the edits that give a request another body."""
    raw = request.raw
    edits = [
        (*span, b"")
        for name in (b"content-encoding", b"content-length")
        if request.has(name)
        for span in request.spans(name)
    ]
    head = b"Content-Type: %b\r\nContent-Length: %d\r\n" % (_line(content_type), len(body))
    edits += [(*span, head) for span in request.spans(b"content-type")[:1]]
    if request.body:
        edits.append((len(raw) - len(request.body), len(raw), body))
    return sorted(edits)


def opened(request: Message) -> Body | None:
    """Return what is in a CPIM body, deflated or not; None when it is another, or malformed."""
    if _type_of(request) != CPIM:
        return None
    kind = request.value(b"content-type") or b""
    encoding = b",".join(request.values(b"content-encoding"))
    try:
        return Body.parse(
            request.body,
            kind.decode("utf-8", "replace"),
            encoding=encoding.decode("ascii", "replace"),
        )
    except PeerError:
        return None


def _type_of(request: Message) -> bytes:
    return media_type.name_of(request.value(b"content-type")).encode()


def _line(value: str) -> bytes:
    """Return a header value that is one line, whatever the sender wrote inside of its CPIM."""
    return " ".join(value.split()).encode()
