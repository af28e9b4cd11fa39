"""What nobody may have too much of (issue 4, admission): rates, guesses, scanners, blocked networks."""

import asyncio
from pathlib import Path

import httpx
import pytest

from sipgram.errors import Refusal
from sipgram.server.limits import guesses as module
from sipgram.server.limits import rates
from sipgram.server.limits.guesses import Guesses
from sipgram.server.limits.rates import Rates
from sipgram.server.limits.tally import LOG_EVERY_S, Tally
from sipgram.settings import LimitSettings
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.clock import ManualClock
from sipgram.testing.messages import request
from sipgram.testing.recording import RecordingFlow

from .node import Node, texted, with_credentials
from .running import Serve

OFFICE = b"192.0.2.9"
"""A NAT with several phones behind it."""


def limited(**values: object) -> Node:
    return Node(limits=LimitSettings(**values))  # type: ignore[arg-type]  # Named by the tests.


def register(user: bytes, n: int = 1) -> bytes:
    aor = b"<sip:%b@example.com>" % user
    via = b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-%b-%d" % (user, n)
    contact = b"Contact: <sip:%b@192.0.2.9>" % user
    return request(
        b"REGISTER",
        b"sip:example.com",
        via=via,
        sender=aor + b";tag=1",
        to=aor,
        call_id=user,
        cseq=n,
        headers=(contact,),
    )


def sign_in(
    node: Node, user: str, password: str, *, n: int, host: bytes = OFFICE, port: int = 5060
) -> int:
    """Register with a password; return the final status."""
    flow = RecordingFlow(host=host, port=port)
    raw = register(user.encode(), n)
    challenged = node.ask(raw, flow=flow)
    if challenged.status != 401:
        return challenged.status
    return node.ask(
        with_credentials(raw, challenged, user=user, password=password), flow=flow
    ).status


# ---- guesses -----------------------------------------------------------------------------------


def test_wrong_passwords_from_one_address_are_not_looked_at_any_more() -> None:
    node = limited(wrong_passwords=3)

    statuses = [sign_in(node, "alice", "wrong", n=n, host=b"203.0.113.5") for n in range(1, 5)]
    even_the_right_one = sign_in(node, "alice", "secret", n=9, host=b"203.0.113.5")

    assert statuses == [401, 401, 401, 403]
    assert even_the_right_one == 403
    assert node.tally.counts["guesses"] == 2


def test_a_guesser_behind_a_nat_locks_out_neither_the_owner_nor_those_beside() -> None:
    node = limited(wrong_passwords=3)
    assert sign_in(node, "alice", "secret", n=1, port=5062) == 200
    assert sign_in(node, "bob", "secret", n=1, port=5063) == 200

    for n in range(2, 60):
        sign_in(node, "alice", "wrong", n=n, port=6000)

    assert sign_in(node, "alice", "wrong", n=90, port=6000) == 403
    assert sign_in(node, "alice", "secret", n=91, port=5062) == 200
    assert sign_in(node, "bob", "secret", n=91, port=6001) == 200
    assert sign_in(node, "bob", "secret", n=92, port=5063) == 200


def test_many_addresses_that_guess_at_one_account_do_not_lock_its_owner_out() -> None:
    node = limited(wrong_passwords=2)
    assert sign_in(node, "alice", "secret", n=1) == 200

    for n in range(30):
        sign_in(node, "alice", "wrong", n=n + 2, host=b"203.0.113.%d" % n)

    assert sign_in(node, "alice", "secret", n=91, host=b"198.51.100.77") == 403
    assert sign_in(node, "alice", "secret", n=92, port=7000) == 200
    assert sign_in(node, "bob", "secret", n=93, host=b"198.51.100.77") == 200


def test_one_address_that_tries_many_accounts_is_stopped_for_all_that_are_not_at_home_there() -> (
    None
):
    node = limited(wrong_passwords=2)
    assert sign_in(node, "bob", "secret", n=1) == 200

    for n in range(21):
        sign_in(node, f"user{n}", "wrong", n=2)

    assert sign_in(node, "alice", "secret", n=3) == 403
    assert sign_in(node, "bob", "secret", n=4, port=7000) == 200


