"""Bindings on disk: committed before the 200, there again after a restart (D37)."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sipgram.db.engine import open_engine
from sipgram.db.migrations import upgrade
from sipgram.db.statements import known_statements
from sipgram.db.writer import Link, Writer
from sipgram.db.writers import writer_for
from sipgram.errors import Refusal, Unavailable, UsageError
from sipgram.server.app import Server, build
from sipgram.services.registrar.location import AorEntry, Binding
from sipgram.services.registrar.sql import BindingRows
from sipgram.settings import AuthSettings, RegistrarSettings, ServerSettings, Settings
from sipgram.sip.message.uri import Aor
from sipgram.testing.recording import RecordingFlow

from .rig import HOME, INSTANCE, registering

WALL = 1_700_000_000.0


class ToldWriter(Writer):
    """Keeps what is submitted; ``finish`` says how it went."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, tuple[Any, ...]]] = []
        self.dones: list[Callable[[Exception | None], None]] = []
        self.rows_max = 100

    def submit(
        self, statement: str, row: tuple[Any, ...], done: Callable[[Exception | None], None]
    ) -> None:
        if len(self.rows) >= self.rows_max:
            raise Unavailable("the writer has too many rows waiting")
        self.rows.append((statement, row))
        self.dones.append(done)

    def _connect(self, **_: object) -> Link:
        raise OSError

    def finish(self, error: Exception | None = None) -> None:
        dones, self.dones = self.dones, []
        for done in dones:
            done(error)


def rows_of(writer: Writer) -> BindingRows:
    return BindingRows(open_engine("sqlite+aiosqlite:////nowhere"), writer, wall=lambda: WALL)


async def committed(
    rows: BindingRows, *, put: list[Binding], drop: list[Binding], now: float
) -> None:
    """Commit, and wait until it is told to be over."""
    wait: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: Exception | None) -> None:
        if error is None:
            wait.set_result(None)
        else:
            wait.set_exception(error)

    rows.commit(put=put, drop=drop, now=now, done=done)
    await wait


def bound(*, uri: bytes = b"sip:bob@192.0.2.1", expires: float = 600.0) -> Binding:
    binding = Binding(
        aor="sip:bob@example.com",
        value=b"<" + uri + b">",
        uri=uri,
        flow=RecordingFlow(),
        expires=expires,
        call_id=b"c",
        cseq=3,
        updated=0.0,
    )
    binding.entry = AorEntry(Aor("bob", "example.com"), 7)
    binding.account_id = 7
    return binding


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_d37_a_commit_ends_when_its_last_row_is_on_disk() -> None:
    writer = ToldWriter()
    work = asyncio.create_task(
        committed(rows_of(writer), put=[bound()], drop=[bound(uri=b"sip:x@192.0.2.9")], now=0.0)
    )
    await turns()

    names = [statement for statement, _ in writer.rows]
    assert names == ["device_put", "binding_drop", "binding_put"]
    assert writer.rows[1][1] == ("sip:bob@example.com", b"sip:x@192.0.2.9")
    device, first, last = writer.dones
    device(None)
    first(None)
    await turns()
    assert not work.done()
    last(None)
    await work


@pytest.mark.parametrize("error", [Unavailable("the disk is full"), UsageError("account is gone")])
async def test_d37_a_row_that_fails_fails_the_commit(error: Exception) -> None:
    writer = ToldWriter()
    work = asyncio.create_task(committed(rows_of(writer), put=[bound(), bound()], drop=[], now=0.0))
    await turns()

    writer.finish(error)

    with pytest.raises(type(error)):
        await work


async def test_d37_a_full_writer_fails_the_commit_and_what_it_took_may_fail_too() -> None:
    writer = ToldWriter()
    writer.rows_max = 1

    with pytest.raises(Unavailable, match="too many rows"):
        await committed(rows_of(writer), put=[bound(), bound()], drop=[], now=0.0)

    writer.finish(Unavailable("late"))  # Must not complain that nobody listens.


@pytest.mark.parametrize(
    ("kept_until", "expires", "is_written"),
    [(301.0, 600.0, False), (300.0, 600.0, True), (299.0, 600.0, True), (0.0, 600.0, True)],
)
async def test_d37_a_refresh_is_written_when_less_than_half_is_left_on_disk(
    kept_until: float, expires: float, is_written: bool
) -> None:
    writer = ToldWriter()
    binding = bound(expires=expires)
    binding.kept_until = kept_until

    rows_of(writer).write_behind(binding, 0.0)

    row = (b"c", 3, WALL + expires, "sip:bob@example.com", b"sip:bob@192.0.2.1")
    assert writer.rows == ([("binding_refresh", row)] if is_written else [])


@pytest.mark.parametrize("is_full", [True, False])
async def test_a_refresh_that_could_not_be_written_is_tried_at_the_next(is_full: bool) -> None:
    writer = ToldWriter()
    rows = rows_of(writer)
    binding = bound()
    binding.kept_until = 100.0
    writer.rows_max = 0 if is_full else 10

    rows.write_behind(binding, 0.0)
    writer.finish(Unavailable("the disk is full"))
    assert rows.failed == 1

    writer.rows_max = 10
    writer.rows.clear()
    rows.write_behind(binding, 1.0)
    writer.finish()
    rows.write_behind(binding, 2.0)

    assert len(writer.rows) == 1
    assert rows.failed == 1


