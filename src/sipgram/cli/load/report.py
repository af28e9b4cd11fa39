"""Rounds compared: medians, bests, and the ratio to Kamailio within each round.

A machine drifts by a third within minutes, so figures of different rounds are never compared.
"""

import dataclasses
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sipgram.cli.load.generator import Figures, Load, Measured

REFERENCE = "kamailio"


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a server, in MB: the most during the load, at its end, and a while after it.

    ``after_cpu_us`` is what the server still spent per request once the last answer was out:
    timers that ran out, writes left behind.
    """

    most_mb: float
    settled_mb: float
    end_mb: float
    after_mb: float
    after_cpu_us: float


@dataclass(frozen=True, slots=True)
class Run:
    """One system in one round; ``lag_p99_s`` is the loop's, where the server tells it."""

    measured: Measured
    memory: Memory | None = None
    lag_p99_s: float | None = None
    stored: int | None = None
    "Messages in its database afterwards; as many as 202s."


Round = Mapping[str, Run]


@dataclass(frozen=True, slots=True)
class Row:
    """A system over all rounds of one phase; ratios are to Kamailio, one a round."""

    system: str
    cpu_us_median: float | None
    cpu_us_best: float | None
    per_s_median: float
    p99_ms_median: float | None
    fail: int
    accepted: int
    retransmits: int
    cpu_ratios: tuple[float, ...]
    p99_ratios: tuple[float, ...]

    @property
    def cpu_ratio_best(self) -> float | None:
        return min(self.cpu_ratios, default=None)


def phases(rounds: Sequence[Round]) -> tuple[str, ...]:
    """The names of the phases that every run went through, in order."""
    runs = [run for round_ in rounds for run in round_.values()]
    names = dict.fromkeys(name for run in runs for name in run.measured.phases)
    return tuple(names)


def rows(rounds: Sequence[Round], *, phase: str) -> tuple[Row, ...]:
    """One row a system, in the order of the first round."""
    systems = tuple(dict.fromkeys(system for round_ in rounds for system in round_))
    return tuple(_row(rounds, system=system, phase=phase) for system in systems)


def _row(rounds: Sequence[Round], *, system: str, phase: str) -> Row:
    all_figures = [
        figures
        for round_ in rounds
        if system in round_ and (figures := round_[system].measured.phases.get(phase))
    ]
    cpu = [f.server_cpu_us for f in all_figures if f.server_cpu_us is not None]
    p99 = [f.p99_ms for f in all_figures if f.p99_ms is not None]
    return Row(
        system=system,
        cpu_us_median=statistics.median(cpu) if cpu else None,
        cpu_us_best=min(cpu, default=None),
        per_s_median=statistics.median(f.per_s for f in all_figures) if all_figures else 0.0,
        p99_ms_median=statistics.median(p99) if p99 else None,
        fail=sum(f.fail for f in all_figures),
        accepted=sum(f.accepted for f in all_figures),
        retransmits=sum(f.retransmits for f in all_figures),
        cpu_ratios=_ratios(rounds, system, phase, of=lambda f: f.server_cpu_us),
        p99_ratios=_ratios(rounds, system, phase, of=lambda f: f.p99_ms),
    )


def _ratios(
    rounds: Sequence[Round], system: str, phase: str, *, of: Callable[[Figures], float | None]
) -> tuple[float, ...]:
    if system == REFERENCE:
        return ()
    found = []
    for round_ in rounds:
        own, reference = (_figure(round_, name, phase, of=of) for name in (system, REFERENCE))
        if own is not None and reference:
            found.append(own / reference)
    return tuple(found)


