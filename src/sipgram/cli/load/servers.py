"""The servers under test, started afresh for one round on loopback and ended after it."""

import asyncio
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from sqlalchemy.engine import make_url

from sipgram.cli.load.generator import Load
from sipgram.db.engine import FILE_NAME
from sipgram.db.own_postgres import PostgresServer
from sipgram.errors import SettingsError, Unavailable

HOST = "127.0.0.1"
CONFIGURATIONS = Path(__file__).parent / "kamailio"
_START_S = 20.0
_STOP_S = 12.0  # sipgram drains within 10
_ASK_INTERVAL_S = 0.1

System = Literal["sipgram", "sipgram (plain)", "kamailio", "target"]


@dataclass(frozen=True, slots=True)
class Running:
    """A server that takes requests; ``http`` is where its metrics are, HOST:PORT."""

    system: System
    host: str
    port: int
    pid: int | None
    http: str | None = None
    stored: Callable[[], int] | None = None
    "Counts the messages in its database."


@dataclass(frozen=True, slots=True)
class Target:
    """A server that somebody else started: where it listens, and its process if it is here."""

    transport: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read ``udp:127.0.0.1:5060``; the host is an IPv4 address."""
        match text.split(":"):
            case [("udp" | "tcp") as transport, host, port] if port.isdigit():
                return cls(transport, host, int(port))
        raise SettingsError(f"target is not udp:HOST:PORT or tcp:HOST:PORT: {text!r}")


def has_kamailio() -> bool:
    """Whether there is a Kamailio to compare with."""
    return shutil.which("kamailio") is not None


@contextmanager
def started(system: System, load: Load) -> Iterator[Running]:
    """A fresh server for this load, ended at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="sipgram-bench-") as folder:
        if system == "kamailio":
            running = kamailio(load, folder=Path(folder))
        else:
            running = sipgram(load, folder=Path(folder), plain=system == "sipgram (plain)")
        with _unwinding_on_sigterm(), running as server:
            yield server


@contextmanager
def _unwinding_on_sigterm() -> Iterator[None]:
    """Make SIGTERM unwind like Ctrl-C, so that no server of ours is left behind."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def sipgram(load: Load, *, folder: Path, plain: bool) -> Iterator[Running]:
    """``sipgram serve`` of this Python; its accounts are made before it starts."""
    if load.password is not None:
        (folder / "data").mkdir()
        asyncio.run(_make_accounts(folder / "data", load, load.password))
    http = f"{HOST}:{_free_port()}" if load.mode == "rate" else "none"
    command = sipgram_command(load, data=folder / "data", http=http)
    # The other way round too: a plain run asked for elsewhere must not pass for a native one.
    environment = {**os.environ, "SIPGRAM_PURE": "1" if plain else ""}
    with _child(command, folder=folder, environment=environment) as child:
        text = _read_until(child, b"ready\n", folder=folder)
        port = listening_port(text, transport=transport_of(load))
        metrics = None if http == "none" else http
        name: System = "sipgram (plain)" if plain else "sipgram"
        stored = partial(_rows, folder / "data" / FILE_NAME) if load.mode == "store" else None
        yield Running(name, HOST, port, child.pid, metrics, stored)


def _rows(file: Path) -> int:
    with closing(sqlite3.connect(file)) as database:
        (count,) = database.execute("SELECT count(*) FROM messages").fetchone()
        return int(count)


def sipgram_command(load: Load, *, data: Path, http: str) -> list[str]:
    """The command line of the server for this load."""
    return [
        *(sys.executable, "-m", "sipgram", "serve"),
        *("--domain", load.domain, "--data", str(data), "--http", http),
        *("--listen", f"{transport_of(load)}:{HOST}:0"),
        *("--auth", "none" if load.password is None else "digest"),
    ]


def listening_port(text: str, *, transport: str) -> int:
    """The port in the line ``listening udp 127.0.0.1:5060`` of the server's output."""
    for line in text.splitlines():
        match line.split():
            case ["listening", found, address] if found == transport:
                return int(address.rpartition(":")[2])
    raise Unavailable(f"sipgram told no {transport} port: {text!r}")


@contextmanager
def started_command(command: list[str], *, folder: Path) -> Iterator[tuple[int, str]]:
    """A ``sipgram serve`` of any flags: its process, and what it said until it was ready."""
    with _unwinding_on_sigterm(), _child(command, folder=folder, environment=os.environ) as child:
        yield child.pid, _read_until(child, b"ready\n", folder=folder)


@contextmanager
def kamailio(load: Load, *, folder: Path) -> Iterator[Running]:
    """Kamailio with one worker, our configuration for this load and its fast allocator."""
    if load.mode == "store":
        with _msilo(load, folder=folder) as storing:
            yield storing
        return
    port = _free_port()
    command = kamailio_command(load, port=port, folder=folder)
    with _child(command, folder=folder, environment=os.environ) as child:
        _await_answer(child, transport=transport_of(load), port=port, folder=folder)
        yield Running("kamailio", HOST, port, child.pid)


