"""Flexisip's accounts, as its account manager keeps them: accounts, passwords, aliases.

A password's ``algorithm`` is MD5 or SHA-256, whose HA1 stands in ``password``, or CLRTXT. Older
databases have the password beside the login in ``accounts``. Messages that wait are in Redis or
in a form of its own there, and are not taken.
"""

from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Final

from sipgram.errors import SettingsError
from sipgram.server.moving.records import Report, TheirAccount, TheirAlias, TheirMessage
from sipgram.server.moving.source import Source, as_text

HEX_CHARS: Final = {"MD5": 32, "SHA-256": 64}


class Flexisip:
    """An ``Origin``."""

    def __init__(self, source: Source, report: Report, *, domain: str) -> None:
        """Raises ``SettingsError`` when there is no table of accounts."""
        self._user = "username" if source.has("accounts", "username") else "login"
        if not source.has("accounts", self._user):
            raise SettingsError(f"no Flexisip database: {source.name} has no table accounts")
        self._source = source
        self._report = report
        self._domain = domain
        self._names: dict[str, str] = {}

    async def accounts(self) -> AsyncIterator[TheirAccount]:
        """Yield accounts that are activated."""
        passwords: dict[str, list[tuple[str, str]]] = defaultdict(list)
        if self._source.has("passwords", "account_id", "password"):
            async for row in self._source.rows("passwords", "account_id", "password", "algorithm"):
                algorithm = as_text(row["algorithm"]).upper() or "MD5"
                passwords[as_text(row["account_id"])].append((algorithm, as_text(row["password"])))
        columns = ("id", self._user, "domain", "activated", "password", "algorithm")
        async for row in self._source.rows("accounts", *columns):
            user = as_text(row[self._user])
            domain = as_text(row["domain"]) or self._domain
            if row["activated"] is not None and as_text(row["activated"]) in (
                "0",
                "False",
                "false",
                "f",
            ):
                self._report.skip("accounts", f"{user}@{domain}", "it is not activated")
                continue
            own = passwords[as_text(row["id"])]
            if row["password"]:
                own.append(
                    (as_text(row["algorithm"]).upper() or "CLRTXT", as_text(row["password"]))
                )
            hashes = [
                (algorithm, user, secret.lower())
                for algorithm, secret in own
                if HEX_CHARS.get(algorithm) == len(secret)
            ]
            clear = [secret for algorithm, secret in own if algorithm == "CLRTXT"]
            self._names[as_text(row["id"])] = f"{user}@{domain}"
            yield TheirAccount(user, domain, tuple(hashes), clear[0] if clear else "")

    async def aliases(self) -> AsyncIterator[TheirAlias]:
        """Yield other names, most of them numbers."""
        if not self._source.has("aliases", "alias", "account_id"):
            self._report.notes.append("there is no table aliases")
            return
        async for row in self._source.rows("aliases", "alias", "domain", "account_id"):
            alias, account = as_text(row["alias"]), self._names.get(as_text(row["account_id"]))
            if account is None:
                self._report.skip("aliases", alias, "its account is not there, or not taken")
            elif alias.startswith("+"):
                yield TheirAlias(f"tel:{alias}", account)
            else:
                yield TheirAlias(f"{alias}@{as_text(row['domain']) or self._domain}", account)

    async def messages(self) -> AsyncIterator[TheirMessage]:
        """Yield nothing."""
        self._report.notes.append("messages that wait in Flexisip are not taken")
        none: tuple[TheirMessage, ...] = ()
        for message in none:
            yield message
