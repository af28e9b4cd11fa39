"""The statements that the writer knows by name, compiled once from SQLAlchemy Core.

The writer's child gets only their SQL, so that it starts without SQLAlchemy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Column,
    Float,
    LargeBinary,
    Table,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.sql.dml import UpdateBase

from sipgram.db import http_tables, tables

ATTEMPTS_KEPT: Final = 32
"""Of each copy, the latest."""
MANY: Final = 16
"""Rows of one statement: each costs SQLite a quarter less so than by itself."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One kind of row for the writer; ``columns`` says what a row's places mean."""

    name: str
    sql: str
    "In SQLite's words, with ``?`` for a place."
    many: str
    "The same for ``MANY`` rows, one behind the other; empty where there is no such statement."
    postgres: str
    "In PostgreSQL's, with ``$1``."
    columns: tuple[str, ...]


def known_statements() -> tuple[Statement, ...]:
    """Return every statement of the writer, in the words of both engines."""
    bindings = tables.bindings
    everything = tuple(column.name for column in bindings.columns)
    which = (bindings.c.aor, bindings.c.key)
    refreshed = (bindings.c.call_id, bindings.c.cseq, bindings.c.expires_utc)
    return (
        _upsert("binding_put", bindings, everything),
        _update("binding_refresh", bindings, refreshed, which),
        _delete("binding_drop", bindings, which),
        _delete("bindings_drop", bindings, (bindings.c.aor,)),
        *_message_statements(),
        *_event_statements(),
        _upsert("meta_put", tables.meta, _names(tables.meta)),
        *_http_statements(),
    )


def _message_statements() -> tuple[Statement, ...]:
    messages, copies, attempts, devices = (
        tables.messages,
        tables.copies,
        tables.attempts,
        tables.devices,
    )
    its_id = (messages.c.id,)
    return (
        _insert("message_put", messages),
        _update("message_share", messages, (messages.c.is_for_all,), its_id),
        _finish(),
        _delete("message_drop", messages, its_id),
        _upsert("copy_put", copies, _names(copies)),
        # Written late, it must not undo what is there.
        _insert("copy_wait", copies, is_lenient=True),
        _delete("copies_drop", copies, (copies.c.message_id,)),
        _attempt(),
        _delete("attempts_drop", attempts, (attempts.c.message_id,)),
        _upsert("device_put", devices, _names(devices)),
        _delete("device_drop", devices, (devices.c.aor, devices.c.device)),
    )


def _finish() -> Statement:
    """End a message: without history its body is erased (D36)."""
    messages = tables.messages
    is_kept = messages.c.kept != literal_column("0")
    statement = (
        update(messages)
        .values(
            head=case((is_kept, messages.c.head), else_=bindparam("new_head", type_=LargeBinary)),
            body=case((is_kept, messages.c.body), else_=bindparam("new_body", type_=LargeBinary)),
            state=bindparam("new_state"),
            finished_utc=bindparam("new_finished_utc"),
            due_utc=case(
                (is_kept, messages.c.received_utc + bindparam("history_s", type_=Float)),
                else_=bindparam("new_due_utc", type_=Float),
            ),
        )
        # What a command cancelled meanwhile may yet have been delivered; nothing else ends twice.
        .where(
            messages.c.id == bindparam("its_id"),
            messages.c.state.in_((literal_column("'waiting'"), literal_column("'cancelled'"))),
        )
    )
    columns = (
        "new_head",
        "new_body",
        "new_state",
        "new_finished_utc",
        "history_s",
        "new_due_utc",
        "its_id",
    )
    return _compiled("message_finish", statement, columns)


def _attempt() -> Statement:
    """Add an attempt to its copy's, over the oldest when there are ``ATTEMPTS_KEPT``."""
    attempts = tables.attempts
    its_copy = (attempts.c.message_id, attempts.c.device)
    values: dict[str, Any] = {name: bindparam(name) for name in ("message_id", "device")}
    columns = ["message_id", "device"]
    for name in ("place", "number"):
        binds = [bindparam(f"{name}_{column.name}", type_=column.type) for column in its_copy]
        columns += [bind.key for bind in binds]
        pairs = zip(its_copy, binds, strict=True)
        last = func.coalesce(func.max(attempts.c.number), literal_column("-1"))
        number = last + literal_column("1")
        number = number % literal_column(str(ATTEMPTS_KEPT)) if name == "place" else number
        query = select(number).where(*(column == bind for column, bind in pairs))
        values[name] = query.scalar_subquery()
    others = [name for name in _names(attempts) if name not in values]
    insert = postgresql.insert(attempts).values({**values, **{n: bindparam(n) for n in others}})
    keys = {column.name for column in attempts.primary_key}
    news = {name: insert.excluded[name] for name in _names(attempts) if name not in keys}
    upsert = insert.on_conflict_do_update(index_elements=sorted(keys), set_=news)
    return _compiled("attempt_put", upsert.inline(), (*columns, *others))


def _event_statements() -> tuple[Statement, ...]:
    subscriptions, publications = tables.subscriptions, tables.publications
    return (
        _upsert("subscription_put", subscriptions, _names(subscriptions)),
        _delete("subscription_drop", subscriptions, (subscriptions.c.tag,)),
        _upsert("publication_put", publications, _names(publications)),
        _delete("publication_drop", publications, (publications.c.id,)),
    )


