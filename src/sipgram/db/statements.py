"""The statements that the writer knows by name, compiled once from SQLAlchemy Core.

The writer's child gets only their SQL, so that it starts without SQLAlchemy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Column, Table, bindparam, delete, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.dml import UpdateBase

from sipgram.db import tables


@dataclass(frozen=True, slots=True)
class Statement:
    """One kind of row for the writer; ``columns`` says what a row's places mean."""

    name: str
    sql: str
    columns: tuple[str, ...]


def known_statements() -> tuple[Statement, ...]:
    """Return every statement of the writer, in SQLite's words with ``?`` for a place."""
    bindings = tables.bindings
    everything = tuple(column.name for column in bindings.columns)
    which = (bindings.c.aor, bindings.c.key)
    refreshed = (bindings.c.call_id, bindings.c.cseq, bindings.c.expires_utc)
    return (
        _upsert("binding_put", bindings, everything),
        _compiled(
            "binding_refresh",
            update(bindings)
            .values({column.name: bindparam(f"new_{column.name}") for column in refreshed})
            .where(*(column == bindparam(f"its_{column.name}") for column in which)),
            tuple(f"new_{column.name}" for column in refreshed)
            + tuple(f"its_{column.name}" for column in which),
        ),
        _delete("binding_drop", bindings, which),
        _delete("bindings_drop", bindings, (bindings.c.aor,)),
    )


def _upsert(name: str, table: Table, columns: tuple[str, ...]) -> Statement:
    insert = sqlite.insert(table).values({column: bindparam(column) for column in columns})
    keys = {column.name for column in table.primary_key}
    news = {column: insert.excluded[column] for column in columns if column not in keys}
    return _compiled(
        name, insert.on_conflict_do_update(index_elements=sorted(keys), set_=news), columns
    )


def _delete(name: str, table: Table, which: Sequence[Column[object]]) -> Statement:
    columns = tuple(f"its_{column.name}" for column in which)
    pairs = zip(which, columns, strict=True)
    return _compiled(
        name, delete(table).where(*(column == bindparam(place) for column, place in pairs)), columns
    )


def _compiled(name: str, statement: UpdateBase, columns: tuple[str, ...]) -> Statement:
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"))
    places = tuple(compiled.positiontup or ())
    assert places == columns, f"{name}: its rows are {places}"
    shown = tuple(column.removeprefix("its_").removeprefix("new_") for column in columns)
    return Statement(name, str(compiled), shown)
