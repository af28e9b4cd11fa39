"""Senders, the server's dispatcher and forked phones on a bad network (DELIVERY.md D6, D9, D12, D13)."""

from collections import defaultdict
from dataclasses import dataclass

import pytest

from sipgram.identity import NodeId
from sipgram.server.calls import build_calls
from sipgram.server.dispatch import Dispatcher
from sipgram.server.ways import NoSockets, Ways
from sipgram.services.answers import Reply
from sipgram.services.messaging.service import Messaging
from sipgram.services.registrar.location import Binding, Locations
from sipgram.services.registrar.residents import OpenAccounts
from sipgram.settings import MessagingSettings
from sipgram.sip.branch import Brancher
from sipgram.sip.message.address import Address
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.proxy import ForkTimes, Proxy
from sipgram.sip.sink import Flow
from sipgram.sip.timers import NEVER, Timers
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing.entropy import CountingEntropy
from sipgram.testing.network import Conditions, FakeNetwork, Packet
from sipgram.testing.phone import Phone, Sending

SERVER = ("192.0.2.1", 5060)
ANSWER_S = 5.0
CALM_S = 120.0
"""Longer than Timer F of the last transaction and Timer J of its answer, one after the other."""
BAD = Conditions(loss=0.2, duplication=0.2, delay_s=0.005, jitter_s=0.3)


class InstantRegistrar:
    """Binds each Contact at once; the real one waits for its database."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations

    def handle(self, request: Message, source: Flow, account_id: int | None, now: float) -> Reply:
        entry = self._locations.find(request.to_uri)
        value = request.value(b"contact") or b""
        binding = Binding(
            aor=str(entry.aor),
            value=value,
            uri=Address.parse(value).uri,
            flow=source,
            expires=now + 3600,
            call_id=request.call_id,
            cseq=request.cseq,
            updated=now,
        )
        self._locations.attach(entry, binding)
        return Reply(200)


class World:
    """The server at 192.0.2.1, and phones that come in one after the other."""

    def __init__(self, *, seed: int, conditions: Conditions) -> None:
        self.network = FakeNetwork(seed=seed, conditions=conditions)
        self.entropy = CountingEntropy()
        self.phones: list[Phone] = []
        self.registrations: list[Sending] = []
        locations = Locations(["example.com"], accounts=OpenAccounts(), bindings_max=1000)
        brancher = Brancher(b"s" * 32, node=NodeId("n1"))
        self.dispatcher = Dispatcher(
            locations=locations,
            gate=None,
            brancher=brancher,
            routes={
                b"REGISTER": InstantRegistrar(locations),
                b"MESSAGE": Messaging(locations.find, settings=MessagingSettings()),
            },
            clock=self.network.clock,
        )
        endpoint = self.network.attach(*SERVER)
        self.table = endpoint.table = TransactionTable(self.dispatcher, timers=Timers())
        times = ForkTimes(answer_s=ANSWER_S)
        proxy = Proxy(self.table, brancher, times=times, user=locations)
        calls = build_calls(
            self.table.invites,
            secret=b"s" * 32,
            node=NodeId("n1"),
            locations=locations,
            ways=Ways(NoSockets(), entropy=self.entropy),
            clock=self.network.clock,
        )
        self.dispatcher.attach(self.table, proxy, calls)

    def phone(
        self, user: str, *, status: int = 200, delay_s: float = 0.0, is_reliable: bool = False
    ) -> Phone:
        """Return a phone of ``user`` that has registered."""
        phone = Phone(
            self.network.attach(f"192.0.2.{len(self.phones) + 10}"),
            f"sip:{user}@example.com",
            server=SERVER,
            entropy=self.entropy,
            is_reliable=is_reliable,
            status=status,
            delay_s=delay_s,
        )
        self.phones.append(phone)
        self.registrations.append(phone.register())
        return phone

    def run(self, seconds: float) -> None:
        self.network.run(self.network.clock.now + seconds)

    def from_server(self, sending: Sending) -> list[tuple[Packet, Message]]:
        """Return the final responses that the server sent to the sender of this request."""
        call_id = parse(sending.request).call_id
        found = []
        for packet in self.network.packets:
            message = parse(packet.data)
            is_ours = packet.source == SERVER and message.call_id == call_id
            if is_ours and message.status >= 200:
                found.append((packet, message))
        return found


@dataclass(frozen=True)
class Taken:
    """Instants at which something came to the server for one Call-ID."""

    asked: list[float]
    taken: list[float]


def arrivals(world: World, sending: Sending) -> Taken:
    """Say when the request came, and when a device's 2xx to it did."""
    call_id = parse(sending.request).call_id
    asked: list[float] = []
    taken: list[float] = []
    for packet in world.network.packets:
        message = parse(packet.data)
        if packet.target != SERVER or message.call_id != call_id:
            continue
        if not message.status:
            asked += packet.arrivals
        elif 200 <= message.status < 300:
            taken += packet.arrivals
    return Taken(sorted(asked), sorted(taken))


