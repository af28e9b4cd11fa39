"""Presence fan-out beside Kamailio's, all in memory, in paired rounds.

    python bench/presence.py [--watchers 200] [--publishes 50] [--rounds 3]

sipgram keeps subscriptions and publications on disk (SQLite), Kamailio in memory alone
(``subs_db_mode`` 0). Prints one JSON line a run, then the ratios of CPU per NOTIFY. Needs Debian's
kamailio, kamailio-presence-modules and kamailio-sqlite-modules; everything runs on loopback.
"""

import argparse
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SCHEMA = Path("/usr/share/kamailio/db_sqlite")
PORT = 5060
READY_WITHIN_S = 20.0


def start_sipgram(folder: Path) -> subprocess.Popen[bytes]:
    """Start our server; returns when it is ready."""
    server = subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("sipgram")), "serve", "--auth", "none"),
            *("--domain", "example.com", "--listen", f"udp:127.0.0.1:{PORT}", "--http", "none"),
            *("--data", str(folder / "data")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert server.stdout is not None
    while (line := server.stdout.readline()) and line != b"ready\n":
        pass
    return server


def start_kamailio(folder: Path) -> subprocess.Popen[bytes]:
    """Start Kamailio with the presence modules and its fast allocator."""
    database = folder / "kamailio.db"
    with sqlite3.connect(database) as connection:
        for name in ("standard", "presence"):
            connection.executescript((SCHEMA / f"{name}-create.sql").read_text())
    text = (HERE / "kamailio-presence.cfg").read_text()
    text = text.replace("DBMOD", "db_sqlite.so").replace("DBURL", f"sqlite:///{database}")
    config = folder / "kamailio.cfg"
    config.write_text(text.replace("MODE", "0"))
    log = (folder / "kamailio.log").open("wb")
    server = subprocess.Popen(
        [
            *("kamailio", "-x", "fm", "-X", "fm", "-f", str(config), "-m", "1024", "-M", "64"),
            *("-P", str(folder / "kamailio.pid"), "-Y", str(folder), "-D", "-E"),
        ],
        stdout=log,
        stderr=log,
    )
    deadline = time.monotonic() + READY_WITHIN_S
    while not (folder / "kamailio.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    return server


STARTS = {"kamailio": start_kamailio, "sipgram": start_sipgram}


def run(name: str, watchers: int, publishes: int) -> dict[str, float]:
    """Start one server afresh, load it, and return what the generator says."""
    folder = Path(tempfile.mkdtemp(prefix="sipgram-presence-"))
    try:
        server = STARTS[name](folder)
        try:
            output = subprocess.run(
                [
                    *(sys.executable, str(HERE / "presence_load.py"), "127.0.0.1", str(PORT)),
                    *("example.com", str(watchers), str(publishes), str(server.pid)),
                ],
                check=True,
                capture_output=True,
                timeout=120,
            ).stdout
        finally:
            server.terminate()
            server.wait(15)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result: dict[str, float] = json.loads(output)
    print(name, json.dumps(result), flush=True)
    return result


def main() -> None:
    """Measure in turn and print the ratios."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--watchers", type=int, default=200)
    options.add_argument("--publishes", type=int, default=50)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    ratios = []
    for _ in range(chosen.rounds):
        found = {name: run(name, chosen.watchers, chosen.publishes) for name in STARTS}
        cpu = {name: result["server_cpu_us_per_notify"] for name, result in found.items()}
        ratios.append(cpu["sipgram"] / cpu["kamailio"])
    print("ratios", " ".join(f"{ratio:.2f}" for ratio in ratios), f"best {min(ratios):.2f}")


if __name__ == "__main__":
    main()
