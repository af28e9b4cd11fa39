"""Accounts in memory: what the synchronous path asks, kept fresh from the database."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sipgram.errors import SettingsError, Unavailable
from sipgram.identity import AccountId
from sipgram.services.auth.sql import GROUPS_CHANGED, AccountRows
from sipgram.services.auth.store import Account, AccountRecord


class _Held(NamedTuple):
    """The keys under which an account is found."""

    names: tuple[tuple[str, str], ...]
    hashes: tuple[tuple[str, str, str], ...]


class _Index:
    """The dictionaries of one table."""

    def __init__(self, algorithms: frozenset[str]) -> None:
        self.held: dict[AccountId, _Held] = {}
        self.named: dict[tuple[str, str], Account] = {}
        self.hashes: dict[tuple[str, str, str], tuple[Account, str]] = {}
        self._algorithms = algorithms

    def hold(self, record: AccountRecord) -> None:
        account = record.account
        if record.disabled:
            self.held[account.id] = _Held((), ())
            return
        kept = [row for row in record.hashes if row[2] in self._algorithms]
        self.held[account.id] = _Held(record.names, tuple(row[:3] for row in kept))
        for name in record.names:
            self.named[name] = account
        for username, realm, algorithm, ha1 in kept:
            self.hashes[username, realm, algorithm] = (account, ha1)

    def drop(self, account_id: AccountId) -> None:
        held = self.held.pop(account_id, _Held((), ()))
        for name in held.names:
            self.named.pop(name, None)
        for key in held.hashes:
            self.hashes.pop(key, None)


class AccountTable:
    """A bounded copy of all accounts (``Accounts`` in ``store.py``).

    ``algorithms`` are those whose hashes are held; ``accounts_max`` bounds the table, at
    about 1.5 KB each. ``on_removed`` hears the id of an account that another process or
    this one removed, once, after the table has forgotten it.
    """

    def __init__(
        self,
        rows: AccountRows,
        *,
        algorithms: Sequence[str] = ("MD5",),
        accounts_max: int = 200_000,
        on_removed: Sequence[Callable[[AccountId], None]] = (),
    ) -> None:
        self._rows = rows
        self._algorithms = frozenset(algorithms)
        self._accounts_max = accounts_max
        self._on_removed = tuple(on_removed)
        self._groups: dict[tuple[str, str], tuple[AccountId, ...]] = {}
        self._seen = 0  # The newest change that the table holds.
        self._use(_Index(self._algorithms))

    def __len__(self) -> int:
        return len(self._index.held)

    def account_of(self, user: str, domain: str) -> Account | None:
        """Return who is called ``user@domain``, exactly; a number has an empty domain."""
        return self._named.get((user, domain))

    def ha1_of(self, username: str, realm: str, algorithm: str) -> tuple[Account, str] | None:
        """Return whose credentials these are, and H(username:realm:password)."""
        return self._hashes.get((username, realm, algorithm))

    def members_of(self, user: str, domain: str) -> list[Account]:
        """Return the members of the group that is called ``user@domain``, none for another name."""
        held, named = self._index.held, self._named
        names = [held[each].names for each in self._groups.get((user, domain), ()) if each in held]
        return [named[of[0]] for of in names if of]

    async def load(self) -> None:
        """Read all accounts; ``SettingsError`` when there are more than ``accounts_max``."""
        seen = await self._rows.newest()
        fresh = _Index(self._algorithms)
        last = 0
        while page := await self._rows.page(last):
            last = page[-1].account.id
            for record in page:
                fresh.hold(record)
            if len(fresh.held) > self._accounts_max:
                raise SettingsError(f"more accounts than accounts_max: {self._accounts_max}")
        self._groups = await self._rows.groups()
        gone = self._index.held.keys() - fresh.held.keys()
        self._use(fresh)
        self._seen = seen
        self._tell_removed(sorted(gone))

    async def refresh(self) -> bool:
        """Take in what changed since the last time; True when something had.

        Raises ``SettingsError`` when the table is full; what was there stays.
        """
        seen, changed = await self._rows.news(self._seen)
        if changed is None:
            await self.load()
            return True
        if not changed:
            return False
        if GROUPS_CHANGED in changed:
            self._groups = await self._rows.groups()
        records = {record.account.id: record for record in await self._rows.records(changed)}
        new = records.keys() - self._index.held.keys()
        if len(self._index.held) + len(new) > self._accounts_max:
            raise SettingsError(f"more accounts than accounts_max: {self._accounts_max}")
        gone = [each for each in changed if each not in records and each in self._index.held]
        for account_id in changed:
            self._index.drop(account_id)
        for record in records.values():
            self._index.hold(record)
        self._seen = seen
        self._tell_removed(gone)
        return True

    async def follow(
        self, *, every_s: float = 0.5, on_failure: Callable[[Exception], None]
    ) -> None:
        """Refresh until cancelled: ``sipgram user passwd`` counts within a second.

        ``on_failure`` hears of each refresh that failed; the next one tries again.
        """
        while True:
            try:
                more = await self.refresh()
            except (Unavailable, SettingsError) as error:
                on_failure(error)
                more = False
            await asyncio.sleep(0 if more else every_s)

    def _use(self, index: _Index) -> None:
        self._index = index
        self._named = index.named
        self._hashes = index.hashes

    def _tell_removed(self, gone: Sequence[AccountId]) -> None:
        for account_id in gone:
            for hear in self._on_removed:
                hear(account_id)
