"""`sipgram import` from databases with the tables that Kamailio and Flexisip document."""

import asyncio
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from sipgram.cli.main import main
from sipgram.db.engine import database_url, open_engine
from sipgram.services.auth.rules import parse_name
from sipgram.services.auth.sql import AccountRows
from sipgram.services.messaging.operator.records import MessageRecords
from sipgram.sip.message.digest import ha1

SUBSCRIBER = """CREATE TABLE subscriber (
    id INTEGER PRIMARY KEY, username VARCHAR(64), domain VARCHAR(64), password VARCHAR(64),
    ha1 VARCHAR(128), ha1b VARCHAR(128))"""
DBALIASES = """CREATE TABLE dbaliases (
    id INTEGER PRIMARY KEY, alias_username VARCHAR(64), alias_domain VARCHAR(64),
    username VARCHAR(64), domain VARCHAR(64))"""
ALIASES = """CREATE TABLE aliases (
    id INTEGER PRIMARY KEY, username VARCHAR(64), domain VARCHAR(64), contact VARCHAR(255))"""
SILO = """CREATE TABLE silo (
    id INTEGER PRIMARY KEY, src_addr VARCHAR(255), dst_addr VARCHAR(255), username VARCHAR(64),
    domain VARCHAR(64), inc_time INTEGER, exp_time INTEGER, snd_time INTEGER, ctype VARCHAR(32),
    body {blob}, extra_hdrs TEXT, callid VARCHAR(128), status INTEGER)"""
NOW = int(time.time())
DOMAIN = "example.com"


def subscribers() -> list[tuple[Any, ...]]:
    def row(id: int, user: str, *, password: str = "", has_hash: bool = True) -> tuple[Any, ...]:
        one = ha1(user, DOMAIN, "secret") if has_hash else ""
        other = ha1(f"{user}@{DOMAIN}", DOMAIN, "secret") if has_hash else ""
        return (id, user, DOMAIN, password, one, other)

    return [
        row(1, "alice"),
        row(2, "bob", password="secret"),
        row(3, "carol", has_hash=False),
        row(4, "bad name"),
        row(5, "dave", password="other"),
    ]


def silo(id: int, to: str, body: bytes, *, ends: int = 3600, sends: int = 0) -> tuple[Any, ...]:
    sender, recipient = "sip:alice@example.com", f"sip:{to}@{DOMAIN}"
    times = (NOW - 60 + id, NOW + ends, sends)
    extra = "Subject: hi\r\nVia: SIP/2.0/UDP x\r\nP-Mine: 1\r\n"
    return (id, sender, recipient, to, DOMAIN, *times, "text/plain", body, extra, f"c{id}", 0)


MESSAGES = [
    silo(1, "bob", b"one"),
    silo(2, "bob", "zwei \u00fc".encode()),
    silo(3, "nobody", b"lost"),
    silo(4, "bob", b"late", ends=-1),
    silo(5, "bob", b"remember", sends=NOW + 5),
    silo(6, "bobby", b"to the alias"),
]


async def kamailio(url: str) -> None:
    """Make their database."""
    engine = create_async_engine(url)
    blob = "BYTEA" if "postgresql" in url else "BLOB"
    async with engine.begin() as connection:
        for statement in (SUBSCRIBER, DBALIASES, ALIASES, SILO.format(blob=blob)):
            await connection.execute(text(statement))
        await fill(connection, "subscriber", subscribers())
        aliases = [(1, "bobby", DOMAIN, "bob", DOMAIN), (2, "x", DOMAIN, "nobody", DOMAIN)]
        await fill(connection, "dbaliases", aliases)
        contacts = [(1, "al", DOMAIN, f"sip:alice@{DOMAIN}"), (2, "y", DOMAIN, "none")]
        await fill(connection, "aliases", contacts)
        await fill(connection, "silo", MESSAGES)
    await engine.dispose()


async def fill(connection: Any, table: str, rows: list[tuple[Any, ...]]) -> None:
    for row in rows:
        names = [f"v{place}" for place in range(len(row))]
        statement = f"INSERT INTO {table} VALUES ({', '.join(f':{name}' for name in names)})"
        await connection.execute(text(statement), dict(zip(names, row, strict=True)))


def run(data: Path, kind: str, url: str, *more: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["import", kind, "--from", url, "--data", str(data), *more])
    assert ended.value.code == code


@pytest.fixture(params=["sqlite", "postgresql"])
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url = f"sqlite+aiosqlite:///{tmp_path / 'kamailio.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    asyncio.run(kamailio(url))
    return url


def plain(url: str) -> str:
    """The URL as people write it."""
    return url.replace("+aiosqlite", "").replace("+asyncpg", "")


