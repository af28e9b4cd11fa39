"""The JSON of messages: what comes in is checked, what goes out is shown."""

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from sipgram.services.outbox import rules
from sipgram.services.outbox.store import Outgoing

Address = Annotated[str, Field(min_length=1, max_length=rules.URI_CHARS_MAX)]
LIFETIME_MAX_S: Final = 7 * 86_400
"""As long as any message is worth (D21)."""
TAG_CHARS_MAX: Final = 200
URL_CHARS_MAX: Final = 2_000


class NewMessage(BaseModel):
    """A message to one recipient or many."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, strict=False)

    to: Annotated[
        Address | list[Address], Field(description="bob, bob@example.com, sip:… or tel:…")
    ]
    sender: Annotated[Address | None, Field(alias="from", description="Whom to send as.")] = None
    text: Annotated[str | None, Field(description="The text; or else body.")] = None
    body: Annotated[str | None, Field(description="Octets in base64; needs content_type.")] = None
    content_type: Annotated[str | None, Field(max_length=200)] = None
    expires: Annotated[
        int | None,
        Field(ge=0, le=LIFETIME_MAX_S, description="Worth delivering for so many seconds."),
    ] = None
    receipts: Annotated[
        list[Literal["delivered", "displayed"]], Field(max_length=2, description="Receipts wanted.")
    ] = []
    callback_url: Annotated[
        str | None, Field(max_length=URL_CHARS_MAX, pattern="^https?://[^\\s]+$")
    ] = None
    send_at: Annotated[
        AwareDatetime | None, Field(description="When to send it, with its offset from UTC.")
    ] = None
    tag: Annotated[str | None, Field(max_length=TAG_CHARS_MAX, description="Your own mark.")] = None

    @field_validator("content_type")
    @classmethod
    def _is_type(cls, value: str | None) -> str | None:
        if value is not None:
            rules.check_type(value)
        return value

    @field_validator("body")
    @classmethod
    def _is_base64(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError) as error:
                raise ValueError(f"not base64: {error}") from None
        return value

    @model_validator(mode="after")
    def _has_one_content(self) -> "NewMessage":
        if (self.text is None) == (self.body is None):
            raise ValueError("give either text or body")
        if self.body is not None and self.content_type is None:
            raise ValueError("a body needs its content_type")
        return self

    @property
    def recipients(self) -> list[str]:
        """Those named, each once."""
        return list(dict.fromkeys([self.to] if isinstance(self.to, str) else self.to))

    @property
    def octets(self) -> bytes:
        """What the MESSAGE carries."""
        if self.text is not None:
            return self.text.encode()
        return base64.b64decode(self.body or "")

    @property
    def media_type(self) -> str:
        """What the octets are."""
        return self.content_type or rules.TEXT


class Accepted(BaseModel):
    """One message that is on its way."""

    id: str
    to: str
    state: str


class Answer(BaseModel):
    """What was accepted."""

    id: Annotated[str, Field(description="Of the message, or of all of them together.")]
    messages: list[Accepted]


class DeviceState(BaseModel):
    """What one device said last."""

    device: str
    state: str
    status: int
    contact: str
    at: str | None = None


class Attempt(BaseModel):
    """A delivery that came to nothing."""

    device: str
    at: str | None
    status: int
    reason: str


class MessageState(BaseModel):
    """What became of a message."""

    model_config = ConfigDict(populate_by_name=True)

    id: str
    submission: str | None = None
    sender: Annotated[str, Field(alias="from")]
    to: str
    state: str
    status: Annotated[int, Field(description="The SIP status, 0 before there is one.")]
    reason: str
    content_type: str
    tag: str | None = None
    created: str | None
    send_at: str | None = None
    sent: str | None = None
    stored: str | None = None
    delivered: str | None = None
    displayed: str | None = None
    ended: str | None = None
    devices: list[DeviceState] = []
    attempts: list[Attempt] = []


class Page(BaseModel):
    """One page of a list, the newest first."""

    messages: list[MessageState]
    next: Annotated[str | None, Field(description="The cursor of the next page.")]


def shown(message: Outgoing) -> dict[str, Any]:
    """Return a message for JSON."""
    return {
        "id": str(message.id),
        "submission": str(message.submission) if message.submission else None,
        "from": message.sender,
        "to": message.recipient,
        "state": message.state,
        "status": message.status,
        "reason": message.reason,
        "content_type": message.content_type,
        "tag": message.tag or None,
        "created": time_of(message.created_utc),
        "send_at": time_of(message.send_at_utc),
        "sent": time_of(message.sent_utc),
        "stored": time_of(message.stored_utc),
        "delivered": time_of(message.delivered_utc),
        "displayed": time_of(message.displayed_utc),
        "ended": time_of(message.ended_utc),
        "devices": json.loads(message.devices) if message.devices else [],
        "attempts": [],
    }


def of_record(record: dict[str, Any]) -> dict[str, Any]:
    """Return a stored message that did not come by HTTP."""
    return {
        "id": str(record["id"]),
        "submission": None,
        "from": record["sender"],
        "to": record["aor"],
        "state": {"waiting": "stored"}.get(record["state"], record["state"]),
        "status": 202,
        "reason": "Accepted",
        "content_type": record["content_type"],
        "created": time_of(record["received_utc"]),
        "stored": time_of(record["received_utc"]),
        "ended": time_of(record["finished_utc"]),
        "devices": [],
        "attempts": [],
    }


def with_copies(value: dict[str, Any], record: dict[str, Any] | None) -> dict[str, Any]:
    """Add what the message store knows of each device."""
    if record is None:
        return value
    devices = {device["device"] or device["contact"]: device for device in value["devices"]}
    for copy in record["copies"]:
        devices[copy["device"] or copy["contact"]] = {
            "device": copy["device"],
            "contact": copy["contact"],
            "state": copy["state"],
            "status": copy["status"],
            "at": time_of(copy["at_utc"]),
        }
    value["devices"] = list(devices.values())
    value["attempts"] = [
        {
            "device": attempt["device"],
            "at": time_of(attempt["at_utc"]),
            "status": attempt["status"],
            "reason": attempt["reason"],
        }
        for attempt in record["attempts"]
    ]
    return value


def time_of(utc: float | None) -> str | None:
    """Return an instant as RFC 3339 has it."""
    if utc is None:
        return None
    return datetime.fromtimestamp(utc, UTC).isoformat(timespec="milliseconds")
