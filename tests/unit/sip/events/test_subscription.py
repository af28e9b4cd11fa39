"""The notifier's machine: each state against each thing that can happen (RFC 6665 §4.2, RFC 5057)."""

import pytest

from sipgram.sip.events.dialog import Dialog
from sipgram.sip.events.header import Event
from sipgram.sip.events.subscription import ENDS_SUBSCRIPTION, Phase, Subscription
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.sink import Flow
from sipgram.sip.timers import NEVER, Sleeper
from sipgram.testing.messages import request, response
from sipgram.testing.recording import RecordingFlow


class RecordingNotifier:
    """Writes down what a subscription asks for; ``state`` is what the watcher may see now."""

    def __init__(self) -> None:
        self.state = 0
        self.sent: list[Message] = []
        self.woken: list[float] = []
        self.ends = 0
        self.other: Flow | None = None

    def wake(self, sleeper: Sleeper, after_s: float, now: float) -> None:
        sleeper.due = now + after_s
        self.woken.append(after_s)

    def send(
        self, subscription: Subscription, request: bytes, branch: bytes, flow: Flow, now: float
    ) -> None:
        self.sent.append(parse(request))

    def branch(self, subscription: Subscription) -> bytes:
        return b"z9hG4bKb%d" % subscription.dialog.local_cseq

    def tail(self, subscription: Subscription, now: float) -> bytes:
        return b"Content-Type: a/b\r\nContent-Length: 1\r\n\r\n%d" % self.state

    def contact(self, subscription: Subscription) -> bytes:
        return b"<sip:us>"

    def flow_to(self, subscription: Subscription) -> Flow | None:
        return self.other

    def ended(self, subscription: Subscription) -> None:
        self.ends += 1


class Transaction:
    """What a subscription looks at of its client transaction."""

    request = b""
    branch = b""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow


class Rig:
    """One active subscription, of an hour."""

    def __init__(self, *, event: bytes = b"presence", flow: RecordingFlow | None = None) -> None:
        self.out = RecordingNotifier()
        self.flow = flow or RecordingFlow()
        raw = request(
            b"SUBSCRIBE",
            b"sip:bob@example.com",
            sender=b"<sip:alice@example.com>;tag=w",
            headers=(b"Contact: <sip:alice@192.0.2.9>", b"Record-Route: <sip:p;lr>"),
        )
        self.it = Subscription(
            Dialog.of(parse(raw), b"t"),
            Event.parse(event),
            resource="sip:bob@example.com",
            watcher="sip:alice@example.com",
            account_id=1,
            accepted=(b"a/b",),
            flow=self.flow,
            out=self.out,
        )
        self.it.phase = Phase.ACTIVE
        self.it.expires = 3600.0

    def change(self, now: float) -> None:
        self.out.state += 1
        self.it.notify(now)

    def answer(self, status: int, now: float) -> None:
        raw = response(self.out.sent[-1].raw, status)
        self.it.on_response(Transaction(self.flow), parse(raw), now)

    def fail(self, cause: str, now: float) -> None:
        self.it.on_failure(Transaction(self.flow), cause, now)  # type: ignore[arg-type]  # A part.

    @property
    def told(self) -> list[bytes]:
        return [message.body for message in self.out.sent]


@pytest.mark.rfc("6665", "4.2.2")
def test_a_notify_is_a_request_of_its_dialog() -> None:
    rig = Rig(event=b"presence;id=5")

    rig.it.notify(100.4)

    (sent,) = rig.out.sent
    assert (sent.method, sent.uri, sent.cseq) == (b"NOTIFY", b"sip:alice@192.0.2.9", 1)
    assert (sent.from_tag, sent.to_tag) == (b"t", b"w")
    assert sent.value(b"route") == b"<sip:p;lr>"
    assert sent.value(b"event") == b"presence;id=5"
    assert sent.value(b"subscription-state") == b"active;expires=3500"
    assert sent.value(b"contact") == b"<sip:us>"


def test_one_notify_at_a_time_and_the_newest_state_wins() -> None:
    rig = Rig()
    rig.change(0.0)
    for _ in range(5):
        rig.change(0.0)
    assert rig.told == [b"1"]

    rig.answer(200, 0.1)
    rig.answer(200, 0.2)

    assert rig.told == [b"1", b"6"]
    assert [message.cseq for message in rig.out.sent] == [1, 2]
    assert rig.it.told == rig.it.known
    assert rig.it.version == 2


