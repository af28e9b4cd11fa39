"""Documents of presence in the database, written by the command line and read by the server."""

from collections.abc import AsyncIterator, Callable

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db import tables
from sipgram.errors import Unavailable
from sipgram.services.presence.store import HARD_STATE, RULES, KeptDocument

PAGE_ROWS = 500
"""Documents read in one turn of the loop."""
NAME = "index"
"""RFC 5025 §9.7 and RFC 4827 §10: the one document of a user has this name."""
KINDS = (RULES, HARD_STATE)


class DocumentRows:
    """The table documents, as far as presence reads it (``store.DocumentStore``)."""

    def __init__(self, engine: AsyncEngine, *, wall: Callable[[], float]) -> None:
        self._engine = engine
        self._wall = wall
        self._seen = 0

    async def documents(self) -> AsyncIterator[KeptDocument]:
        table = tables.documents
        query = select(table.c.aor, table.c.kind, table.c.body, table.c.seq).where(
            table.c.kind.in_(KINDS)
        )
        async with self._engine.connect() as connection:
            async for row in await connection.stream(query.execution_options(yield_per=PAGE_ROWS)):
                self._seen = max(self._seen, row.seq)
                yield KeptDocument(row.aor, row.kind, row.body)

    async def changed(self) -> list[KeptDocument]:
        table = tables.documents
        query = (
            select(table.c.aor, table.c.kind, table.c.body, table.c.seq)
            .where(table.c.seq > self._seen, table.c.kind.in_(KINDS))
            .order_by(table.c.seq)
            .limit(PAGE_ROWS)
        )
        try:
            async with self._engine.connect() as connection:
                rows = (await connection.execute(query)).all()
        except DBAPIError as error:
            raise Unavailable(f"documents cannot be read: {error.orig}") from error
        if rows:
            self._seen = rows[-1].seq
        return [KeptDocument(row.aor, row.kind, row.body) for row in rows]

    async def body_of(self, aor: str, kind: str) -> bytes:
        """Return a document, empty when there is none."""
        table = tables.documents
        query = select(table.c.body).where(
            table.c.aor == aor, table.c.kind == kind, table.c.name == NAME
        )
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).scalar_one_or_none() or b""

    async def put(self, aor: str, account_id: int, kind: str, body: bytes) -> None:
        """Write a document; an empty body takes it away."""
        table = tables.documents
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        async with self._engine.begin() as connection:
            seq = (
                await connection.execute(select(func.coalesce(func.max(table.c.seq), 0)))
            ).scalar_one()
            values = {
                "aor": aor,
                "kind": kind,
                "name": NAME,
                "account_id": account_id,
                "body": body,
                "seq": seq + 1,
                "changed_utc": self._wall(),
            }
            news = {name: values[name] for name in ("account_id", "body", "seq", "changed_utc")}
            statement = insert(table).values(values)
            await connection.execute(
                statement.on_conflict_do_update(index_elements=["aor", "kind", "name"], set_=news)
            )
