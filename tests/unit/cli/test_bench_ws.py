"""``sipgram bench ws``: a real server, a few WebSockets."""

import json

import pytest
from typer.testing import CliRunner

from sipgram.cli.bench import bench
from sipgram.cli.load.web import _frame_end


def test_it_measures_memory_and_cpu() -> None:
    done = CliRunner().invoke(bench, ["ws", "--idle", "3", "--count", "80", "--json"])

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["relayed"], found["failed"]) == (80, 0)
    assert found["memory_idle_mb"] > 10
    assert found["cpu_us"] > 0


def test_it_tells_its_figures_in_a_line() -> None:
    done = CliRunner().invoke(bench, ["ws", "--idle", "0", "--count", "8"])

    assert done.exit_code == 0, done.output
    assert "relayed 8: " in done.stdout
    assert "0 failed" in done.stdout


@pytest.mark.parametrize(
    ("buffer", "ends"),
    [
        (b"\x81", None),
        (b"\x81\x02a", None),
        (b"\x81\x02abc", (2, 4)),
        (b"\x81\x7e\x00\x80" + b"x" * 128, (4, 132)),
        (b"\x81\x7f" + (65_536).to_bytes(8, "big"), None),
    ],
)
def test_frames_are_cut(buffer: bytes, ends: tuple[int, int] | None) -> None:
    assert _frame_end(bytearray(buffer)) == ends