def _figure(
    round_: Round, system: str, phase: str, *, of: Callable[[Figures], float | None]
) -> float | None:
    run = round_.get(system)
    figures = run.measured.phases.get(phase) if run else None
    return of(figures) if figures else None


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the figures were taken."""

    cpu: str
    cores: int
    kernel: str
    python: str
    sipgram: str
    kamailio: str | None


def machine() -> Machine:
    """The facts of this machine that figures depend on."""
    return Machine(
        cpu=cpu_model(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
        sipgram=_first_lines([sys.executable, "-m", "sipgram", "--version"]) or "unknown",
        kamailio=(_first_lines(["kamailio", "-v"], most=1) or "").removeprefix("version: ") or None,
    )


def cpu_model(cpuinfo: str) -> str:
    """The ``model name`` of ``/proc/cpuinfo``; other architectures do not have it."""
    for line in cpuinfo.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_lines(command: list[str], *, most: int = 3) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return None
    return ", ".join(line.strip() for line in done.stdout.strip().splitlines()[:most])


def failed(rounds: Sequence[Round]) -> bool:
    """Whether a request of any run did not get its 2xx."""
    runs = (run for round_ in rounds for run in round_.values())
    return any(figures.fail for run in runs for figures in run.measured.phases.values())


def as_json(rounds: Sequence[Round], *, load: Load) -> dict[str, Any]:
    """Everything that was measured, for other programs; the password is left out."""
    compared = {
        phase: [dataclasses.asdict(row) for row in rows(rounds, phase=phase)]
        for phase in phases(rounds)
    }
    return {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(machine()),
        "load": dataclasses.asdict(dataclasses.replace(load, password=None)),
        "compared": compared,
        "rounds": [{name: dataclasses.asdict(run) for name, run in r.items()} for r in rounds],
    }


def print_rounds(rounds: Sequence[Round], *, load: Load) -> None:
    """Print a table for each phase that the load is about, then memory and loop lag."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.width = max(console.width, _WIDTH_MIN)  # a pipe has no width; cut figures help nobody
    for phase in phases(rounds):
        if phase == "new" and load.mode != "register":
            continue  # The users of a relay are registered, not measured.
        what = "MESSAGE" if phase == "message" else f"REGISTER, {phase}"
        table = Table(title=f"{load.mode}: {what}", title_justify="left")
        table.add_column("system", no_wrap=True)
        for name in _COLUMNS:
            table.add_column(name, justify="right", no_wrap=True)
        for row in rows(rounds, phase=phase):
            table.add_row(row.system, *_cells(row))
        console.print(table)
    for line in notes(rounds):
        console.print(line)
    if rates := rate_ratios(rounds):
        console.print("a second, by Kamailio's: " + " ".join(f"{rate:.1f}" for rate in rates))


_WIDTH_MIN = 120
_COLUMNS = (
    "CPU us",
    "best",
    "a second",
    "p99 ms",
    "failed",
    "202",
    "again",
    "CPU ratios",
    "best",
    "p99 ratios",
)


def _cells(row: Row) -> list[str]:
    return [
        _shown(row.cpu_us_median, ".1f"),
        _shown(row.cpu_us_best, ".1f"),
        f"{row.per_s_median:,.0f}",
        _shown(row.p99_ms_median, ".2f"),
        str(row.fail),
        str(row.accepted),
        str(row.retransmits),
        " ".join(f"{ratio:.2f}" for ratio in row.cpu_ratios) or "-",
        _shown(row.cpu_ratio_best, ".2f"),
        " ".join(f"{ratio:.2f}" for ratio in row.p99_ratios) or "-",
    ]


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def notes(rounds: Sequence[Round]) -> Iterator[str]:
    """A line for each run whose memory or loop lag was measured."""
    for number, round_ in enumerate(rounds, start=1):
        for system, run in round_.items():
            who = f"round {number}, {system}"
            if run.lag_p99_s is not None:
                yield f"{who}: loop lag p99 at most {run.lag_p99_s * 1e3:g} ms"
            if run.stored is not None:
                accepted = run.measured.phases["message"].accepted
                yield f"{who}: {run.stored:,} rows for {accepted:,} 202s"
            if run.memory is not None:
                yield f"{who}: {_memory_line(run.memory)}"


def rate_ratios(rounds: Sequence[Round]) -> tuple[float, ...]:
    """How many times Kamailio's rate sipgram stored, round by round; empty for other loads."""
    found = []
    for round_ in rounds:
        own, reference = round_.get("sipgram"), round_.get(REFERENCE)
        if own is not None and reference is not None and own.stored is not None:
            rate = reference.measured.phases["message"].per_s
            found.append(own.measured.phases["message"].per_s / rate if rate else 0.0)
    return tuple(found)


def _memory_line(memory: Memory) -> str:
    return (
        f"{memory.most_mb:.0f} MB at most, {memory.settled_mb:.0f} after 40 s of load, "
        f"{memory.end_mb:.0f} at its end, {memory.after_mb:.0f} 40 s later, "
        f"{memory.after_cpu_us:.1f} us of CPU a request in those"
    )
