"""Keys in the database, in SQLAlchemy Core (SQLite and PostgreSQL)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sipgram.db import tables
from sipgram.db.engine import unavailable
from sipgram.db.http_tables import api_key_accounts, api_keys
from sipgram.errors import SettingsError
from sipgram.services.keys.rules import KeyRecord

NEWS: Final = "api_keys_changed"
"""The fact in ``meta`` that is another after each change."""


class KeyRows:
    """Reads and changes keys; every change is news to the servers that run."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, key: KeyRecord, *, keys_max: int = 10_000) -> None:
        """Keep a new key; ``SettingsError`` when there are too many."""
        async with self._transaction() as connection:
            count = len((await connection.execute(select(api_keys.c.id))).all())
            if count >= keys_max:
                raise SettingsError(f"there are {keys_max} keys already")
            await connection.execute(
                insert(api_keys).values(
                    id=key.id,
                    name=key.name,
                    hash=key.hash,
                    scopes=" ".join(key.scopes),
                    is_for_all=key.is_for_all,
                    per_minute=key.per_minute,
                    created_utc=key.created_utc,
                    expires_utc=key.expires_utc,
                    revoked_utc=key.revoked_utc,
                )
            )
            rows = [
                {"key_id": key.id, "aor": aor, "account_id": account_id or None}
                for aor, account_id in key.accounts
            ]
            if rows:
                await connection.execute(insert(api_key_accounts), rows)
            await self._tell(connection, key.id)

    async def revoke(self, id: str, now_utc: float) -> None:
        """End a key for good; ``SettingsError`` when there is none."""
        async with self._transaction() as connection:
            mine = api_keys.c.id == id
            found = (await connection.execute(select(api_keys.c.revoked_utc).where(mine))).first()
            if found is None:
                raise SettingsError(f"no key has this id: {id}")
            if found.revoked_utc is None:
                await connection.execute(update(api_keys).where(mine).values(revoked_utc=now_utc))
                await self._tell(connection, f"{id} revoked")

    async def all(self) -> list[KeyRecord]:
        """Return every key, the oldest first."""
        async with self._transaction() as connection:
            accounts: dict[str, list[tuple[str, int]]] = {}
            columns = (
                api_key_accounts.c.key_id,
                api_key_accounts.c.aor,
                api_key_accounts.c.account_id,
            )
            for row in await connection.execute(select(*columns).order_by(api_key_accounts.c.aor)):
                accounts.setdefault(row.key_id, []).append((row.aor, row.account_id or 0))
            rows: Sequence[KeyRecord] = [
                KeyRecord(
                    row.id,
                    row.name,
                    row.hash,
                    tuple(row.scopes.split()),
                    tuple(accounts.get(row.id, ())),
                    row.is_for_all,
                    row.per_minute,
                    row.created_utc,
                    row.expires_utc,
                    row.revoked_utc,
                )
                for row in await connection.execute(
                    select(api_keys).order_by(api_keys.c.created_utc)
                )
            ]
        return list(rows)

    async def news(self) -> str:
        """Return what is another after each change."""
        query = select(tables.meta.c.value).where(tables.meta.c.key == NEWS)
        async with self._transaction() as connection:
            return (await connection.execute(query)).scalar() or ""

    async def account_ids(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return the accounts that are called so."""
        aliases = tables.aliases
        query = select(aliases.c.user, aliases.c.domain, aliases.c.account_id).where(
            aliases.c.user.in_([user for user, _ in names])
        )
        async with self._transaction() as connection:
            rows = (await connection.execute(query)).all()
        return {(row.user, row.domain): row.account_id for row in rows}

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise unavailable(error) from error

    async def _tell(self, connection: AsyncConnection, value: str) -> None:
        await connection.execute(delete(tables.meta).where(tables.meta.c.key == NEWS))
        await connection.execute(insert(tables.meta).values(key=NEWS, value=value))
