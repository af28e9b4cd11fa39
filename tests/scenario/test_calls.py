"""Calls between phones through a proxy (RFC 3261 §12-16, RFC 6026)."""

from collections.abc import Sequence

import pytest

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.entropy import CountingEntropy
from sipgram.testing.network import Conditions, FakeNetwork

from .call_phone import Answering, Call, CallPhone, Dialog
from .call_proxy import CallProxy

SERVER = ("192.0.2.1", 5060)
CALM_S = 150.0
"""Longer than the last timers of INVITE and BYE one after the other."""
BAD = Conditions(loss=0.15, duplication=0.15, delay_s=0.005, jitter_s=0.2)


class World:
    """The proxy at 192.0.2.1, and phones."""

    def __init__(self, *, seed: int = 0, conditions: Conditions | None = None) -> None:
        self.network = FakeNetwork(seed=seed, conditions=conditions)
        self.entropy = CountingEntropy()
        self.proxy = CallProxy(self.network.attach(*SERVER))
        self.phones: list[CallPhone] = []

    def phone(
        self,
        user: str,
        answering: Answering | None = None,
        *,
        q: float = 1.0,
        is_reliable: bool = False,
    ) -> CallPhone:
        phone = CallPhone(
            self.network.attach(f"192.0.2.{len(self.phones) + 10}"),
            user,
            server=SERVER,
            entropy=self.entropy,
            answering=answering,
            is_reliable=is_reliable,
        )
        self.phones.append(phone)
        self.proxy.bind(phone, q=q)
        return phone

    def run(self, seconds: float) -> None:
        self.network.run(self.network.clock.now + seconds)

    def requests(self, method: bytes, *, to: CallPhone | None = None) -> list[Message]:
        """Return every request of a method that was sent, each time that it was."""
        found = [
            parse(packet.data)
            for packet in self.network.packets
            if to is None or packet.target == to.endpoint.address
        ]
        return [message for message in found if message.method == method and not message.status]

    def check_calm(self) -> None:
        """Nothing is left of any transaction."""
        self.run(CALM_S)
        for table in (self.proxy.table, *(phone.table for phone in self.phones)):
            assert table.open_count == table.invites.open_count == 0
        assert len(self.proxy.table._queue) == 0


def statuses(call: Call) -> list[int]:
    return [final.status for final in call.finals]


# ---- a call from its beginning to its end ------------------------------------------------------


@pytest.mark.rfc("3261", "16.12")
@pytest.mark.parametrize("alice_tcp", [False, True])
@pytest.mark.parametrize("bob_tcp", [False, True])
def test_a_call_with_record_route(alice_tcp: bool, bob_tcp: bool) -> None:
    world = World()
    alice = world.phone("alice", is_reliable=alice_tcp)
    bob = world.phone("bob", is_reliable=bob_tcp)
    call = alice.call("sip:bob@example.com")
    world.run(5.0)

    assert call.provisionals == [100, 180] or call.provisionals == [180]
    assert statuses(call) == [200]
    (ringing,) = bob.rung
    assert (ringing.is_acked, ringing.times_sent) == (True, 1)
    assert len(call.dialog.routes) == (1 if not (alice_tcp or bob_tcp) else 2)
    ours, theirs = call.dialog.routes, ringing.dialog.routes
    places = [route.partition(b"@")[2] for route in theirs]
    assert places == [route.partition(b"@")[2] for route in ours[::-1]]
    assert theirs != ours[::-1]  # D2: each token leads to the other side alone.

    again = alice.invite(call.dialog)
    world.run(1.0)
    back = bob.invite(ringing.dialog)
    world.run(1.0)
    assert statuses(again) == statuses(back) == [200]
    assert [acked.is_acked for acked in (*bob.rung, *alice.rung)] == [True] * 3
    assert bob.acks[-1].to_tag == ringing.tag

    infos = [alice.request(b"INFO", call.dialog), bob.request(b"UPDATE", ringing.dialog)]
    world.run(1.0)
    bye = bob.request(b"BYE", ringing.dialog)
    world.run(1.0)
    assert [sent.statuses for sent in (*infos, bye)] == [[200]] * 3
    assert [request.method for request in alice.requests] == [b"UPDATE", b"BYE"]
    assert all(not request.has(b"route") for request in alice.requests + bob.requests)
    world.check_calm()


