"""``--demo``: three accounts to try things with, and an echo that answers."""

import asyncio
import os
import secrets
import shlex
import sys
import time
from pathlib import Path

import structlog

from sipgram.client.client import Client
from sipgram.client.messages import Message, NoAnswer, Rejected
from sipgram.db.engine import database_url, open_engine
from sipgram.db.migrations import upgrade
from sipgram.errors import SettingsError
from sipgram.net.endpoint import Address
from sipgram.services.auth.rules import parse_name
from sipgram.services.auth.sql import AccountRows
from sipgram.settings import Settings

log = structlog.get_logger("sipgram.demo")

USERS = ("alice", "bob", "echo")
FILE_NAME = "demo-accounts.txt"
ECHO_EVERY_S = 1.0
"""D24: one answer a second to each peer."""
PEERS_MAX = 1_000
"""Peers whose last answer echo remembers."""


async def add_accounts(settings: Settings) -> None:
    """Make the accounts that are missing; write their passwords where only the owner reads."""
    if settings.auth.mode == "none":
        return
    known = passwords(settings)
    new = {user: secrets.token_urlsafe(12) for user in USERS if user not in known}
    engine = open_engine(settings.server.database or database_url(Path(settings.server.data)))
    try:
        await upgrade(engine)
        rows = AccountRows(engine)
        for user in USERS:
            name = parse_name(_aor(user, settings))
            password = new.get(user) or known[user]
            try:
                await rows.add(name, password=password, now_utc=time.time())
            except SettingsError:  # It is there already, and its password known or lost.
                if user in new:
                    await rows.set_password(name, password)
    finally:
        await engine.dispose()
    _write(_file(settings), known | new)


def passwords(settings: Settings) -> dict[str, str]:
    """Return the passwords in the demo file by user, empty when there is none."""
    try:
        lines = _file(settings).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines)
    return {name.removesuffix("_PASSWORD").lower(): value for name, _, value in pairs if value}


def instructions(settings: Settings, listeners: tuple[Address, ...]) -> str:
    """Return the lines to paste into a second terminal."""
    server = _reachable(listeners)
    domain = settings.server.domains[0]
    file = _file(settings)
    secret = f"set -a; . {_quoted(file)}; set +a"
    is_open = settings.auth.mode == "none"
    first = "" if is_open else f"First, the demo passwords:\n\n    {secret}\n\n"
    password = "any password" if is_open else f"its password in {file}"
    command = _quoted(_command())
    option = "" if str(server) == "udp:127.0.0.1:5060" else f" --server {server}"
    alice, bob = (
        f"--from {_aor(user, settings)}"
        f"{'' if is_open else f' --password-env {user.upper()}_PASSWORD'}{option}"
        for user in ("alice", "bob")
    )
    return f"""
Try it in a second terminal. {first}Wait for a message as bob, in the background:

    {command} listen {bob} --count 1 & sleep 2

Write to bob as alice:

    {command} send {_aor("bob", settings)} 'Hello Bob' {alice}

Write to echo as alice, and see what comes back:

    {command} listen {alice} --count 1 & sleep 2
    {command} send {_aor("echo", settings)} 'Hello echo' {alice}

A softphone: account alice@{domain}, {password},
outbound proxy {server.host}:{server.port}, transport UDP or TCP.

Ctrl-C ends the server."""


async def echo(settings: Settings, listeners: tuple[Address, ...]) -> None:
    """Send every text back to where it came from, until cancelled (D24)."""
    server = _reachable(listeners)
    account = Client(
        _aor("echo", settings), password=passwords(settings).get("echo", ""), server=str(server)
    )
    last: dict[str, float] = {}
    loop = asyncio.get_running_loop()
    async with account as me:
        async for event in me.events():
            if not isinstance(event, Message) or not event.text:
                continue
            sender, text = event.sender, event.text
            now = loop.time()
            if now - last.pop(sender, -ECHO_EVERY_S) < ECHO_EVERY_S:
                last[sender] = now
                continue
            last[sender] = now
            if len(last) > PEERS_MAX:
                del last[next(iter(last))]
            try:
                await me.send(sender, text)
            except (Rejected, NoAnswer) as error:
                log.info("echo not delivered", reason=str(error))


def _reachable(listeners: tuple[Address, ...]) -> Address:
    """Return where this machine reaches the server, over UDP if it can."""
    server = next((a for a in listeners if a.transport == "udp"), listeners[0])
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host)
    return server if loopback is None else Address(server.transport, loopback, server.port)


def _write(file: Path, known: dict[str, str]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)  # It may have been there before, for all to read.
    with open(descriptor, "w", encoding="ascii") as out:
        out.writelines(f"{user.upper()}_PASSWORD={known[user]}\n" for user in USERS)


def _aor(user: str, settings: Settings) -> str:
    return f"sip:{user}@{settings.server.domains[0]}"


def _file(settings: Settings) -> Path:
    return Path(settings.server.data) / FILE_NAME


def _command() -> Path:
    beside = Path(sys.executable).with_name("sipgram")
    return beside if beside.exists() else Path("sipgram")


def _quoted(path: Path) -> str:
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    text = str(path)
    return shlex.quote(text if "/" in text else f"./{text}")
