"""What the authenticator asks of the accounts."""

from dataclasses import dataclass
from typing import Protocol

from sipgram.identity import AccountId


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with an inbox; ``aors`` are its names as URIs, the first one leads."""

    id: AccountId
    user: str
    domain: str
    aors: tuple[str, ...]
    takes_lists: bool | None = None
    "Whether it wants messages that were sent to lists; None for what the setting says."


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """An account as the database holds it.

    ``names`` are ``(user, domain)``; ``hashes`` are ``(username, realm, algorithm, ha1)``.
    """

    account: Account
    names: tuple[tuple[str, str], ...]
    disabled: bool
    created_utc: float
    hashes: tuple[tuple[str, str, str, str], ...]


class Accounts(Protocol):
    """Plain look-ups; no I/O."""

    def account_of(self, user: str, domain: str) -> Account | None:
        """Return who is called ``user@domain``, exactly; a number has an empty domain."""

    def ha1_of(self, username: str, realm: str, algorithm: str) -> tuple[Account, str] | None:
        """Return whose credentials these are, and H(username:realm:password)."""
