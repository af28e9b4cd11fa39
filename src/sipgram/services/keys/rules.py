"""What a key looks like and how it is kept. Pure decisions.

A key is ``sgk_ID_SECRET``. The secret has 256 bits, so that a plain hash keeps it; the id is
not secret and is shown in lists and logs.
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sipgram.errors import SettingsError
from sipgram.identity import Entropy

PREFIX: Final = "sgk_"
SCOPES: Final = ("send", "read", "admin")
NAME_CHARS_MAX: Final = 100
PER_MINUTE_MAX: Final = 10_000_000
ACCOUNTS_MAX: Final = 1_000
"""Accounts that one key names; one for more is for all."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as the database holds it."""

    id: str
    name: str
    hash: bytes
    scopes: tuple[str, ...]
    accounts: tuple[tuple[str, int], ...]
    "Leading names with their account ids, 0 under ``--auth none``."
    is_for_all: bool
    per_minute: int
    created_utc: float
    expires_utc: float | None
    revoked_utc: float | None

    def is_good(self, now_utc: float) -> bool:
        """Say whether it opens anything."""
        if self.revoked_utc is not None:
            return False
        return self.expires_utc is None or now_utc < self.expires_utc


def minted(entropy: Entropy) -> tuple[str, str]:
    """Return the id of a new key, and the key."""
    key_id = entropy.secret()[:6].hex()
    return key_id, f"{PREFIX}{key_id}_{entropy.secret().hex()}"


def hash_of(key: str) -> bytes:
    """Return what is kept of a key."""
    return sha256(key.encode()).digest()


def id_in(key: str) -> str | None:
    """Return the id that a key names, None when it is none of ours."""
    head, _, secret = key.removeprefix(PREFIX).partition("_")
    return head if key.startswith(PREFIX) and head and len(secret) == 64 else None


def is_same(key: str, kept: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(hash_of(key), kept)


def check_scopes(scopes: tuple[str, ...]) -> None:
    """Raise ``SettingsError`` for a word that is no scope."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        known = ", ".join(SCOPES)
        raise SettingsError(f"scope is not one of {known}: {', '.join(unknown) or 'none given'}")


def check_name(name: str) -> None:
    """Raise ``SettingsError`` for a name that would not show well."""
    if not name or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise SettingsError(f"name is not 1 to {NAME_CHARS_MAX} printable characters: {name!r}")
