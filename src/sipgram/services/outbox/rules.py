"""What may be sent, and the MESSAGE that is made of it (RFC 3428, RFC 3862, RFC 5438). Pure.

Everything that tells one message from another follows from its id and the node's secret, so that
a message sent again after a crash is a retransmission to the device and not a second message.
"""

import re
from datetime import UTC, datetime
from email.utils import formatdate
from hashlib import blake2b
from typing import Final

from sipgram.errors import PeerError
from sipgram.services.outbox.store import Outgoing
from sipgram.sip.message.grammar import is_token
from sipgram.sip.message.request import build
from sipgram.sip.message.uri import Aor

TEXT: Final = "text/plain;charset=UTF-8"
CPIM: Final = "message/cpim"
URI_CHARS_MAX: Final = 256
RECEIPTS: Final = ("delivered", "displayed")
_WISHES: Final = {"delivered": "positive-delivery", "displayed": "display"}
_TYPE: Final = re.compile(r"([^/;\s]+)/([^/;\s]+)\s*(;[\x20-\x7e]*)?")
_ADDRESS: Final = re.compile(r"[^\s<>\"\x00-\x20\x7f]+")


def parse_address(text: str, *, domain: str) -> str:
    """Return an address as a URI: ``bob``, ``bob@example.com``, ``sip:…`` or ``tel:…``.

    Raises:
        ValueError: it is none; the text says why.
    """
    text = text.strip()
    if not text:
        raise ValueError("the address is empty")
    if len(text) > URI_CHARS_MAX:
        raise ValueError(f"the address is longer than {URI_CHARS_MAX} characters")
    if not _ADDRESS.fullmatch(text):
        raise ValueError('the address holds a blank, a control character or one of < > "')
    if text.startswith("+") and text[1:].isdigit():
        text = f"tel:{text}"
    elif not text.lower().startswith(("sip:", "sips:", "tel:")):
        text = f"sip:{text}" if "@" in text else f"sip:{text}@{domain}"
    try:
        aor = Aor.parse(text.encode())
    except PeerError as error:
        raise ValueError(f"the address is no sip: or tel: URI: {error.reason}") from error
    if not aor.user:
        raise ValueError("the address names no user")
    return text


def check_type(content_type: str) -> None:
    """Raise ``ValueError`` for what is no media type."""
    found = _TYPE.fullmatch(content_type)
    if not found or not is_token(found[1].encode()) or not is_token(found[2].encode()):
        raise ValueError("the content type is not as in text/plain;charset=UTF-8")


def request_of(message: Outgoing, *, secret: bytes, domain: str) -> bytes:
    """Return the MESSAGE; the same bytes for the same message at any time."""
    keyed = blake2b(b"%d" % message.id, key=secret[:32], digest_size=24).hexdigest().encode()
    sent_utc = message.send_at_utc or message.created_utc
    content_type, body = message.content_type, message.body
    if message.receipts:
        content_type, body = CPIM, _wrapped(message, sent_utc)
    headers = [
        b"Date: " + formatdate(sent_utc, usegmt=True).encode(),
        b"Content-Type: " + content_type.encode(),
    ]
    if message.expires_s >= 0:
        headers.append(b"Expires: %d" % message.expires_s)
    host = domain.encode()
    return build(
        b"MESSAGE",
        message.recipient.encode(),
        via=b"Via: SIP/2.0/TCP %b;branch=z9hG4bK%b" % (host, keyed[:16]),
        sender=b"<%b>;tag=%b" % (message.sender.encode(), keyed[16:32]),
        to=b"<" + message.recipient.encode() + b">",
        call_id=b"%b@%b" % (keyed[32:], host),
        cseq=1,
        headers=headers,
        body=body,
    )


def _wrapped(message: Outgoing, sent_utc: float) -> bytes:
    """Return the body in a CPIM envelope that asks for receipts (RFC 5438 §6.2)."""
    wishes = ", ".join(_WISHES[word] for word in message.receipts.split())
    at = datetime.fromtimestamp(sent_utc, UTC).isoformat(timespec="seconds")
    lines = (
        f"From: <{message.sender}>",
        f"To: <{message.recipient}>",
        f"DateTime: {at}",
        "NS: imdn <urn:ietf:params:imdn>",
        f"imdn.Message-ID: {message.id}",
        f"imdn.Disposition-Notification: {wishes}",
        "",
        f"Content-Type: {message.content_type}",
        f"Content-Length: {len(message.body)}",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + message.body
