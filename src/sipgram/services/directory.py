"""Who lives here, as those ask who act for accounts."""

from typing import NamedTuple, Protocol


class Resident(NamedTuple):
    """An account, found by one of its names."""

    aor: str
    "Its leading name."
    account_id: int
    "0 under ``--auth none``."
    aors: tuple[str, ...]
    "All its names, the leading one first."


class Directory(Protocol):
    """All accounts."""

    def resident(self, uri: str) -> Resident | None:
        """Return who is called so, None when nobody here is."""
