"""Accounts in the database, in SQLAlchemy Core (SQLite and PostgreSQL)."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sipgram.db import tables
from sipgram.db.engine import unavailable
from sipgram.errors import SettingsError
from sipgram.identity import AccountId
from sipgram.services.auth.rules import Name, check_password, kept_hashes
from sipgram.services.auth.store import Account, AccountRecord

PAGE_ROWS = 200
"""Accounts read in one turn of the loop: more would hold it up."""

GROUPS_CHANGED = AccountId(0)
"""Nobody's id: in the news it says that groups have changed."""

CHANGES_KEPT = 10_000
"""News kept for servers that follow; one that is further behind reads everything again."""


class AccountRows:
    """Reads and changes accounts; every change is news to the servers that run."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, name: Name, *, password: str, now_utc: float) -> AccountId:
        """Make an account; ``SettingsError`` when its name or one differing by case exists."""
        check_password(password)
        return await self.add_hashed(name, kept_hashes(name, password), now_utc=now_utc)

    async def add_hashed(
        self, name: Name, hashes: Iterable[tuple[str, str, str]], *, now_utc: float
    ) -> AccountId:
        """Make an account of (algorithm, username, HA1), whose realm is its domain."""
        if not name.domain:
            raise SettingsError(f"an account is called user@domain; make this an alias: {name}")
        async with self._transaction() as connection:
            values = {"user": name.user, "domain": name.domain, "created_utc": now_utc}
            statement = insert(tables.accounts).values(**values, disabled=False)
            made = (await connection.execute(statement)).inserted_primary_key
            assert made is not None  # An insert of one row has a key.
            account_id = AccountId(made[0])
            await self._name(connection, account_id, name)
            await self._keep_hashes(connection, account_id, name, hashes)
        return account_id

    async def find(self, name: Name) -> AccountRecord | None:
        """Return who is called exactly ``name``."""
        async with self._transaction() as connection:
            try:
                account_id, _ = await self._found(connection, name)
            except SettingsError:
                return None
            return (await self._records(connection, [account_id]))[0]

    async def set_password(self, name: Name, password: str) -> None:
        """Give the account that is called ``name`` another password."""
        check_password(password)
        async with self._transaction() as connection:
            account_id, leading = await self._found(connection, name)
            mine = tables.credentials.c.account_id == account_id
            await connection.execute(delete(tables.credentials).where(mine))
            await self._keep(connection, account_id, leading, password)

    async def add_alias(self, name: Name, alias: Name) -> None:
        """Give an account another name; ``SettingsError`` when somebody has it."""
        async with self._transaction() as connection:
            account_id, _ = await self._found(connection, name)
            await self._name(connection, account_id, alias)
            await self._tell(connection, account_id)

    async def set_lists(self, name: Name, *, takes: bool | None) -> None:
        """Say whether an account takes messages that were sent to lists (RFC 5360)."""
        async with self._transaction() as connection:
            account_id, _ = await self._found(connection, name)
            mine = tables.accounts.c.id == account_id
            await connection.execute(update(tables.accounts).where(mine).values(takes_lists=takes))
            await self._tell(connection, account_id)

    async def remove(self, name: Name, *, now_utc: float = 0.0) -> None:
        """Remove an account and all that hangs on it; its id is never used again (D4).

        Its mail goes in steps, by the note in ``removals`` (D36).
        """
        async with self._transaction() as connection:
            account_id, leading = await self._found(connection, name)
            note = {"account_id": account_id, "aor": str(leading), "at_utc": now_utc}
            await connection.execute(insert(tables.removals).values(note))
            mine = tables.accounts.c.id == account_id
            await connection.execute(delete(tables.accounts).where(mine))
            await self._tell(connection, account_id)

    async def page(self, after: int = 0) -> list[AccountRecord]:
        """Return the next accounts in the order of their ids, at most ``PAGE_ROWS``."""
        wanted = (
            select(tables.accounts.c.id)
            .where(tables.accounts.c.id > after)
            .order_by(tables.accounts.c.id)
            .limit(PAGE_ROWS)
        )
        async with self._transaction() as connection:
            ids = (await connection.execute(wanted)).scalars().all()
            return await self._records(connection, ids)

    async def records(self, ids: Iterable[AccountId]) -> list[AccountRecord]:
        """Return these accounts, at most ``PAGE_ROWS``, without those that are gone."""
        async with self._transaction() as connection:
            return await self._records(connection, list(ids))

    async def news(self, after: int) -> tuple[int, list[AccountId] | None]:
        """Return the newest change's number and whose accounts changed since ``after``.

        The list is at most ``PAGE_ROWS`` long, with the number of its last; None says that
        ``after`` is too long ago to tell.
        """
        changes = tables.account_changes
        oldest = select(func.min(changes.c.seq)).scalar_subquery()
        newest = select(func.max(changes.c.seq)).scalar_subquery()
        query = (
            select(changes.c.seq, changes.c.account_id)
            .where(changes.c.seq > after)
            .order_by(changes.c.seq)
            .limit(PAGE_ROWS)
        )
        async with self._transaction() as connection:
            low, high = (await connection.execute(select(oldest, newest))).one()
            # Lower than what we saw: the database was restored from a backup.
            if (high or 0) < after or (low or 0) > after + 1:
                return high or 0, None
            rows = (await connection.execute(query)).all() if high else []
        if not rows:
            return after, []
        return rows[-1].seq, list(dict.fromkeys(AccountId(row.account_id) for row in rows))

    async def groups(self) -> dict[tuple[str, str], tuple[AccountId, ...]]:
        """Return the members of every group."""
        groups, members = tables.groups, tables.group_members
        query = (
            select(groups.c.user, groups.c.domain, members.c.account_id)
            .join(members, members.c.group_id == groups.c.id)
            .order_by(members.c.account_id)
        )
        found: dict[tuple[str, str], tuple[AccountId, ...]] = {}
        async with self._transaction() as connection:
            for row in await connection.execute(query):
                key = row.user, row.domain
                found[key] = (*found.get(key, ()), AccountId(row.account_id))
        return found

    async def newest(self) -> int:
        """Return the newest change's number, 0 when there was none."""
        async with self._transaction() as connection:
            query = select(func.max(tables.account_changes.c.seq))
            return (await connection.execute(query)).scalar() or 0

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise unavailable(error) from error

    async def _found(self, connection: AsyncConnection, name: Name) -> tuple[AccountId, Name]:
        """Return the id and first name of who is called exactly ``name``."""
        accounts, aliases = tables.accounts, tables.aliases
        query = (
            select(accounts.c.id, accounts.c.user, accounts.c.domain)
            .join(aliases, aliases.c.account_id == accounts.c.id)
            .where(aliases.c.user == name.user, aliases.c.domain == name.domain)
        )
        row = (await connection.execute(query)).first()
        if row is None:
            raise SettingsError(f"no account is called {name}")
        return AccountId(row.id), Name(row.user, row.domain)

    async def _check_free(self, connection: AsyncConnection, name: Name) -> None:
        """Raise ``SettingsError`` when an account or a group has a name, but for its case."""
        for table, kind in ((tables.aliases, "an account"), (tables.groups, "a group")):
            query = select(table.c.folded).where(table.c.folded == name.folded)
            if (await connection.execute(query)).first() is not None:
                raise SettingsError(f"{kind} is called {name} already, or differs only by case")

    async def _name(self, connection: AsyncConnection, account_id: AccountId, name: Name) -> None:
        values = {"folded": name.folded, "user": name.user, "domain": name.domain}
        await self._check_free(connection, name)
        try:
            await connection.execute(insert(tables.aliases).values(**values, account_id=account_id))
        except IntegrityError:
            raise SettingsError(
                f"an account is called {name} already, or differs only by case"
            ) from None

    async def _keep(
        self, connection: AsyncConnection, account_id: AccountId, name: Name, password: str
    ) -> None:
        await self._keep_hashes(connection, account_id, name, kept_hashes(name, password))

    async def _keep_hashes(
        self,
        connection: AsyncConnection,
        account_id: AccountId,
        name: Name,
        hashes: Iterable[tuple[str, str, str]],
    ) -> None:
        rows = [
            {
                "account_id": account_id,
                "algorithm": algorithm,
                "username": username,
                "realm": name.domain,
                "ha1": ha1,
            }
            for algorithm, username, ha1 in hashes
        ]
        await connection.execute(insert(tables.credentials), rows)
        await self._tell(connection, account_id)

    async def _tell(self, connection: AsyncConnection, account_id: AccountId) -> None:
        changes = tables.account_changes
        if connection.dialect.name == "postgresql":
            # Else a change could be seen before one with a lower number: a follower would miss it.
            await connection.execute(text("LOCK TABLE account_changes IN EXCLUSIVE MODE"))
        made = await connection.execute(insert(changes).values(account_id=account_id))
        assert made.inserted_primary_key is not None  # An insert of one row has a key.
        oldest = made.inserted_primary_key[0] - CHANGES_KEPT
        await connection.execute(delete(changes).where(changes.c.seq <= oldest))

    async def _records(
        self, connection: AsyncConnection, ids: Sequence[int]
    ) -> list[AccountRecord]:
        accounts, aliases, credentials = tables.accounts, tables.aliases, tables.credentials
        names: dict[int, list[Name]] = {}
        hashes: dict[int, list[tuple[str, str, str, str]]] = {}
        query = select(aliases.c.account_id, aliases.c.user, aliases.c.domain)
        for row in await connection.execute(query.where(aliases.c.account_id.in_(ids))):
            names.setdefault(row.account_id, []).append(Name(row.user, row.domain))
        for row in await connection.execute(
            select(credentials).where(credentials.c.account_id.in_(ids))
        ):
            kept = (row.username, row.realm, row.algorithm, row.ha1)
            hashes.setdefault(row.account_id, []).append(kept)
        found = await connection.execute(
            select(accounts).where(accounts.c.id.in_(ids)).order_by(accounts.c.id)
        )
        return [
            AccountRecord(
                account=replace(
                    _account(row.id, Name(row.user, row.domain), names.get(row.id, [])),
                    takes_lists=row.takes_lists,
                ),
                names=tuple((name.user, name.domain) for name in names.get(row.id, ())),
                disabled=row.disabled,
                created_utc=row.created_utc,
                hashes=tuple(hashes.get(row.id, ())),
            )
            for row in found
        ]


def _account(account_id: int, leading: Name, names: Sequence[Name]) -> Account:
    others = sorted(str(name) for name in names if name != leading)
    aors = (str(leading), *others)
    return Account(AccountId(account_id), leading.user, leading.domain, aors)