def test_guesses_are_forgotten_by_and_by() -> None:
    node = limited(wrong_passwords=3, wrong_passwords_s=300.0)
    for n in range(1, 5):
        sign_in(node, "alice", "wrong", n=n)
    assert sign_in(node, "alice", "secret", n=6) == 403

    node.clock.advance(60.0)

    assert sign_in(node, "alice", "secret", n=7) == 200


def test_an_ipv6_customer_is_one_source() -> None:
    node = limited(wrong_passwords=2)

    for n in range(1, 4):
        sign_in(node, "alice", "wrong", n=n, host=b"2001:db8::%d" % n)

    assert sign_in(node, "alice", "secret", n=5, host=b"2001:db8::9") == 403
    assert sign_in(node, "alice", "secret", n=6, host=b"2001:db8:0:1::9") == 200


def test_on_loopback_nobody_is_limited_unless_asked_for() -> None:
    for on_loopback, last in ((False, 200), (True, 403)):
        node = limited(wrong_passwords=2, on_loopback=on_loopback)
        for n in range(1, 5):
            sign_in(node, "alice", "wrong", n=n, host=b"127.0.0.1")
        assert sign_in(node, "alice", "secret", n=9, host=b"127.0.0.1") == last


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_memory_of_guesses_is_bounded(over: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRIES_MAX", 5)
    monkeypatch.setattr(module, "KNOWN_MAX", 5)
    known = Guesses(LimitSettings(wrong_passwords=1))

    for n in range(5 + over):
        known.wrong(f"user{n}", b"192.0.2.%d" % n, 0.0)
        known.right(f"user{n}", b"192.0.2.%d" % n, 5060, 0.0)

    assert known.sizes == (min(5, 5 + over),) * 4


# ---- rates -------------------------------------------------------------------------------------


def test_an_account_that_sends_too_much_is_480_with_retry_after() -> None:
    node = limited(messages_per_minute=3)
    node.bind("bob")
    statuses = []
    for n in range(5):
        raw = texted(branch=b"z9hG4bK-%d" % n)
        challenged = node.ask(raw)
        node.receive(with_credentials(raw, challenged))
        statuses += [parse(data) for data in node.flow.take()]

    assert [answer.status for answer in statuses] == [480, 480]
    assert statuses[0].value(b"retry-after") == b"20"
    assert node.tally.counts == {"rate": 2}


@pytest.mark.parametrize(
    ("method", "status"), [(b"MESSAGE", 480), (b"INVITE", 480), (b"REGISTER", 500)]
)
def test_tokens_come_back_with_time(method: bytes, status: int) -> None:
    settings = LimitSettings(messages_per_minute=6, invites_per_minute=6, registers_per_minute=6)
    taken = Rates(settings, Tally(lambda: 0.0))
    for _ in range(6):
        taken.take(method, 1, 0.0)
    taken.take(method, 2, 0.0)  # Another account has its own.

    with pytest.raises(Refusal) as refused:
        taken.take(method, 1, 9.9)
    assert refused.value.status == status
    taken.take(method, 1, 10.1)
    with pytest.raises(Refusal):
        taken.take(method, 1, 10.2)


def test_a_pause_saves_no_more_than_a_minutes_worth() -> None:
    taken = Rates(LimitSettings(messages_per_minute=2), Tally(lambda: 0.0))
    taken.take(b"MESSAGE", 1, 0.0)
    for _ in range(2):
        taken.take(b"MESSAGE", 1, 10_000.0)
    with pytest.raises(Refusal):
        taken.take(b"MESSAGE", 1, 10_000.0)


def test_no_limit_is_no_limit() -> None:
    taken = Rates(LimitSettings(messages_per_minute=0), Tally(lambda: 0.0))
    for _ in range(10_000):
        taken.take(b"MESSAGE", 1, 0.0)
        taken.take(b"OPTIONS", 1, 0.0)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_number_of_buckets_is_bounded(over: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "BUCKETS_MAX", 3)
    taken = Rates(LimitSettings(), Tally(lambda: 0.0))

    for account in range(3 + over):
        taken.take(b"MESSAGE", account, 0.0)

    assert taken.count == (1 if over > 0 else 3 + over)


# ---- who gets no answer ------------------------------------------------------------------------


def silence(node: Node, raw: bytes, host: bytes = b"203.0.113.5") -> bool:
    flow = RecordingFlow(host=host)
    node.receive(raw, flow=flow)
    return not flow.sent


@pytest.mark.parametrize(
    "agent", [b"friendly-scanner", b"SIPVicious/0.3", b"sipcli/v1.8", b"pplsip"]
)
@pytest.mark.parametrize("method", [b"OPTIONS", b"REGISTER", b"INVITE", b"MESSAGE"])
def test_a_scanner_hears_nothing(agent: bytes, method: bytes) -> None:
    """As sipvicious asks: svmap by OPTIONS, svwar by REGISTER and INVITE."""
    node = limited()
    uri = b"sip:example.com" if method in (b"OPTIONS", b"REGISTER") else b"sip:100@example.com"
    raw = request(method, uri, headers=(b"User-Agent: " + agent,))

    assert silence(node, raw)
    assert node.tally.counts == {"scanner": 1}


def test_another_agent_is_answered() -> None:
    raw = request(b"OPTIONS", b"sip:example.com", headers=(b"User-Agent: Linphone/5",))

    assert not silence(limited(), raw)


@pytest.mark.parametrize(
    ("host", "is_blocked"),
    [(b"203.0.113.5", True), (b"203.0.114.5", False), (b"2001:db8::1", True)],
)
def test_a_blocked_network_hears_nothing(host: bytes, is_blocked: bool) -> None:
    node = limited(blocked=("203.0.113.0/24", "2001:db8::/32"))

    assert silence(node, texted(), host) is is_blocked
    assert silence(node, request(b"OPTIONS", b"sip:example.com"), host) is is_blocked
    assert node.tally.counts.get("blocked", 0) == 2 * is_blocked


# ---- counted, and logged once a minute ---------------------------------------------------------


def test_refusals_are_counted_each_and_logged_once_a_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = ManualClock(0.0)
    tally = Tally(clock)
    for _ in range(1_000):
        tally.note("guesses", address="192.0.2.1")
    clock.advance(LOG_EVERY_S)
    tally.note("guesses", address="192.0.2.1")

    lines = [line for line in capsys.readouterr().out.splitlines() if "refused" in line]
    assert tally.counts == {"guesses": 1_001}
    assert len(lines) == 2
    assert "since_last=1000" in lines[1]


def test_a_register_for_another_domain_is_403() -> None:
    node = limited()
    raw = register(b"alice").replace(b"REGISTER sip:example.com", b"REGISTER sip:other.example")

    answer: Message = node.ask(raw)
    assert answer.status == 403


async def test_connections_over_the_limit_are_counted_on_metrics(tmp_path: Path) -> None:
    arguments = ("--auth", "none", "--http", "127.0.0.1:0", "--listen", "tcp:127.0.0.1:0")
    environment = {"SIPGRAM_TRANSPORT__CONNECTIONS_MAX": "1"}
    async with Serve(*arguments, data=tmp_path / "data", environment=environment) as serve:
        await serve.ready()
        opened = []
        for n in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", serve.port("tcp"))
            opened.append(writer)
            if n:
                assert await reader.read() == b""
            else:
                writer.write(b"\r\n\r\n")
                assert await reader.readexactly(2) == b"\r\n"
        async with httpx.AsyncClient(trust_env=False) as client:
            page = (await client.get(f"http://127.0.0.1:{serve.port('http')}/metrics")).text
        log = await serve.stop()
        for writer in opened:
            writer.close()
    assert 'sipgram_refused_total{reason="connections"} 2.0' in page
    assert log.count("reason=connections") == 1