def _http_statements() -> tuple[Statement, ...]:
    outbox, submissions = http_tables.outbox, http_tables.submissions
    events, queue, listeners = http_tables.events, http_tables.webhook_events, http_tables.listeners
    its_id = (outbox.c.id,)
    ended = (
        outbox.c.body,
        outbox.c.state,
        outbox.c.status,
        outbox.c.reason,
        outbox.c.devices,
        outbox.c.sent_utc,
        outbox.c.stored_utc,
        outbox.c.delivered_utc,
        outbox.c.ended_utc,
        outbox.c.due_utc,
    )
    later = (outbox.c.state, outbox.c.ended_utc, outbox.c.due_utc)
    delivered = (outbox.c.state, outbox.c.delivered_utc, outbox.c.ended_utc, outbox.c.due_utc)
    displayed = (outbox.c.state, outbox.c.displayed_utc)
    return (
        _insert("outbox_put", outbox),
        _update("outbox_sent", outbox, ended, its_id),
        _update("outbox_ended", outbox, later, its_id),
        _update("outbox_delivered", outbox, delivered, its_id),
        _update("outbox_displayed", outbox, displayed, its_id),
        _delete("outbox_drop", outbox, its_id),
        _delete("outbox_drop_all", outbox, (outbox.c.submission,)),
        _insert("submission_put", submissions),
        _delete("submission_drop", submissions, (submissions.c.id,)),
        _upsert("listener_put", listeners, _names(listeners)),
        _delete("listener_drop", listeners, (listeners.c.aor,)),
        _insert("event_put", events, is_lenient=True),
        _delete("event_drop", events, (events.c.id,)),
        _delete("events_drop", events, (events.c.aor,)),
        _insert("webhook_event_put", queue, is_lenient=True),
        _update(
            "webhook_event_tried",
            queue,
            (
                queue.c.state,
                queue.c.tries,
                queue.c.status,
                queue.c.reason,
                queue.c.created_utc,
                queue.c.due_utc,
            ),
            (queue.c.id,),
        ),
        _delete("webhook_event_drop", queue, (queue.c.id,)),
        _delete("webhook_events_drop", queue, (queue.c.webhook_id,)),
    )


def _names(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)


def _insert(name: str, table: Table, *, is_lenient: bool = False) -> Statement:
    columns = _names(table)

    def of(count: int) -> UpdateBase:
        insert = _values(table, columns, count)
        return insert.on_conflict_do_nothing() if is_lenient else insert

    return _compiled(name, of(1), columns, many=of(MANY))


def _update(
    name: str, table: Table, news: Sequence[Column[Any]], which: Sequence[Column[Any]]
) -> Statement:
    return _compiled(
        name,
        update(table)
        .values({column.name: bindparam(f"new_{column.name}") for column in news})
        .where(*(column == bindparam(f"its_{column.name}") for column in which)),
        tuple(f"new_{column.name}" for column in table.columns if column in news)
        + tuple(f"its_{column.name}" for column in which),
    )


def _upsert(name: str, table: Table, columns: tuple[str, ...]) -> Statement:
    keys = {column.name for column in table.primary_key}

    def of(count: int) -> UpdateBase:
        insert = _values(table, columns, count)
        news = {column: insert.excluded[column] for column in columns if column not in keys}
        return insert.on_conflict_do_update(index_elements=sorted(keys), set_=news)

    return _compiled(name, of(1), columns, many=of(MANY))


def _values(table: Table, columns: tuple[str, ...], count: int) -> postgresql.Insert:
    if count == 1:
        return postgresql.insert(table).values({column: bindparam(column) for column in columns})
    rows: list[dict[str, Any]] = [
        {column: bindparam(f"{column}_{row}") for column in columns} for row in range(count)
    ]
    return postgresql.insert(table).values(rows)


def _delete(name: str, table: Table, which: Sequence[Column[Any]]) -> Statement:
    columns = tuple(f"its_{column.name}" for column in which)
    pairs = zip(which, columns, strict=True)
    return _compiled(
        name, delete(table).where(*(column == bindparam(place) for column, place in pairs)), columns
    )


def _compiled(
    name: str, statement: UpdateBase, columns: tuple[str, ...], *, many: UpdateBase | None = None
) -> Statement:
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"))
    places = tuple(compiled.positiontup or ())
    assert places == columns, f"{name}: its rows are {places}"
    theirs = statement.compile(dialect=asyncpg.dialect())  # type: ignore[no-untyped-call]  # Of SQLAlchemy.
    assert tuple(theirs.positiontup or ()) == columns, f"{name}: its rows differ for PostgreSQL"
    shown = tuple(column.removeprefix("its_").removeprefix("new_") for column in columns)
    of_many = "" if many is None else _of_many(many, columns)
    return Statement(name, str(compiled), of_many, str(theirs), shown)


def _of_many(statement: UpdateBase, columns: tuple[str, ...]) -> str:
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"))
    places = [f"{column}_{row}" for row in range(MANY) for column in columns]
    assert list(compiled.positiontup or ()) == places, "rows do not stand one behind the other"
    return str(compiled)