def check_answer(world: World, sending: Sending) -> None:
    """One answer, in time, and the one that DELIVERY.md asks for."""
    answers = world.from_server(sending)
    first, answer = answers[0]
    seen = arrivals(world, sending)

    assert sending.failure is None
    assert [final.status for final in sending.finals] == [answer.status]
    assert len({packet.data for packet, _ in answers}) == 1
    assert first.sent - seen.asked[0] <= ANSWER_S + 1e-6
    assert all(status == 100 for _, status in sending.provisionals)

    was_taken = bool(seen.taken) and seen.taken[0] <= first.sent
    assert answer.status == (200 if was_taken else 480)


def check_devices(world: World) -> None:
    """Each device saw each request as one transaction (D6, D12, D14)."""
    for phone in world.phones:
        call_ids = [message.call_id for message in phone.received]
        assert len(call_ids) == len(set(call_ids))
    branches: dict[tuple[object, bytes], set[bytes]] = defaultdict(set)
    for packet in world.network.packets:
        message = parse(packet.data)
        if packet.source == SERVER and message.method == b"MESSAGE" and not message.status:
            branches[packet.target, message.call_id].add(message.branch)
    assert all(len(each) == 1 for each in branches.values())


def check_calm(world: World) -> None:
    """Nothing is left of what is over."""
    for table in (world.table, *(phone.table for phone in world.phones)):
        assert (table.open_count, table.answered_count, table.next_due) == (0, 0, NEVER)


@pytest.mark.parametrize("seed", range(30))
def test_d9_every_message_is_answered_once_whatever_the_network_does(seed: int) -> None:
    world = World(seed=seed, conditions=BAD)
    world.phone("bob")
    world.phone("carol", delay_s=0.05)
    world.phone("carol", is_reliable=True)
    world.phone("dave", delay_s=1.0)
    world.phone("dave", status=486)
    world.phone("dave", status=0)
    world.phone("erin", status=0, is_reliable=True)
    alice = world.phone("alice")
    fred = world.phone("fred", is_reliable=True)
    world.run(40.0)

    sendings = []
    for n in range(4):
        for sender in (alice, fred):
            for to in ("bob", "carol", "dave", "erin"):
                body = f"{to} {n}".encode()
                sendings.append(sender.send(f"sip:{to}@example.com", body))
        world.run(0.7)
    world.run(CALM_S)

    assert {sending.status for sending in world.registrations} == {200}
    for sending in sendings:
        check_answer(world, sending)
    statuses = [sending.status for sending in sendings]
    assert statuses.count(200) >= 20  # All but erin's eight, unless the network ate a few.
    assert all(status == 480 for status in statuses[3::4])
    check_devices(world)
    check_calm(world)


@pytest.mark.parametrize("seed", range(5))
def test_a_good_network_delivers_every_message_to_every_device(seed: int) -> None:
    world = World(seed=seed, conditions=Conditions(duplication=0.5, jitter_s=0.2))
    devices = [world.phone("bob"), world.phone("bob", is_reliable=True), world.phone("bob")]
    alice = world.phone("alice")
    world.run(5.0)
    bodies = [b"message %d" % n for n in range(20)]
    sendings = [alice.send("sip:bob@example.com", body) for body in bodies]
    world.run(CALM_S)

    assert [sending.status for sending in sendings] == [200] * 20
    for device in devices:
        assert sorted(message.body for message in device.received) == sorted(bodies)
    check_devices(world)
    check_calm(world)


@pytest.mark.parametrize(("status", "answer"), [(200, 200), (403, 403), (486, 480), (408, 480)])
def test_d13_the_answer_of_one_device_on_a_good_network(status: int, answer: int) -> None:
    world = World(seed=0, conditions=Conditions())
    world.phone("bob", status=status)
    alice = world.phone("alice")
    world.run(1.0)
    sending = alice.send("sip:bob@example.com", b"hi")
    world.run(1.0)
    assert sending.status == answer
    assert sending.provisionals == []


def test_d9_nobody_there_is_a_480_at_once_and_a_stranger_a_403() -> None:
    world = World(seed=0, conditions=Conditions())
    alice = world.phone("alice")
    world.run(1.0)
    away = alice.send("sip:bob@example.com", b"hi")
    strange = alice.send("sip:bob@example.net", b"hi")
    world.run(0.1)
    assert (away.status, strange.status) == (480, 403)


def test_d28_a_connection_that_closes_while_a_message_is_on_it() -> None:
    """The transaction fails at once, so that the sender need not wait for ``answer_s``."""
    world = World(seed=0, conditions=Conditions())
    bob = world.phone("bob", status=0, is_reliable=True)
    alice = world.phone("alice")
    world.run(1.0)
    sending = alice.send("sip:bob@example.com", b"hi")
    world.run(0.4)
    assert len(bob.received) == 1
    world.network.detach(bob.endpoint)
    world.run(0.1)
    assert sending.status == 480


def test_a_datagram_phone_that_vanishes_costs_answer_s() -> None:
    world = World(seed=0, conditions=Conditions())
    bob = world.phone("bob")
    alice = world.phone("alice")
    world.run(1.0)
    world.network.detach(bob.endpoint)
    sending = alice.send("sip:bob@example.com", b"hi")
    world.run(10.0)
    assert sending.status == 480
    assert sending.ended - sending.started == pytest.approx(ANSWER_S, abs=0.01)
    assert {status for _, status in sending.provisionals} == {100}
