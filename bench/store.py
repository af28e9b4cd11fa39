"""Measures the message store beside other work, on servers that it starts.

    python bench/store.py busy        # storing at window 256 while the loop relays a steady load
    python bench/store.py drain       # 10,000 waiting messages taken while others are relayed to
    python bench/store.py register    # REGISTERs with nothing waiting, with and without 1,000,000 stored messages
    python bench/store.py purge       # how late timers fire while a million old records are removed
    python bench/store.py present     # relaying to accounts whose every device is there, with and without stored mail

Prints one JSON object a line. The load generator is that of `sipgram bench`.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from drain import run as drained

from sipgram.cli.load import generator, servers
from sipgram.cli.load.generator import Figures, Load
from sipgram.cli.load.metrics import loop_lag
from sipgram.cli.load.servers import Running

ROUNDS = 3


def measured(load: Load, server: Running, *, phase: str = "message") -> Figures:
    """Put a load on a running server; return the figures of one phase."""
    program = generator.compiled()
    found = generator.measure(
        program, load, host=server.host, port=server.port, pid=server.pid or 0
    )
    return found.phases[phase]


def beside(load: Load, server: Running) -> tuple[threading.Thread, list[Figures]]:
    """Begin to put a load on a server, beside what follows."""
    found: list[Figures] = []
    thread = threading.Thread(target=lambda: found.append(measured(load, server)))
    thread.start()
    return thread, found


def say(**figures: object) -> None:
    """Print one line."""
    print(json.dumps(figures), flush=True)


def busy(rate: int) -> None:
    """Store at window 256 while the loop relays ``rate`` messages a second."""
    for _ in range(ROUNDS):
        with servers.started("sipgram", Load("store")) as server:
            relaying = Load("rate", users=500, rate=rate, seconds=12, leave=True)
            thread, relayed = beside(relaying, server)
            time.sleep(2.0)
            stored = measured(Load("store", users=100, count=20_000, window=256), server)
            thread.join()
            rows = server.stored() if server.stored else 0
        say(
            what="store while relaying",
            relay_a_second=rate,
            stored_a_second=round(stored.per_s),
            p99_ms=stored.p99_ms,
            failed=stored.fail,
            rows_less_202s=rows - stored.accepted,
            relay_p99_ms=relayed[0].p99_ms,
            relay_failed=relayed[0].fail,
        )


def drain(rate: int) -> None:
    """Relay at ``rate`` a second, undisturbed and while one device takes 10,000 messages."""
    for _ in range(ROUNDS):
        with servers.started("sipgram", Load("store")) as server:
            relaying = Load("rate", users=500, rate=rate, seconds=6, leave=True)
            alone = measured(relaying, server)
            taken, p99s = drained(
                (server.host, server.port),
                count=10_000,
                before=partial(lambda load, at: beside(load, at)[1], relaying, server),
            )
            while not p99s:
                time.sleep(0.1)
        say(
            what="drain while relaying",
            relay_a_second=rate,
            **taken,
            relay_p99_ms_alone=alone.p99_ms,
            relay_p99_ms=p99s[0].p99_ms,
            relay_p99_ratio=round((p99s[0].p99_ms or 0) / (alone.p99_ms or 1), 2),
            relay_failed=p99s[0].fail,
        )


@contextmanager
def serving(data: Path, *, http: str = "none") -> Iterator[Running]:
    """A server of a data folder that is there."""
    command = servers.sipgram_command(Load("store"), data=data, http=http)
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = 0
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("listening udp"):
                port = int(line.rpartition(":")[2])
            if line == "ready\n":
                break
        yield Running("sipgram", servers.HOST, port, child.pid)
    finally:
        child.terminate()
        child.wait(30)


def fill(data: Path, count: int, *, is_old: bool = False) -> None:
    """Write waiting messages for 10,000 accounts into the database, or records that may go."""
    head = b"From: <sip:s@example.com>;tag=1\r\nTo: <sip:x@example.com>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\n"
    now = time.time()
    with sqlite3.connect(data / "sipgram.db") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(messages)")]
        row = {
            "account_id": 0,
            "sender": b"sip:s@example.com",
            "call_id": b"c",
            "content_type": b"text/plain",
            "head": head,
            "body": b"x" * 12,
            "size": len(head) + 12,
            "received_utc": now,
            "expires_utc": now + 600_000,
            "state": "delivered" if is_old else "waiting",
            "is_for_all": True,
            "finished_utc": None,
            "due_utc": now - 1 if is_old else now + 600_000,
        }
        marks = ", ".join("?" * len(columns))
        database.executemany(
            f"INSERT INTO messages ({', '.join(columns)}) VALUES ({marks})",
            (
                tuple(
                    number + 1
                    if name == "id"
                    else f"sip:full{number % 10_000}@example.com"
                    if name == "aor"
                    else number.to_bytes(8, "big")
                    if name == "digest"
                    else row.get(name)
                    for name in columns
                )
                for number in range(count)
            ),
        )
    database.close()


def stores(folder: Path, count: int) -> tuple[Path, Path]:
    """Make two data folders, one with so many waiting messages."""
    both = (folder / "empty", folder / "full")
    for data in both:
        with serving(data):
            pass
    fill(both[1], count)
    return both


def purge(count: int) -> None:
    """How late a timer fires while old records go, and how long a MESSAGE takes beside that."""
    with tempfile.TemporaryDirectory(prefix="sipgram-bench-") as folder:
        data = Path(folder) / "data"
        with serving(data):
            pass
        fill(data, count, is_old=True)
        http = f"{servers.HOST}:{servers._free_port()}"
        with serving(data, http=http) as server:
            before, began = loop_lag(http), time.monotonic()
            relaying = Load("rate", users=500, rate=1_000, seconds=20, leave=True)
            relayed = measured(relaying, server)
            lag = loop_lag(http).since(before)
            with sqlite3.connect(data / "sipgram.db") as database:
                (left,) = database.execute("SELECT count(*) FROM messages").fetchone()
            database.close()
            took_s = time.monotonic() - began
        say(
            what="purge",
            records=count,
            removed_a_second=round((count - left) / took_s),
            lag_p99_ms=(lag.quantile(0.99) or 0) * 1e3,
            lag_p999_ms=(lag.quantile(0.999) or 0) * 1e3,
            relay_p99_ms=relayed.p99_ms,
            relay_failed=relayed.fail,
        )


def register(count: int) -> None:
    """New bindings and refreshes of accounts that have nothing waiting."""
    compared("register", Load("register", users=20_000, leave=True), "refresh", count)


def present(count: int) -> None:
    """Relaying to accounts whose every device is there."""
    compared("relay", Load("relay", users=1000, count=30_000, leave=True), "message", count)


def compared(what: str, load: Load, phase: str, count: int) -> None:
    """Put a load on a server with an empty store and on one with a full store, in turn."""
    program = generator.compiled()
    names = ("new", "refresh") if load.mode == "register" else (phase,)
    with tempfile.TemporaryDirectory(prefix="sipgram-bench-") as folder:
        empty, full = stores(Path(folder), count)
        ratios: dict[str, list[float]] = {name: [] for name in names}
        for number in range(ROUNDS):
            cost: dict[Path, dict[str, float]] = {}
            for data in (empty, full) if number % 2 == 0 else (full, empty):
                with serving(data) as server:
                    found = generator.measure(
                        program, load, host=server.host, port=server.port, pid=server.pid or 0
                    )
                cost[data] = {name: found.phases[name].server_cpu_us or 0.0 for name in names}
            for name in names:
                ratios[name].append(round(cost[full][name] / cost[empty][name], 2))
                say(what=f"{what}: {name}", empty_us=cost[empty][name], full_us=cost[full][name])
    for name in names:
        best, middle = min(ratios[name]), statistics.median(ratios[name])
        say(what=f"{what}: {name}", stored=count, ratios=ratios[name], best=best, median=middle)


def main() -> None:
    """Run one of them."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("what", choices=("busy", "drain", "purge", "register", "present"))
    arguments.add_argument("--rate", type=int, default=3_000)
    arguments.add_argument("--count", type=int, default=1_000_000)
    asked = arguments.parse_args()
    os.chdir(tempfile.gettempdir())  # A sipgram.toml lying about must not change what is measured.
    if asked.what in ("busy", "drain"):
        {"busy": busy, "drain": drain}[asked.what](asked.rate)
    else:
        {"register": register, "present": present, "purge": purge}[asked.what](asked.count)


if __name__ == "__main__":
    main()
