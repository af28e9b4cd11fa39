"""Pager-mode messages as values, sent and received (RFC 3428)."""

import asyncio
import enum
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sipgram.errors import Error, ParseError
from sipgram.payload.body import Body
from sipgram.payload.imdn import Status
from sipgram.sip.message.message import Message as SipMessage
from sipgram.sip.message.uri import Aor

DELAYED_AFTER: Final = timedelta(minutes=1)
"""A message whose Date is further back was stored on its way; less may be a clock that is off."""

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
    id: str = ""
    "What receipts name it by."
    want: frozenset[str] = frozenset()
    "The receipts that were asked for: none of who takes nothing but plain text."
    _arrival: "Callable[[str, Status], Awaitable[None]] | None" = field(
        default=None, repr=False, compare=False
    )

    async def receipt(self, status: Status, *, timeout_s: float | None = None) -> None:
        """Wait for a receipt that says so; one that has come already counts.

        Raises:
            TimeoutError: none came in time.
        """
        assert self._arrival is not None, "was not sent by a client"
        async with asyncio.timeout(timeout_s):
            await self._arrival(self.id, status)


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
    "Names the message: its imdn.Message-ID, else its Call-ID, which RFC 3261 §8.1.1.4 makes unique."
    sender: str
    "AoR, as in ``sip:bob@example.com``."
    to: str
    "AoR that it was written to."
    text: str
    "For people to read, whatever it was wrapped in; empty when the body is not text."
    data: bytes
    "The body without encoding and CPIM."
    content_type: str
    "Of ``data``."
    sent_at: datetime
    "The sender's or the server's Date, else when it came; in UTC."
    delayed: bool
    "Whether it was stored on its way."
    call_id: str
    raw: bytes
    "The whole request as it came."
    html: str = ""
    wants: frozenset[str] = frozenset()
    "The receipts that its sender asks for."
    date_time: str = ""
    "What its CPIM says of when it was sent."
    _shown: "Callable[[Message], Awaitable[None]] | None" = field(
        default=None, repr=False, compare=False
    )

    async def mark_displayed(self) -> None:
        """Tell its sender that it was read, if that was asked for; once.

        Raises:
            Rejected: the receipt was refused.
            NoAnswer: nobody knows whether it was taken.
        """
        if self._shown is not None:
            await self._shown(self)


def read(
    request: SipMessage,
    *,
    now_utc: datetime,
    body: Body | None = None,
    wants: frozenset[str] = frozenset(),
    shown: Callable[[Message], Awaitable[None]] | None = None,
) -> Message:
    """Make a value of a MESSAGE request; ``body`` is what is inside of it."""
    if body is None:
        body = opened(request)
    call_id = request.call_id.decode("utf-8", "replace")
    date_time = "" if body.cpim is None else body.cpim.date_time
    sent_at = _date(request.value(b"date")) or _date_time(date_time) or now_utc
    return Message(
        id=body.message_id or call_id,
        sender=shown_aor(request.from_uri),
        to=shown_aor(request.to_uri),
        text=body.text or body.html,
        data=body.content,
        content_type=body.content_type,
        sent_at=sent_at,
        delayed=now_utc - sent_at > DELAYED_AFTER,
        call_id=call_id,
        raw=request.raw,
        html=body.html,
        wants=wants,
        date_time=date_time,
        _shown=shown,
    )


def opened(request: SipMessage) -> Body:
    """Take the wrappers off the body of a request.

    Raises:
        ParseError: one is malformed; 415 for an encoding that we do not know.
        TooLarge: something is over a limit.
    """
    content_type = (request.value(b"content-type") or b"text/plain").decode("utf-8", "replace")
    encoding = b",".join(request.values(b"content-encoding")).decode("ascii", "replace")
    return Body.parse(request.body, content_type, encoding=encoding)


def sent_at(request: SipMessage, *, now_utc: datetime) -> datetime:
    """Return the Date of a request, else now."""
    return _date(request.value(b"date")) or now_utc


def date_line(now_utc: datetime) -> bytes:
    """Return a Date header line without CRLF (RFC 3261 §20.17)."""
    day, month = _DAYS[now_utc.weekday()], _MONTHS[now_utc.month - 1]
    return f"Date: {day}, {now_utc:%d} {month} {now_utc:%Y %H:%M:%S} GMT".encode()


def is_text(content_type: str) -> bool:
    """Say whether a body of this type is text."""
    return content_type.lstrip()[:5].lower() == "text/"


def shown_aor(uri: bytes) -> str:
    """Return the AoR of a URI, or the URI when it has none."""
    try:
        return str(Aor.parse(uri))
    except ParseError:
        return uri.decode("utf-8", "replace")


def _date_time(text: str) -> datetime | None:
    """Read an instant of RFC 3339, with its offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else None


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
