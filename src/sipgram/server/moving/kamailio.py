"""Kamailio's tables: subscriber, dbaliases, aliases and msilo's silo.

Written from its public schema (auth_db, alias_db, registrar and msilo modules); OpenSIPS has the
same tables but for a few columns.
"""

import re
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Final

from sipgram.errors import SettingsError
from sipgram.server.moving.records import Report, TheirAccount, TheirAlias, TheirMessage
from sipgram.server.moving.source import Source, as_bytes, as_text

_HA1: Final = re.compile(r"[0-9a-fA-F]{32}")
_URI: Final = re.compile(r"<?sips?:([^@;>\s]+)@([^;:>\s]+)")


class Kamailio:
    """An ``Origin``; ``domain`` stands where a row has none (``use_domain`` off)."""

    def __init__(self, source: Source, report: Report, *, domain: str) -> None:
        """Raises ``SettingsError`` when there is no table of accounts."""
        if not source.has("subscriber", "username"):
            raise SettingsError(f"no Kamailio database: {source.name} has no table subscriber")
        self._source = source
        self._report = report
        self._domain = domain

    async def accounts(self) -> AsyncIterator[TheirAccount]:
        """Yield subscribers: HA1 is for ``alice``, HA1B for ``alice@domain``."""
        columns = ("username", "domain", "password", "ha1", "ha1b")
        async for row in self._source.rows("subscriber", *columns):
            user, domain = as_text(row["username"]), as_text(row["domain"]) or self._domain
            kept = ((user, as_text(row["ha1"])), (f"{user}@{domain}", as_text(row["ha1b"])))
            hashes = [("MD5", name, ha1.lower()) for name, ha1 in kept if _HA1.fullmatch(ha1)]
            yield TheirAccount(user, domain, tuple(hashes), as_text(row["password"]))

    async def aliases(self) -> AsyncIterator[TheirAlias]:
        """Yield alias_db's rows, then the registrar's whose contact is an AoR."""
        if self._source.has("dbaliases", "alias_username", "username"):
            columns = ("alias_username", "alias_domain", "username", "domain")
            async for row in self._source.rows("dbaliases", *columns):
                alias = f"{as_text(row['alias_username'])}@{as_text(row['alias_domain']) or self._domain}"
                domain = as_text(row["domain"]) or self._domain
                yield TheirAlias(alias, f"{as_text(row['username'])}@{domain}")
        else:
            self._report.notes.append("there is no table dbaliases")
        if not self._source.has("aliases", "username", "contact"):
            return
        async for row in self._source.rows("aliases", "username", "domain", "contact"):
            alias = f"{as_text(row['username'])}@{as_text(row['domain']) or self._domain}"
            found = _URI.match(as_text(row["contact"]))
            if found is None:
                self._report.skip("aliases", alias, f"no SIP URI: {as_text(row['contact'])}")
            else:
                yield TheirAlias(alias, f"{found[1]}@{found[2]}")

    async def messages(self) -> AsyncIterator[TheirMessage]:
        """Yield what msilo holds for those who are away; its reminders are not taken."""
        if not self._source.has("silo", "username", "body"):
            self._report.notes.append("there is no table silo: no waiting messages")
            return
        columns = ("id", "src_addr", "dst_addr", "username", "domain", "inc_time", "exp_time")
        more = ("snd_time", "ctype", "body", "extra_hdrs", "callid")
        async for row in self._source.rows("silo", *columns, *more):
            name = f"silo {row['id']}"
            if row["snd_time"]:
                self._report.skip("messages", name, "it is a reminder for a set time")
                continue
            body, call_id = as_bytes(row["body"]), as_text(row["callid"])
            facts = (row["src_addr"], row["dst_addr"], row["inc_time"], call_id)
            key = sha256(repr((*map(as_text, facts), row["id"])).encode() + body).hexdigest()
            yield TheirMessage(
                key=key,
                recipient=f"{as_text(row['username'])}@{as_text(row['domain']) or self._domain}",
                sender_uri=as_text(row["src_addr"]),
                recipient_uri=as_text(row["dst_addr"]),
                content_type=as_text(row["ctype"]) or "text/plain",
                body=body,
                call_id=call_id or f"{key[:32]}@kamailio",
                headers=as_text(row["extra_hdrs"]),
                received_utc=float(row["inc_time"] or 0),
                expires_utc=float(row["exp_time"] or 0),
            )