@contextmanager
def _msilo(load: Load, *, folder: Path) -> Iterator[Running]:
    """Kamailio's msilo with eight workers on a PostgreSQL of its own, whose commits are durable."""
    tables = Path("/usr/share/kamailio/postgres")
    if not tables.is_dir():
        raise Unavailable("kamailio-postgres-modules is not installed")
    database_port, port = _free_port(), _free_port()
    with PostgresServer.running(port=database_port, is_durable=True) as postgres:
        name = make_url(postgres.new_database()).database or ""
        for file in ("standard-create.sql", "msilo-create.sql"):
            postgres.sql(name, file=tables / file)
        command = [
            *kamailio_command(load, port=port, folder=folder),
            *("-A", f'DBURL="postgres://sipgram@{HOST}:{database_port}/{name}"'),
        ]
        with _child(command, folder=folder, environment=os.environ) as child:
            _await_answer(child, transport="udp", port=port, folder=folder)
            stored = partial(postgres.sql, name, text="SELECT count(*) FROM silo")
            # Its database's CPU is not of its tree: only its rate is compared.
            yield Running("kamailio", HOST, port, child.pid, None, lambda: int(stored()))


def kamailio_command(load: Load, *, port: int, folder: Path) -> list[str]:
    """The command line of Kamailio for this load; ``-DD`` keeps it our child."""
    program = shutil.which("kamailio")
    if program is None:
        raise Unavailable("kamailio is not installed; --no-kamailio measures without it")
    configuration = {"tcp": "tcp", "digest": "digest", "store": "store"}.get(load.mode, "relay")
    if load.password is not None:
        configuration = "digest"
    command = [
        *(program, "-DD", "-E", "-x", "fm", "-X", "fm", "-m", "512", "-M", "16"),
        *("-Y", str(folder), "-w", str(folder)),
        *("-f", str(CONFIGURATIONS / f"{configuration}.cfg")),
        *("-l", f"{transport_of(load)}:{HOST}:{port}"),
    ]
    if load.password is not None:
        command += ["-A", f"USERS={load.users}", "-A", f'PASSWORD="{load.password}"']
    return command


def transport_of(load: Load) -> str:
    """The transport that the load comes over."""
    return "tcp" if load.mode == "tcp" else "udp"


def _free_port() -> int:
    """A port free for UDP and TCP now; nobody else is likely to take it within the second."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
    ):
        stream.bind((HOST, 0))
        port: int = stream.getsockname()[1]
        datagram.bind((HOST, port))
        return port


async def _make_accounts(data: Path, load: Load, password: str) -> None:
    from sipgram.db.engine import database_url, open_engine
    from sipgram.db.migrations import upgrade
    from sipgram.services.auth.rules import parse_name
    from sipgram.services.auth.sql import AccountRows

    engine = open_engine(database_url(data))
    try:
        await upgrade(engine)
        rows = AccountRows(engine)
        for index in range(load.users):
            name = parse_name(f"u{index}@{load.domain}")
            await rows.add(name, password=password, now_utc=time.time())
    finally:
        await engine.dispose()


@contextmanager
def _child(
    command: list[str], *, folder: Path, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of ours with its own group, ended in order and, if need be, by force."""
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            cwd=folder,  # a sipgram.toml lying about must not change what is measured
            start_new_session=True,
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # its group is its own: start_new_session
            child.wait()
        assert child.stdout is not None
        child.stdout.close()


def _read_until(child: "subprocess.Popen[bytes]", mark: bytes, *, folder: Path) -> str:
    """What the child prints up to ``mark``."""
    assert child.stdout is not None
    descriptor = child.stdout.fileno()
    deadline = time.monotonic() + _START_S
    text = b""
    while mark not in text:
        left_s = deadline - time.monotonic()
        readable, _, _ = select.select([descriptor], [], [], max(left_s, 0))
        piece = os.read(descriptor, 4096) if readable else b""
        if not piece:
            raise Unavailable(_why_not(child, folder))
        text += piece
    return text.decode()


def _await_answer(
    child: "subprocess.Popen[bytes]", *, transport: str, port: int, folder: Path
) -> None:
    """Ask until the server answers OPTIONS: Kamailio says nothing when it is ready."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and child.poll() is None:
        if _answers(transport, port):
            return
        time.sleep(_ASK_INTERVAL_S)
    raise Unavailable(_why_not(child, folder))


def _answers(transport: str, port: int) -> bool:
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    request = (
        f"OPTIONS sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/{transport.upper()} {HOST};branch=z9hG4bKask;"
        f"rport\r\nMax-Forwards: 70\r\nFrom: <sip:ask@{HOST}>;tag=a\r\nTo: <sip:{HOST}>\r\n"
        f"Call-ID: ask-{port}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    with socket.socket(socket.AF_INET, kind) as asker:
        asker.settimeout(_ASK_INTERVAL_S)
        try:
            asker.connect((HOST, port))
            asker.sendall(request.encode())
            return asker.recv(4096).startswith(b"SIP/2.0 ")
        except OSError:
            return False


def _why_not(child: "subprocess.Popen[bytes]", folder: Path) -> str:
    log = (folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    name = Path(child.args[0]).name if isinstance(child.args, list) else "server"
    code = child.poll()
    state = f"is not ready after {_START_S:.0f} s" if code is None else f"ended with {code}"
    return f"{name} {state}: {log[-1] if log else 'it logged nothing'}"
