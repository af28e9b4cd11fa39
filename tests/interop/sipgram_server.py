"""The real `sipgram serve`, and the other commands, as a user runs them."""

import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

from .phone import Account
from .program import Program

DOMAIN = "example.com"
READY_WITHIN_S = 20.0
DRAINED_WITHIN_S = 10.0
PASSWORD_VARIABLE = "ACCOUNT_PASSWORD"


def sipgram_command() -> str:
    """The command of the environment that runs the tests; without it there is nothing to test."""
    command = Path(sys.executable).with_name("sipgram")
    if not command.exists():
        pytest.fail(f"no sipgram command beside {sys.executable}: pip install -e .", pytrace=False)
    return str(command)


def add_accounts(accounts: Sequence[Account], *, data: Path, home: Path) -> None:
    """Make accounts with `sipgram user add --password-stdin`."""
    for account in accounts:
        arguments = ["user", "add", account.aor, "--password-stdin", "--data", str(data)]
        with Program([sipgram_command(), *arguments], home=home, name="sipgram user") as program:
            program.write_line(account.password)
            program.close_stdin()
            code = program.wait(timeout_s=20.0)
            assert code == 0, f"user add {account.aor}: exit {code}\n{program.report()}"


class SipgramServer:
    """A running server on ports of the system's choice; ``data`` is its folder."""

    def __init__(
        self,
        *,
        data: Path,
        home: Path,
        environment: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
    ) -> None:
        """``environment`` has settings, as ``SIPGRAM_SECTION__KEY``.

        ``prefix`` is a command that runs the server, as in another network namespace.
        """
        self.data = data
        self.certificate = data / "tls" / "cert.pem"
        self.program = Program(
            [
                *(*prefix, sipgram_command(), "serve", "--domain", DOMAIN),
                *("--listen", f"udp:{host}:0", "--listen", f"tcp:{host}:0"),
                *("--listen", f"tls:{host}:0"),
                *("--listen", "ws:127.0.0.1:0", "--listen", "wss:127.0.0.1:0"),
                *("--http", "127.0.0.1:0", "--data", str(data)),
            ],
            home=home,
            name="sipgram serve",
            environment=environment,
        )

    def __enter__(self) -> Self:
        try:
            self.program.expect(r"^ready$", timeout_s=READY_WITHIN_S)
        except AssertionError:
            self.program.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.program.kill()

    def address(self, transport: str) -> tuple[str, int]:
        """Host and port of a listener, as the server printed them."""
        lines = re.findall(rf"^listening {transport} (.+):(\d+)$", self.program.stdout.text, re.M)
        assert len(lines) == 1, f"listeners of {transport}: {lines}\n{self.program.report()}"
        host, port = lines[0]
        return host, int(port)

    def url(self, kind: str) -> str:
        """The URL of a WebSocket: of a listener, ``ws`` or ``wss``, or of ``http``."""
        host, port = self.address(kind)
        return f"ws://{host}:{port}/sip" if kind == "http" else f"{kind}://{host}:{port}"

    def stop(self) -> None:
        """SIGTERM drains: exit code 0 within 10 s, and nothing was raised meanwhile."""
        self.program.signal(signal.SIGTERM)
        code = self.program.wait(timeout_s=DRAINED_WITHIN_S)
        assert code == 0, f"SIGTERM: exit code {code}\n{self.program.report()}"
        log = self.program.stderr.text
        assert "Traceback" not in log, f"the server's log has a traceback\n{self.program.report()}"


class SipgramCommand:
    """Runs `sipgram send` and `sipgram listen` against one server over UDP."""

    def __init__(self, *, server: SipgramServer, home: Path) -> None:
        host, port = server.address("udp")
        self._server = f"udp:{host}:{port}"
        self._home = home
        self._programs: list[Program] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._programs:
            program.kill()

    def send(self, to: str, text: str, *, account: Account, want: Sequence[str] = ()) -> Program:
        """Send a text; ``want`` are the receipts to ask for."""
        wishes = [word for receipt in want for word in ("--want", receipt)]
        return self._start(["send", to, text, *wishes], account)

    def listen(self, account: Account, *, count: int, timeout_s: int = 30) -> Program:
        arguments = ["listen", "--count", str(count), "--timeout", str(timeout_s)]
        return self._start(arguments, account)

    def publish(self, account: Account, *arguments: str) -> Program:
        """Publish presence until the program is ended."""
        program = self._start(["publish", *arguments], account, json=False)
        program.expect("^published ", timeout_s=20.0)
        return program

    def rule(self, *arguments: str, data: Path) -> None:
        """Change who may see whose presence, beside the running server."""
        program = Program(
            [sipgram_command(), "rules", *arguments, "--data", str(data)],
            home=self._home,
            name="sipgram rules",
        )
        self._programs.append(program)
        code = program.wait(timeout_s=20.0)
        assert code == 0, f"rules: exit {code}\n{program.report()}"

    @staticmethod
    def wait_registered(listening: Program) -> None:
        """Return when `sipgram listen` has said that its account can be reached."""
        listening.expect(r'^\{.*"event": ?"connection".*\}$', timeout_s=20.0)

    @staticmethod
    def outcome(sending: Program) -> tuple[int, dict[str, object]]:
        """Give the exit code of `sipgram send` and the one JSON object that it printed."""
        code = sending.wait(timeout_s=40.0)
        lines = sending.stdout.text.splitlines()
        assert len(lines) == 1, f"one JSON object expected\n{sending.report()}"
        said: dict[str, object] = json.loads(lines[0])
        return code, said

    def _start(self, arguments: Sequence[str], account: Account, *, json: bool = True) -> Program:
        program = Program(
            [
                *(sipgram_command(), *arguments, "--from", account.aor),
                *("--server", self._server, "--password-env", PASSWORD_VARIABLE),
                *(("--json",) if json else ()),
            ],
            home=self._home,
            name=f"sipgram {arguments[0]}",
            environment={PASSWORD_VARIABLE: account.password},
        )
        self._programs.append(program)
        return program
