"""What was answered 2xx survives SIGKILL (DELIVERY.md D10, D11, D37); `make chaos` runs it in full."""

from pathlib import Path

import pytest

from . import chaos


@pytest.mark.timeout(180)
async def test_d11_nothing_that_was_answered_2xx_is_lost_by_sigkill(tmp_path: Path) -> None:
    report = await chaos.run(tmp_path / "data", kills=6, seed=1)

    assert report.faults == []
    assert report.accepted > 100
