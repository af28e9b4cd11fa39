"""What a MESSAGE says: a text, a receipt, or that somebody types (RFC 3862, 5438, 3994). Pure."""

import base64
from dataclasses import dataclass, field
from typing import Any, Final

from sipgram.errors import PeerError
from sipgram.payload.cpim import Cpim
from sipgram.payload.imdn import Imdn
from sipgram.payload.iscomposing import IsComposing
from sipgram.sip.message.message import Message

TYPING: Final = "application/im-iscomposing+xml"
RECEIPT: Final = "message/imdn+xml"
CPIM: Final = "message/cpim"


@dataclass(frozen=True, slots=True)
class Content:
    """A message as an event shows it."""

    kind: str
    "message, receipt or typing."
    data: dict[str, Any] = field(default_factory=dict)


def content_of(request: Message) -> Content:
    """Read a MESSAGE; what cannot be read is a message with a body of octets."""
    content_type = (request.value(b"content-type") or b"").decode("latin-1")
    try:
        return _content(content_type, request.body)
    except PeerError:
        return Content("message", _octets(content_type, request.body))


def _content(content_type: str, body: bytes) -> Content:
    media = content_type.partition(";")[0].strip().lower()
    if media == TYPING:
        state = IsComposing.parse(body).state
        return Content("typing", {"state": state})
    if media == RECEIPT:
        return Content("receipt", _receipt(body))
    if media == CPIM:
        envelope = Cpim.parse(body)
        inner = _content(envelope.content_header("Content-Type"), envelope.content)
        message_id = envelope.header("Message-ID", "urn:ietf:params:imdn")
        if message_id and inner.kind == "message":
            inner.data["imdn_message_id"] = message_id
        return inner
    return Content("message", _octets(content_type, body))


def _octets(content_type: str, body: bytes) -> dict[str, Any]:
    media = content_type.partition(";")[0].strip().lower()
    if media.startswith("text/") or not media:
        try:
            return {"content_type": content_type, "text": body.decode()}
        except UnicodeDecodeError:
            pass
    return {"content_type": content_type, "body": base64.b64encode(body).decode()}


def _receipt(document: bytes) -> dict[str, Any]:
    receipt = Imdn.parse(document)
    return {"message_id": receipt.message_id, "status": receipt.status, "kind": receipt.kind}
