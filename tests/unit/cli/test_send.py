"""``sipgram send``: JSON, exit codes and lines on standard error (DESIGN §4)."""

import io
import sys

import pytest

from .conftest import PeerThread, Run

FROM = ("--from", "alice@example.com")


def test_delivered_is_exit_code_0(run: Run, beside: PeerThread) -> None:
    ran = run("send", "bob", "größer", *FROM, "--server", beside.peer.udp, "--json")

    request = beside.do(beside.peer.received(b"MESSAGE"))
    assert ran.code == 0
    assert list(ran.said) == ["id", "outcome", "status", "reason", "call_id", "ms"]
    assert ran.said["outcome"] == "delivered"
    assert (ran.said["status"], ran.said["reason"]) == (200, "OK")
    assert ran.said["id"] == ran.said["call_id"] == request.call_id.decode()
    assert request.uri == b"sip:bob@example.com"
    assert request.body == "größer".encode()


@pytest.mark.parametrize(
    ("status", "code", "outcome"), [(202, 3, "stored"), (480, 4, "refused"), (603, 4, "refused")]
)
def test_exit_code_tells_the_outcome(
    run: Run, beside: PeerThread, status: int, code: int, outcome: str
) -> None:
    beside.peer.says(b"MESSAGE", status)

    ran = run("send", "bob", "hi", *FROM, "--server", beside.peer.tcp, "--json")

    assert (ran.code, ran.said["outcome"], ran.said["status"]) == (code, outcome, status)
    assert ran.said["call_id"]


def test_no_answer_is_exit_code_5(run: Run, beside: PeerThread) -> None:
    beside.peer.says(b"MESSAGE", 0)

    ran = run(
        *("send", "bob", "hi", *FROM, "--server", beside.peer.udp, "--json", "--timeout", "0.05")
    )

    assert (ran.code, ran.said["outcome"], ran.said["status"]) == (5, "no-answer", None)
    assert ran.said["id"]
    assert ran.err == (
        "sipgram send: no answer within 0.05 s (is --server right, and does it run?)\n"
    )


def test_plain_words_without_json(run: Run, beside: PeerThread) -> None:
    ran = run("send", "bob", "hi", *FROM, "--server", beside.peer.udp)

    assert ran.out.startswith("delivered (200 OK) in ")
    assert ran.err == ""


def test_password_comes_from_the_environment(
    run: Run, beside: PeerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside.peer.password = "secret"
    monkeypatch.setenv("SIPGRAM_PASSWORD", "secret")
    monkeypatch.setenv("OTHER", "wrong")

    assert run("send", "bob", "hi", *FROM, "--server", beside.peer.udp).code == 0
    ran = run(*("send", "bob", "hi", *FROM, "--server", beside.peer.udp, "--password-env", "OTHER"))
    assert ran.code == 4
    assert ran.err.startswith("sipgram send: refused: 401 Unauthorized (is the password right? ")


def test_missing_password_names_the_option(run: Run, beside: PeerThread) -> None:
    beside.peer.password = "secret"

    ran = run("send", "bob", "hi", *FROM, "--server", beside.peer.udp)

    assert ran.code == 4
    assert "--password-env VAR or SIPGRAM_PASSWORD" in ran.err
    assert ran.err.count("\n") == 1


def test_time_to_try_again_is_said(run: Run, beside: PeerThread) -> None:
    beside.peer.says(b"MESSAGE", 480, b"Retry-After: 30")

    ran = run("send", "bob", "hi", *FROM, "--server", beside.peer.udp)

    assert ran.err == "sipgram send: refused: 480 Temporarily Unavailable (try again in 30 s)\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--from", "alice"), "account is not sip:USER@DOMAIN: 'alice'"),
        (
            (*FROM, "--server", "smtp:x:1"),
            "transport is not one of udp, tcp, tls, ws, wss: 'smtp:x:1'",
        ),
        ((*FROM, "--password-env", "NOT_SET"), "environment variable is not set: NOT_SET"),
        ((*FROM, "--server", "udp:127.0.0.1:9", "--content-type", "a\r\nb"), "holds CR or LF"),
    ],
)
def test_bad_usage_is_exit_code_2_and_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], line: str
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)

    ran = run("send", "bob", "hi", *arguments)

    assert ran.code == 2
    assert line in ran.err
    assert ran.err.endswith("(sipgram send --help)\n")
    assert ran.err.count("\n") == 1


def test_missing_option_is_exit_code_2(run: Run) -> None:
    ran = run("send", "bob", "hi")

    assert ran.code == 2
    assert "--from" in ran.err


@pytest.mark.parametrize(
    ("content_type", "data", "body"),
    [
        ("text/plain", b"hi\n", b"hi"),
        ("text/plain", b"hi\r\n\r\n", b"hi\r\n"),
        ("application/octet-stream", b"\xff\n", b"\xff\n"),
    ],
)
def test_dash_reads_standard_input(
    run: Run,
    beside: PeerThread,
    monkeypatch: pytest.MonkeyPatch,
    content_type: str,
    data: bytes,
    body: bytes,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    ran = run(
        *("send", "bob", "-", *FROM, "--server", beside.peer.udp),
        *("--content-type", content_type, "--expires", "60"),
    )

    request = beside.do(beside.peer.received(b"MESSAGE"))
    assert ran.code == 0
    assert (request.body, request.value(b"expires")) == (body, b"60")


def test_trace_shows_both_ways_without_credentials(
    run: Run, beside: PeerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside.peer.password = "secret"
    monkeypatch.setenv("SIPGRAM_PASSWORD", "secret")

    ran = run("send", "bob", "hi", *FROM, "--server", beside.peer.udp, "--trace")

    assert "> MESSAGE sip:bob@example.com SIP/2.0\n" in ran.err
    assert "< SIP/2.0 200 OK\n" in ran.err
    assert "response=(masked)" in ran.err
    assert "nonce-1" not in ran.err


def test_receipts_are_asked_for(run: Run, beside: PeerThread) -> None:
    ran = run(
        "send", "bob", "hi", *FROM, "--server", beside.peer.udp, "--json", "--want", "displayed"
    )

    request = beside.do(beside.peer.received(b"MESSAGE"))
    assert ran.code == 0
    assert request.value(b"content-type") == b"message/cpim"
    assert b"imdn.Disposition-Notification: display\r\n" in request.body
    assert f"imdn.Message-ID: {ran.said['id']}\r\n".encode() in request.body


def test_a_receipt_that_there_is_not_is_bad_usage(run: Run, beside: PeerThread) -> None:
    ran = run("send", "bob", "hi", *FROM, "--server", beside.peer.udp, "--want", "eaten")

    assert (ran.code, "'eaten'" in ran.err) == (2, True)