def test_bye_of_the_caller() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    call = alice.call("sip:bob@example.com")
    world.run(5.0)
    bye = alice.request(b"BYE", call.dialog)
    world.run(1.0)
    assert bye.statuses == [200]
    assert [request.method for request in bob.requests] == [b"BYE"]


def test_d2_without_our_token_a_request_in_a_dialog_is_not_relayed() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    call = alice.call("sip:bob@example.com")
    world.run(5.0)
    call.dialog.routes = [b"sip:192.0.2.1:5060;lr"]
    bye = alice.request(b"BYE", call.dialog)
    world.run(1.0)
    assert (bye.statuses, bob.requests) == ([481], [])


@pytest.mark.rfc("3261", "17.2.1")
def test_100_stops_the_callers_retransmissions() -> None:
    world = World()
    alice = world.phone("alice")
    world.phone("bob", Answering(provisionals=(), final_after_s=10.0))
    call = alice.call("sip:bob@example.com")
    world.run(20.0)
    assert call.provisionals == [100]
    assert statuses(call) == [200]
    assert len(world.requests(b"INVITE")) == 2


# ---- CANCEL ------------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "16.10")
@pytest.mark.parametrize(
    ("cancel_after_s", "provisionals"), [(0.05, ()), (0.05, (180,)), (2.0, (180,))]
)
def test_a_cancel_before_and_after_180(cancel_after_s: float, provisionals: Sequence[int]) -> None:
    world = World()
    alice = world.phone("alice")
    bob = world.phone("bob", Answering(provisionals=provisionals, after_s=0.5, final=0))
    call = alice.call("sip:bob@example.com")
    world.run(cancel_after_s)
    call.cancel()
    world.run(3.0)
    assert statuses(call) == [487]
    assert bob.rung[0].was_cancelled
    assert call.dialogs == {}
    assert len(world.requests(b"CANCEL", to=bob)) == 1
    world.check_calm()


def test_a_cancel_that_crosses_the_200() -> None:
    world = World()
    alice = world.phone("alice")
    bob = world.phone("bob", Answering(final_after_s=1.0))
    call = alice.call("sip:bob@example.com")
    world.run(1.0015)  # The 200 is on its way.
    call.cancel()
    world.run(3.0)
    assert statuses(call) == [200]
    assert bob.rung[0].is_acked
    world.check_calm()


@pytest.mark.rfc("3261", "9.2")
def test_a_cancel_of_nothing_is_a_481() -> None:
    world = World()
    alice = world.phone("alice")
    world.phone("bob", Answering(final=0))
    call = alice.call("sip:bob@example.com")
    call.dialogs[b""] = dialog = alice_dialog(call)
    sent = alice.request(b"CANCEL", dialog)
    world.run(1.0)
    assert sent.statuses == [481]


def alice_dialog(call: Call) -> Dialog:
    request = parse(call.invite)
    to = request.value(b"to") or b""
    return Dialog(request.call_id, call.local, to, request.uri, (), 0)


# ---- forks -------------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "16.7")
def test_two_phones_ring_one_answers_and_the_other_stops() -> None:
    world = World()
    alice = world.phone("alice")
    desk = world.phone("bob", Answering(final_after_s=3.0))
    mobile = world.phone("bob", Answering(final=0))
    call = alice.call("sip:bob@example.com")
    world.run(10.0)
    assert call.provisionals == [180, 180]
    assert statuses(call) == [200]
    assert (desk.rung[0].is_acked, mobile.rung[0].was_cancelled) == (True, True)
    (cancel,) = world.requests(b"CANCEL", to=mobile)
    assert cancel.value(b"reason") == b'SIP;cause=200;text="Call completed elsewhere"'
    world.check_calm()


