"""RFC 3261 §17.2.2, Figure 8, and RFC 4320 §4.1, with time as a number."""

import pytest

from sipgram.sip.message.parser import parse
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.server_request import ServerRequestTransaction, State
from sipgram.testing import messages
from sipgram.testing.recording import RecordingFlow, RecordingSink

REQUEST = parse(messages.request())
OK = messages.response(REQUEST.raw, 200)


class Given:
    """One transaction that began at 10.0."""

    def __init__(self, *, is_reliable: bool = False) -> None:
        self.out = RecordingSink()
        self.flow = RecordingFlow(is_reliable=is_reliable)
        self.tx = ServerRequestTransaction(REQUEST, self.flow, self.out, 10.0)

    def statuses(self) -> list[int]:
        """Return the statuses that were sent since the last look."""
        return [parse(data).status for data in self.flow.take()]


def test_it_begins_in_trying_and_needs_no_timer() -> None:
    given = Given()
    assert (given.tx.state, given.tx.due, given.tx.is_open) == (State.TRYING, NEVER, True)
    assert given.out.take() == []


@pytest.mark.rfc("4320", "4.1")
@pytest.mark.parametrize("first", [10.5, 11.5, 13.4])
def test_d13_no_100_before_timer_e_would_reach_t2(first: float) -> None:
    """RFC 4320 §4.1: "MUST NOT respond … with a Status-Code of 100 over any unreliable
    transport, such as UDP, before the amount of time it takes a client transaction's Timer E
    to be reset to T2".
    """
    given = Given()
    given.tx.receive(first)
    assert given.statuses() == []
    assert given.tx.due >= 13.5
    assert given.tx.due - 13.5 < 0.5


@pytest.mark.rfc("4320", "4.1")
def test_d13_then_100_must_go_out() -> None:
    given = Given()
    given.tx.receive(10.5)
    given.tx.receive(11.5)
    given.tx.fire(given.tx.due)
    assert given.statuses() == [100]
    assert given.tx.state is State.PROCEEDING


@pytest.mark.rfc("4320", "4.1")
@pytest.mark.parametrize("is_reliable", [False, True])
def test_d13_a_100_goes_out_without_regard_to_transport(is_reliable: bool) -> None:
    """RFC 4320 §4.1: "Without regard to transport, an SIP element MUST respond … 100"."""
    given = Given(is_reliable=is_reliable)
    given.tx.expect(10.5)
    given.tx.expect(10.6)
    assert given.out.take() == [("wake", 13.5)]
    given.tx.fire(13.5)
    assert given.statuses() == [100]
    given.tx.expect(14.0)
    assert given.out.take() == []


def test_a_retransmission_that_comes_late_gets_100_at_once() -> None:
    given = Given()
    given.tx.receive(14.0)
    assert given.statuses() == [100]


@pytest.mark.rfc("3261", "17.2.2")
def test_in_proceeding_a_retransmission_gets_the_100_again() -> None:
    """§17.2.2: "the most recently sent provisional response MUST be passed … again"."""
    given = Given()
    given.tx.receive(14.0)
    given.tx.receive(15.0)
    assert given.statuses() == [100, 100]


@pytest.mark.parametrize("retransmissions", [[], [10.5], [14.0]])
def test_the_final_response_completes_it(retransmissions: list[float]) -> None:
    given = Given()
    for now in retransmissions:
        given.tx.receive(now)
    given.out.take()
    given.statuses()

    given.tx.respond(OK, 15.0)

    assert given.flow.take() == [OK]
    assert given.out.take() == [("complete_server", REQUEST.key, OK)]
    assert (given.tx.state, given.tx.due, given.tx.is_open) == (State.COMPLETED, NEVER, False)


@pytest.mark.rfc("3261", "17.2.2")
def test_a_second_final_response_is_discarded() -> None:
    """§17.2.2: "Any other final responses passed by the TU … MUST be discarded"."""
    given = Given()
    given.tx.respond(OK, 11.0)
    given.flow.take()
    given.tx.respond(messages.response(REQUEST.raw, 480), 12.0)
    given.tx.fire(13.5)
    given.tx.expect(14.0)
    given.tx._send_trying()
    assert given.flow.take() == []
