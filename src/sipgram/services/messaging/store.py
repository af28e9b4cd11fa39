"""What messaging asks of durable storage, and the values that it keeps (DELIVERY.md D10, D19)."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sipgram.services.answers import Done
from sipgram.sip.push import Push

CopyState = Literal["waiting", "taken", "refused"]
MessageState = Literal["waiting", "delivered", "failed", "expired", "cancelled"]
"""``failed``: every device that could have taken it refused it."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """An accepted message as it is kept; ``id`` rises with the time of acceptance."""

    id: int
    aor: str
    "The recipient's leading AoR."
    account_id: int
    "0 under ``--auth none``."
    sender: bytes
    "The From URI: order is kept per sender and device (D16)."
    call_id: bytes
    digest: bytes
    "By it a repetition is recognised (D23)."
    content_type: bytes
    head: bytes
    "Header lines, CRLF after each, without those of one hop (D19)."
    body: bytes
    received_utc: float
    expires_utc: float
    imdn_key: bytes = b""
    "Of From and imdn.Message-ID: by it, too (D23); empty when it has none."
    wants_failure: bool = False
    "Its sender asked for a negative receipt (D15)."
    kept: int = 0
    "Whose history it is in, a sum of ``tables.KEPT_FOR_*``; the body stays then when it ends."
    sender_id: int = 0
    "The sender's account, 0 when it has none here."

    @property
    def size(self) -> int:
        """Octets that count against quotas."""
        return len(self.head) + len(self.body)


@dataclass(frozen=True, slots=True)
class CopyOutcome:
    """What became of a message at one device, or that it waits for it."""

    message_id: int
    device: bytes
    "Its +sip.instance, empty for those without one."
    state: CopyState
    status: int
    contact: bytes
    flow: str = ""
    "Over which it was taken or refused."


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One delivery that came to nothing for now."""

    message_id: int
    device: bytes
    contact: bytes
    flow: str
    status: int
    "0 when there was no answer."
    reason: bytes = b""


@dataclass(frozen=True, slots=True)
class AwayDevice:
    """A device that is not there (D7)."""

    aor: str
    account_id: int
    device: bytes
    is_page: bool
    "A browser page, which makes a new instance at each load."
    seen_utc: float
    push: Push | None = None
    "How it is woken (D25)."


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """What memory keeps of a message that waits."""

    id: int
    aor: str
    account_id: int
    sender: bytes
    digest: bytes
    imdn_key: bytes
    size: int
    received_utc: float
    is_for_all: bool
    wants_failure: bool = False


class MessageStore(Protocol):
    """Keeps messages; every write is told to ``done`` when it is on disk.

    Writes of one caller reach the disk in their order. Each raises ``Unavailable`` when nothing
    can be written now; ``done`` is not called then.
    """

    def put(
        self,
        message: StoredMessage,
        *,
        is_for_all: bool,
        copies: Sequence[CopyOutcome],
        done: Done,
    ) -> None:
        """Keep a message, for every device of its account or where ``copies`` say it waits."""

    def share(self, message_id: int, *, is_for_all: bool, done: Done) -> None:
        """Change whom a message waits for."""

    def note(self, copies: Sequence[CopyOutcome], done: Done) -> None:
        """Keep what became of copies; one that waits changes none that is there already."""

    def finish(self, message_id: int, state: MessageState, done: Done) -> None:
        """No device waits for it any more: erase its body without history (D36), keep its record.

        What has ended before is left as it is, but for what a command cancelled.
        """

    def attempt(self, attempt: FailedAttempt) -> None:
        """Keep a failed attempt, behind."""

    def away(self, device: AwayDevice, done: Done) -> None:
        """Keep a device that has gone."""

    def back(self, aor: str, device: bytes, done: Done) -> None:
        """Forget a device that is there again, or that is forgotten for good."""

    def read(
        self, ids: Sequence[int], done: Callable[[Sequence[StoredMessage] | None], None]
    ) -> None:
        """Read messages in the order of their ids; None when the database does not answer."""

    def load_devices(self) -> AsyncIterator[AwayDevice]:
        """Yield every device that was away."""

    def load_bound(self) -> AsyncIterator[AwayDevice]:
        """Yield the devices of bindings that are kept, expired ones too."""

    def load_waiting(self) -> AsyncIterator[WaitingMessage]:
        """Yield every message that waits, in the order of ids."""

    def load_copies(self) -> AsyncIterator[CopyOutcome]:
        """Yield the copies of waiting messages, in the order of messages."""

    async def load_one(self, id: int) -> tuple[WaitingMessage, list[CopyOutcome]] | None:
        """Return a message with its copies, None when it does not wait."""

    def due(
        self,
        now_utc: float,
        at_most: int,
        done: "Callable[[Sequence[DueMessage]], None]",
    ) -> None:
        """Read the first messages that wait and have expired."""

    def drop(self, message_id: int, done: Done) -> None:
        """Remove a message and all that is known of it."""


@dataclass(frozen=True, slots=True)
class DueMessage:
    """A message whose time has come."""

    id: int
    aor: str
    sender: bytes
    size: int
    wants_failure: bool
