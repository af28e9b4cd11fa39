"""RFC 3261 §17.2.1, Figure 7 as RFC 6026 draws it, with time as a number."""

import pytest

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.sink import Cause, Flow
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.server_invite import ServerInviteTransaction, State
from sipgram.testing import messages
from sipgram.testing.recording import Call, RecordingFlow, RecordingSink

INVITE = parse(messages.request(b"INVITE"))
ACK = parse(messages.request(b"ACK", to=b"<sip:bob@example.com>;tag=b1"))


class Sink(RecordingSink):
    """Writes down what the INVITE machines ask for besides."""

    def start_cancel(self, cancel: bytes, branch: bytes, flow: Flow, now: float) -> None:
        self.calls.append(("cancel", parse(cancel).method, branch))

    def end_server(self, key: bytes) -> None:
        self.calls.append(("end_server", key))


class User:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def on_cancel(self, now: float) -> None:
        self.calls.append(("cancel", now))

    def on_undelivered(self, cause: Cause, now: float) -> None:
        self.calls.append(("undelivered", cause))


class Given:
    """One transaction that began at 10.0 and was brought to a state at 10.0."""

    def __init__(self, state: State = State.PROCEEDING, *, is_reliable: bool = False) -> None:
        self.out = Sink()
        self.flow = RecordingFlow(is_reliable=is_reliable)
        self.user = User()
        self.tx = ServerInviteTransaction(INVITE, self.flow, self.user, self.out)
        self.tx.start(10.0)
        if state is State.ACCEPTED:
            self.respond(200, 10.0)
        elif state is not State.PROCEEDING:
            self.respond(486, 10.0)
        if state is State.CONFIRMED:
            self.tx.receive(ACK, 10.0)
        assert self.tx.state is state
        self.out.take()
        self.flow.take()

    def respond(self, status: int, now: float) -> None:
        self.tx.respond(status, messages.response(INVITE.raw, status), now)

    def statuses(self) -> list[int]:
        """Return the statuses that were sent since the last look."""
        return [parse(data).status for data in self.flow.take()]

    def sleep(self) -> float:
        now = self.tx.due
        assert now < NEVER
        self.tx.fire(now)
        return now


# ---- Proceeding --------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "17.2.1")
def test_100_goes_out_after_200_ms() -> None:
    """§17.2.1: "unless it knows that the TU will generate a … response within 200 ms"."""
    given = Given()
    assert given.sleep() == pytest.approx(10.2)
    (trying,) = given.flow.take()
    assert (parse(trying).status, parse(trying).to_tag) == (100, b"")
    assert given.out.take() == []


@pytest.mark.rfc("3261", "17.2.1")
@pytest.mark.parametrize("status", [180, 200, 486])
def test_no_100_once_the_user_has_said_something(status: int) -> None:
    given = Given()
    given.respond(status, 10.1)
    assert given.statuses() == [status]
    assert given.tx.due != pytest.approx(10.2)


@pytest.mark.rfc("3261", "17.2.1")
@pytest.mark.parametrize(("said", "repeated"), [([], []), ([180], [180]), ([180, 183], [183])])
def test_a_retransmission_gets_the_last_provisional_again(
    said: list[int], repeated: list[int]
) -> None:
    """§17.2.1: "the most recent provisional response that was received from the TU MUST be passed"."""
    given = Given()
    for status in said:
        given.respond(status, 10.1)
    given.statuses()
    assert given.tx.receive(INVITE, 10.5)
    assert given.statuses() == repeated


def test_a_retransmission_gets_the_100_again() -> None:
    given = Given()
    given.sleep()
    given.tx.receive(INVITE, 10.5)
    assert given.statuses() == [100, 100]


# ---- the arrows of responses and requests ------------------------------------------------------

RESPONSES = [
    # state, status of the TU, next state, sent, asked
    (State.PROCEEDING, 180, State.PROCEEDING, [180], []),
    (State.PROCEEDING, 200, State.ACCEPTED, [200], [("wake", 43.0)]),
    (State.PROCEEDING, 302, State.COMPLETED, [302], [("wake", 11.5)]),
    (State.PROCEEDING, 699, State.COMPLETED, [699], [("wake", 11.5)]),
    (State.ACCEPTED, 180, State.ACCEPTED, [], []),
    (State.ACCEPTED, 200, State.ACCEPTED, [200], []),
    (State.ACCEPTED, 486, State.ACCEPTED, [], []),
    (State.COMPLETED, 180, State.COMPLETED, [], []),
    (State.COMPLETED, 200, State.COMPLETED, [], []),
    (State.COMPLETED, 486, State.COMPLETED, [], []),
    (State.CONFIRMED, 200, State.CONFIRMED, [], []),
]


@pytest.mark.rfc("3261", "17.2.1")
@pytest.mark.rfc("6026", "7.1")
@pytest.mark.parametrize(("state", "status", "after", "sent", "asked"), RESPONSES)
def test_figure_7_responses_of_the_user(
    state: State, status: int, after: State, sent: list[int], asked: list[Call]
) -> None:
    given = Given(state)
    given.respond(status, 11.0)
    assert (given.tx.state, given.statuses(), given.out.take()) == (after, sent, asked)