@pytest.mark.rfc("5057", "5.1")
@pytest.mark.parametrize(
    "status", [100, 200, 202, 302, 400, 401, 404, 408, 481, 486, 489, 500, 603]
)
def test_what_each_answer_means(status: int) -> None:
    rig = Rig()
    rig.change(0.0)
    rig.change(0.0)

    rig.answer(status, 0.1)

    is_over = status in ENDS_SUBSCRIPTION
    assert rig.it.is_over is is_over
    assert rig.out.ends == is_over
    assert len(rig.out.sent) == (1 if is_over or status < 200 else 2)
    assert (rig.it.told is not None) is (200 <= status < 300)


@pytest.mark.rfc("6665", "4.2.2")
def test_no_answer_ends_it_and_a_closed_connection_does_not() -> None:
    silent, closed = Rig(), Rig()
    for rig in (silent, closed):
        rig.change(0.0)

    silent.fail("timeout", 32.0)
    closed.fail("transport-error", 1.0)
    closed.change(2.0)
    waited = len(closed.out.sent)
    closed.out.other = closed.flow
    closed.it.notify(3.0)

    assert (silent.it.is_over, silent.out.ends) == (True, 1)
    assert (closed.it.is_over, closed.out.ends, waited) == (False, 0, 1)
    assert closed.told == [b"1", b"2"]


@pytest.mark.parametrize("is_busy", [False, True])
def test_an_end_is_told_once_and_last(is_busy: bool) -> None:
    rig = Rig()
    if is_busy:
        rig.change(0.0)

    rig.it.terminate(b"rejected", 0.1)
    rig.it.terminate(b"timeout", 0.1)
    if is_busy:
        rig.answer(200, 0.2)
    rig.answer(200, 0.3)

    assert rig.out.sent[-1].value(b"subscription-state") == b"terminated;reason=rejected"
    assert (len(rig.out.sent), rig.out.ends) == (1 + is_busy, 1)


@pytest.mark.parametrize("cause", ["timeout", "transport-error"])
def test_an_end_that_cannot_be_told_is_one_nevertheless(cause: str) -> None:
    rig = Rig()
    rig.it.terminate(b"timeout", 0.0)

    rig.fail(cause, 1.0)

    assert rig.out.ends == 1


def test_an_end_without_a_way_is_one_nevertheless() -> None:
    rig = Rig()
    rig.it.flow = None

    rig.it.terminate(b"timeout", 0.0)

    assert (rig.out.sent, rig.out.ends) == ([], 1)


@pytest.mark.rfc("6446", "4")
@pytest.mark.parametrize(("rate", "waits"), [(b"2", 0.5 - 0.1), (b"0.4", 3.0)])
def test_a_watcher_that_wants_few_gets_few(rate: bytes, waits: float) -> None:
    """Above one second the wait is in whole ones: timers' lengths stay few."""
    rig = Rig(event=b"presence;max-rate=" + rate)
    rig.change(10.0)
    rig.answer(200, 10.0)

    rig.change(10.1)
    rig.change(10.2)
    assert rig.told == [b"1"]
    assert rig.out.woken == pytest.approx([waits])
    rig.it.due = NEVER
    rig.it.fire(10.1 + waits)

    assert rig.told == [b"1", b"3"]


def test_an_end_does_not_wait_for_the_interval() -> None:
    rig = Rig(event=b"presence;max-rate=0.1")
    rig.change(0.0)
    rig.answer(200, 0.0)

    rig.it.terminate(b"rejected", 0.1)

    assert len(rig.out.sent) == 2


@pytest.mark.rfc("6665", "4.2.1.3")
def test_a_refresh_may_move_the_watcher() -> None:
    rig = Rig()
    other = RecordingFlow(port=5071)
    again = parse(
        request(
            b"SUBSCRIBE",
            b"sip:bob@example.com",
            cseq=9,
            headers=(b"Contact: <sip:alice@192.0.2.10>",),
        )
    )

    moved = rig.it.refresh(again, other)
    same = rig.it.refresh(again, other)
    rig.it.notify(0.0)

    assert (moved, same, rig.it.dialog.remote_cseq) == (True, False, 9)
    assert rig.out.sent[-1].uri == b"sip:alice@192.0.2.10"
