"""``--demo``: the accounts, and the lines to paste (DESIGN.md §4; D24)."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sipgram.db.engine import database_url, open_engine
from sipgram.net.endpoint import Address
from sipgram.server import demo
from sipgram.services.auth.rules import parse_name
from sipgram.services.auth.sql import AccountRows
from sipgram.services.auth.table import AccountTable
from sipgram.settings import AuthSettings, ServerSettings, Settings
from sipgram.sip.message import digest

from .running import Serve

LISTENERS = (Address("udp", "127.0.0.1", 5060), Address("tcp", "127.0.0.1", 5060))


def settings(data: Path, *, domain: str = "localhost", is_open: bool = False) -> Settings:
    return Settings(
        server=ServerSettings(domains=(domain,), data=str(data)),
        auth=AuthSettings(mode="none" if is_open else "digest"),
    )


@asynccontextmanager
async def account_rows(data: Path) -> AsyncIterator[AccountRows]:
    engine = open_engine(database_url(data))
    yield AccountRows(engine)
    await engine.dispose()


async def wrong_passwords(settings: Settings) -> list[str]:
    """Return the demo users whom the password in the file does not let in."""
    domain = settings.server.domains[0].lower()
    async with account_rows(Path(settings.server.data)) as rows:
        table = AccountTable(rows)
        await table.load()
    wrong = []
    for user, password in demo.passwords(settings).items():
        found = table.ha1_of(user, domain, "MD5")
        if found is None or found[1] != digest.ha1(user, domain, password, "MD5"):
            wrong.append(user)
    return wrong


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


# ---- accounts ----------------------------------------------------------------------------------


async def test_three_accounts_with_passwords_of_their_own(tmp_path: Path) -> None:
    await demo.add_accounts(settings(tmp_path))

    known = demo.passwords(settings(tmp_path))
    assert list(known) == ["alice", "bob", "echo"]
    assert len(set(known.values())) == 3
    assert min(map(len, known.values())) >= 16
    assert await wrong_passwords(settings(tmp_path)) == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_only_the_owner_reads_the_passwords(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        await demo.add_accounts(settings(tmp_path / "data"))
    finally:
        os.umask(before)

    assert mode_of(tmp_path / "data" / "demo-accounts.txt") == 0o600


async def test_a_file_that_was_there_for_all_is_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / "demo-accounts.txt"
    file.touch()
    file.chmod(0o644)

    await demo.add_accounts(settings(tmp_path))

    assert mode_of(file) == 0o600


async def test_a_second_start_keeps_the_passwords(tmp_path: Path) -> None:
    await demo.add_accounts(settings(tmp_path))
    first = demo.passwords(settings(tmp_path))

    await demo.add_accounts(settings(tmp_path))

    assert demo.passwords(settings(tmp_path)) == first
    assert await wrong_passwords(settings(tmp_path)) == []


async def test_a_lost_file_means_new_passwords(tmp_path: Path) -> None:
    await demo.add_accounts(settings(tmp_path))
    (tmp_path / "demo-accounts.txt").unlink()

    await demo.add_accounts(settings(tmp_path))

    assert await wrong_passwords(settings(tmp_path)) == []


async def test_a_lost_database_means_new_accounts(tmp_path: Path) -> None:
    await demo.add_accounts(settings(tmp_path))
    for name in os.listdir(tmp_path):
        if name.startswith("sipgram.db"):
            os.unlink(tmp_path / name)

    await demo.add_accounts(settings(tmp_path))

    assert await wrong_passwords(settings(tmp_path)) == []


async def test_another_domain_means_more_accounts(tmp_path: Path) -> None:
    await demo.add_accounts(settings(tmp_path))

    await demo.add_accounts(settings(tmp_path, domain="Example.com"))

    assert await wrong_passwords(settings(tmp_path)) == []
    assert await wrong_passwords(settings(tmp_path, domain="Example.com")) == []


async def test_a_password_that_was_changed_by_hand_is_left_alone(tmp_path: Path) -> None:
    await demo.add_accounts(settings(tmp_path))
    async with account_rows(tmp_path) as rows:
        await rows.set_password(parse_name("alice@localhost"), "mine")

    await demo.add_accounts(settings(tmp_path))

    assert await wrong_passwords(settings(tmp_path)) == ["alice"]


async def test_the_data_folder_need_not_be_the_databases(tmp_path: Path) -> None:
    url = database_url(tmp_path / "elsewhere")
    split = settings(tmp_path / "data")
    split = replace(split, server=replace(split.server, database=url))

    await demo.add_accounts(split)

    assert len(demo.passwords(split)) == 3


async def test_where_all_are_let_in_there_are_no_passwords(tmp_path: Path) -> None:
    await demo.add_accounts(settings(tmp_path, is_open=True))

    assert os.listdir(tmp_path) == []


# ---- instructions ------------------------------------------------------------------------------


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


def test_on_the_usual_port_no_server_is_named(tmp_path: Path) -> None:
    assert "--server" not in demo.instructions(settings(tmp_path), LISTENERS)


@pytest.mark.parametrize(
    ("listener", "option"),
    [
        (Address("udp", "127.0.0.1", 5070), " --server udp:127.0.0.1:5070"),
        (Address("tcp", "127.0.0.1", 5060), " --server tcp:127.0.0.1:5060"),
        (Address("udp", "::1", 5060), " --server udp:[::1]:5060"),
        (Address("udp", "0.0.0.0", 5070), " --server udp:127.0.0.1:5070"),
        (Address("udp", "0.0.0.0", 5060), ""),
        (Address("udp", "::", 5060), " --server udp:[::1]:5060"),
    ],
)
def test_elsewhere_the_server_is_named(tmp_path: Path, listener: Address, option: str) -> None:
    sent = [
        line
        for line in lines(demo.instructions(settings(tmp_path), (listener,)))
        if " send " in line
    ]

    assert len(sent) == 2
    assert all(line.endswith(f"--password-env ALICE_PASSWORD{option}") for line in sent)


def test_where_all_are_let_in_no_password_is_asked_for(tmp_path: Path) -> None:
    text = demo.instructions(settings(tmp_path, is_open=True), LISTENERS)

    assert "password-env" not in text
    assert "demo-accounts" not in text
    assert len(lines(text)) == 4


# ---- as printed --------------------------------------------------------------------------------


class Shell:
    """A second terminal: bash, fed a line at a time as a person would."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.seen = ""

    async def paste(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def shows(self, text: str) -> None:
        assert self._process.stdout is not None
        while text not in self.seen:
            data = await self._process.stdout.readline()
            assert data, f"{text!r} was not shown:\n{self.seen}"
            self.seen += data.decode()


@asynccontextmanager
async def shell(cwd: Path) -> AsyncIterator[Shell]:
    process = await asyncio.create_subprocess_exec(
        "bash",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield Shell(process)
        assert process.stdin is not None
        process.stdin.write_eof()
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.timeout(60)
async def test_the_printed_lines_work(tmp_path: Path, is_open: bool) -> None:
    data = tmp_path / "demo data"  # A name that must be quoted.
    arguments = ["--demo", "--listen", "udp:127.0.0.1:0", "--http", "none"]
    if is_open:
        arguments += ["--auth", "none"]
    async with Serve(*arguments, data=data, cwd=tmp_path) as serve:
        await serve.line("Ctrl-C ends the server.")
        *secret, bob, to_bob, alice, to_echo = lines("\n".join(serve.lines))
        assert len(secret) == (0 if is_open else 1)
        async with shell(tmp_path) as terminal:
            for line in secret:
                await terminal.paste(line)
            await terminal.paste(bob)
            await terminal.shows("registered")
            await terminal.paste(to_bob)
            await terminal.shows("Hello Bob")
            await terminal.shows("delivered (200 OK)")
            terminal.seen = ""
            await terminal.paste(alice)
            await terminal.shows("registered")
            await terminal.paste(to_echo)
            await terminal.shows("Hello echo")
        await serve.stop()
