"""RFC 3261 §17.1.1, Figure 5 as RFC 6026 draws it, and §9.1, with time as a number."""

import pytest

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.sink import Flow
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.client_invite import ClientInviteTransaction, State
from sipgram.testing import messages
from sipgram.testing.recording import Call, RecordingFlow, RecordingSink, RecordingUser

REQUEST = messages.request(
    b"INVITE", headers=(b"Route: <sip:192.0.2.8;lr>", b"Contact: <sip:alice@192.0.2.9>")
)
BRANCH = b"z9hG4bK-1"


class Sink(RecordingSink):
    """Writes down what the INVITE machines ask for besides."""

    def start_cancel(self, cancel: bytes, branch: bytes, flow: Flow, now: float) -> None:
        self.calls.append(("cancel", parse(cancel).method, branch))

    def end_server(self, key: bytes) -> None:
        self.calls.append(("end_server", key))


class Given:
    """One transaction that was started at 0.0 and brought to a state, and all around it."""

    def __init__(
        self,
        state: State = State.CALLING,
        *,
        is_reliable: bool = False,
        is_alive: bool = True,
    ) -> None:
        self.out = Sink()
        self.flow = RecordingFlow(is_reliable=is_reliable)
        self.flow.is_alive = is_alive
        self.user = RecordingUser()
        self.tx = ClientInviteTransaction(REQUEST, BRANCH, self.flow, self.user, self.out)
        self.tx.start(0.0)
        if state is not State.CALLING:
            way = {State.PROCEEDING: 180, State.ACCEPTED: 200, State.COMPLETED: 486}
            self.tx.receive(answer(way[state]), 0.0)
            assert self.tx.state is state
            self.take()

    def take(self) -> tuple[list[Call], list[Call], list[bytes]]:
        """Return what was told, asked and sent since the last look."""
        return self.user.take(), self.out.take(), [parse(d).method for d in self.flow.take()]

    def sleep(self) -> float:
        """Let its one deadline come, and return when that was."""
        now = self.tx.due
        assert now < NEVER
        self.tx.fire(now)
        return now


def answer(status: int, *, to_tag: bytes = b"b1") -> Message:
    return parse(messages.response(REQUEST, status, to_tag=to_tag))


# ---- Calling -----------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "17.1.1.2")
def test_timer_a_doubles_without_bound_until_timer_b() -> None:
    """§17.1.1.2: "MUST reset the timer with a value of 2*T1", and 64*T1 in all."""
    given = Given()
    sent = [0.0]
    while given.tx.state is not State.TERMINATED:
        given.flow.take()
        now = given.sleep()
        if given.flow.take() == [REQUEST]:
            sent.append(now)
    assert sent == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert now == 32.0
    assert given.user.take() == [("failure", "timeout")]
    assert given.out.take()[-1] == ("end_client", BRANCH)


@pytest.mark.rfc("3261", "17.1.1.2")
def test_a_reliable_transport_has_timer_b_alone() -> None:
    given = Given(is_reliable=True)
    assert given.sleep() == 32.0
    assert given.flow.take() == [REQUEST]
    assert given.user.take() == [("failure", "timeout")]


@pytest.mark.rfc("3261", "17.1.4")
@pytest.mark.parametrize("way", ["start", "flow", "timer A"])
def test_a_transport_error_in_calling_ends_it(way: str) -> None:
    given = Given(is_alive=way != "start")
    given.flow.is_alive = False
    if way == "flow":
        given.tx.transport_failed(0.1)
    elif way == "timer A":
        given.sleep()
    assert given.user.take() == [("failure", "transport-error")]
    assert (given.tx.state, given.tx.due) == (State.TERMINATED, NEVER)


# ---- the arrows of responses -------------------------------------------------------------------

M, D = ("wake", 33.0), ("wake", 33.0)
END = ("end_client", BRANCH)
ARROWS = [
    # state, status, next state, told, asked, sent
    (State.CALLING, 100, State.PROCEEDING, [100], [], []),
    (State.CALLING, 180, State.PROCEEDING, [180], [], []),
    (State.CALLING, 200, State.ACCEPTED, [200], [M], []),
    (State.CALLING, 302, State.COMPLETED, [302], [D], [b"ACK"]),
    (State.CALLING, 699, State.COMPLETED, [699], [D], [b"ACK"]),
    (State.PROCEEDING, 100, State.PROCEEDING, [100], [], []),
    (State.PROCEEDING, 199, State.PROCEEDING, [199], [], []),
    (State.PROCEEDING, 200, State.ACCEPTED, [200], [M], []),
    (State.PROCEEDING, 486, State.COMPLETED, [486], [D], [b"ACK"]),
    (State.ACCEPTED, 180, State.ACCEPTED, [], [], []),
    (State.ACCEPTED, 200, State.ACCEPTED, [200], [], []),
    (State.ACCEPTED, 299, State.ACCEPTED, [299], [], []),
    (State.ACCEPTED, 486, State.ACCEPTED, [], [], []),
    (State.COMPLETED, 180, State.COMPLETED, [], [], []),
    (State.COMPLETED, 200, State.COMPLETED, [], [], []),
    (State.COMPLETED, 486, State.COMPLETED, [], [], [b"ACK"]),
]


