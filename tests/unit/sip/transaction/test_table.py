"""The way of each message to its transaction, and what is remembered (RFC 3261 §17.1.3, §17.2.3)."""

import pytest

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.sink import Flow
from sipgram.sip.timers import NEVER, Timers
from sipgram.sip.transaction import table as table_module
from sipgram.sip.transaction.answered import BUCKET_S
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing import messages
from sipgram.testing.recording import RecordingFlow, RecordingUser

REQUEST = messages.request()
VIA = b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch="


class Given:
    """A table whose user writes down what reaches it."""

    def __init__(self, *, answered_max: int = 100, is_reliable: bool = False) -> None:
        self.user = RecordingUser()
        self.flow = RecordingFlow(is_reliable=is_reliable)
        self.table = TransactionTable(self.user, timers=Timers(), answered_max=answered_max)

    def receive(self, data: bytes, now: float = 0.0) -> Message:
        message = parse(data)
        self.table.receive(message, self.flow, now)
        return message

    def answered(self, branch: bytes, now: float) -> bytes:
        """Let a request come and answer it; return the response."""
        request = self.receive(messages.request(via=VIA + branch), now)
        response = messages.response(request.raw, 200)
        self.table.answer(request, self.flow, response, now)
        return response

    def client(self, branch: bytes = b"z9hG4bK-1") -> None:
        self.table.start_client(
            messages.request(via=VIA + branch),
            branch=branch,
            method=b"MESSAGE",
            flow=self.flow,
            user=self.user,
            now=0.0,
        )


@pytest.mark.rfc("3261", "17.2.3")
def test_a_retransmission_is_absorbed_while_the_request_is_open() -> None:
    given = Given()
    request = given.receive(REQUEST)
    server = given.table.open_server(request, given.flow, 0.0)
    given.receive(REQUEST, 0.5)
    assert given.user.take() == [("request", b"MESSAGE")]
    assert given.table.open_count == 1
    assert given.table.next_due == 3.5

    given.table.advance(3.5)
    assert [parse(data).status for data in given.flow.take()] == [100]

    server.respond(messages.response(REQUEST, 200), 4.0)
    assert given.table.open_count == 0
    assert given.table.answered_count == 1


@pytest.mark.rfc("3261", "17.2.2")
def test_an_answer_is_repeated_until_timer_j() -> None:
    """§17.2.2: "Timer J … 64*T1 seconds for unreliable transports"."""
    given = Given()
    response = given.answered(b"z9hG4bK-1", 0.0)
    for now in (0.5, 31.9):
        given.table.advance(now)
        given.receive(REQUEST, now)
    assert given.flow.take() == [response] * 3
    assert given.user.take() == [("request", b"MESSAGE")]

    assert 32.0 <= given.table.next_due <= 32.0 + BUCKET_S
    given.table.advance(given.table.next_due)
    assert given.table.answered_count == 0
    assert given.table.next_due == NEVER
    given.receive(REQUEST, 33.0)
    assert given.user.take() == [("request", b"MESSAGE")]


def test_a_request_is_known_while_it_is_open_and_until_timer_j() -> None:
    given = Given()
    request = given.receive(REQUEST)
    known = [given.table.knows(request.key)]
    server = given.table.open_server(request, given.flow, 0.0)
    known.append(given.table.knows(request.key))
    server.respond(messages.response(REQUEST, 200), 1.0)
    known.append(given.table.knows(request.key))
    given.table.advance(40.0)
    known.append(given.table.knows(request.key))
    assert known == [False, True, True, False]


