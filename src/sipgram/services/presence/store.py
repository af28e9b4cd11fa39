"""The documents that presence reads: rules and hard state, by account."""

from collections.abc import AsyncIterator
from typing import Final, NamedTuple, Protocol

RULES: Final = "pres-rules"
HARD_STATE: Final = "pidf-manipulation"


class KeptDocument(NamedTuple):
    """One document of one account; ``kind`` is the XCAP application's name (AUID)."""

    aor: str
    kind: str
    body: bytes


class DocumentStore(Protocol):
    """Reads documents; the command line and the API write them."""

    def documents(self) -> AsyncIterator[KeptDocument]:
        """Yield every document of presence."""

    async def changed(self) -> list[KeptDocument]:
        """Return what changed since the last call, an empty body for what was removed."""
