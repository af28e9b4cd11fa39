"""`sipgram import kamailio` from the tables that Kamailio's package makes and a real msilo fills."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from sipgram.cli.load.generator import Load
from sipgram.cli.load.servers import kamailio_command
from sipgram.db.engine import database_url, open_engine
from sipgram.db.own_postgres import PostgresServer
from sipgram.services.messaging.operator.records import MessageRecords
from sipgram.sip.message.digest import ha1
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request

TABLES = Path("/usr/share/kamailio/postgres")
FILES = ("standard", "auth_db", "alias_db", "registrar", "msilo")
READY_WITHIN_S = 10.0


@pytest.fixture
def kamailio_url(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A Kamailio that stores messages; its database and its port."""
    if shutil.which("kamailio") is None or not TABLES.is_dir():
        missing = "kamailio and kamailio-postgres-modules are not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    database_port, port = free_port(), free_port()
    with PostgresServer.running(port=database_port) as postgres:
        name = make_url(postgres.new_database()).database or ""
        for file in FILES:
            postgres.sql(name, file=TABLES / f"{file}-create.sql")
        for user in ("alice", "bob"):
            one, other = (
                ha1(each, "example.com", "secret") for each in (user, f"{user}@example.com")
            )
            columns = "(username, domain, password, ha1, ha1b)"
            values = f"('{user}', 'example.com', '', '{one}', '{other}')"
            postgres.sql(name, text=f"INSERT INTO subscriber {columns} VALUES {values}")
        values = "('bobby', 'example.com', 'bob', 'example.com')"
        columns = "(alias_username, alias_domain, username, domain)"
        postgres.sql(name, text=f"INSERT INTO dbaliases {columns} VALUES {values}")
        at = f"sipgram@127.0.0.1:{database_port}/{name}"
        command = [
            *kamailio_command(Load(mode="store"), port=port, folder=tmp_path),
            *("-A", f'DBURL="postgres://{at}"'),
        ]
        log = tmp_path / "kamailio.log"
        with (
            log.open("wb") as errors,
            subprocess.Popen(
                command, stdout=errors, stderr=errors, stdin=subprocess.DEVNULL
            ) as child,
        ):
            try:
                yield f"postgresql://{at}", port
            finally:
                child.terminate()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.bind(("127.0.0.1", 0))
        port: int = datagram.getsockname()[1]
        return port


def stored(port: int, body: bytes) -> int:
    """Send bob a message until Kamailio answers; return the status."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as alice:
        alice.bind(("127.0.0.1", 0))
        alice.settimeout(0.5)
        via = b"Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK-%b" % (
            alice.getsockname()[1],
            body.hex().encode(),
        )
        raw = request(via=via, body=body, headers=(b"Subject: moving",))
        for _ in range(round(READY_WITHIN_S / 0.5)):
            alice.sendto(raw, ("127.0.0.1", port))
            try:
                while (status := parse(alice.recv(65_535)).status) < 200:
                    pass
            except (TimeoutError, ConnectionError):
                continue
            return status
    raise AssertionError("Kamailio did not answer")


def test_what_msilo_holds_is_taken_with_its_accounts(
    kamailio_url: tuple[str, int], tmp_path: Path
) -> None:
    url, port = kamailio_url
    bodies = [b"before the move", "\u00fcber den Umzug".encode()]
    assert [stored(port, body) for body in bodies] == [202, 202]

    reports = []
    for _ in range(2):
        command = ("import", "kamailio", "--from", url, "--data", str(tmp_path / "data"), "--json")
        said = subprocess.run(
            [sys.executable, "-m", "sipgram", *command], capture_output=True, check=True, timeout=60
        )
        reports.append(json.loads(said.stdout))

    assert reports[0]["taken"] == {"accounts": 2, "aliases": 1, "messages": 2}
    assert reports[0]["reasons"] == []
    assert reports[1]["present"] == {"accounts": 2, "aliases": 1, "messages": 2}
    page = asyncio.run(kept(tmp_path / "data"))
    assert {record["sender"] for record in page} == {"sip:alice@example.com"}
    assert {record["aor"] for record in page} == {"sip:bob@example.com"}
    assert sorted(record["size"] > 0 for record in page) == [True, True]


async def kept(data: Path) -> list[dict[str, Any]]:
    engine = open_engine(database_url(data))
    page = await MessageRecords(engine).page()
    await engine.dispose()
    return page