def test_two_phones_answer_at_one_time_and_the_caller_gets_both() -> None:
    """§16.7 step 5: "Any 2xx response"; §13.2.2.4 has the caller end one of them."""
    world = World()
    alice = world.phone("alice")
    phones = [world.phone("bob"), world.phone("bob")]
    call = alice.call("sip:bob@example.com")
    world.run(5.0)
    assert statuses(call) == [200, 200]
    assert len(call.dialogs) == 2
    assert all(phone.rung[0].is_acked for phone in phones)
    for dialog in call.dialogs.values():
        alice.request(b"BYE", dialog)
    world.run(1.0)
    assert [len(phone.requests) for phone in phones] == [1, 1]
    world.check_calm()


def test_d6_the_mailbox_is_called_when_the_phone_is_busy() -> None:
    world = World()
    alice = world.phone("alice")
    world.phone("bob", Answering(final=486))
    mailbox = world.phone("bob", q=0.1)
    call = alice.call("sip:bob@example.com")
    world.run(5.0)
    assert statuses(call) == [200]
    assert mailbox.rung[0].is_acked


def test_one_phone_that_is_killed_without_a_word_does_not_hold_up_the_other() -> None:
    world = World()
    alice = world.phone("alice")
    dead = world.phone("bob")
    world.phone("bob")
    world.network.detach(dead.endpoint)
    call = alice.call("sip:bob@example.com")
    world.run(2.0)
    assert statuses(call) == [200]
    world.phones.remove(dead)
    world.check_calm()


@pytest.mark.parametrize(("status", "up"), [(486, 486), (600, 600), (603, 603), (503, 500)])
def test_a_failure_goes_up_and_is_acknowledged_hop_by_hop(status: int, up: int) -> None:
    world = World()
    alice = world.phone("alice")
    bob = world.phone("bob", Answering(final=status))
    call = alice.call("sip:bob@example.com")
    world.run(5.0)
    assert statuses(call) == [up]
    assert bob.acks == []  # Its transaction took it.
    assert len(world.requests(b"ACK")) == 2
    world.check_calm()


def test_a_603_of_one_phone_silences_the_others() -> None:
    world = World()
    alice = world.phone("alice")
    world.phone("bob", Answering(final=603, final_after_s=2.0))
    other = world.phone("bob", Answering(final=0))
    mailbox = world.phone("bob", q=0.1)
    call = alice.call("sip:bob@example.com")
    world.run(5.0)
    assert statuses(call) == [603]
    assert other.rung[0].was_cancelled
    assert mailbox.rung == []


@pytest.mark.rfc("3261", "16.7")
def test_a_302_inside_is_followed_and_one_that_leads_out_goes_up() -> None:
    world = World()
    alice, carol = world.phone("alice"), world.phone("carol")
    moved = Answering(final=302, headers=(b"Contact: <sip:carol@example.com>",))
    gone = Answering(final=302, headers=(b"Contact: <sip:dave@example.net>",))
    world.phone("bob", moved)
    world.phone("dave", gone)
    followed, told = alice.call("sip:bob@example.com"), alice.call("sip:dave@example.com")
    world.run(5.0)
    assert (statuses(followed), statuses(told)) == ([200], [302])
    assert carol.rung[0].is_acked
    assert told.finals[0].value(b"contact") == b"<sip:dave@example.net>"


# ---- nobody answers ----------------------------------------------------------------------------


@pytest.mark.rfc("3261", "16.8")
def test_timer_c_ends_a_call_that_rings_for_ever() -> None:
    world = World()
    alice = world.phone("alice")
    bob = world.phone("bob", Answering(final=0))
    call = alice.call("sip:bob@example.com")
    world.run(185.0)
    assert call.finals == []
    world.run(1.0)
    assert statuses(call) == [408]
    assert bob.rung[0].was_cancelled
    world.check_calm()


def test_a_phone_that_is_not_there_is_a_408_after_timer_b() -> None:
    world = World()
    alice = world.phone("alice")
    bob = world.phone("bob")
    world.network.detach(bob.endpoint)
    call = alice.call("sip:bob@example.com")
    world.run(33.0)
    assert statuses(call) == [408]


def test_nobody_of_that_name_is_there_at_all() -> None:
    world = World()
    call = world.phone("alice").call("sip:nobody@example.com")
    world.run(1.0)
    assert statuses(call) == [480]
    world.check_calm()


# ---- what comes late or not at all -------------------------------------------------------------