REQUESTS = [
    # state, request, next state, whether it ends here, sent
    (State.PROCEEDING, ACK, State.PROCEEDING, True, []),
    (State.ACCEPTED, INVITE, State.ACCEPTED, True, []),
    (State.ACCEPTED, ACK, State.ACCEPTED, False, []),
    (State.COMPLETED, INVITE, State.COMPLETED, True, [486]),
    (State.COMPLETED, ACK, State.CONFIRMED, True, []),
    (State.CONFIRMED, INVITE, State.CONFIRMED, True, []),
    (State.CONFIRMED, ACK, State.CONFIRMED, True, []),
]


@pytest.mark.rfc("3261", "17.2.1")
@pytest.mark.rfc("6026", "7.1")
@pytest.mark.parametrize(("state", "request_", "after", "ends", "sent"), REQUESTS)
def test_figure_7_requests_of_the_peer(
    state: State, request_: Message, after: State, ends: bool, sent: list[int]
) -> None:
    given = Given(state)
    assert given.tx.receive(request_, 11.0) is ends
    assert (given.tx.state, given.statuses()) == (after, sent)


# ---- the arrows of timers ----------------------------------------------------------------------


@pytest.mark.rfc("3261", "17.2.1")
def test_timer_g_doubles_up_to_t2_until_timer_h() -> None:
    """§17.2.1: "If timer H fires while in the "Completed" state … MUST indicate … a failure"."""
    given = Given(State.COMPLETED)
    times = []
    while given.tx.state is State.COMPLETED:
        times.append(given.sleep() - 10.0)
    assert times == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5, 32.0]
    assert given.statuses() == [486] * 10
    assert given.user.calls == [("undelivered", "timeout")]
    assert given.out.take()[-1] == ("end_server", INVITE.key)


@pytest.mark.rfc("3261", "17.2.1")
def test_on_a_reliable_transport_there_is_timer_h_alone() -> None:
    given = Given(State.COMPLETED, is_reliable=True)
    assert given.sleep() == 42.0
    assert given.statuses() == []
    assert given.user.calls == [("undelivered", "timeout")]


@pytest.mark.rfc("3261", "17.2.1")
def test_timer_i_absorbs_further_acks_for_t4() -> None:
    """§17.2.1: "Timer I is set to fire in T4 seconds for unreliable transports"."""
    given = Given(State.CONFIRMED)
    assert given.sleep() == 15.0
    assert (given.tx.state, given.user.calls) == (State.TERMINATED, [])


@pytest.mark.rfc("3261", "17.2.1")
def test_timer_i_is_zero_on_a_reliable_transport() -> None:
    given = Given(State.COMPLETED, is_reliable=True)
    given.tx.receive(ACK, 11.0)
    assert given.tx.state is State.TERMINATED
    assert given.out.take() == [("end_server", INVITE.key)]


@pytest.mark.rfc("6026", "7.1")
@pytest.mark.parametrize("is_reliable", [False, True])
def test_timer_l_ends_accepted(is_reliable: bool) -> None:
    given = Given(State.ACCEPTED, is_reliable=is_reliable)
    assert given.sleep() == 42.0
    assert given.out.take() == [("end_server", INVITE.key)]
    assert (given.tx.state, given.user.calls) == (State.TERMINATED, [])


# ---- transport errors --------------------------------------------------------------------------


@pytest.mark.rfc("6026", "8.8")
@pytest.mark.parametrize(
    ("state", "status", "after"),
    [
        (State.PROCEEDING, 180, State.PROCEEDING),
        (State.PROCEEDING, 200, State.ACCEPTED),
        (State.PROCEEDING, 486, State.COMPLETED),
        (State.ACCEPTED, 200, State.ACCEPTED),
    ],
)
def test_a_transport_error_is_told_and_the_state_kept(
    state: State, status: int, after: State
) -> None:
    given = Given(state)
    given.flow.is_alive = False
    given.respond(status, 11.0)
    assert given.user.calls == [("undelivered", "transport-error")]
    assert given.tx.state is after


def test_in_completed_timer_g_tries_on_after_a_transport_error() -> None:
    given = Given(State.COMPLETED)
    given.flow.is_alive = False
    given.sleep()
    given.flow.is_alive = True
    given.sleep()
    assert given.statuses() == [486]
    assert given.user.calls == [("undelivered", "transport-error")]


# ---- CANCEL ------------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "9.2")
def test_a_cancel_is_told_once_while_there_is_no_final_response() -> None:
    given = Given()
    given.tx.cancel(11.0)
    given.tx.cancel(12.0)
    assert given.user.calls == [("cancel", 11.0)]
    assert given.tx.is_cancelled


@pytest.mark.rfc("3261", "9.2")
@pytest.mark.parametrize("state", [State.ACCEPTED, State.COMPLETED, State.CONFIRMED])
def test_a_cancel_has_no_effect_after_a_final_response(state: State) -> None:
    """§9.2: "the CANCEL request has no effect on the processing of the original request"."""
    given = Given(state)
    given.tx.cancel(11.0)
    assert (given.user.calls, given.tx.is_cancelled) == ([], False)


def test_a_cancel_before_there_is_a_user_is_remembered() -> None:
    given = Given()
    given.tx.user = None
    given.flow.is_alive = False
    given.tx.cancel(11.0)
    given.respond(180, 11.0)
    assert given.tx.is_cancelled


def test_it_says_100_to_nobody_after_the_end() -> None:
    given = Given(State.ACCEPTED)
    given.sleep()
    given.tx.fire(50.0)
    given.respond(200, 50.0)
    assert given.statuses() == []
    assert given.out.take() == [("end_server", INVITE.key)]
