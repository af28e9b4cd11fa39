"""What the registrar asks of durable storage (DELIVERY.md D37)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sipgram.services.answers import Done
from sipgram.services.registrar.location import Binding


@dataclass(frozen=True, slots=True)
class KeptBinding:
    """One binding as it was kept."""

    aor: str
    contact: bytes
    "The Contact value as the phone wrote it."
    call_id: bytes
    cseq: int
    flow: str
    "udp:HOST:PORT and our own port behind a space, or tcp:HOST:PORT."
    expires_utc: float
    path: bytes = b""
    reg_id: int = 0


class BindingStore(Protocol):
    """Keeps bindings over a restart."""

    def commit(
        self, *, put: Sequence[Binding], drop: Sequence[Binding], now: float, done: Done
    ) -> None:
        """Write new and changed bindings and remove ended ones; ``done`` hears when it is over.

        Raises:
            Unavailable: nothing can be written now; ``done`` is not called.
        """

    def write_behind(self, binding: Binding, now: float) -> None:
        """Note a refresh, some time; the phone's 200 does not wait for it."""

    def forget(self, binding: Binding) -> None:
        """Remove an ended binding of a WebSocket, some time; no restart is to know of it."""


class NoBindingStore:
    """For servers whose bindings may end with them, as in tests."""

    def commit(
        self, *, put: Sequence[Binding], drop: Sequence[Binding], now: float, done: Done
    ) -> None:
        done(None)

    def write_behind(self, binding: Binding, now: float) -> None:
        return None

    def forget(self, binding: Binding) -> None:
        return None
