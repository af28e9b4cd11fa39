"""Whose messages are kept with their bodies after all devices have them (DELIVERY.md D36)."""

from collections.abc import Iterable
from typing import Final

from sipgram.errors import PeerError
from sipgram.sip.message.uri import Aor

FOR_RECIPIENT: Final = 1
FOR_SENDER: Final = 2
"""As ``db.tables`` calls them; a message may be in both histories."""


class History:
    """Domains and accounts whose messages are kept; nobody's by default."""

    def __init__(self, *, domains: Iterable[str] = (), accounts: Iterable[str] = ()) -> None:
        self._domains = frozenset(domain.lower() for domain in domains)
        self._accounts = frozenset(
            account if account.startswith(("sip:", "tel:")) else f"sip:{account}"
            for account in accounts
        )
        self.is_on = bool(self._domains or self._accounts)

    def covers(self, aor: str) -> bool:
        """Say whether the messages to and from an AoR are kept."""
        return self.is_on and (
            aor in self._accounts or aor.partition("@")[2].lower() in self._domains
        )

    def kept(self, recipient: str, from_uri: bytes) -> int:
        """Return whose histories a message is in."""
        if not self.is_on:
            return 0
        kept = FOR_RECIPIENT if self.covers(recipient) else 0
        try:
            sender = str(Aor.parse(from_uri))
        except PeerError:
            return kept
        return kept | (FOR_SENDER if self.covers(sender) else 0)


NOBODYS: Final = History()
