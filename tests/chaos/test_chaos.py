"""What was answered 2xx survives SIGKILL (DELIVERY.md D10, D11, D37); `make chaos` runs it in full."""

from pathlib import Path

import pytest

from sipgram.db.own_postgres import PostgresServer

from . import chaos


@pytest.mark.timeout(180)
async def test_d11_nothing_that_was_answered_2xx_is_lost_by_sigkill(tmp_path: Path) -> None:
    report = await chaos.run(tmp_path / "data", kills=6, seed=1)

    assert report.faults == []
    assert report.accepted > 100


@pytest.mark.timeout(180)
async def test_d11_nothing_is_lost_on_postgresql_either(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    report = await chaos.run(tmp_path / "data", kills=3, seed=2, database=postgres.new_database())

    assert report.faults == []
    assert report.accepted > 50