@pytest.mark.rfc("3261", "17.1.1.2")
@pytest.mark.rfc("6026", "7.2")
@pytest.mark.parametrize(("state", "status", "after", "told", "asked", "sent"), ARROWS)
def test_figure_5(
    state: State,
    status: int,
    after: State,
    told: list[int],
    asked: list[Call],
    sent: list[bytes],
) -> None:
    given = Given(state)
    given.take()
    given.tx.receive(answer(status), 1.0)
    assert given.take() == ([("response", s) for s in told], asked, sent)
    assert given.tx.state is after


@pytest.mark.rfc("3261", "17.1.1.2")
@pytest.mark.parametrize("state", [State.CALLING, State.PROCEEDING])
def test_timer_d_is_zero_on_a_reliable_transport(state: State) -> None:
    """§17.1.1.2: "a value of zero seconds for reliable transports"."""
    given = Given(state, is_reliable=True)
    given.take()
    given.tx.receive(answer(486), 1.0)
    assert given.take() == ([("response", 486)], [END], [b"ACK"])
    assert given.tx.state is State.TERMINATED


@pytest.mark.rfc("3261", "17.1.1.2")
def test_in_proceeding_nothing_is_retransmitted_and_nothing_is_due() -> None:
    """§17.1.1.2: "the client transaction SHOULD NOT retransmit the request any longer"."""
    assert Given(State.PROCEEDING).tx.due == NEVER


@pytest.mark.rfc("3261", "17.1.1.2")
@pytest.mark.rfc("6026", "7.2")
@pytest.mark.parametrize("state", [State.ACCEPTED, State.COMPLETED])
def test_timers_d_and_m_end_it_without_a_word(state: State) -> None:
    given = Given(state)
    assert given.sleep() == 32.0
    assert given.take() == ([], [END], [])
    assert (given.tx.state, given.tx.due) == (State.TERMINATED, NEVER)


@pytest.mark.rfc("6026", "8.4")
@pytest.mark.parametrize("state", [State.PROCEEDING, State.ACCEPTED])
def test_a_dead_flow_changes_nothing_once_there_is_an_answer(state: State) -> None:
    given = Given(state)
    given.tx.transport_failed(1.0)
    assert given.take() == ([], [], [])
    assert given.tx.state is state


@pytest.mark.rfc("3261", "17.1.1.2")
@pytest.mark.parametrize("way", ["flow", "repeated"])
def test_a_transport_error_in_completed_is_told(way: str) -> None:
    """Figure 5: "Transport Err. inform TU" from Completed to Terminated."""
    given = Given(State.COMPLETED)
    given.flow.is_alive = False
    if way == "flow":
        given.tx.transport_failed(1.0)
    else:
        given.tx.receive(answer(486), 1.0)
    assert given.user.take() == [("failure", "transport-error")]
    assert given.tx.state is State.TERMINATED


def test_an_ack_that_cannot_be_sent_is_told_after_the_response() -> None:
    given = Given()
    given.flow.is_alive = False
    given.tx.receive(answer(486), 1.0)
    assert given.user.take() == [("response", 486), ("failure", "transport-error")]


def test_nothing_follows_the_end() -> None:
    given = Given()
    given.tx.transport_failed(0.1)
    given.take()
    given.tx.receive(answer(200), 0.2)
    given.tx.fire(0.5)
    given.tx.cancel(0.6)
    given.tx.transport_failed(0.7)
    assert given.take() == ([], [], [])


# ---- CANCEL ------------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "9.1")
def test_a_cancel_waits_for_a_provisional_response() -> None:
    """§9.1: "the client MUST wait for the arrival of a provisional response"."""
    given = Given()
    given.take()
    given.tx.cancel(0.1)
    assert given.take() == ([], [], [])

    given.tx.receive(answer(100), 0.2)
    told, asked, _ = given.take()
    assert told == [("response", 100)]
    assert asked == [("wake", 32.2), ("cancel", b"CANCEL", BRANCH)]


@pytest.mark.rfc("3261", "9.1")
def test_a_cancel_after_180_goes_at_once_and_once() -> None:
    given = Given(State.PROCEEDING)
    given.tx.cancel(1.0)
    given.tx.cancel(2.0)
    given.tx.receive(answer(180), 3.0)
    assert given.out.take() == [("wake", 33.0), ("cancel", b"CANCEL", BRANCH)]
    given.tx.receive(answer(487), 4.0)
    assert given.tx.state is State.COMPLETED


@pytest.mark.rfc("3261", "9.1")
def test_a_cancelled_request_is_waited_for_64_t1_and_no_longer() -> None:
    """§9.1: "If there is no final response … in 64*T1 seconds … SHOULD destroy"."""
    given = Given(State.PROCEEDING)
    given.tx.cancel(1.0)
    assert given.sleep() == 33.0
    assert given.user.take() == [("failure", "timeout")]


@pytest.mark.rfc("3261", "9.1")
@pytest.mark.parametrize("state", [State.ACCEPTED, State.COMPLETED])
def test_a_cancel_after_the_final_response_is_not_sent(state: State) -> None:
    given = Given(state)
    given.tx.cancel(1.0)
    assert given.take() == ([], [], [])


def test_a_cancel_before_the_first_answer_changes_no_timer() -> None:
    given = Given()
    given.tx.cancel(0.1)
    times = []
    while given.tx.state is State.CALLING:
        times.append(given.sleep())
    assert times[-2:] == [31.5, 32.0]
    assert given.user.take() == [("failure", "timeout")]
