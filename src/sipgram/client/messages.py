"""Pager-mode messages as values, sent and received (RFC 3428)."""

import enum
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sipgram.errors import Error, ParseError
from sipgram.sip.message.message import Message as SipMessage
from sipgram.sip.message.uri import Aor

DELAYED_AFTER: Final = timedelta(minutes=1)
"""A message whose Date is further back was stored on its way; less may be a clock that is off."""

_CHARSET_RE: Final = re.compile(
    r""";\s*charset\s*=\s*"?((?:utf|iso|us-ascii|windows|koi8|gb|big5|shift|euc)[\w\-]*)""",
    re.IGNORECASE,
)
"""Families of charsets; Python knows codecs besides that are no charsets and slow."""
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_DATE_RE: Final = re.compile(
    rb"[A-Z][a-z]{2}, ([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)


class Outcome(enum.Enum):
    """What a 2xx to a MESSAGE says (RFC 3428 §7)."""

    DELIVERED = "delivered"
    "200: a device has taken it."
    STORED = "stored"
    "202: the server keeps it until a device comes."


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was taken."""

    outcome: Outcome
    status: int
    reason: str
    call_id: str
    ms: float
    "Milliseconds from the first request to the final response."


class Rejected(Error):
    """The final response was not 2xx."""

    def __init__(
        self, status: int, reason: str, retry_after_s: int | None = None, *, call_id: str = ""
    ) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.call_id = call_id

    @classmethod
    def by(cls, response: SipMessage) -> "Rejected":
        """Make one of a final response."""
        digits = (response.value(b"retry-after") or b"")[:9].split(b"(")[0].split(b";")[0].strip()
        return cls(
            response.status,
            response.reason.decode("utf-8", "replace"),
            int(digits) if digits.isdigit() else None,
            call_id=response.call_id.decode("utf-8", "replace"),
        )


class NoAnswer(Error):
    """No final response came: nobody knows whether the message was taken."""

    def __init__(self, reason: str, *, call_id: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.call_id = call_id


@dataclass(frozen=True, slots=True)
class Message:
    """A message that came in; its sender has our 200."""

    id: str
    "Names the message: its Call-ID, which RFC 3261 §8.1.1.4 makes unique."
    sender: str
    "AoR, as in ``sip:bob@example.com``."
    to: str
    "AoR that it was written to."
    text: str
    "Empty when the body is not text."
    data: bytes
    content_type: str
    sent_at: datetime
    "The sender's or the server's Date, else when it came; in UTC."
    delayed: bool
    "Whether it was stored on its way."
    call_id: str
    raw: bytes
    "The whole request as it came."


def read(request: SipMessage, *, now_utc: datetime) -> Message:
    """Make a value of a MESSAGE request."""
    content_type = (request.value(b"content-type") or b"text/plain").decode("utf-8", "replace")
    call_id = request.call_id.decode("utf-8", "replace")
    sent_at = _date(request.value(b"date")) or now_utc
    return Message(
        id=call_id,
        sender=_shown_aor(request.from_uri),
        to=_shown_aor(request.to_uri),
        text=_text(request.body, content_type),
        data=request.body,
        content_type=content_type,
        sent_at=sent_at,
        delayed=now_utc - sent_at > DELAYED_AFTER,
        call_id=call_id,
        raw=request.raw,
    )


def date_line(now_utc: datetime) -> bytes:
    """Return a Date header line without CRLF (RFC 3261 §20.17)."""
    day, month = _DAYS[now_utc.weekday()], _MONTHS[now_utc.month - 1]
    return f"Date: {day}, {now_utc:%d} {month} {now_utc:%Y %H:%M:%S} GMT".encode()


def is_text(content_type: str) -> bool:
    """Say whether a body of this type is text."""
    return content_type.lstrip()[:5].lower() == "text/"


def _shown_aor(uri: bytes) -> str:
    try:
        return str(Aor.parse(uri))
    except ParseError:
        return uri.decode("utf-8", "replace")


def _text(body: bytes, content_type: str) -> str:
    """Decode a text body; RFC 3261 §7.4.1 makes UTF-8 the charset when none is named."""
    if not is_text(content_type):
        return ""
    match = _CHARSET_RE.search(content_type)
    try:
        return body.decode(match[1] if match else "utf-8", "replace")
    except LookupError:  # A charset that Python does not know.
        return body.decode("utf-8", "replace")


def _date(value: bytes | None) -> datetime | None:
    match = _DATE_RE.fullmatch(value or b"")
    if match is None or match[2].decode() not in _MONTHS:
        return None
    month = _MONTHS.index(match[2].decode()) + 1
    hour, minute, second = int(match[4]), int(match[5]), int(match[6])
    try:
        return datetime(int(match[3]), month, int(match[1]), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
