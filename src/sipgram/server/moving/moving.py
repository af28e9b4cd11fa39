"""Takes what an origin has into our database: again and again with the same end (idempotent)."""

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.errors import SettingsError
from sipgram.server.moving.records import Origin, Report, TheirAccount, TheirAlias, TheirMessage
from sipgram.services.auth.rules import Name, kept_hashes, parse_name
from sipgram.services.auth.sql import AccountRows
from sipgram.services.messaging.operator.commands import MessageCommands
from sipgram.services.messaging.operator.intake import Intake, stored
from sipgram.services.messaging.rules import LIFETIME_MAX_S
from sipgram.services.messaging.store import StoredMessage

MESSAGES_AT_ONCE = 100
"""Messages of one transaction."""

Found = tuple[int, str]
"""An account's id and leading AoR."""


class Moving:
    """One run of an import; with ``is_dry`` nothing is written and the report is the same."""

    def __init__(
        self, engine: AsyncEngine, report: Report, *, wall: Callable[[], float], is_dry: bool
    ) -> None:
        self._rows = AccountRows(engine)
        self._intake = Intake(engine, MessageCommands(engine, wall=wall), wall=wall)
        self._report = report
        self._wall = wall
        self._is_dry = is_dry
        self._planned: dict[Name, Found] = {}

    async def run(self, origin: Origin) -> None:
        """Take accounts, then their other names, then messages for them."""
        async for account in origin.accounts():
            await self._account(account)
        async for alias in origin.aliases():
            await self._alias(alias)
        page: list[TheirMessage] = []
        async for message in origin.messages():
            page.append(message)
            if len(page) == MESSAGES_AT_ONCE:
                await self._messages(page)
                page = []
        await self._messages(page)

    # ---- accounts --------------------------------------------------------------------------

    async def _account(self, theirs: TheirAccount) -> None:
        try:
            name = parse_name(str(theirs))
            hashes = _hashes(theirs, name)
        except SettingsError as error:
            self._report.skip("accounts", str(theirs), str(error))
            return
        here = await self._rows.find(name)
        if here is not None:
            kept = {(algorithm, username, ha1) for username, _, algorithm, ha1 in here.hashes}
            if kept.issuperset(hashes):
                self._report.present["accounts"] += 1
            else:
                reason = "an account of this name has another password here"
                self._report.skip("accounts", str(theirs), reason)
            return
        try:
            if not self._is_dry:
                await self._rows.add_hashed(name, hashes, now_utc=self._wall())
        except SettingsError as error:
            self._report.skip("accounts", str(theirs), str(error))
            return
        self._planned[name] = (0, str(name))
        self._report.taken["accounts"] += 1

    async def _alias(self, theirs: TheirAlias) -> None:
        try:
            alias, name = parse_name(theirs.alias), parse_name(theirs.account)
            if alias == name:
                return
            owner, account = await self._found(alias), await self._found(name)
            if account is None:
                raise SettingsError(f"no account is called {name}")
            if owner == account:
                self._report.present["aliases"] += 1
                return
            if owner is not None:
                raise SettingsError(f"{owner[1]} is called so already")
            if not self._is_dry:
                await self._rows.add_alias(name, alias)
        except SettingsError as error:
            self._report.skip("aliases", theirs.alias, str(error))
            return
        self._planned[alias] = account
        self._report.taken["aliases"] += 1

    async def _found(self, name: Name) -> Found | None:
        here = await self._rows.find(name)
        if here is not None:
            return here.account.id, here.account.aors[0]
        return self._planned.get(name) if self._is_dry else None

    # ---- messages --------------------------------------------------------------------------

    async def _messages(self, page: list[TheirMessage]) -> None:
        known = await self._intake.known([message.key for message in page])
        wanted: list[tuple[str, StoredMessage]] = []
        for message in page:
            if message.key in known:
                self._report.present["messages"] += 1
                continue
            try:
                wanted.append((message.key, await self._stored(message)))
            except SettingsError as error:
                name = f"{message.sender_uri} -> {message.recipient}"
                self._report.skip("messages", name, str(error))
        if not self._is_dry:
            await self._intake.take(wanted)
        self._report.taken["messages"] += len(wanted)

    async def _stored(self, theirs: TheirMessage) -> StoredMessage:
        now = self._wall()
        if 0 < theirs.expires_utc <= now:
            raise SettingsError("it has expired")
        found = await self._found(parse_name(theirs.recipient))
        if found is None:
            raise SettingsError(f"no account is called {theirs.recipient}")
        latest = now + LIFETIME_MAX_S
        return stored(
            theirs.key,
            aor=found[1],
            account_id=found[0],
            sender_uri=theirs.sender_uri,
            recipient_uri=theirs.recipient_uri or found[1],
            call_id=theirs.call_id,
            content_type=theirs.content_type,
            body=theirs.body,
            headers=theirs.headers,
            received_utc=min(theirs.received_utc or now, now),
            expires_utc=min(theirs.expires_utc or latest, latest),
        )


def _hashes(theirs: TheirAccount, name: Name) -> set[tuple[str, str, str]]:
    """Return (algorithm, username, HA1): all forms, when the password is known to be the right one."""
    given = {
        (algorithm, username.replace(theirs.domain, name.domain), ha1)
        for algorithm, username, ha1 in theirs.hashes
    }
    if theirs.password:
        full = set(kept_hashes(name, theirs.password))
        if not given or given & full:
            return full
    if not given:
        raise SettingsError("it has neither HA1 nor a password")
    return given
