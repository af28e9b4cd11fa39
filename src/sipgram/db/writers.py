"""Finds the writer for a database's URL."""

from collections.abc import Iterable

from sqlalchemy.engine import make_url

from sipgram.db.engine import sqlite_path
from sipgram.db.sqlite_writer import SqliteWriter
from sipgram.db.statements import Statement
from sipgram.db.writer import Writer


def writer_for(url: str, *, statements: Iterable[Statement]) -> Writer:
    """Return a writer for the database, not yet started."""
    if make_url(url).get_backend_name() == "sqlite":
        return SqliteWriter(sqlite_path(url), statements=statements)
    # Its driver need not be there for SQLite.
    from sipgram.db.postgres_writer import PostgresWriter

    return PostgresWriter(url, statements=statements)