@pytest.fixture
async def rows(database_address: str) -> AsyncIterator[BindingRows]:
    engine = open_engine(database_address)
    await upgrade(engine)
    async with writer_for(database_address, statements=known_statements()) as writer:
        yield BindingRows(engine, writer, wall=lambda: WALL)
    await engine.dispose()


async def test_what_was_committed_is_loaded_and_what_expired_is_not(
    rows: BindingRows,
) -> None:
    here, gone = bound(), bound(uri=b"sip:old@192.0.2.1", expires=0.0)
    for binding in (here, gone):
        binding.account_id = 0  # As under --auth none.

    await committed(rows, put=[here, gone], drop=[], now=0.0)

    (kept,) = [kept async for kept in rows.load()]
    assert (kept.aor, kept.contact) == ("sip:bob@example.com", b"<sip:bob@192.0.2.1>")
    assert (kept.call_id, kept.cseq) == (b"c", 3)
    assert kept.expires_utc == WALL + 600.0
    await committed(rows, put=[], drop=[here], now=0.0)
    assert [kept async for kept in rows.load()] == []


async def test_a_binding_of_an_account_that_is_gone_cannot_be_kept(
    rows: BindingRows,
) -> None:

    with pytest.raises(Refusal, match="404"):
        await committed(rows, put=[bound()], drop=[], now=0.0)


# ---- over a restart ----------------------------------------------------------------------------


def settings(data: Path, database: str = "") -> Settings:
    return Settings(
        server=ServerSettings(
            domains=("example.com",),
            listen=("udp:127.0.0.1:0", "tcp:127.0.0.1:0"),
            data=str(data),
            database=database,
        ),
        auth=AuthSettings(mode="none"),
        registrar=RegistrarSettings(spread=False),
    )


async def registered(
    server: Server, contact: bytes = HOME, *, cseq: int = 1, headers: Sequence[bytes] = ()
) -> list[bytes]:
    """REGISTER from 127.0.0.1:40000; return the Contact lines of the 200."""
    flow = server.endpoint.udp_flow("127.0.0.1", 40_000)
    assert flow is not None
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def take(data: bytes) -> bool:
        answered.set_result(data)
        return True

    flow.send = take
    now = asyncio.get_running_loop().time()
    message = registering(contact, expires=b"600", cseq=cseq, headers=headers)
    server.dispatcher.on_request(message, flow, now)
    response = await answered
    assert response.startswith(b"SIP/2.0 200 OK\r\n"), response
    return [line for line in response.split(b"\r\n") if line.startswith(b"Contact: ")]


async def test_d37_a_restart_forgets_nobody(tmp_path: Path, database_address: str) -> None:
    first = await build(settings(tmp_path, database_address))
    await registered(first, HOME + INSTANCE + b';q=0.5;methods="MESSAGE"')
    await first.close()

    second = await build(settings(tmp_path, database_address))
    try:
        (binding,) = second.locations.find(b"sip:bob@example.com").bindings
        assert binding.uri == b"sip:bob@192.0.2.1:5060"
        assert str(binding.flow) == "udp:127.0.0.1:40000"
        assert (binding.q, binding.methods) == (0.5, frozenset((b"MESSAGE",)))
        left_s = binding.expires - asyncio.get_running_loop().time()
        assert 590 < left_s <= 601
        lines = await registered(second, HOME + INSTANCE + b';q=0.5;methods="MESSAGE"', cseq=2)
        assert len(lines) == 1
    finally:
        await second.close()


async def test_path_and_flow_number_survive_a_restart(
    tmp_path: Path, database_address: str
) -> None:
    headers = (b"Supported: path, outbound", b"Path: <sip:edge.example.net;lr;ob>")
    first = await build(settings(tmp_path, database_address))
    await registered(first, HOME + INSTANCE + b";reg-id=3", headers=headers)
    await first.close()

    second = await build(settings(tmp_path, database_address))
    try:
        (binding,) = second.locations.find(b"sip:bob@example.com").bindings
        assert binding.reg_id == 3
        assert binding.routes == b"Route: <sip:edge.example.net;lr;ob>\r\n"
    finally:
        await second.close()


async def test_d37_what_was_unregistered_stays_gone(tmp_path: Path, database_address: str) -> None:
    first = await build(settings(tmp_path, database_address))
    await registered(first)
    await registered(first, HOME + b";expires=0", cseq=2)
    await first.close()

    second = await build(settings(tmp_path, database_address))
    assert second.locations.bindings_count == 0
    await second.close()


async def test_a_restart_with_another_domain_starts_without_the_old_bindings(
    tmp_path: Path,
) -> None:
    first = await build(settings(tmp_path))
    await registered(first)
    await first.close()

    other = settings(tmp_path)
    other = replace(other, server=replace(other.server, domains=("example.org",)))
    second = await build(other)
    assert second.locations.bindings_count == 0
    await second.close()


async def test_d37_a_200_is_on_disk_when_it_is_heard(tmp_path: Path) -> None:
    server = await build(settings(tmp_path))
    try:
        await registered(server)
        with sqlite3.connect(tmp_path / "sipgram.db") as reader:
            rows = reader.execute("SELECT aor, contact, flow FROM bindings").fetchall()
        reader.close()
        ours = server.endpoint.udp[0].port
        assert rows == [("sip:bob@example.com", HOME, f"udp:127.0.0.1:40000 {ours}")]
    finally:
        await server.close()
