"""Subscriptions and publications in the database (DELIVERY.md D37)."""

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db import tables
from sipgram.db.writer import Writer
from sipgram.errors import Unavailable
from sipgram.net.udp import UdpFlow
from sipgram.services.answers import Done
from sipgram.services.events.publication import Publication
from sipgram.services.events.store import KeptSubscription
from sipgram.services.events.subscriptions import RESERVED
from sipgram.sip.events.subscription import Subscription
from sipgram.sip.sink import Flow

PAGE_ROWS = 500
"""Rows read in one turn of the loop at start."""


class EventRows:
    """The tables subscriptions and publications (``store.EventStore``)."""

    def __init__(self, engine: AsyncEngine, writer: Writer, *, wall: Callable[[], float]) -> None:
        self._engine = engine
        self._writer = writer
        self._wall = wall
        self.failed = 0
        "Rows that could not be written behind."

    # ---- subscriptions ---------------------------------------------------------------------

    def put_subscription(self, subscription: Subscription, now: float, done: Done) -> None:
        row = self._row(subscription, now)
        subscription.kept_until = subscription.expires
        self._writer.submit("subscription_put", row, done)

    def note_subscription(self, subscription: Subscription, now: float) -> None:
        """Write what changed, but a refresh only when less than half of it is true on disk."""
        is_true = subscription.kept_until - now > (subscription.expires - now) / 2
        has_numbers = subscription.dialog.local_cseq <= subscription.reserved - RESERVED // 2
        if is_true and has_numbers and not subscription.is_changed:
            return
        before = subscription.kept_until

        def note(error: Exception | None) -> None:
            if error is not None:
                self.failed += 1
                subscription.kept_until = before

        try:
            self.put_subscription(subscription, now, note)
        except Unavailable as error:
            note(error)

    def drop_subscription(self, subscription: Subscription) -> None:
        self._behind("subscription_drop", (subscription.dialog.tag,))

    def _row(self, subscription: Subscription, now: float) -> tuple[object, ...]:
        dialog = subscription.dialog
        wall = self._wall()
        subscription.reserved = dialog.local_cseq + RESERVED
        subscription.is_changed = False
        return (
            dialog.tag,
            bytes(subscription.event),
            subscription.resource,
            subscription.account_id,
            subscription.watcher,
            dialog.call_id,
            dialog.remote_tag,
            dialog.local,
            dialog.remote,
            dialog.target,
            dialog.routes,
            b",".join(subscription.accepted),
            _written(subscription.flow),
            subscription.phase.value,
            subscription.reserved,
            dialog.remote_cseq,
            wall + subscription.since - now,
            wall + subscription.expires - now,
        )

    async def subscriptions(self) -> AsyncIterator[KeptSubscription]:
        table = tables.subscriptions
        query = select(table).where(table.c.expires_utc > self._wall())
        async with self._engine.connect() as connection:
            async for row in await connection.stream(query.execution_options(yield_per=PAGE_ROWS)):
                yield cast(KeptSubscription, row)

    # ---- publications ----------------------------------------------------------------------

    def put_publication(self, publication: Publication, now: float, done: Done) -> None:
        row = (
            publication.id,
            publication.package,
            publication.aor,
            publication.account_id,
            publication.version,
            publication.call_id,
            publication.content_type,
            publication.body,
            publication.contact,
            publication.published_utc,
            self._wall() + publication.expires - now,
        )
        self._writer.submit("publication_put", row, done)

    def drop_publication(self, publication: Publication, done: Done) -> None:
        self._writer.submit("publication_drop", (publication.id,), done)

    async def publications(self, now: float) -> AsyncIterator[Publication]:
        table = tables.publications
        wall = self._wall()
        query = select(table).where(table.c.expires_utc > wall).order_by(table.c.published_utc)
        async with self._engine.connect() as connection:
            async for row in await connection.stream(query.execution_options(yield_per=PAGE_ROWS)):
                yield Publication(
                    row.id,
                    package=row.package,
                    aor=row.aor,
                    account_id=row.account_id,
                    version=row.version,
                    call_id=row.call_id,
                    content_type=row.content_type,
                    body=row.body,
                    contact=row.contact,
                    published_utc=row.published_utc,
                    expires=now + row.expires_utc - wall,
                )

    def _behind(self, statement: str, row: tuple[Any, ...]) -> None:
        def note(error: Exception | None) -> None:
            self.failed += error is not None

        try:
            self._writer.submit(statement, row, note)
        except Unavailable as error:
            note(error)


def _written(flow: Flow | None) -> str:
    """Return the flow as text, a datagram's with our own port: it leaves from there again (D27)."""
    if flow is None:
        return ""
    return f"{flow} {flow.listener.port}" if isinstance(flow, UdpFlow) else str(flow)
