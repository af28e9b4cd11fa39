"""``sipgram listen``, ``register`` and ``options`` (DESIGN §4)."""

import asyncio
import json
import os
import signal

from sipgram.payload.imdn import Imdn
from sipgram.payload.iscomposing import IsComposing

from .conftest import PeerThread, Run

FROM = ("--from", "alice@example.com")


def listen(run: Run, beside: PeerThread, *options: str) -> tuple[int, list[dict[str, object]], str]:
    ran = run("listen", *FROM, "--server", beside.peer.udp, "--json", *options)
    return ran.code, [json.loads(line) for line in ran.out.splitlines()], ran.err


def test_message_is_one_json_object_a_line(run: Run, beside: PeerThread) -> None:
    async def write() -> None:
        await beside.peer.received(b"REGISTER")
        await beside.peer.message("größer".encode(), call_id=b"c1")

    beside.begin(write())

    code, events, err = listen(run, beside, "--count", "1", "--timeout", "10")

    assert (code, err) == (0, "")
    assert events[0] == {"event": "connection", "state": "registered", "reason": ""}
    message = events[1]
    assert list(message) == [
        *("event", "id", "from", "to", "text"),
        *("content_type", "sent_at", "delayed", "call_id"),
    ]
    assert message["event"] == "message"
    assert (message["from"], message["to"]) == ("sip:bob@example.com", "sip:alice@example.com")
    assert (message["text"], message["content_type"]) == ("größer", "text/plain")
    assert (message["id"], message["call_id"], message["delayed"]) == ("c1", "c1", False)


def test_what_count_leaves_stays_with_the_server(run: Run, beside: PeerThread) -> None:
    """A 200 for a message that is then not printed would lose it (D11)."""

    async def write() -> None:
        await beside.peer.received(b"REGISTER")
        texts = (b"one", b"two", b"three")
        answers = await asyncio.gather(*map(beside.peer.message, texts))
        statuses.extend(answer.status for answer in answers)

    statuses: list[int] = []
    wrote = beside.begin(write())

    code, events, _ = listen(run, beside, "--count", "2", "--timeout", "10")

    assert code == 0
    assert [event["text"] for event in events if event["event"] == "message"] == ["one", "two"]
    wrote.result(timeout=10)
    assert statuses == [200, 200, 480]


def test_time_over_before_count_is_exit_code_5(run: Run, beside: PeerThread) -> None:
    code, events, err = listen(run, beside, "--count", "2", "--timeout", "0.2")

    assert code == 5
    assert [event["event"] for event in events] == ["connection"]
    assert err == "sipgram listen: 2 of 2 messages did not come (the time was over)\n"


def test_time_over_without_count_is_exit_code_0(run: Run, beside: PeerThread) -> None:
    assert listen(run, beside, "--timeout", "0.2")[0] == 0


def test_registrar_that_is_silent_is_exit_code_5(run: Run, beside: PeerThread) -> None:
    beside.peer.says(b"REGISTER", 0)

    code, events, err = listen(run, beside, "--timeout", "0.2")

    assert (code, events) == (5, [])
    assert "not registered yet when the time was over" in err


def test_registrar_that_refuses_is_exit_code_4(run: Run, beside: PeerThread) -> None:
    beside.peer.says(b"REGISTER", 403)

    code, _, err = listen(run, beside)

    assert code == 4
    assert err == "sipgram listen: refused: 403 Forbidden (may this account do that?)\n"


def test_signal_ends_it_in_order(run: Run, beside: PeerThread) -> None:
    async def interrupt() -> None:
        await beside.peer.received(b"REGISTER")
        await beside.peer.message(b"hi")
        os.kill(os.getpid(), signal.SIGINT)

    beside.begin(interrupt())

    code, events, _ = listen(run, beside)

    assert code == 0
    assert [event["event"] for event in events] == ["connection", "message"]
    last = beside.do(beside.peer.received(b"REGISTER"))
    assert last.value(b"expires") == b"0"


def test_plain_line_has_nothing_that_a_terminal_obeys(run: Run, beside: PeerThread) -> None:
    async def write() -> None:
        await beside.peer.received(b"REGISTER")
        await beside.peer.message(b"\x1b[2Jtwo\nlines")

    beside.begin(write())

    ran = run("listen", *FROM, "--server", beside.peer.tcp, "--count", "1")

    assert ran.code == 0
    state, message = ran.out.splitlines()
    assert state == "= registered"
    assert message.endswith("sip:bob@example.com: \N{REPLACEMENT CHARACTER}[2Jtwo lines")


def test_body_that_is_not_text_is_counted(run: Run, beside: PeerThread) -> None:
    async def write() -> None:
        await beside.peer.received(b"REGISTER")
        await beside.peer.request(b"MESSAGE", b"\0\1", b"Content-Type: image/png")

    beside.begin(write())

    ran = run("listen", *FROM, "--server", beside.peer.tcp, "--count", "1")

    assert "(2 bytes of image/png)" in ran.out


def test_register_prints_the_bindings(run: Run, beside: PeerThread) -> None:
    ran = run("register", *FROM, "--server", beside.peer.udp, "--expires", "90", "--json")

    assert ran.code == 0
    assert ran.said["aor"] == "sip:alice@example.com"
    (binding,) = json.loads(ran.out)["bindings"]
    assert binding["contact"].startswith("sip:alice@127.0.0.1:")
    assert binding["expires_s"] == 90


def test_register_in_plain_words(run: Run, beside: PeerThread) -> None:
    ran = run("register", *FROM, "--server", beside.peer.udp)

    first, second = ran.out.splitlines()
    assert first == "registered sip:alice@example.com"
    assert second.endswith(" for 3600 s")


def test_options_prints_what_the_target_can_do(run: Run, beside: PeerThread) -> None:
    beside.peer.says(b"OPTIONS", 200, b"Allow: MESSAGE, OPTIONS", b"Server: peer")
    beside.peer.says(b"OPTIONS", 200, b"Allow: MESSAGE, OPTIONS", b"Server: peer")

    as_json = run("options", "bob", *FROM, "--server", beside.peer.udp, "--json")
    plain = run("options", *FROM, "--server", beside.peer.udp)

    assert as_json.said["allow"] == ["MESSAGE", "OPTIONS"]
    assert plain.out.startswith("200 OK in ")
    assert "allow: MESSAGE, OPTIONS\naccept: -\n" in plain.out
    assert plain.out.endswith("software: peer\n")


def test_receipts_and_typing_are_events(run: Run, beside: PeerThread) -> None:
    async def write() -> None:
        peer = beside.peer
        await peer.received(b"REGISTER")
        typing = b"Content-Type: application/im-iscomposing+xml"
        await peer.request(b"MESSAGE", bytes(IsComposing("active")), typing, call_id=b"t")
        receipt = bytes(Imdn.of("m1", "displayed", recipient_uri="sip:bob@example.com"))
        kind = b"Content-Type: message/imdn+xml"
        date = b"Date: Wed, 25 Nov 2026 12:00:00 GMT"
        await peer.request(b"MESSAGE", receipt, kind, date, call_id=b"r")
        await peer.message(b"end")

    beside.begin(write())

    code, events, err = listen(run, beside, "--count", "1", "--timeout", "10")

    assert (code, err) == (0, "")
    bob = "sip:bob@example.com"
    assert events[1:3] == [
        {"event": "typing", "from": bob, "active": True},
        {
            "event": "receipt",
            "message_id": "m1",
            "status": "displayed",
            "from": bob,
            "sent_at": "2026-11-25T12:00:00+00:00",
        },
    ]
