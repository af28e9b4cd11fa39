"""Who lives here, and who keeps messages for those that are away, as the location table asks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from sipgram.sip.message.uri import Aor

if TYPE_CHECKING:
    from sipgram.services.registrar.location import AorEntry, Binding


class Waiting(Protocol):
    """Who keeps messages for devices that are away."""

    def has_inbox(self, aor: str) -> bool:
        """Say whether something waits for an AoR, or a device of it is away."""

    def on_gone(self, entry: "AorEntry", binding: "Binding") -> None:
        """A binding has ended, and no other of its device came in its place."""


class NobodyWaits:
    """Nothing is kept."""

    def has_inbox(self, aor: str) -> bool:
        return False

    def on_gone(self, entry: "AorEntry", binding: "Binding") -> None:
        return None


class Accounts(Protocol):
    """Who has an account here."""

    def account_id_of(self, aor: Aor) -> int | None:
        """Return the account that an AoR belongs to, None when nobody has it."""

    def owner(self, aor: Aor) -> tuple[int, Aor] | None:
        """Return the account that an AoR belongs to, and its first name (D4)."""

    def members_of(self, aor: Aor) -> Sequence[Aor]:
        """Return the first names of a group's members, none for what is no group."""


class OpenAccounts:
    """Every user of a served domain counts as an account (``--auth none``)."""

    def account_id_of(self, aor: Aor) -> int | None:
        return 0 if aor.user else None

    def owner(self, aor: Aor) -> tuple[int, Aor] | None:
        return (0, aor) if aor.user else None

    def members_of(self, aor: Aor) -> Sequence[Aor]:
        return ()
