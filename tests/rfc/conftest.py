"""A server as its own process, for what standards say that it must answer."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from sipgram.net.endpoint import Address

DOMAINS = ("example.com", "domain.com")
HALF_MESSAGE_S = 1.0
ENDS_WITHIN_S = 10.0


class ServedAddresses(NamedTuple):
    """Where the server of these tests listens."""

    udp: tuple[str, int]
    tcp: tuple[str, int]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedAddresses]:
    """Run ``sipgram serve`` without digest, with a short limit for half a message."""
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-m", "sipgram", "serve", "--http", "none", "--auth", "none"]
    command += [part for domain in DOMAINS for part in ("--domain", domain)]
    command += ["--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0"]
    command += ["--data", str(folder / "data")]
    with _running(command, log=folder / "log") as output:
        yield _addresses(output)


def _addresses(output: IO[str]) -> ServedAddresses:
    found: dict[str, tuple[str, int]] = {}
    for line in output:
        if line == "ready\n":
            return ServedAddresses(**found)
        listening, transport, rest = line.split()
        assert listening == "listening"
        address = Address.parse(f"{transport}:{rest}")
        found[transport] = (address.host, address.port)
    raise AssertionError("the server ended before it was ready")


@contextmanager
def _running(command: list[str], *, log: Path) -> Iterator[IO[str]]:
    """Start a process and tell it to end; its log is shown when it did not end well."""
    environment = {**os.environ, "SIPGRAM_TRANSPORT__HALF_MESSAGE_S": str(HALF_MESSAGE_S)}
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield process.stdout
            process.send_signal(signal.SIGTERM)
            code = process.wait(ENDS_WITHIN_S)
        finally:
            process.kill()
    assert code == 0, log.read_text(errors="replace")
