"""Who is typing: the document and both state machines (RFC 3994)."""

from dataclasses import dataclass
from typing import Final, Literal

from sipgram.errors import ParseError
from sipgram.payload import xml

XMLNS: Final = "urn:ietf:params:xml:ns:im-iscomposing"
REFRESH_S: Final = 120
"""§3.3: "If no refresh timer expiration time is specified, 120 seconds is assumed"."""
REFRESH_MIN_S: Final = 60
"""§3.3: "refresh interval […] MUST be no less than 60 seconds"."""
IDLE_S: Final = 15.0
"""§3.2: the recommended time without a key that ends composing."""

State = Literal["active", "idle"]


@dataclass(frozen=True, slots=True)
class IsComposing:
    """One status message."""

    state: State
    content_type: str = ""
    "What is being composed, as ``text/plain``."
    refresh_s: int | None = None
    last_active: str = ""

    @classmethod
    def parse(cls, document: bytes) -> "IsComposing":
        """Read a body of type application/im-iscomposing+xml.

        A state that we do not know is idle (§3.3: "MUST treat it as idle").

        Raises:
            ParseError: it is malformed.
            TooLarge: it is over a limit.
        """
        root = xml.parse(document)
        if root.local != "isComposing":
            raise ParseError(f"is-composing document begins with {root.local[:40]!r}")
        ns = root.name[: -len("isComposing")]
        refresh = root.text_of(f"{ns}refresh")
        return cls(
            state="active" if root.text_of(f"{ns}state") == "active" else "idle",
            content_type=root.text_of(f"{ns}contenttype"),
            refresh_s=int(refresh)
            if refresh.isascii() and refresh.isdigit() and len(refresh) < 8
            else None,
            last_active=root.text_of(f"{ns}lastactive"),
        )

    def __bytes__(self) -> bytes:
        lines = [f'<isComposing xmlns="{XMLNS}">', f"  <state>{self.state}</state>"]
        fields = (
            ("lastactive", self.last_active),
            ("contenttype", self.content_type),
            ("refresh", "" if self.refresh_s is None else str(self.refresh_s)),
        )
        lines += [f"  <{name}>{xml.escape(text)}</{name}>" for name, text in fields if text]
        return (xml.DECLARATION + "\n".join([*lines, "</isComposing>", ""])).encode()


class Composer:
    """The one who types (§3.2): says when a status message must go out."""

    def __init__(self, *, refresh_s: int = REFRESH_S, idle_s: float = IDLE_S) -> None:
        self._refresh_s = max(refresh_s, REFRESH_MIN_S)
        self._idle_s = idle_s
        self._sent_at: float | None = None
        self._typed_at = 0.0

    def type(self, now: float) -> IsComposing | None:
        """A key was pressed; return what to send: at first, then to refresh."""
        self._typed_at = now
        if self._sent_at is not None and now < self._sent_at + self._refresh_s:
            return None
        self._sent_at = now
        return IsComposing("active", "text/plain", self._refresh_s)

    def stop(self) -> IsComposing | None:
        """The text was thrown away; return what to send, if anybody believes it is written."""
        if self._sent_at is None:
            return None
        self._sent_at = None
        return IsComposing("idle", "text/plain")

    def send(self) -> None:
        """The text itself goes out, which says it all (§3.2)."""
        self._sent_at = None

    def advance(self, now: float) -> IsComposing | None:
        """Time has gone by; return what to send when no key was pressed for long."""
        return self.stop() if now >= self.due else None

    @property
    def due(self) -> float:
        """When to look again; infinity when there is nothing to wait for."""
        return float("inf") if self._sent_at is None else self._typed_at + self._idle_s


class Watcher:
    """The one who sees another type (§3.3): ``receive`` and ``advance`` return a change, or None."""

    def __init__(self) -> None:
        self.is_active = False
        self.due = float("inf")
        "When an active peer that says nothing more counts as idle."

    def receive(self, status: IsComposing, now: float) -> bool | None:
        """Take a status message; return the new state when it is another."""
        if status.state == "idle":
            return self._become(False)
        self.due = now + (REFRESH_S if status.refresh_s is None else max(status.refresh_s, 1))
        return self._become(True)

    def message(self) -> bool | None:
        """A message came: its sender is idle now."""
        return self._become(False)

    def advance(self, now: float) -> bool | None:
        """Time has gone by."""
        return self._become(False) if now >= self.due else None

    def _become(self, is_active: bool) -> bool | None:
        if not is_active:
            self.due = float("inf")
        if is_active == self.is_active:
            return None
        self.is_active = is_active
        return is_active
