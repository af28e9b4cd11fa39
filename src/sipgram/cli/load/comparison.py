"""The rounds of a comparison: each server afresh, the same load on each, one after the other."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sipgram.cli.load import generator, process, servers
from sipgram.cli.load.generator import Load
from sipgram.cli.load.metrics import Histogram, loop_lag
from sipgram.cli.load.report import Memory, Round, Run
from sipgram.cli.load.servers import Running, System, Target, has_kamailio, started
from sipgram.errors import SettingsError

SETTLE_S = 40.0  # longer than Timer J: what a server keeps of a transaction has gone by then


@dataclass(frozen=True, slots=True)
class Choice:
    """What is compared, how often; ``kamailio`` None means when it is installed."""

    rounds: int = 3
    kamailio: bool | None = None
    sipgram: bool = True
    pure: bool = False
    memory: bool = False
    target: str | None = None
    server_pid: int | None = None

    def systems(self, *, installed: bool) -> tuple[System, ...]:
        """The servers to start, in the order of the first round."""
        own: tuple[System, ...] = ()
        if self.sipgram:
            own = ("sipgram (plain)",) if self.pure else ("sipgram",)
        wanted = installed if self.kamailio is None else self.kamailio
        systems: tuple[System, ...] = (*(("kamailio",) if wanted else ()), *own)
        if not systems:
            raise SettingsError("nothing to measure: neither sipgram nor kamailio")
        return systems


def compare(
    load: Load, choice: Choice, *, tell: Callable[[str], None] = lambda line: None
) -> tuple[Round, ...]:
    """Run all rounds; ``tell`` hears what is being done.

    ``SettingsError`` for a choice that cannot be, ``Unavailable`` when a part is missing or a
    server does not start.
    """
    generator.check(load)
    if choice.server_pid is not None and choice.target is None:
        raise SettingsError("--server-pid is of a running server: give its --target too")
    target = None if choice.target is None else Target.parse(choice.target)
    wanted = servers.transport_of(load)
    if target is not None and target.transport != wanted:
        raise SettingsError(f"a {load.mode} load needs a {wanted} target, not {choice.target}")
    systems = () if target else choice.systems(installed=has_kamailio())
    program = generator.compiled()
    rounds: list[Round] = []
    for number in range(choice.rounds):
        tell(f"round {number + 1} of {choice.rounds}")
        if target is not None:
            server = Running("target", target.host, target.port, choice.server_pid)
            again = dataclasses.replace(load, leave=True)
            rounds.append({"target": _run(program, again, server, memory=choice.memory)})
            continue
        runs: dict[str, Run] = {}
        # The order turns from round to round, so that a drifting machine favours nobody.
        for system in systems if number % 2 == 0 else reversed(systems):
            with started(system, load) as server:
                runs[system] = _run(program, load, server, memory=choice.memory)
        rounds.append({system: runs[system] for system in systems})
    return tuple(rounds)


def _run(program: Path, load: Load, server: Running, *, memory: bool) -> Run:
    samples: list[tuple[float, float]] = []
    pid = server.pid if memory else None

    def sample(elapsed_s: float) -> None:
        if pid is not None:
            samples.append((elapsed_s, process.memory_mb(pid)))

    before = _lag(server)
    measured = generator.measure(
        program, load, host=server.host, port=server.port, pid=server.pid, each_second=sample
    )
    after = _lag(server)
    lag_p99_s = after.since(before).quantile(0.99) if before and after else None
    stored = None if server.stored is None else server.stored()
    if pid is None:
        return Run(measured, lag_p99_s=lag_p99_s, stored=stored)
    requests = sum(figures.count for figures in measured.phases.values())
    return Run(measured, _memory(pid, samples, requests=requests), lag_p99_s)


def _memory(pid: int, samples: list[tuple[float, float]], *, requests: int) -> Memory:
    end_mb = process.memory_mb(pid)
    cpu_s = process.cpu_s(pid)
    time.sleep(SETTLE_S)
    after_cpu_s = process.cpu_s(pid) - cpu_s
    settled = [mb for elapsed_s, mb in samples if elapsed_s >= SETTLE_S]
    return Memory(
        most_mb=max(end_mb, *(mb for _, mb in samples), 0.0),
        settled_mb=settled[0] if settled else end_mb,
        end_mb=end_mb,
        after_mb=process.memory_mb(pid),
        after_cpu_us=after_cpu_s / requests * 1e6,
    )


def _lag(server: Running) -> Histogram | None:
    """The loop lag so far; None from a server that does not tell."""
    if server.http is None:
        return None
    try:
        return loop_lag(server.http)
    except OSError:
        return None
