"""Databases of both engines, empty and anew for each test that asks for ``database_address``."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipgram.db.engine import database_url
from sipgram.db.own_postgres import PostgresServer
from sipgram.errors import Unavailable


def _missing(reason: str) -> None:
    """PostgreSQL is required in CI, and what needs it skipped elsewhere."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Debian's PostgreSQL, started once."""
    try:
        with PostgresServer.running() as server:
            yield server
    except Unavailable as error:
        _missing(error.reason)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """One of the test's own, to be stopped and started."""
    try:
        with PostgresServer.running() as server:
            yield server
    except Unavailable as error:
        _missing(error.reason)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of one engine and then of the other."""
    if request.param == "sqlite":
        return database_url(tmp_path)
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()