def cut_off(world: World, phone: CallPhone, method: bytes, times: int) -> None:
    """Lose the first requests of a method that a phone sends."""
    carry = world.network.carry
    left = [times]

    def lossy(
        source: tuple[str, int], target: tuple[str, int], data: bytes, *, is_reliable: bool
    ) -> bool:
        if source == phone.endpoint.address and data.startswith(method) and left[0]:
            left[0] -= 1
            return True
        return carry(source, target, data, is_reliable=is_reliable)

    world.network.carry = lossy  # type: ignore[method-assign]  # The wire is cut, not an element.


@pytest.mark.rfc("3261", "13.3.1.4")
def test_lost_acks_of_a_2xx_make_it_come_again_end_to_end() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    cut_off(world, alice, b"ACK", 3)
    call = alice.call("sip:bob@example.com")
    world.run(20.0)
    assert statuses(call) == [200] * 4
    (ringing,) = bob.rung
    assert (ringing.is_acked, ringing.times_sent) == (True, 4)
    world.check_calm()


@pytest.mark.rfc("3261", "17.2.1")
def test_lost_acks_of_a_failure_make_it_come_again_hop_by_hop() -> None:
    world = World()
    alice = world.phone("alice")
    world.phone("bob", Answering(final=486))
    cut_off(world, alice, b"ACK", 3)
    call = alice.call("sip:bob@example.com")
    world.run(20.0)
    assert statuses(call) == [486]
    assert len(world.requests(b"ACK")) == 2
    world.check_calm()


@pytest.mark.rfc("6026", "8.9")
def test_a_2xx_repeated_until_timer_m_is_forwarded_and_then_no_more() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    cut_off(world, alice, b"ACK", 99)
    call = alice.call("sip:bob@example.com")
    world.run(60.0)
    assert len(call.finals) == bob.rung[0].times_sent == 11
    assert world.proxy.strays == 0
    bob.rung[0].server.flow.send(call.finals[0].raw.replace(b"Via:", b"Via: SIP/2.0/UDP x, ", 1))
    world.run(1.0)
    assert (len(call.finals), world.proxy.strays) == (11, 1)


# ---- a bad network -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_a_bad_network_ends_every_call_alike(seed: int) -> None:
    world = World(seed=seed, conditions=BAD)
    alice, tcp = world.phone("alice"), world.phone("tina", is_reliable=True)
    world.phone("bob", Answering(final_after_s=2.0))
    world.phone("bob", Answering(final=0))
    world.phone("carol", Answering(final=486))
    world.phone("carol", Answering(final=404), is_reliable=True)
    world.phone("dave", is_reliable=True)
    world.phone("erin", Answering(final=603))
    world.phone("erin", Answering(final=0))
    calls = [
        caller.call(f"sip:{to}@example.com")
        for caller in (alice, tcp)
        for to in ("bob", "carol", "dave", "erin")
    ]
    cancelled = alice.call("sip:bob@example.com")
    world.run(1.5)
    cancelled.cancel()
    world.run(60.0)

    assert {call.status for call in calls[0::4] + calls[2::4]} == {200}
    assert {call.status for call in calls[1::4]} <= {404, 486}
    assert {call.status for call in calls[3::4]} == {603}
    assert cancelled.status in (200, 487)
    for call in calls:
        assert call.failure is None
        assert len({(final.status, final.to_tag) for final in call.finals}) == 1
    for phone in world.phones:
        for ringing in phone.rung:
            assert ringing.is_acked or ringing.times_sent == 0

    byes = [
        call_phone.request(b"BYE", dialog)
        for call_phone, call in zip([alice] * 4 + [tcp] * 4, calls, strict=True)
        for dialog in call.dialogs.values()
    ]
    world.run(60.0)
    assert len(byes) == 4
    assert all(bye.statuses[-1] in (200, 480) for bye in byes)
    world.check_calm()


def test_the_same_seed_gives_the_same_run() -> None:
    def run() -> list[bytes]:
        world = World(seed=7, conditions=BAD)
        alice = world.phone("alice")
        world.phone("bob")
        world.phone("bob")
        alice.call("sip:bob@example.com")
        world.run(60.0)
        return [packet.data for packet in world.network.packets]

    assert run() == run()
