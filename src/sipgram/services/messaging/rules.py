"""Pure decisions about messages that are stored (DELIVERY.md D21 and the table of answers)."""

from email.utils import parsedate_to_datetime
from enum import Enum
from hashlib import blake2b
from typing import Final, NamedTuple

from sipgram.errors import PeerError
from sipgram.payload import media_type
from sipgram.payload.body import Body
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import is_sips
from sipgram.sip.proxy import ENDS_COPY

LIFETIME_MAX_S: Final = 7 * 86_400
DATE_LAG_S: Final = 300
"""A Date further in the past is that of a wrong clock, or of a message that was held up."""
TYPING: Final = media_type.TYPING.encode()
CPIM: Final = media_type.CPIM.encode()


class Meaning(Enum):
    """What a device's final answer means for its copy."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNBOUND = "unbound"
    "Kept, while the binding ends."
    KEPT = "kept"


def meaning(status: int) -> Meaning:
    """Read the table of DELIVERY.md; 0 stands for no answer."""
    if 200 <= status < 300 or status == 482:  # 482: it has had it under another branch.
        return Meaning.TAKEN
    if status in ENDS_COPY or status >= 600:
        return Meaning.REFUSED
    return Meaning.UNBOUND if status in (404, 410, 430) else Meaning.KEPT


def is_storable(request: Message) -> bool:
    """Say whether a request waits for devices that are away (D21)."""
    if request.method != b"MESSAGE" or is_sips(request.uri):
        return False  # What asks for TLS all the way is not kept for whatever way comes.
    if request.has(b"expires") and expires_of(request) == 0:
        return False
    return not is_typing(request)


def is_typing(request: Message) -> bool:
    """Say whether the body only says that somebody types (RFC 3994), in CPIM too."""
    kind = type_of(request)
    if kind != CPIM:
        return kind == TYPING
    body = _opened(request) if is_packed(request) or TYPING in request.body.lower() else None
    return body is not None and body.name == media_type.TYPING


def type_of(request: Message) -> bytes:
    """Return the lower-cased media type of the body."""
    content_type = request.value(b"content-type") or b""
    return content_type.partition(b";")[0].strip().lower()


def is_packed(request: Message) -> bool:
    """Say whether the body is not to be read as it is."""
    return request.has(b"content-encoding")


class Asked(NamedTuple):
    """What the CPIM headers of a message say about receipts (RFC 5438)."""

    imdn_key: bytes = b""
    "Of From and imdn.Message-ID (D23)."
    wants_failure: bool = False


def asked_of(request: Message) -> Asked:
    """Read what a message asks for; nothing when it is no CPIM, or malformed."""
    if type_of(request) != CPIM:
        return NOTHING_ASKED
    body = _opened(request)
    if body is None or not body.message_id:
        return NOTHING_ASKED
    key = blake2b(digest_size=8)
    key.update(b"%b\n%b" % (request.from_uri, body.message_id.encode("utf-8", "replace")))
    return Asked(key.digest(), "negative-delivery" in body.wishes)


NOTHING_ASKED: Final = Asked()


def _opened(request: Message) -> Body | None:
    encoding = b",".join(request.values(b"content-encoding")) if is_packed(request) else b""
    kind = request.value(b"content-type") or b""
    try:
        return Body.parse(
            request.body,
            kind.decode("utf-8", "replace"),
            encoding=encoding.decode("ascii", "replace"),
        )
    except PeerError:
        return None


def expires_of(request: Message) -> int | None:
    """Return the seconds that the sender gives a message; None for no or a malformed wish."""
    value = request.value(b"expires")
    if value is None or not value.isdigit():
        return None
    return min(int(value[:10]), LIFETIME_MAX_S) if len(value) <= 10 else LIFETIME_MAX_S


def expires_utc(request: Message, received_utc: float) -> float:
    """Return when a message ends: counted from its Date when that can be believed (D21)."""
    wished = expires_of(request)
    if wished is None:
        return received_utc + LIFETIME_MAX_S
    begun = received_utc
    date = request.value(b"date")
    if date is not None:
        try:
            said = parsedate_to_datetime(date.decode("ascii")).timestamp()
        except (ValueError, UnicodeDecodeError, OverflowError):
            said = received_utc
        if received_utc - DATE_LAG_S <= said <= received_utc:
            begun = said
    return begun + wished
