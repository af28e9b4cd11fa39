"""SIPp, one scenario file at a time; each run has its own folder with a trace of every message."""

import re
import socket
from collections.abc import Sequence
from pathlib import Path

from .inventory import Tool, need
from .phone import Account
from .program import Program, ProgramFailed
from .script import scenario as script

SCENARIOS = Path(__file__).parent / "sipp"
RUN_S = 20


class SippRun:
    """One SIPp process that plays one scenario over UDP on 127.0.0.1."""

    def __init__(self, program: Program, *, scenario: str, trace: Path) -> None:
        self.program = program
        self.scenario = scenario
        self._trace = trace

    def wait_listening(self) -> None:
        """SIPp opens its statistics when its sockets are bound, with the names of the columns."""
        self.program.expect(r"^StartTime;")

    def wait(self, *, timeout_s: float = RUN_S + 5.0) -> None:
        """Return when every call went as the scenario says; else ProgramFailed with the trace."""
        code = self.program.wait(timeout_s=timeout_s)
        if code:
            raise ProgramFailed(
                f"SIPp exit code {code} for {self.scenario}\n{self.trace()}\n{self.program.report()}"
            )

    def trace(self) -> str:
        """Every message sent and received so far."""
        return self._trace.read_text(errors="backslashreplace") if self._trace.exists() else ""

    def received(self, start: str) -> list[str]:
        """The messages received so far that start so, retransmissions included."""
        parts = re.split(r"^-{20,} .*\n", self.trace(), flags=re.MULTILINE)
        came_in = [part.partition("\n\n")[2] for part in parts if " message received " in part]
        return [message for message in came_in if message.startswith(start)]

    def sent(self, start: str) -> list[str]:
        """The messages sent so far that start so, retransmissions included."""
        parts = re.split(r"^-{20,} .*\n", self.trace(), flags=re.MULTILINE)
        went_out = [part.partition("\n\n")[2] for part in parts if " message sent " in part]
        return [message for message in went_out if message.startswith(start)]


class Sipp:
    """Starts SIPp against one server."""

    def __init__(self, *, server: tuple[str, int], home: Path) -> None:
        self._path = need(Tool.SIPP)
        self._server = server
        self._home = home
        self._runs: list[SippRun] = []

    def __enter__(self) -> "Sipp":
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.program.kill()

    def start(
        self,
        scenario: str,
        account: Account,
        *,
        peer: str = "nobody",
        port: int = 0,
        calls: int = 1,
        steps: Sequence[str] = (),
    ) -> SippRun:
        """Play ``scenario`` as ``account`` towards the user ``peer`` of the same domain.

        ``port`` is the local one; 0 takes any. ``steps`` are played instead of a file of this name. It ends by itself after ``calls`` calls.
        """
        host, server_port = self._server
        home = self._home / f"{len(self._runs)}-{scenario}"
        home.mkdir(parents=True)
        trace = home / "messages.log"
        file = SCENARIOS / f"{scenario}.xml"
        if steps:
            file = home / "scenario.xml"
            file.write_text(script(steps))
        registering = scenario.startswith("register")
        target = account.domain if registering else f"{peer}@{account.domain}"
        arguments: Sequence[str] = (
            *(self._path, f"{host}:{server_port}", "-sf", str(file)),
            *("-i", "127.0.0.1", "-p", str(port or free_port()), "-m", str(calls), "-nostdin"),
            *("-au", account.user, "-ap", account.password, "-auth_uri", target),
            *("-key", "user", account.user, "-key", "domain", account.domain),
            *("-key", "peer", peer),
            *("-timeout", f"{RUN_S}s", "-timeout_error"),
            *("-trace_msg", "-message_file", str(trace)),
            *("-trace_stat", "-stf", "/dev/stdout", "-fd", "1"),
        )
        program = Program(arguments, home=home, name=f"sipp {scenario}")
        run = SippRun(program, scenario=scenario, trace=trace)
        self._runs.append(run)
        return run


def free_port() -> int:
    """A UDP port of 127.0.0.1 that is free at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port
