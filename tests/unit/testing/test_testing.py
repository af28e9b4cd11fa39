"""The network, the clock and the phones that tests stand on."""

import pytest

from sipgram.errors import UsageError
from sipgram.sip.message.parser import parse
from sipgram.sip.timers import Timers
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing import messages
from sipgram.testing.clock import ManualClock
from sipgram.testing.entropy import CountingEntropy
from sipgram.testing.network import Conditions, FakeEndpoint, FakeNetwork
from sipgram.testing.phone import Phone
from sipgram.testing.recording import RecordingUser

A, B = ("192.0.2.1", 5060), ("192.0.2.2", 5060)


class Pair:
    """Two endpoints; what reaches the second is written down."""

    def __init__(self, *, seed: int = 0, conditions: Conditions | None = None) -> None:
        self.network = FakeNetwork(seed=seed, conditions=conditions)
        self.user = RecordingUser()
        self.one, self.other = self._endpoint(*A), self._endpoint(*B)

    def _endpoint(self, host: str, port: int) -> FakeEndpoint:
        endpoint = self.network.attach(host, port)
        endpoint.table = TransactionTable(self.user, timers=Timers())
        return endpoint

    def send(self, count: int, *, is_reliable: bool = False) -> list[float]:
        """Send so many requests at once; return how often each arrived."""
        flow = self.one.flow(B, is_reliable=is_reliable)
        for n in range(count):
            assert flow.send(messages.request(call_id=b"%d" % n))
        self.network.run(self.network.clock.now + 10.0)
        return [len(packet.arrivals) for packet in self.network.packets[-count:]]


def test_a_clock_moves_only_forward() -> None:
    clock = ManualClock(5.0)
    assert clock.advance(1.5) == clock() == 6.5
    with pytest.raises(UsageError, match=r"time cannot go back from 6\.5 to 6"):
        clock.move_to(6.0)


def test_entropy_counts() -> None:
    entropy = CountingEntropy()
    assert [entropy.token(), entropy.token()] == ["0000000000000001", "0000000000000002"]
    assert entropy.secret() == b"\0" * 31 + b"\3"
    assert entropy.fraction() == 0.04


def test_a_perfect_network_brings_everything_once() -> None:
    pair = Pair()
    assert pair.send(50) == [1] * 50
    assert pair.user.take() == [("request", b"MESSAGE")] * 50


def test_loss_and_duplication_are_parts_of_all() -> None:
    pair = Pair(conditions=Conditions(loss=0.2, duplication=0.3, jitter_s=0.1))
    copies = pair.send(1000)
    assert 150 < copies.count(0) < 250
    assert 180 < copies.count(2) < 300
    assert len(pair.user.take()) == sum(copies)


def test_jitter_reorders_datagrams_and_no_stream() -> None:
    pair = Pair(conditions=Conditions(jitter_s=0.1))
    pair.send(50)
    arrivals = [packet.arrivals[0] for packet in pair.network.packets]
    assert arrivals != sorted(arrivals)
    pair.send(50, is_reliable=True)
    arrivals = [packet.arrivals[0] for packet in pair.network.packets[50:]]
    assert arrivals == sorted(arrivals)


def test_the_same_seed_gives_the_same_run() -> None:
    conditions = Conditions(loss=0.3, duplication=0.3)
    runs = [Pair(seed=seed, conditions=conditions).send(100) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_without_rport_a_response_goes_to_the_port_in_via() -> None:
    """RFC 3261 §18.2.2; 5060 where Via names none."""
    flow = Pair().one.flow(("192.0.2.2", 40_000))
    via = messages.VIA.replace(b";rport", b"")
    targets = [
        flow.reply_flow(parse(messages.request(via=line))).address
        for line in (messages.VIA, via, via.replace(b":5060", b""), via.replace(b"5060", b"5070"))
    ]
    assert [port for _, port in targets] == [40_000, 5060, 5060, 5070]


def test_an_address_is_taken_once() -> None:
    pair = Pair()
    with pytest.raises(UsageError, match=r"address is taken: 192\.0\.2\.1:5060"):
        pair.network.attach(*A)


def test_a_plug_that_is_pulled() -> None:
    pair = Pair()
    assert pair.send(1, is_reliable=True) == [1]
    stream, datagrams = pair.one.flow(B, is_reliable=True), pair.one.flow(B)
    pair.other.flow(A, is_reliable=True)
    pair.network.detach(pair.other)
    assert not stream.is_open
    assert not stream.send(messages.request())
    assert pair.one.flow(B, is_reliable=True) is not stream
    assert not pair.one.flow(B, is_reliable=True).send(messages.request())
    assert datagrams.send(messages.request())
    pair.network.run(20.0)


def test_elements_that_answer_each_other_for_ever_are_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sipgram.testing.network.STEPS_MAX", 10)
    pair = Pair()
    with pytest.raises(UsageError, match="more than 10 packets and timers"):
        pair.send(20)


@pytest.mark.parametrize("is_reliable", [False, True])
def test_two_phones_write_to_each_other(is_reliable: bool) -> None:
    network, entropy = FakeNetwork(), CountingEntropy()
    bob = Phone(network.attach(*B), "sip:bob@example.com", server=A, entropy=entropy, delay_s=4.0)
    alice = Phone(
        network.attach(*A),
        "sip:alice@example.com",
        server=B,
        entropy=entropy,
        is_reliable=is_reliable,
    )
    sending = alice.send("sip:bob@example.com", b"hi")
    network.run(3.0)
    assert sending.status == 0
    network.run(40.0)
    assert sending.status == 200
    assert [status for _, status in sending.provisionals] == ([] if is_reliable else [100])
    assert [message.body for message in bob.received] == [b"hi"]
    assert alice.register(expires_s=0).failure is None
    network.run(80.0)
    assert bob.received[-1].value(b"expires") == b"0"


def test_a_mute_phone_lets_the_sender_time_out() -> None:
    network, entropy = FakeNetwork(), CountingEntropy()
    Phone(network.attach(*B), "sip:bob@example.com", server=A, entropy=entropy, status=0)
    alice = Phone(network.attach(*A), "sip:alice@example.com", server=B, entropy=entropy)
    sending = alice.send("sip:bob@example.com", b"hi")
    network.run(40.0)
    assert (sending.status, sending.failure, sending.ended) == (0, "timeout", 32.0)


def test_wire_text_has_crlf() -> None:
    assert (
        messages.wire("""
        A: b

        c""")
        == b"A: b\r\n\r\nc"
    )


def test_a_body_gets_a_type_where_it_has_none() -> None:
    assert b"\r\nContent-Type: text/plain\r\n" in messages.request(body=b"x")
    assert b"text/plain" not in messages.request(body=b"x", headers=(b"Content-Type: a/b",))
