"""Presence as a process: dialogs and states that a restart must not forget, commands beside it (D37)."""

import sys
from asyncio import create_subprocess_exec, timeout
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest

from sipgram.sip.message.message import Message
from sipgram.testing.messages import request, response

from .running import Serve
from .test_lifecycle import Phone

OPEN = ("--auth", "none", "--domain", "example.com", "--http", "none")
BOB = b"sip:bob@example.com"


def document(note: str) -> bytes:
    return (
        '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com">'
        f'<tuple id="t"><status><basic>open</basic></status><note>{note}</note></tuple></presence>'
    ).encode()


def subscribe(phone: Phone) -> bytes:
    return request(
        b"SUBSCRIBE",
        BOB,
        via=phone.via("s"),
        headers=(
            b"Event: presence",
            f"Contact: <sip:alice@127.0.0.1:{phone.port}>".encode(),
            b"Expires: 3600",
        ),
    )


def publish(phone: Phone, note: str, etag: bytes = b"") -> bytes:
    lines: tuple[bytes, ...] = (b"Event: presence", b"Content-Type: application/pidf+xml")
    if etag:
        lines += (b"SIP-If-Match: " + etag,)
    return request(
        b"PUBLISH",
        BOB,
        via=phone.via("p" + note),
        sender=b"<sip:bob@example.com>;tag=" + note.encode(),
        call_id=b"pub-" + note.encode(),
        headers=lines,
        body=document(note),
    )


async def answers(phone: Phone, count: int) -> list[Message]:
    """Read so many messages, each NOTIFY answered."""
    found: list[Message] = []
    async with timeout(10):
        while len(found) < count:
            message = await phone.read()
            if not message.status:
                phone.send(response(message.raw, 200))
            found.append(message)
    return found


@pytest.mark.timeout(60)
@pytest.mark.rfc("6665", "4.2.1")
async def test_d37_dialogs_and_states_go_on_after_kill_9(tmp_path: Path) -> None:
    listen = ("--listen", "udp:127.0.0.1:0")
    async with Serve(*OPEN, *listen, data=tmp_path / "d") as first:
        await first.ready()
        with Phone(first) as watcher, Phone(first) as bob:
            watcher.send(subscribe(watcher))
            accepted, before = await answers(watcher, 2)
            bob.send(publish(bob, "one"))
            (published,) = await answers(bob, 1)
            (told,) = await answers(watcher, 1)
            first.process.kill()
            await first.process.wait()

            again = ("--listen", f"udp:127.0.0.1:{first.port('udp')}")
            async with Serve(*OPEN, *again, data=tmp_path / "d") as second:
                await second.ready()
                (restored,) = await answers(watcher, 1)
                bob.send(publish(bob, "two", published.value(b"sip-etag") or b""))
                (changed,) = await answers(bob, 1)
                (news,) = await answers(watcher, 1)
                await second.stop()

    assert (accepted.status, published.status, changed.status) == (200, 200, 200)
    assert b"one" in told.body
    assert b"one" in restored.body
    assert b"two" in news.body
    assert b"one" not in news.body
    dialog = {(m.call_id, m.from_tag, m.to_tag) for m in (before, told, restored, news)}
    assert len(dialog) == 1
    assert before.cseq < told.cseq < restored.cseq < news.cseq


async def command(*arguments: str, data: Path, status: int = 0) -> str:
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "sipgram", *arguments, "--data", str(data)),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == status, errors.decode()
    return (output or errors).decode()


@pytest.mark.timeout(60)
async def test_a_rule_of_the_command_line_is_in_force_within_a_second(tmp_path: Path) -> None:
    data = tmp_path / "d"
    async with Serve(*OPEN, "--listen", "udp:127.0.0.1:0", data=data) as serve:
        await serve.ready()
        with Phone(serve) as watcher, Phone(serve) as bob:
            bob.send(publish(bob, "one"))
            await answers(bob, 1)
            watcher.send(subscribe(watcher))
            await answers(watcher, 2)

            said = await command(
                "rules", "block", "bob@example.com", "alice@example.com", data=data
            )
            (blocked,) = await answers(watcher, 1)
            shown = await command("rules", "show", "bob@example.com", "--json", data=data)
            wrong = await command(
                "rules", "allow", "bob@example.com", "nonsense", data=data, status=2
            )
        await serve.stop()

    assert "sip:alice@example.com" in said
    assert blocked.value(b"subscription-state") == b"terminated;reason=rejected"
    assert b"<basic>closed</basic>" in blocked.body
    assert '"block": ["sip:alice@example.com"]' in shown
    assert "nonsense" in wrong