@pytest.mark.rfc("3261", "17.2.2")
def test_over_a_reliable_transport_nothing_is_remembered() -> None:
    """§17.2.2: Timer J is "zero seconds for reliable transports"."""
    given = Given(is_reliable=True)
    given.answered(b"z9hG4bK-1", 0.0)
    assert given.table.answered_count == 0


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_memory_of_answers_is_bounded(over: int) -> None:
    given = Given(answered_max=10)
    for n in range(10 + over):
        given.answered(b"z9hG4bK-%d" % n, float(n))
    assert given.table.answered_count == min(10, 10 + over)
    given.flow.take()
    given.user.take()

    given.receive(messages.request(via=VIA + b"z9hG4bK-0"), 20.0)

    is_forgotten = over > 0
    assert given.user.take() == ([("request", b"MESSAGE")] if is_forgotten else [])
    assert len(given.flow.take()) == (0 if is_forgotten else 1)


def test_many_answers_at_one_time_are_bounded_too() -> None:
    given = Given(answered_max=10)
    for n in range(25):
        given.answered(b"z9hG4bK-%d" % n, 0.0)
    assert given.table.answered_count == 5
    given.table.advance(40.0)
    assert given.table.answered_count == 0
    assert given.table.next_due == NEVER


def test_no_memory_at_all_is_possible() -> None:
    given = Given(answered_max=0)
    given.answered(b"z9hG4bK-0", 0.0)
    given.answered(b"z9hG4bK-1", 0.0)
    assert given.table.answered_count <= 1


@pytest.mark.rfc("3261", "17.1.3")
def test_a_response_finds_its_client_transaction() -> None:
    given = Given()
    given.client()
    assert given.table.open_count == 1
    given.receive(messages.response(REQUEST, 200))
    assert given.user.take() == [("response", 200)]
    assert given.table.open_count == 0


@pytest.mark.rfc("3261", "17.1.3")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"branch=z9hG4bK-1", b"branch=z9hG4bK-2"),
        (b"CSeq: 1 MESSAGE", b"CSeq: 1 OPTIONS"),
        (b"CSeq: 1 MESSAGE", b"CSeq: one MESSAGE"),
    ],
)
def test_other_responses_are_strays(old: bytes, new: bytes) -> None:
    given = Given()
    given.client()
    given.receive(messages.response(REQUEST, 200).replace(old, new))
    assert given.user.take() == [("stray", 200)]
    assert given.table.open_count == 1


def test_a_repeated_final_response_is_a_stray() -> None:
    """Timer K's only work is to absorb it; nobody takes a stray."""
    given = Given()
    given.client()
    given.receive(messages.response(REQUEST, 200))
    given.receive(messages.response(REQUEST, 200))
    assert given.user.take() == [("response", 200), ("stray", 200)]


@pytest.mark.rfc("3261", "17.1.4")
def test_a_dead_flow_fails_what_waits_on_it() -> None:
    given = Given()
    given.client(b"z9hG4bK-1")
    given.client(b"z9hG4bK-2")
    given.table.transport_failed((RecordingFlow(),), 0.1)
    assert given.user.take() == []
    given.table.transport_failed((given.flow,), 0.1)
    assert given.user.take() == [("failure", "transport-error")] * 2
    assert given.table.open_count == 0


def test_time_is_told_by_the_first_of_all_deadlines() -> None:
    given = Given()
    assert given.table.next_due == NEVER
    given.answered(b"z9hG4bK-9", 0.0)
    given.client()
    assert given.table.next_due == 0.5
    given.table.advance(0.5)
    assert given.table.next_due == 1.5


def test_a_full_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "OPEN_MAX", 2)
    given = Given()
    fulls = []
    for n in range(3):
        fulls.append(given.table.is_full)
        request = parse(messages.request(via=VIA + b"z9hG4bK-%d" % n))
        given.table.open_server(request, given.flow, 0.0)
    assert fulls == [False, False, True]


def test_responses_go_where_the_flow_says() -> None:
    elsewhere = RecordingFlow()

    class Forked(RecordingFlow):
        def reply_flow(self, request: Message) -> Flow:
            return elsewhere

    given = Given()
    given.flow = Forked()
    response = given.answered(b"z9hG4bK-1", 0.0)
    given.receive(REQUEST)
    assert elsewhere.take() == [response, response]
    assert given.flow.take() == []
