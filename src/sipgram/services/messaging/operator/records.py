"""What became of messages, read for people (DELIVERY.md D36: bodies are not among it).

Pages go by id, which rises with time; each query walks an index from the page's start, so that
the tenth million costs what the first does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Select, func, literal_column, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db import tables
from sipgram.db.engine import unavailable
from sipgram.services.messaging.operator.purge import BY_SORTING, from_sender

Record = dict[str, Any]
"""Column name to value; bytes are read as UTF-8 with replacements."""

State = Literal["waiting", "delivered", "failed", "expired", "cancelled"]
STATES: Final[tuple[State, ...]] = ("waiting", "delivered", "failed", "expired", "cancelled")
ID_STEP_BITS: Final = 20
"""An id is milliseconds since 1970 with room for so many more within one (``MessageIds``)."""
ID_MAX: Final = 2**63 - 1
"""No database holds a larger one."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages are meant; whatever is None does not matter."""

    to: str | None = None
    sender: str | None = None
    account: str | None = None
    "To or from this AoR."
    state: State | None = None
    since_utc: float | None = None
    until_utc: float | None = None

    def queries(self, *columns: Any, before: int | None, at_most: int) -> list[Select[Any]]:
        """Return queries, newest first, of which each is served by one index.

        Together they find what is asked for; the same message may come twice.
        """
        table = tables.messages
        found = []
        for condition in self._states():
            for whom, order in self._whom():
                query = select(*columns).where(*condition, *whom)
                if before is not None:
                    query = query.where(table.c.id < before)
                if self.since_utc is not None:
                    query = query.where(table.c.id >= id_at(self.since_utc))
                if self.until_utc is not None:
                    query = query.where(table.c.id < id_at(self.until_utc))
                found.append(query.order_by(order).limit(at_most))
        return found

    def _whom(self) -> list[tuple[tuple[Any, ...], Any]]:
        """Return conditions, each with the order that leads to its index."""
        aor = tables.messages.c.aor
        to = () if self.to is None else (aor == self.to,)
        if self.sender is not None:
            found = [((*to, sent), order) for sent, order in from_sender(self.sender)]
        else:
            found = [(to, tables.messages.c.id.desc())]
        if self.account is None:
            return found
        mine = [(aor == self.account, tables.messages.c.id.desc()), *from_sender(self.account)]
        return [
            ((*whom, its_own), _sorted(order, more))
            for whom, order in found
            for its_own, more in mine
        ]

    def _states(self) -> list[tuple[Any, ...]]:
        if self.state is None:
            is_by_whom = self.to or self.sender or self.account
            return [(tables.is_over,), (tables.is_waiting,)] if is_by_whom else [()]
        if self.state == "waiting":
            return [(tables.is_waiting,)]
        its_state = tables.messages.c.state == literal_column(f"'{self.state}'")
        return [(tables.is_over if self.state == "delivered" else tables.is_dead, its_state)]


def _sorted(*orders: Any) -> Any:
    """Return the order that needs sorting, when there is one."""
    return next((order for order in orders if order is BY_SORTING), orders[0])


def id_at(utc: float) -> int:
    """Return the first id that a message of this time could have."""
    return min(max(0, int(utc * 1000)) << ID_STEP_BITS, ID_MAX)


class MessageRecords:
    """Reads messages, copies, attempts and devices that are away."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self, which: Filter = Filter(), *, before: int | None = None, at_most: int = 50
    ) -> list[Record]:
        """Return the latest messages, those with ids under ``before``, the newest first."""
        found: dict[int, Record] = {}
        for query in which.queries(*_SHOWN, before=before, at_most=at_most):
            for record in await self._records(query):
                found[record["id"]] = record
        return [found[id] for id in sorted(found, reverse=True)[:at_most]]

    async def ids(self, which: Filter, *, before: int | None, at_most: int) -> list[int]:
        """Return the ids of such a page."""
        table, found = tables.messages, set[int]()
        for query in which.queries(table.c.id, before=before, at_most=at_most):
            found.update(record["id"] for record in await self._records(query))
        return sorted(found, reverse=True)[:at_most]

    async def find(self, id: int) -> Record | None:
        """Return one message with its copies, its failed attempts, and the account's devices."""
        copies, attempts, bindings = tables.copies, tables.attempts, tables.bindings
        found = await self._records(select(*_SHOWN).where(tables.messages.c.id == id))
        if not found:
            return None
        aor = found[0]["aor"]
        its_copies = select(
            copies.c.device,
            copies.c.state,
            copies.c.status,
            copies.c.contact,
            copies.c.flow,
            copies.c.at_utc,
        ).where(copies.c.message_id == id)
        its_attempts = select(
            attempts.c.device,
            attempts.c.number,
            attempts.c.at_utc,
            attempts.c.contact,
            attempts.c.flow,
            attempts.c.status,
            attempts.c.reason,
        ).where(attempts.c.message_id == id)
        its_bindings = select(
            bindings.c.instance.label("device"),
            bindings.c.contact,
            bindings.c.flow,
            bindings.c.expires_utc,
        ).where(bindings.c.aor == aor)
        return {
            **found[0],
            "copies": await self._records(its_copies.order_by(copies.c.at_utc)),
            "attempts": await self._records(its_attempts.order_by(attempts.c.number)),
            "away": await self.devices(aor),
            "bindings": await self._records(its_bindings.order_by(bindings.c.expires_utc)),
            "behind": await self._behind(found[0]),
        }

    async def _behind(self, record: Record) -> int | None:
        """Return the earlier message of the same sender that must go first (D16)."""
        if record["state"] != "waiting":
            return None
        table, itself = tables.messages, tables.messages.alias("itself")
        sender = select(itself.c.sender).where(itself.c.id == record["id"]).scalar_subquery()
        query = select(func.max(table.c.id).label("id")).where(
            tables.is_waiting,
            table.c.aor == record["aor"],
            table.c.sender == sender,
            table.c.id < record["id"],
        )
        (found,) = await self._records(query)
        return found["id"]  # type: ignore[no-any-return]  # A column of integers.

    async def devices(self, aor: str | None = None) -> list[Record]:
        """Return the devices that are away and waited for (D7)."""
        table = tables.devices
        query = select(table.c.aor, table.c.device, table.c.is_page, table.c.seen_utc)
        if aor is not None:
            query = query.where(table.c.aor == aor)
        return await self._records(query.order_by(table.c.aor, table.c.seen_utc))

    async def _records(self, query: Select[Any]) -> list[Record]:
        try:
            async with self._engine.connect() as connection:
                rows: Sequence[Any] = (await connection.execute(query)).all()
        except DBAPIError as error:
            raise unavailable(error) from error
        return [{name: _text(value) for name, value in row._mapping.items()} for row in rows]


_SHOWN = (
    tables.messages.c.id,
    tables.messages.c.aor,
    tables.messages.c.sender,
    tables.messages.c.state,
    tables.messages.c.is_for_all,
    tables.messages.c.content_type,
    tables.messages.c.size,
    tables.messages.c.call_id,
    tables.messages.c.received_utc,
    tables.messages.c.expires_utc,
    tables.messages.c.finished_utc,
)


def _text(value: object) -> object:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
