"""RFC 3261 §17.1.2 and Figure 6, with time as a number."""

import pytest

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.client_request import ClientRequestTransaction, State
from sipgram.testing import messages
from sipgram.testing.recording import RecordingFlow, RecordingSink, RecordingUser

REQUEST = messages.request()
BRANCH = b"z9hG4bK-1"


class Given:
    """One transaction that was started at 0.0, and everything around it."""

    def __init__(self, *, is_reliable: bool = False, is_alive: bool = True) -> None:
        self.out = RecordingSink()
        self.flow = RecordingFlow(is_reliable=is_reliable)
        self.flow.is_alive = is_alive
        self.user = RecordingUser()
        self.tx = ClientRequestTransaction(
            REQUEST,
            branch=BRANCH,
            method=b"MESSAGE",
            flow=self.flow,
            user=self.user,
            out=self.out,
        )
        self.tx.start(0.0)

    def sleep(self) -> float:
        """Let its one deadline come, and return when that was."""
        now = self.tx.due
        assert now < NEVER
        self.tx.fire(now)
        return now


def answer(status: int) -> Message:
    return parse(messages.response(REQUEST, status))


@pytest.mark.rfc("3261", "17.1.2.2")
def test_timer_e_doubles_up_to_t2_until_timer_f() -> None:
    """§17.1.2.2: "intervals of 500 ms, 1 s, 2 s, 4 s, 4 s, 4 s, etc.", and 64*T1 in all."""
    given = Given()
    sent = [0.0]
    while given.tx.state is not State.TERMINATED:
        given.flow.take()
        now = given.sleep()
        if given.flow.take() == [REQUEST]:
            sent.append(now)
    assert sent == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert now == 32.0
    assert given.user.take() == [("waiting", 0.5), ("failure", "timeout")]
    assert given.out.take()[-1] == ("end_client", BRANCH)


@pytest.mark.rfc("3261", "17.1.2.2")
def test_a_reliable_transport_never_retransmits() -> None:
    """§17.1.2.2: Timer E is set only if "an unreliable transport is in use"."""
    given = Given(is_reliable=True)
    assert given.sleep() == 0.5
    assert given.sleep() == 32.0
    assert given.flow.take() == [REQUEST]
    assert given.user.take() == [("waiting", 0.5), ("failure", "timeout")]


@pytest.mark.rfc("3261", "17.1.2.2")
def test_in_proceeding_timer_e_is_t2() -> None:
    """§17.1.2.2: "Timer E MUST be reset with a value of T2 seconds"."""
    given = Given()
    given.tx.receive(answer(100), 0.1)
    times = [given.sleep() for _ in range(3)]
    assert times == [0.5, 4.5, 8.5]
    assert given.tx.state is State.PROCEEDING


def test_every_provisional_reaches_the_user() -> None:
    """Figure 6: 1xx in Proceeding is "resp to TU" too."""
    given = Given()
    given.tx.receive(answer(100), 0.1)
    given.tx.receive(answer(180), 0.2)
    assert given.user.take() == [("response", 100), ("response", 180)]


@pytest.mark.parametrize("provisionals", [0, 1])
@pytest.mark.parametrize("status", [200, 302, 404, 503, 603])
@pytest.mark.parametrize("is_reliable", [False, True])
def test_a_final_response_ends_it(provisionals: int, status: int, is_reliable: bool) -> None:
    given = Given(is_reliable=is_reliable)
    for _ in range(provisionals):
        given.tx.receive(answer(100), 0.1)
    given.user.take()
    given.out.take()

    given.tx.receive(answer(status), 0.2)

    assert given.user.take() == [("response", status)]
    assert given.out.take() == [("end_client", BRANCH)]
    assert (given.tx.state, given.tx.due) == (State.TERMINATED, NEVER)


def test_nothing_follows_a_final_response() -> None:
    given = Given()
    given.tx.receive(answer(200), 0.2)
    for call in (given.user, given.out):
        call.take()
    given.flow.take()

    given.tx.receive(answer(200), 0.3)
    given.tx.receive(answer(100), 0.3)
    given.tx.fire(0.5)
    given.tx.transport_failed(0.6)

    assert given.user.take() == given.out.take() == []
    assert given.flow.take() == []


@pytest.mark.rfc("3261", "17.1.4")
def test_a_transport_error_ends_it_once() -> None:
    """§17.1.4: "SHOULD inform the TU that a failure has occurred, and … transition"."""
    given = Given()
    given.tx.transport_failed(0.2)
    given.tx.transport_failed(0.3)
    assert given.user.take() == [("failure", "transport-error")]


def test_a_dead_flow_is_known_at_the_start() -> None:
    given = Given(is_alive=False)
    assert given.user.take() == [("failure", "transport-error")]
    assert given.tx.state is State.TERMINATED


def test_a_flow_may_die_between_retransmissions() -> None:
    given = Given()
    given.flow.is_alive = False
    given.sleep()
    assert given.user.take() == [("waiting", 0.5), ("failure", "transport-error")]


def test_an_abandoned_request_tells_nobody() -> None:
    given = Given()
    given.tx.abandon()
    given.tx.receive(answer(200), 0.2)
    assert given.user.take() == []
    assert given.tx.state is State.TERMINATED