def test_kamailio_moves_in(theirs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    reports = []
    for more in (("--dry-run",), (), ()):
        run(data, "kamailio", plain(theirs), "--json", *more)
        reports.append(json.loads(capsys.readouterr().out))
    dry, first, second = reports

    assert dry["taken"] == first["taken"] == {"accounts": 3, "aliases": 2, "messages": 3}
    assert dry["reasons"] == first["reasons"]
    assert second["taken"]["messages"] == 0
    assert second["present"] == {"accounts": 3, "aliases": 2, "messages": 3}
    assert [(each["kind"], each["name"]) for each in first["reasons"]] == [
        ("accounts", "carol@example.com"),
        ("accounts", "bad name@example.com"),
        ("aliases", "x@example.com"),
        ("aliases", "y@example.com"),
        ("messages", "silo 5"),
        ("messages", "sip:alice@example.com -> nobody@example.com"),
        ("messages", "sip:alice@example.com -> bob@example.com"),
    ]
    assert first["reasons"][-1]["reason"] == "it has expired"
    asyncio.run(check(data))


async def check(data: Path) -> None:
    engine = open_engine(database_url(data))
    rows, records = AccountRows(engine), MessageRecords(engine)
    alice = await rows.find(parse_name(f"alice@{DOMAIN}"))
    bob = await rows.find(parse_name(f"bob@{DOMAIN}"))
    page = await records.page()
    async with engine.connect() as connection:
        query = text("SELECT head, body FROM messages ORDER BY id")
        found = [(bytes(head), bytes(body)) for head, body in await connection.execute(query)]
    await engine.dispose()

    assert alice is not None
    assert bob is not None
    assert {row[0] for row in alice.hashes} == {"alice", f"alice@{DOMAIN}"}
    assert {row[2] for row in alice.hashes} == {"MD5"}
    assert {row[2] for row in bob.hashes} == {"MD5", "SHA-256"}  # Its password was known.
    assert bob.account.aors == (f"sip:bob@{DOMAIN}", f"sip:bobby@{DOMAIN}")
    assert [record["aor"] for record in page] == [f"sip:bob@{DOMAIN}"] * 3
    assert [body for _, body in found] == [b"one", "zwei \u00fc".encode(), b"to the alias"]
    assert b"Subject: hi\r\nP-Mine: 1\r\n" in found[0][0]
    assert b"Via" not in found[0][0]
    assert b"Call-ID: c1\r\n" in found[0][0]


def test_an_account_with_another_password_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'k.db'}"
    with sqlite3.connect(tmp_path / "k.db") as database:
        database.execute(SUBSCRIBER)
        database.execute("INSERT INTO subscriber VALUES (1, 'alice', '', 'one', '', '')")
    run(tmp_path / "d", "kamailio", url, "--domain", DOMAIN)
    with sqlite3.connect(tmp_path / "k.db") as database:
        database.execute("UPDATE subscriber SET password = 'two'")
    database.close()
    run(tmp_path / "d", "kamailio", url, "--domain", DOMAIN)

    assert capsys.readouterr().out.splitlines() == [
        "accounts: 1 taken, 0 there already, 0 skipped",
        "aliases: 0 taken, 0 there already, 0 skipped",
        "messages: 0 taken, 0 there already, 0 skipped",
        "note: there is no table dbaliases",
        "note: there is no table silo: no waiting messages",
        "accounts: 0 taken, 0 there already, 1 skipped",
        "aliases: 0 taken, 0 there already, 0 skipped",
        "messages: 0 taken, 0 there already, 0 skipped",
        "skipped accounts alice@example.com: an account of this name has another password here",
        "note: there is no table dbaliases",
        "note: there is no table silo: no waiting messages",
    ]


def test_flexisip_moves_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(tmp_path / "f.db") as database:
        database.execute(
            "CREATE TABLE accounts (id INTEGER, username TEXT, domain TEXT, activated BOOLEAN)"
        )
        database.execute(
            "CREATE TABLE passwords (account_id INTEGER, password TEXT, algorithm TEXT)"
        )
        database.execute("CREATE TABLE aliases (alias TEXT, domain TEXT, account_id INTEGER)")
        people = [(1, "alice", DOMAIN, 1), (2, "bob", DOMAIN, 0), (3, "carol", DOMAIN, 1)]
        database.executemany("INSERT INTO accounts VALUES (?, ?, ?, ?)", people)
        secrets = [
            (1, ha1("alice", DOMAIN, "secret"), "MD5"),
            (1, ha1("alice", DOMAIN, "secret", "SHA-256"), "SHA-256"),
            (3, "clear", "CLRTXT"),
        ]
        database.executemany("INSERT INTO passwords VALUES (?, ?, ?)", secrets)
        names = [("+15550100", DOMAIN, 1), ("c", DOMAIN, 3), ("b", DOMAIN, 2)]
        database.executemany("INSERT INTO aliases VALUES (?, ?, ?)", names)
    database.close()

    for _ in range(2):
        run(tmp_path / "d", "flexisip", f"sqlite:///{tmp_path / 'f.db'}", "--json")
    report = json.loads(capsys.readouterr().out.partition("\n}\n")[2])

    assert report["present"] == {"accounts": 2, "aliases": 2}
    assert report["skipped"] == {"accounts": 1, "aliases": 1}


@pytest.mark.parametrize(
    ("kind", "url", "fault"),
    [
        ("kamailio", "nonsense", "--from is no URL of a database"),
        ("kamailio", "sqlite://", "has no table subscriber"),
        ("flexisip", "sqlite://", "has no table accounts"),
        ("kamailio", "mysql://h/k", "database driver is not installed: aiomysql"),
        ("kamailio", "postgresql:///k?host=/nowhere", "database cannot be read"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, url: str, fault: str
) -> None:
    run(tmp_path / "d", kind, url, code=2)
    assert fault in capsys.readouterr().err
