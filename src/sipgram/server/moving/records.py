"""What another server kept, in our words, and the report of what became of it."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

REASONS_MAX: Final = 1_000
"""Single cases that a report names; beyond that they are only counted."""


@dataclass(frozen=True, slots=True)
class TheirAccount:
    """One account; ``hashes`` are (algorithm, username, HA1), ``password`` is empty if unknown."""

    user: str
    domain: str
    hashes: tuple[tuple[str, str, str], ...] = ()
    password: str = ""

    def __str__(self) -> str:
        return f"{self.user}@{self.domain}"


@dataclass(frozen=True, slots=True)
class TheirAlias:
    """Another name of an account; both as ``user@domain`` or ``tel:+1``."""

    alias: str
    account: str


@dataclass(frozen=True, slots=True)
class TheirMessage:
    """A message that waits for somebody."""

    key: str
    "Names it for ever, so that it is not taken twice."
    recipient: str
    sender_uri: str
    recipient_uri: str
    content_type: str
    body: bytes
    call_id: str
    headers: str
    "More header lines, as they were kept."
    received_utc: float
    expires_utc: float


class Origin(Protocol):
    """A database to take from."""

    def accounts(self) -> AsyncIterator[TheirAccount]:
        """Yield all accounts."""

    def aliases(self) -> AsyncIterator[TheirAlias]:
        """Yield all other names."""

    def messages(self) -> AsyncIterator[TheirMessage]:
        """Yield all messages that wait."""


@dataclass(slots=True)
class Report:
    """What was taken, what was there already, what was not taken and why."""

    taken: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    reasons: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def skip(self, kind: str, name: str, reason: str) -> None:
        """Note something that is not taken."""
        self.skipped[kind] += 1
        if len(self.reasons) < REASONS_MAX:
            self.reasons.append({"kind": kind, "name": name, "reason": reason})

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        counts = {name: dict(getattr(self, name)) for name in ("taken", "present", "skipped")}
        return {**counts, "reasons": self.reasons, "notes": self.notes}
