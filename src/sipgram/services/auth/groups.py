"""Groups in the database: one AoR whose messages go to many accounts (DELIVERY.md D4).

A member is an account, never a group, so that no group can hold itself.
"""

from typing import Final, NamedTuple

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sipgram.db import tables
from sipgram.errors import SettingsError
from sipgram.services.auth.rules import Name
from sipgram.services.auth.sql import GROUPS_CHANGED, AccountRows

MEMBERS_MAX: Final = 100
"""Members of one group: a message to it becomes so many."""
GROUPS_MAX: Final = 10_000


class Group(NamedTuple):
    """One group as it is listed."""

    name: Name
    members: tuple[Name, ...]


class GroupRows(AccountRows):
    """Reads and changes groups; every change is news to the servers that run."""

    async def join(self, group: Name, member: Name) -> None:
        """Make an account a member of a group, which is made when it is new."""
        async with self._transaction() as connection:
            account_id, _ = await self._found(connection, member)
            group_id = await self._group(connection, group) or await self._make(connection, group)
            mine = tables.group_members.c.group_id == group_id
            query = select(tables.group_members.c.account_id).where(mine)
            members = (await connection.execute(query)).scalars().all()
            if account_id in members:
                raise SettingsError(f"{member} is a member of {group} already")
            if len(members) >= MEMBERS_MAX:
                raise SettingsError(f"{group} has {MEMBERS_MAX} members, as many as a group may")
            values = {"group_id": group_id, "account_id": account_id}
            await connection.execute(insert(tables.group_members).values(**values))
            await self._tell(connection, GROUPS_CHANGED)

    async def leave(self, group: Name, member: Name) -> None:
        """Take an account out of a group; one without members stays."""
        async with self._transaction() as connection:
            account_id, _ = await self._found(connection, member)
            group_id = await self._group(connection, group)
            row = tables.group_members.c
            gone = await connection.execute(
                delete(tables.group_members).where(
                    row.group_id == group_id, row.account_id == account_id
                )
            )
            if not gone.rowcount:
                raise SettingsError(f"{member} is no member of {group}")
            await self._tell(connection, GROUPS_CHANGED)

    async def dissolve(self, group: Name) -> None:
        """Remove a group; its members stay what they are."""
        async with self._transaction() as connection:
            group_id = await self._group(connection, group)
            if group_id is None:
                raise SettingsError(f"no group is called {group}")
            await connection.execute(delete(tables.groups).where(tables.groups.c.id == group_id))
            await self._tell(connection, GROUPS_CHANGED)

    async def listed(self) -> list[Group]:
        """Return all groups with their members' first names."""
        groups, members, accounts = tables.groups, tables.group_members, tables.accounts
        query = (
            select(
                groups.c.user,
                groups.c.domain,
                accounts.c.user.label("member_user"),
                accounts.c.domain.label("member_domain"),
            )
            .join_from(groups, members, members.c.group_id == groups.c.id, isouter=True)
            .join(accounts, accounts.c.id == members.c.account_id, isouter=True)
            .order_by(groups.c.folded, accounts.c.user)
        )
        found: dict[Name, list[Name]] = {}
        async with self._transaction() as connection:
            for row in await connection.execute(query):
                names = found.setdefault(Name(row.user, row.domain), [])
                if row.member_user is not None:
                    names.append(Name(row.member_user, row.member_domain))
        return [Group(name, tuple(names)) for name, names in found.items()]

    async def _group(self, connection: AsyncConnection, name: Name) -> int | None:
        groups = tables.groups.c
        query = select(groups.id).where(groups.user == name.user, groups.domain == name.domain)
        found: int | None = (await connection.execute(query)).scalar()
        return found

    async def _make(self, connection: AsyncConnection, name: Name) -> int:
        await self._check_free(connection, name)
        count = (await connection.execute(select(func.count()).select_from(tables.groups))).scalar()
        if (count or 0) >= GROUPS_MAX:
            raise SettingsError(f"there are {GROUPS_MAX} groups, as many as there may be")
        values = {"folded": name.folded, "user": name.user, "domain": name.domain}
        made = (
            await connection.execute(insert(tables.groups).values(**values))
        ).inserted_primary_key
        assert made is not None  # An insert of one row has a key.
        return int(made[0])
