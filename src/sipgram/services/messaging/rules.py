"""Pure decisions about messages that are stored (DELIVERY.md D21 and the table of answers)."""

from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final

from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import is_sips
from sipgram.sip.proxy import ENDS_COPY

LIFETIME_MAX_S: Final = 7 * 86_400
DATE_LAG_S: Final = 300
"""A Date further in the past is that of a wrong clock, or of a message that was held up."""
TYPING: Final = b"application/im-iscomposing+xml"


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
    """Say whether the body only says that somebody types (RFC 3994)."""
    content_type = request.value(b"content-type") or b""
    return content_type.partition(b";")[0].strip().lower() == TYPING


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
