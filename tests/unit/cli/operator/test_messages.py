"""`sipgram messages` and `sipgram device` on the database of a server that ran."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sipgram.cli.main import main
from sipgram.db.engine import database_url, open_engine
from sipgram.db.migrations import upgrade
from sipgram.db.sqlite_writer import SqliteWriter
from sipgram.db.statements import known_statements
from sipgram.services.messaging.sql import MessageRows
from sipgram.services.messaging.store import (
    AwayDevice,
    CopyOutcome,
    FailedAttempt,
    StoredMessage,
)

WALL = 1_700_000_000.0


async def _fill(data: Path) -> None:
    engine = open_engine(database_url(data))
    await upgrade(engine)
    async with SqliteWriter(data / "sipgram.db", statements=known_statements()) as writer:
        rows = MessageRows(engine, writer, wall=lambda: WALL, record_s=60.0)
        for id in (1, 2):
            await _done(rows.put, _message(id), is_for_all=True, copies=())
        await _done(
            rows.note, [CopyOutcome(1, b"<urn:uuid:a>", "taken", 200, b"sip:bob@192.0.2.1")]
        )
        await _done(rows.finish, 1, "delivered")
        rows.attempt(
            FailedAttempt(2, b"", b"sip:bob@192.0.2.1", "udp:192.0.2.1:5060", 486, b"Busy Here")
        )
        await _done(rows.away, AwayDevice("sip:bob@example.com", 0, b"<urn:uuid:b>", False, WALL))
    await engine.dispose()


async def _done(write: Any, *arguments: Any, **named: Any) -> None:
    written = asyncio.get_running_loop().create_future()

    def done(error: Exception | None) -> None:
        assert error is None
        written.set_result(None)

    write(*arguments, done=done, **named)
    await written


def _message(id: int) -> StoredMessage:
    return StoredMessage(
        id=id,
        aor="sip:bob@example.com",
        account_id=0,
        sender=b"sip:alice@example.com",
        call_id=b"c%d" % id,
        digest=b"d",
        content_type=b"text/plain",
        head=b"H: 1\r\n",
        body=b"hi",
        received_utc=WALL,
        expires_utc=WALL + 60,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    asyncio.run(_fill(tmp_path))
    return tmp_path


def run(*arguments: str, data: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--data", str(data)])
    assert ended.value.code == 0


def test_list_shows_the_newest_first(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("messages", "list", data=data)
    assert capsys.readouterr().out.splitlines() == [
        "2  2023-11-14 22:13:20  waiting    sip:alice@example.com -> sip:bob@example.com  8 bytes",
        "1  2023-11-14 22:13:20  delivered  sip:alice@example.com -> sip:bob@example.com  8 bytes",
    ]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (("--state", "waiting"), [2]),
        (("--to", "bob@example.com"), [2, 1]),
        (("--to", "carol@example.com"), []),
        (("--before", "2"), [1]),
        (("--limit", "1"), [2]),
    ],
)
def test_list_filters(
    data: Path, capsys: pytest.CaptureFixture[str], filters: tuple[str, ...], ids: list[int]
) -> None:
    run("messages", "list", "--json", *filters, data=data)
    assert [record["id"] for record in json.loads(capsys.readouterr().out)] == ids


def test_show_tells_why_a_message_has_not_arrived(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("messages", "show", "2", data=data)
    out = capsys.readouterr().out
    assert "sip:bob@192.0.2.1 over udp:192.0.2.1:5060: 486 Busy Here" in out
    run("messages", "show", "1", data=data)
    assert "<urn:uuid:a>: taken (200), 2023-11-14 22:13:20" in capsys.readouterr().out


def test_show_tells_why_in_a_sentence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("messages", "show", "2", "--json", data=data)
    why = json.loads(capsys.readouterr().out)["why"]
    assert why == [
        "device <urn:uuid:b> is away, last seen 2023-11-14 22:13:20: it gets the message when it "
        "registers"
    ]


def test_show_prints_nothing_that_a_terminal_would_obey(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(data / "sipgram.db")) as there, there:
        there.execute("UPDATE messages SET content_type = ?", (b"text/plain;x=\x1b[31m",))
    run("messages", "show", "2", data=data)
    assert "content_type  text/plain;x=\N{REPLACEMENT CHARACTER}[31m\n" in capsys.readouterr().out


def test_d36_show_body_is_noted(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run("messages", "show", "2", "--body", data=data)
    out, err = capfd.readouterr()
    assert out == "hi"
    assert "it is noted that" in err


def test_cancel_requeue_and_purge(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("messages", "requeue", "2", data=data)
    run("messages", "cancel", "2", data=data)
    run("messages", "purge", "--all", "--dry-run", data=data)
    run("messages", "purge", "--until", "1w", "--json", data=data)
    run("messages", "list", "--json", data=data)
    assert capsys.readouterr().out.splitlines() == [
        "requeued 2",
        "cancelled 2",
        "would be removed: 2 messages",
        "{",
        '  "removed": 2,',
        '  "dry_run": false',
        "}",
        "[]",
    ]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("messages", "cancel", "1"), "message 1 does not wait, it is delivered"),
        (("messages", "requeue", "1"), "message 1 was delivered"),
        (("messages", "show", "9"), "no message has this id: 9"),
        (("messages", "show", "1", "--body"), "message 1 is delivered and its body was erased"),
        (("messages", "purge"), "purge needs a filter"),
        (("messages", "list", "--since", "soon"), "no time such as 2026-11-25T13:00 or 2h: soon"),
        (("messages", "list", "--since", "²h"), "no time such as 2026-11-25T13:00 or 2h: ²h"),
        (("messages", "list", "--since", "1" * 400 + "d"), "no time such as"),
        (("messages", "list", "--to", "bob"), "address has no domain"),
        (("messages", "list", "--state", "gone"), "gone is not one of"),
        (("device", "forget", "bob@example.com", "x"), "no device that is waited for: x"),
    ],
)
def test_bad_usage_is_told_in_a_line_and_exit_2(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], fault: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--data", str(data)])
    assert ended.value.code == 2
    assert fault in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_until_may_be_centuries_away(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("messages", "list", "--json", "--until", "9999-12-31T23:59", data=data)
    assert [record["id"] for record in json.loads(capsys.readouterr().out)] == [2, 1]


@pytest.mark.parametrize("verb", ["show", "requeue", "cancel", "list"])
def test_an_id_that_no_database_holds_is_bad_usage(
    data: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    option = ("--before",) if verb == "list" else ()
    with pytest.raises(SystemExit) as ended:
        main(["messages", verb, *option, str(2**63), "--data", str(data)])
    assert ended.value.code == 2
    assert "9223372036854775807" in capsys.readouterr().err


def test_device_forget(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("device", "forget", "bob@example.com", "<urn:uuid:b>", data=data)
    run("device", "list", "--json", data=data)
    assert capsys.readouterr().out == "forgotten sip:bob@example.com <urn:uuid:b>\n[]\n"


def test_device_list(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("device", "list", data=data)
    assert capsys.readouterr().out == (
        "sip:bob@example.com  <urn:uuid:b>  last seen 2023-11-14 22:13:20\n"
    )
