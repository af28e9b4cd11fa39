"""The way of INVITE, ACK, CANCEL and their responses to a transaction (RFC 3261 §17; RFC 6026)."""

import pytest

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.timers import Timers
from sipgram.sip.transaction import invites as invites_module
from sipgram.sip.transaction.invites import Invites
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing import messages
from sipgram.testing.recording import RecordingFlow, RecordingUser

VIA = b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch="
INVITE = messages.request(b"INVITE")
ACK = messages.request(b"ACK", to=b"<sip:bob@example.com>;tag=b1")
CANCEL = messages.request(b"CANCEL")
OLD = b"Via: SIP/2.0/UDP 192.0.2.9:5060;branch=1"
"""Of a peer that knows RFC 2543 alone: the branch is not unique."""


class Given:
    """A table of INVITEs beside that of all else."""

    def __init__(self) -> None:
        self.user = RecordingUser()
        self.flow = RecordingFlow()
        self.table = TransactionTable(self.user, timers=Timers())
        self.invites = Invites(self.table)

    def receive(self, data: bytes, now: float = 0.0) -> bool:
        return self.invites.receive(parse(data), self.flow, now)

    def answer(self, status: int, *, invite: bytes = INVITE) -> Message:
        request = parse(invite)
        response = messages.response(invite, status)
        self.invites.answer(request, self.flow, status, response, 0.0)
        return request

    def call(self, branch: bytes = b"z9hG4bK-1") -> bytes:
        invite = messages.request(b"INVITE", via=VIA + branch)
        self.invites.start_client(invite, branch, self.flow, self.user, 0.0)
        return invite

    def sent(self) -> list[tuple[bytes, int]]:
        """Return method and status of what was sent since the last look."""
        return [(parse(data).method, parse(data).status) for data in self.flow.take()]


def test_a_new_invite_is_the_users() -> None:
    given = Given()
    assert not given.receive(INVITE)
    assert given.invites.open_count == 0


@pytest.mark.rfc("3261", "17.2.3")
@pytest.mark.parametrize("via", [messages.VIA, OLD])
def test_a_retransmission_and_the_ack_of_a_failure_end_here(via: bytes) -> None:
    given = Given()
    given.answer(486, invite=messages.request(b"INVITE", via=via))
    assert given.receive(messages.request(b"INVITE", via=via))
    assert given.receive(messages.request(b"ACK", via=via, to=b"<sip:bob@example.com>;tag=b1"))
    assert given.sent() == [(b"INVITE", 486)] * 2
    given.table.advance(5.0)
    assert given.invites.open_count == 0  # Timer I.


@pytest.mark.rfc("6026", "7.1")
@pytest.mark.parametrize("via", [VIA + b"z9hG4bK-other", OLD])
def test_the_ack_of_a_2xx_is_the_users(via: bytes) -> None:
    """Even under the INVITE's branch, as RFC 2543 has it."""
    given = Given()
    given.answer(200, invite=messages.request(b"INVITE", via=via if via == OLD else messages.VIA))
    assert not given.receive(messages.request(b"ACK", via=via))


@pytest.mark.rfc("3261", "17.1.3")
def test_a_response_finds_its_invite() -> None:
    given = Given()
    invite = given.call()
    assert given.receive(messages.response(invite, 180))
    assert given.receive(messages.response(invite, 200))
    assert given.receive(messages.response(invite, 200))
    assert given.user.take() == [("response", 180), ("response", 200), ("response", 200)]


@pytest.mark.rfc("3261", "17.1.3")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"branch=z9hG4bK-1", b"branch=z9hG4bK-2"),
        (b"CSeq: 1 INVITE", b"CSeq: 1 CANCEL"),
        (b"CSeq: 1 INVITE", b"CSeq: one INVITE"),
    ],
)
def test_other_responses_are_strays(old: bytes, new: bytes) -> None:
    given = Given()
    invite = given.call()
    assert not given.receive(messages.response(invite, 200).replace(old, new))
    assert given.user.take() == []


@pytest.mark.rfc("6026", "8.9")
def test_a_2xx_after_timer_m_is_a_stray() -> None:
    given = Given()
    invite = given.call()
    given.receive(messages.response(invite, 200))
    given.table.advance(32.0)
    assert not given.receive(messages.response(invite, 200), 32.1)
    assert given.invites.open_count == 0


@pytest.mark.rfc("3261", "9.2")
@pytest.mark.parametrize("via", [messages.VIA, OLD])
def test_a_cancel_finds_its_invite(via: bytes) -> None:
    given = Given()
    cancel = parse(messages.request(b"CANCEL", via=via))
    assert not given.invites.cancel(cancel, 0.0)
    request = parse(messages.request(b"INVITE", via=via))
    server = given.invites.open_server(request, given.flow, None, 0.0)
    assert given.invites.cancel(cancel, 0.1)
    assert server.is_cancelled


@pytest.mark.rfc("3261", "9.2")
def test_a_cancel_that_comes_too_late_matches_all_the_same() -> None:
    given = Given()
    given.answer(486)
    assert given.invites.cancel(parse(CANCEL), 0.1)


@pytest.mark.rfc("3261", "9.1")
def test_our_cancel_is_a_transaction_of_its_own_under_the_same_branch() -> None:
    given = Given()
    client = given.invites.start_client(INVITE, b"z9hG4bK-1", given.flow, given.user, 0.0)
    given.receive(messages.response(INVITE, 180))
    client.cancel(0.1)
    assert given.sent() == [(b"INVITE", 0), (b"CANCEL", 0)]
    given.table.advance(0.6)  # Timer E.
    assert given.sent() == [(b"CANCEL", 0)]

    ok = messages.response(messages.request(b"CANCEL"), 200)
    assert not given.receive(ok)  # It is the other table's.
    given.table.receive(parse(ok), given.flow, 0.7)
    given.user.take()
    given.table.advance(10.0)
    assert given.sent() == []
    assert given.receive(messages.response(INVITE, 487), 10.0)
    assert given.sent() == [(b"ACK", 0)]
    assert given.user.take() == [("response", 487)]


def test_a_cancel_that_nobody_answers_is_given_up_in_silence() -> None:
    given = Given()
    client = given.invites.start_client(INVITE, b"z9hG4bK-1", given.flow, given.user, 0.0)
    given.receive(messages.response(INVITE, 180))
    given.user.take()
    client.cancel(0.0)
    while given.table.next_due <= 40.0:
        given.table.advance(given.table.next_due)
    assert given.user.take() == [("failure", "timeout")]
    assert given.table.open_count == given.invites.open_count == 0


@pytest.mark.rfc("3261", "17.1.4")
def test_a_dead_flow_fails_what_waits_on_it() -> None:
    given = Given()
    given.call(b"z9hG4bK-1")
    given.call(b"z9hG4bK-2")
    given.invites.transport_failed((RecordingFlow(),), 0.1)
    assert given.user.take() == []
    given.invites.transport_failed((given.flow,), 0.1)
    assert given.user.take() == [("failure", "transport-error")] * 2
    assert given.invites.open_count == 0


def test_a_full_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invites_module, "INVITES_MAX", 2)
    given = Given()
    fulls = []
    for n in range(3):
        fulls.append(given.invites.is_full)
        request = parse(messages.request(b"INVITE", via=VIA + b"z9hG4bK-%d" % n))
        given.invites.open_server(request, given.flow, None, 0.0)
    assert fulls == [False, False, True]
