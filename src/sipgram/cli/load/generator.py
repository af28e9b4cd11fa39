"""The load generator: compiled when first wanted, run for one measurement, its figures read back."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sipgram.errors import SettingsError, Unavailable

Mode = Literal["relay", "digest", "tcp", "register", "rate", "store"]

SOURCES = Path(__file__).parent / "native"
SAMPLE_INTERVAL_S = 1.0
_COMPILER_OPTIONS = ("-O2", "-Wall")
_LIBRARIES = ("-lm",)
_COMPILE_TIMEOUT_S = 120.0
_SPARE_S = 30.0  # what a run may take beyond its own limit, to print its line


@dataclass(frozen=True, slots=True)
class Load:
    """One load: who sends how much.

    ``limit_s`` ends it whatever the server does, ``leave`` ends its bindings, for a server that
    is used again.
    """

    mode: Mode
    users: int = 1000
    count: int = 50_000
    window: int = 64
    body_bytes: int = 12
    senders: int = 8
    receivers: int = 8
    rate: int = 1000
    seconds: int = 10
    nonce_uses: int = 128
    domain: str = "example.com"
    password: str | None = None
    limit_s: int = 120
    leave: bool = False

    def arguments(self, *, host: str, port: int, pid: int | None) -> list[str]:
        """The generator's command line for this load, without its own name."""
        options: dict[str, object] = {"host": host, "port": port, "domain": self.domain}
        options |= {"users": self.users, "window": self.window, "limit-s": self.limit_s}
        if self.mode == "rate":
            options |= {"rate": self.rate, "seconds": self.seconds}
        if self.mode in ("relay", "digest", "tcp", "store"):
            options |= {"count": self.count}
        if self.mode == "tcp":
            options |= {"senders": self.senders, "receivers": self.receivers}
        if self.mode != "register":
            options |= {"body-bytes": self.body_bytes}
        if pid is not None:
            options |= {"pid": pid}
        line: list[str] = ["relay" if self.mode in ("digest", "store") else self.mode]
        if self.mode == "store":
            line.append("--offline")
        for name, value in options.items():
            line += [f"--{name}", str(value)]
        if self.leave:
            line.append("--leave")
        if self.password is not None:
            line += ["--nonce-uses", str(self.nonce_uses), "--digest", "u0", self.password]
        return line


@dataclass(frozen=True, slots=True)
class Figures:
    """One phase of a run, by request; ``ok`` are 200s, ``accepted`` other 2xx, ``fail`` the rest."""

    count: int
    ok: int
    accepted: int
    fail: int
    status: int
    retransmits: int
    challenges: int
    received: int
    seconds: float
    per_s: float
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    server_cpu_us: float | None
    own_cpu_us: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run gave: ``new`` and then ``refresh`` or ``message``; memory in MB."""

    phases: Mapping[str, Figures]
    rss_mb: float | None

    @classmethod
    def parse(cls, line: str) -> "Measured":
        """Read the generator's line of JSON."""
        fields: dict[str, Any] = json.loads(line)
        phases = {name: Figures(**value) for name, value in fields.items() if type(value) is dict}
        return cls(phases, fields["rss_mb"])


def cache_folder() -> Path:
    """Where the compiled generator is kept (XDG base directories)."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "sipgram"


def compiled(folder: Path | None = None) -> Path:
    """The generator's program, compiled unless it is there; ``Unavailable`` says what is wrong."""
    folder = folder or cache_folder()
    sources = sorted(SOURCES.glob("*.c"))
    program = folder / f"loadgen-{_digest([*sources, *SOURCES.glob('*.h')])}"
    if program.exists():
        return program
    wanted = os.environ.get("CC", "cc")
    compiler = shutil.which(wanted)
    if compiler is None:
        raise Unavailable(f"the load generator needs a C compiler, and there is no {wanted}")
    folder.mkdir(parents=True, exist_ok=True)
    # Built beside its place and moved there whole: two runs at once do not meet half a program.
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        built = Path(scratch) / "loadgen"
        command = [compiler, *_COMPILER_OPTIONS, "-o", str(built), *map(str, sources), *_LIBRARIES]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S)
        if done.returncode:
            raise Unavailable(f"the load generator does not compile: {_first_fault(done.stderr)}")
        built.replace(program)
    return program


def measure(
    program: Path,
    load: Load,
    *,
    host: str,
    port: int,
    pid: int | None,
    each_second: Callable[[float], None] | None = None,
) -> Measured:
    """Put the load on a server and give its figures.

    ``each_second`` is called with the seconds since the start while it runs. ``Unavailable``
    when the generator could not run; requests that failed are in the figures.
    """
    command = [str(program), *load.arguments(host=host, port=port, pid=pid)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        began = time.monotonic()
        while True:
            try:
                out, err = process.communicate(timeout=SAMPLE_INTERVAL_S)
                break
            except subprocess.TimeoutExpired:
                elapsed_s = time.monotonic() - began
                if elapsed_s > load.limit_s + _SPARE_S:
                    process.kill()
                    raise Unavailable(f"the load did not end in {elapsed_s:.0f} s") from None
                if each_second is not None:
                    each_second(elapsed_s)
            except BaseException:
                process.kill()
                raise
    if process.returncode not in (0, 1):
        reason = err.strip() or f"ended with {process.returncode}"
        raise Unavailable(reason)
    return Measured.parse(out)


def check(load: Load) -> None:
    """``SettingsError`` for a load that the generator would refuse or that measures nothing."""
    bounds = {
        "users": (load.users, 1_000_000),
        "count": (load.count, 10_000_000),
        "window": (load.window, 65_536),
        "senders": (load.senders, 4096),
        "receivers": (load.receivers, 4096),
        "rate": (load.rate, 1_000_000),
        "seconds": (load.seconds, 3600),
    }
    for name, (value, most) in bounds.items():
        if not 1 <= value <= most:
            raise SettingsError(f"{name} is not from 1 to {most}: {value}")
    if load.rate * load.seconds > 10_000_000:
        raise SettingsError(f"rate times seconds is over 10000000: {load.rate * load.seconds}")


def _digest(paths: list[Path]) -> str:
    content = hashlib.sha256(" ".join(_COMPILER_OPTIONS).encode())
    for path in sorted(paths):
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:16]


def _first_fault(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return next(
        (line for line in lines if "error" in line), lines[0] if lines else "no reason given"
    )
