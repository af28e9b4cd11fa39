"""Webhooks and their queue in the database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, fields
from typing import Any, Final

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sipgram.db.engine import unavailable
from sipgram.db.http_tables import webhook_events, webhooks
from sipgram.db.writer import Writer
from sipgram.errors import Unavailable
from sipgram.services.answers import Done
from sipgram.services.webhooks.rules import Webhook
from sipgram.services.webhooks.store import Place, QueuedEvent

PAGE_ROWS: Final = 500
_COLUMNS: Final = tuple(webhook_events.c[field.name] for field in fields(QueuedEvent))


class WebhookRows:
    """The tables webhooks and webhook_events (``store.WebhookStore``)."""

    def __init__(self, engine: AsyncEngine, writer: Writer) -> None:
        self._engine = engine
        self._writer = writer
        self.lost = 0

    async def add(self, webhook: Webhook) -> None:
        values = {
            "aor": webhook.aor,
            "account_id": webhook.account_id or None,
            "url": webhook.url,
            "kinds": " ".join(webhook.kinds),
            "hmac_key": webhook.secret,
            "old_hmac_key": webhook.old_secret,
            "old_until_utc": webhook.old_until_utc,
            "created_utc": webhook.created_utc,
        }
        async with self._transaction() as connection:
            mine = webhooks.c.id == webhook.id
            done = await connection.execute(update(webhooks).where(mine).values(**values))
            if not done.rowcount:
                await connection.execute(insert(webhooks).values(id=webhook.id, **values))

    async def remove(self, id: str) -> None:
        async with self._transaction() as connection:
            await connection.execute(delete(webhooks).where(webhooks.c.id == id))
        self._write("webhook_events_drop", (id,))

    async def all(self) -> Sequence[Webhook]:
        return [
            Webhook(
                row.id,
                row.aor,
                row.account_id or 0,
                row.url,
                tuple(row.kinds.split()),
                row.hmac_key,
                row.old_hmac_key,
                row.old_until_utc,
                row.created_utc,
            )
            for row in await self._all(select(webhooks).order_by(webhooks.c.created_utc))
        ]

    def put(self, event: QueuedEvent, done: Done) -> None:
        self._writer.submit("webhook_event_put", astuple(event), done)

    def tried(self, event: QueuedEvent, done: Done | None = None) -> None:
        row = (
            event.state,
            event.tries,
            event.status,
            event.reason,
            event.created_utc,
            event.due_utc,
            event.id,
        )
        if done is None:
            self._write("webhook_event_tried", row)
        else:
            self._writer.submit("webhook_event_tried", row, done)

    def drop(self, id: int) -> None:
        self._write("webhook_event_drop", (id,))

    def _write(self, statement: str, row: tuple[Any, ...]) -> None:
        try:
            self._writer.submit(statement, row, lambda error: None)
        except Unavailable:
            self.lost += 1  # It will be told once more, under the same id.

    async def read(self, id: int) -> QueuedEvent | None:
        rows = await self._all(select(*_COLUMNS).where(webhook_events.c.id == id))
        return QueuedEvent(*rows[0]) if rows else None

    async def waiting(self) -> AsyncIterator[Place]:
        columns = (webhook_events.c.id, webhook_events.c.lane, webhook_events.c.due_utc)
        query = select(*columns).where(webhook_events.c.state == "waiting")
        last = 0
        while True:
            page = query.where(webhook_events.c.id > last).order_by(webhook_events.c.id)
            rows = await self._all(page.limit(PAGE_ROWS))
            for row in rows:
                yield Place(*row)
            if len(rows) < PAGE_ROWS:
                return
            last = rows[-1].id

    async def dead(
        self, webhook_ids: Sequence[str], *, before: int | None, at_most: int
    ) -> Sequence[QueuedEvent]:
        query = select(*_COLUMNS).where(
            webhook_events.c.state == "dead", webhook_events.c.webhook_id.in_(webhook_ids)
        )
        if before is not None:
            query = query.where(webhook_events.c.id < before)
        rows = await self._all(query.order_by(webhook_events.c.id.desc()).limit(at_most))
        return [QueuedEvent(*row) for row in rows]

    async def _all(self, query: Select[Any]) -> Sequence[Any]:
        async with self._transaction() as connection:
            rows: Sequence[Any] = (await connection.execute(query)).all()
            return rows

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise unavailable(error) from error
