"""One hop after the other, with a clock that the test turns (RFC 3263 §4.3; D13, D31, D33)."""

from typing import Any

import pytest

from sipgram.identity import NodeId
from sipgram.sip.branch import Brancher
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.proxy import ForkTimes, Proxy, Target
from sipgram.sip.routing.hunt import Hunt, OneHop, Pursuit
from sipgram.sip.timers import Timers
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing import messages
from sipgram.testing.recording import RecordingFlow, RecordingUser

from ..test_proxy import Device, Outcomes


class Listed:
    """Hops in order; each may be silent for 3 s, all together for 5."""

    def __init__(self, *devices: Device) -> None:
        self._left = list(devices)
        self.noted: list[float | None] = []
        self.successes = 0

    def next(self, now: float) -> Target | None:
        return self._left.pop(0) if self._left and now < 5.0 else None

    def wait_s(self, now: float) -> float:
        return min(3.0, 5.0 - now) if self._left else 5.0 - now

    def failed(self, now: float, *, retry_after_s: float | None = None) -> Target | None:
        self.noted.append(retry_after_s)
        return self.next(now)

    def succeeded(self) -> None:
        self.successes += 1


class Given:
    """A MESSAGE of alice that came at 0.0, for a domain with these servers."""

    def __init__(self, *servers: Device, request: bytes = b"", **kind: Any) -> None:
        self.servers = servers
        self.hops = Listed(*servers)
        self.sender = RecordingFlow(host=b"192.0.2.9", **kind)
        self.table = TransactionTable(RecordingUser(), timers=Timers())
        brancher = Brancher(b"s" * 32, node=NodeId("n1"))
        self.proxy = Proxy(self.table, brancher, times=ForkTimes(), user=Outcomes())
        asked = parse(request or messages.request(body=b"Hello"))
        server = self.table.open_server(asked, self.sender, 0.0)
        Hunt(asked, server, self.proxy, Pursuit(self.hops), self.sender).start(0.0)

    def answer(self, n: int, status: int, now: float, *headers: bytes) -> None:
        sent = self.servers[n].way.sent[0]
        self.table.receive(
            parse(messages.response(sent, status, headers=headers)), self.servers[n].flow, now
        )

    def wait(self, until: float) -> None:
        while self.table.next_due <= until:
            self.table.advance(self.table.next_due)

    def answers(self) -> list[Message]:
        return [parse(data) for data in self.sender.take()]

    @property
    def tried(self) -> list[bool]:
        return [bool(server.way.sent) for server in self.servers]


def test_d33_a_503_leads_to_the_next_at_once_and_says_for_how_long() -> None:
    given = Given(Device(1), Device(2))

    given.answer(0, 503, 0.1, b"Retry-After: 90 (busy)")
    given.answer(1, 200, 0.2)

    assert [a.status for a in given.answers()] == [200]
    assert (given.hops.noted, given.hops.successes) == ([90.0], 1)
    branches = {parse(server.request).branch for server in given.servers}
    assert len(branches) == 2  # §4.3: a new transaction each.


def test_d33_a_silent_one_leads_to_the_next_after_3_s() -> None:
    given = Given(Device(1), Device(2))

    given.wait(2.9)
    assert given.tried == [True, False]
    given.wait(3.0)
    assert given.tried == [True, True]


def test_d33_a_dead_flow_leads_to_the_next_at_once() -> None:
    dead = Device(1)
    dead.way.is_alive = False
    given = Given(dead, Device(2))

    assert given.tried == [False, True]


def test_d33_nobody_there_is_480_within_answer_s() -> None:
    given = Given(Device(1), Device(2))

    given.wait(4.9)
    before = given.answers()
    given.wait(5.0)

    assert [a.status for a in before] in ([], [100])
    (answer,) = given.answers()
    assert (answer.status, answer.value(b"retry-after")) == (480, b"30")
    given.wait(40.0)
    assert given.answers() == []


def test_a_late_answer_of_an_earlier_hop_counts() -> None:
    given = Given(Device(1), Device(2))
    given.wait(3.0)

    given.answer(0, 200, 3.1)
    given.answer(1, 200, 3.2)

    assert [a.status for a in given.answers()][-1:] == [200]
    assert given.hops.successes == 0  # It is not the one that is being tried.


@pytest.mark.parametrize("status", [200, 202, 302, 404, 407, 481, 486, 500, 600])
def test_any_other_answer_ends_the_search_and_goes_up_as_it_is(status: int) -> None:
    given = Given(Device(1), Device(2))

    given.answer(0, status, 0.1)
    given.wait(40.0)

    assert [a.status for a in given.answers()] == [status]
    assert given.tried == [True, False]


def test_d13_a_408_is_never_forwarded() -> None:
    given = Given(Device(1))

    given.answer(0, 408, 0.1)

    assert [a.status for a in given.answers()] == [480]


def test_the_last_503_is_480() -> None:
    given = Given(Device(1))

    given.answer(0, 503, 0.1)

    assert [a.status for a in given.answers()] == [480]


@pytest.mark.parametrize("status", [481, 480, 200])
def test_d31_in_a_dialog_the_answer_of_the_peer_goes_up(status: int) -> None:
    peer = Device(1)
    given = Given(Device(9))
    via = b"Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK-other"
    raw = messages.request(via=via, body=b"hi")
    server = given.table.open_server(parse(raw), given.sender, 0.0)
    Hunt(parse(raw), server, given.proxy, Pursuit(OneHop(peer, 5.0)), given.sender).start(0.0)

    given.table.receive(parse(messages.response(peer.request, status)), peer.flow, 0.1)

    assert [a.status for a in given.answers()] == [status]


def test_d31_a_dead_flow_of_a_dialog_is_480() -> None:
    peer = Device(1)
    peer.way.is_alive = False
    given = Given(peer)

    assert [a.status for a in given.answers()] == [480]


def test_a_stream_is_told_where_a_message_ends() -> None:
    server = Device(1, is_reliable=True)
    raw = messages.request(body=b"Hello").replace(b"Content-Length: 5\r\n", b"")
    given = Given(server, request=raw, is_reliable=True)

    assert parse(server.request).content_length == 5
    answer = messages.response(server.request, 200).replace(b"Content-Length: 0\r\n", b"")
    given.table.receive(parse(answer), server.flow, 0.1)
    assert given.answers()[-1].content_length == 0
