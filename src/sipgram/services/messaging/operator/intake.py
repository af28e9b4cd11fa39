"""Puts messages of another server into the store, as if they had been sent here (D19)."""

import re
from collections.abc import Callable, Sequence
from email.utils import formatdate
from hashlib import blake2b
from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sipgram.db import tables
from sipgram.db.engine import unavailable
from sipgram.errors import SettingsError
from sipgram.services.messaging.operator.commands import MessageCommands
from sipgram.services.messaging.operator.records import ID_STEP_BITS, id_at
from sipgram.services.messaging.store import StoredMessage

_LINE: Final = re.compile(r"([A-Za-z0-9!%*_+`'~.-]+)\s*:\s*(\S.*)")
_URI: Final = re.compile(r"<?(sips?:[^\s<>\"]+)>?")
_OURS: Final = frozenset(
    [
        "via",
        "v",
        "route",
        "record-route",
        "max-forwards",
        "content-length",
        "l",
        "contact",
        "m",
        "from",
        "f",
        "to",
        "t",
        "call-id",
        "i",
        "cseq",
        "content-type",
        "c",
        "date",
        "authorization",
        "proxy-authorization",
    ]
)
"""Headers that the message gets from elsewhere, or that are of one hop."""


class Intake:
    """Takes messages whose recipients are known here; each once, by its key."""

    def __init__(
        self, engine: AsyncEngine, commands: MessageCommands, *, wall: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._commands = commands
        self._wall = wall

    async def known(self, keys: Sequence[str]) -> set[str]:
        """Return those that were taken before."""
        column = tables.imports.c.key
        async with self._engine.connect() as connection:
            return set((await connection.execute(select(column).where(column.in_(keys)))).scalars())

    async def take(self, messages: Sequence[tuple[str, StoredMessage]]) -> None:
        """Store messages, given with their keys, and have a running server deliver them."""
        try:
            async with self._engine.begin() as connection:
                for key, message in messages:
                    await self._take(connection, key, message)
        except DBAPIError as error:
            raise unavailable(error) from error

    async def _take(self, connection: AsyncConnection, key: str, message: StoredMessage) -> None:
        table, now = tables.messages, self._wall()
        id = message.id
        while (await connection.execute(select(table.c.id).where(table.c.id == id))).first():
            id += 1
        await connection.execute(
            insert(table).values(
                id=id,
                aor=message.aor,
                account_id=message.account_id,
                sender=message.sender,
                call_id=message.call_id,
                digest=message.digest,
                content_type=message.content_type,
                head=message.head,
                body=message.body,
                size=message.size,
                received_utc=message.received_utc,
                expires_utc=message.expires_utc,
                state="waiting",
                is_for_all=True,
                due_utc=message.expires_utc,
            )
        )
        await connection.execute(insert(tables.imports).values(key=key, at_utc=now))
        await self._commands.tell_stored(connection, id, message.aor)


def uri_of(text: str) -> str:
    """Return the URI in a kept address; ``SettingsError`` when there is none."""
    found = _URI.fullmatch(text.strip())
    if found is None:
        raise SettingsError(f"no SIP URI: {text!r}")
    return found[1]


def stored(
    key: str,
    *,
    aor: str,
    account_id: int,
    sender_uri: str,
    recipient_uri: str,
    call_id: str,
    content_type: str,
    body: bytes,
    headers: str,
    received_utc: float,
    expires_utc: float,
) -> StoredMessage:
    """Return a message as our store keeps it; ``SettingsError`` when it could not be sent."""
    sender, recipient = uri_of(sender_uri), uri_of(recipient_uri)
    for name, text in (("Call-ID", call_id), ("Content-Type", content_type)):
        if not text.isprintable() or not text.strip():
            raise SettingsError(f"{name} is not one line: {text!r}")
    more = [line.strip() for line in headers.splitlines()]
    found = [_LINE.fullmatch(line) for line in more]
    kept = [f"{m[1]}: {m[2]}" for m in found if m and m[1].lower() not in _OURS]
    tag = key[:16]
    lines = [
        f"From: <{sender}>;tag={tag}",
        f"To: <{recipient}>",
        f"Call-ID: {call_id}",
        "CSeq: 1 MESSAGE",
        f"Content-Type: {content_type}",
        f"Date: {formatdate(received_utc, usegmt=True)}",
        *kept,
    ]
    digest = blake2b(digest_size=8)
    digest.update(f"{call_id}\n1\n{tag}\n".encode() + body)
    return StoredMessage(
        id=id_at(received_utc) | int(key[:8], 16) % (1 << ID_STEP_BITS),
        aor=aor,
        account_id=account_id,
        sender=sender.encode(),
        call_id=call_id.encode(),
        digest=digest.digest(),
        content_type=content_type.encode(),
        head="".join(f"{line}\r\n" for line in lines).encode(),
        body=body,
        received_utc=received_utc,
        expires_utc=expires_utc,
    )
