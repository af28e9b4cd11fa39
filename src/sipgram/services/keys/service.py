"""Knows who shows a key, or an account's password (RFC 6750, RFC 7617)."""

import base64
import hmac
import ipaddress
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sipgram.errors import SettingsError
from sipgram.http.caller import Caller
from sipgram.identity import Entropy
from sipgram.services.keys import rules
from sipgram.services.keys.rules import KeyRecord
from sipgram.services.keys.sql import KeyRows
from sipgram.sip.message.digest import ha1

KEYS_MAX: Final = 10_000
ALGORITHM: Final = "MD5"
"""HA1 of which a password is checked: the one that every account has."""
NO_HASH: Final = "0" * 32


class Account(Protocol):
    """An account that exists."""

    @property
    def id(self) -> int:
        """Names it for ever."""

    @property
    def aors(self) -> tuple[str, ...]:
        """Its names, the leading one first."""


class Accounts(Protocol):
    """The account table."""

    def account_of(self, user: str, domain: str) -> Account | None:
        """Return who is called so."""

    def ha1_of(self, username: str, realm: str, algorithm: str) -> tuple[Account, str] | None:
        """Return whose credentials these are."""


class KeyRing:
    """A bounded copy of all keys, kept fresh from the database (``http.caller.Callers``)."""

    def __init__(
        self,
        rows: KeyRows,
        *,
        accounts: Accounts | None,
        domains: Sequence[str],
        entropy: Entropy,
        wall: Callable[[], float],
    ) -> None:
        """``accounts`` is None under ``--auth none``."""
        self.rows = rows
        self.accounts = accounts
        self.wall = wall
        self._domains = tuple(domains)
        self._entropy = entropy
        self._keys: dict[str, KeyRecord] = {}
        self._seen = ""

    def __len__(self) -> int:
        return len(self._keys)

    async def refresh(self) -> bool:
        """Take in what changed; True when something had."""
        seen = await self.rows.news()
        if seen == self._seen:
            return False
        self._keys = {key.id: key for key in (await self.rows.all())[:KEYS_MAX]}
        self._seen = seen
        return True

    async def make(
        self,
        name: str,
        *,
        scopes: tuple[str, ...],
        aors: Sequence[str],
        is_for_all: bool = False,
        per_minute: int = 0,
        expires_utc: float | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key; return it with its text, which is not kept.

        Raises:
            SettingsError: a name, a scope or an account is not one.
        """
        record, key = await made(
            self.rows,
            name,
            scopes=scopes,
            aors=aors,
            is_for_all=is_for_all,
            per_minute=per_minute,
            expires_utc=expires_utc,
            entropy=self._entropy,
            now_utc=self.wall(),
            is_open=self.accounts is None,
        )
        await self.refresh()
        return record, key

    # ---- who it is -------------------------------------------------------------------------

    def caller_of(self, authorization: str, query_key: str, peer: str) -> Caller | None:
        """Return who shows this, None when nobody that we know."""
        scheme, _, rest = authorization.partition(" ")
        match scheme.lower():
            case "bearer":
                return self._of_key(rest.strip())
            case "basic" if _is_loopback(peer):  # Elsewhere it would go in clear.
                return self._of_password(rest.strip())
            case "":
                return self._of_key(query_key) if query_key else None
        return None

    def _of_key(self, text: str) -> Caller | None:
        key_id = rules.id_in(text)
        key = self._keys.get(key_id) if key_id else None
        if key is None or not rules.is_same(text, key.hash) or not key.is_good(self.wall()):
            return None
        held = [each for each in key.accounts if self._is_there(*each)]
        return Caller(
            id=key.id,
            scopes=frozenset(key.scopes),
            aors=tuple(aor for aor, _ in held),
            account_ids=tuple(account_id for _, account_id in held),
            is_for_all=key.is_for_all,
            per_minute=key.per_minute,
        )

    def _is_there(self, aor: str, account_id: int) -> bool:
        """Say whether a name is still that account's (D4)."""
        if self.accounts is None:
            return account_id == 0
        user, _, domain = aor.partition(":")[2].rpartition("@")
        account = self.accounts.account_of(user, domain)
        return account is not None and account.id == account_id

    def _of_password(self, text: str) -> Caller | None:
        try:
            username, colon, password = (
                base64.b64decode(text, validate=True).decode().partition(":")
            )
        except ValueError:
            return None
        if self.accounts is None or not colon:
            return None
        _, _, domain = username.rpartition("@")
        realm = domain if domain in self._domains else self._domains[0]
        account, kept = self.accounts.ha1_of(username, realm, ALGORITHM) or (None, NO_HASH)
        shown = ha1(username, realm, password, ALGORITHM)
        if not hmac.compare_digest(shown, kept) or account is None:
            return None
        return Caller(
            id=f"account:{account.id}",
            scopes=frozenset(("send", "read")),
            aors=(account.aors[0],),
            account_ids=(account.id,),
            is_for_all=False,
            per_minute=0,
        )


async def made(
    rows: KeyRows,
    name: str,
    *,
    scopes: tuple[str, ...],
    aors: Sequence[str],
    is_for_all: bool,
    per_minute: int,
    expires_utc: float | None,
    entropy: Entropy,
    now_utc: float,
    is_open: bool,
) -> tuple[KeyRecord, str]:
    """Make a key and keep its hash; ``is_open`` when there need be no accounts."""
    rules.check_name(name)
    rules.check_scopes(scopes)
    if not 0 <= per_minute <= rules.PER_MINUTE_MAX:
        raise SettingsError(
            f"requests per minute are not 0 to {rules.PER_MINUTE_MAX}: {per_minute}"
        )
    if len(aors) > rules.ACCOUNTS_MAX:
        raise SettingsError(f"one key names {rules.ACCOUNTS_MAX} accounts at most: {len(aors)}")
    if not aors and not is_for_all and "admin" not in scopes:
        raise SettingsError("the key would act for no account: name one, or all of them")
    pairs = [_split(aor) for aor in dict.fromkeys(aors)]
    known = {} if is_open else await rows.account_ids(pairs)
    accounts = []
    for user, domain in pairs:
        if not is_open and (user, domain) not in known:
            raise SettingsError(f"no account is called sip:{user}@{domain}")
        accounts.append((f"sip:{user}@{domain}", known.get((user, domain), 0)))
    key_id, key = rules.minted(entropy)
    record = KeyRecord(
        id=key_id,
        name=name,
        hash=rules.hash_of(key),
        scopes=scopes,
        accounts=tuple(accounts),
        is_for_all=is_for_all,
        per_minute=per_minute,
        created_utc=now_utc,
        expires_utc=expires_utc,
        revoked_utc=None,
    )
    await rows.add(record, keys_max=KEYS_MAX)
    return record, key


def _split(aor: str) -> tuple[str, str]:
    user, at, domain = aor.removeprefix("sip:").rpartition("@")
    if not at or not user or not domain or not aor.isprintable() or " " in aor:
        raise SettingsError(f"account is not as in alice@example.com: {aor!r}")
    return user, domain.lower()


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return address.is_loopback
