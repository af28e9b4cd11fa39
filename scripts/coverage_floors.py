"""Checks the measured branch coverage against a floor for each ring."""

import io
import json
import sys
import tempfile
from collections import defaultdict
from contextlib import redirect_stdout
from pathlib import Path

import coverage

FLOORS = {"sip": 95.0, "sms": 100.0, "": 80.0}
"""Least percentage by part of the package; the empty name stands for all that is not named."""


def main() -> int:
    """Print each part's coverage; return 1 when one is below its floor."""
    data = coverage.Coverage()
    data.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        with redirect_stdout(io.StringIO()):
            data.json_report(outfile=str(report))
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, entry in files.items():
        parts = Path(name).parts
        part = parts[parts.index("sipgram") + 1]
        total = sums[part if part in FLOORS else ""]
        summary = entry["summary"]
        total[0] += summary["covered_lines"] + summary.get("covered_branches", 0)
        total[1] += summary["num_statements"] + summary.get("num_branches", 0)
    failed = False
    for part, (covered, total) in sorted(sums.items()):
        percent = 100.0 * covered / max(1, total)
        failed |= percent < FLOORS[part]
        sys.stdout.write(
            f"coverage of {part or 'the rest'}: {percent:.1f} % (floor {FLOORS[part]})\n"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
