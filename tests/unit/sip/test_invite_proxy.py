"""The response context of an INVITE: who is tried, who is cancelled, what goes up (RFC 3261 §16)."""

import gc

import pytest

from sipgram.sip.invite_proxy import InviteFork, Onward
from sipgram.sip.message.parser import parse
from sipgram.testing import messages

from .invite_rig import INVITE, Device, Given, Plan

# ---- out ---------------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "16.6")
def test_a_branch_gets_its_via_record_route_and_share_of_the_breadth() -> None:
    a, b, c = Device(1), Device(2), Device(3)
    Given([a, b, c])
    copies = [device.got[0] for device in (a, b, c)]
    assert [copy.value(b"max-breadth") for copy in copies] == [b"4", b"3", b"3"]
    assert len({copy.branch for copy in copies}) == 3
    for copy in copies:
        assert copy.faults == ()
        assert len(copy.values(b"max-breadth")) == 1
        assert copy.values(b"record-route") == [b"<sip:token@192.0.2.1;lr>"]
        assert (copy.max_forwards, copy.body) == (69, b"v=0")
        assert copy.value(b"x-else") == b"kept"


@pytest.mark.rfc("5393", "5.3.3")
def test_without_max_breadth_one_is_added() -> None:
    device = Device(1)
    Given([device], invite=messages.request(b"INVITE"), breadth=60)
    assert device.got[0].values(b"max-breadth") == [b"60"]


@pytest.mark.rfc("5393", "5.3.3.1")
def test_where_the_breadth_ends_the_others_wait_their_turn() -> None:
    a, b, c = Device(1), Device(2), Device(3)
    given = Given([a, b, c], breadth=2)
    assert [len(device.got) for device in (a, b, c)] == [1, 1, 0]
    given.answer(a, 486, 1.0)
    given.answer(b, 486, 1.0)
    assert c.methods == [b"INVITE"]
    given.answer(c, 200, 2.0)
    assert given.statuses() == [200]


@pytest.mark.rfc("3261", "16.5")
def test_one_target_is_tried_once_however_often_it_is_named() -> None:
    device, other = Device(1), Device(2)
    given = Given([device, device], [device, other])
    given.answer(device, 486, 1.0)
    assert (device.methods, other.methods) == ([b"INVITE", b"ACK"], [b"INVITE"])


def test_content_length_is_added_for_a_stream() -> None:
    device = Device(1, is_reliable=True)
    Given([device], invite=INVITE.replace(b"Content-Length: 3\r\n", b""))
    assert device.got[0].content_length == 3


def test_nobody_to_try_is_a_480() -> None:
    given = Given()
    (answer,) = given.answers()
    assert answer.status == 480
    assert answer.to_tag


# ---- D6: groups --------------------------------------------------------------------------------


def test_d6_the_next_group_is_tried_when_the_first_has_failed() -> None:
    a, b, c = Device(1), Device(2), Device(3)
    given = Given([a, b], [c])
    given.answer(a, 486, 1.0)
    assert c.methods == []
    given.answer(b, 480, 2.0)
    assert c.methods == [b"INVITE"]
    given.answer(c, 200, 30.0)
    assert given.statuses() == [200]


def test_d6_a_group_rings_group_s_and_is_cancelled_when_there_is_another() -> None:
    a, b = Device(1), Device(2)
    given = Given([a], [b])
    given.answer(a, 180, 1.0)
    given.wait(19.9)
    assert a.methods == [b"INVITE"]
    given.wait(20.0)
    assert (a.methods, b.methods) == ([b"INVITE", b"CANCEL"], [b"INVITE"])
    given.answer(a, 487, 20.1)
    given.answer(b, 180, 20.2)
    given.wait(45.0)
    assert b.methods == [b"INVITE"]  # The last group rings until Timer C.
    given.answer(b, 486, 50.0)
    assert given.statuses() == [180, 180, 486]


def test_a_group_that_failed_early_leaves_no_timer_to_the_last() -> None:
    a, b = Device(1), Device(2)
    given = Given([a], [b])
    given.answer(a, 486, 5.0)
    given.answer(b, 180, 6.0)
    given.wait(60.0)
    assert b.methods == [b"INVITE"]


def test_a_2xx_of_a_group_that_was_given_up_still_counts() -> None:
    a, b = Device(1), Device(2)
    given = Given([a], [b])
    given.answer(a, 180, 1.0)
    given.wait(20.0)
    given.answer(b, 180, 20.1)
    given.answer(a, 200, 20.2)
    assert given.statuses() == [180, 180, 200]
    assert b.methods[-1] == b"CANCEL"


# ---- §16.7 step 5: what goes up at once --------------------------------------------------------


@pytest.mark.rfc("3261", "16.7")
def test_each_provisional_but_100_goes_up() -> None:
    a, b = Device(1), Device(2)
    given = Given([a, b])
    for device, status in ((a, 100), (a, 180), (b, 183), (a, 180)):
        given.answer(device, status, 0.1)
    answers = given.answers()
    assert [answer.status for answer in answers] == [180, 183, 180]
    assert all(len(answer.values(b"via")) == 1 for answer in answers)


@pytest.mark.rfc("3261", "16.7")
def test_a_2xx_goes_up_at_once_and_the_others_are_cancelled() -> None:
    """§16.7 step 10: "MUST generate a CANCEL request for all pending client transactions"."""
    a, b, c = Device(1), Device(2), Device(3)
    given = Given([a, b, c])
    given.answer(a, 180, 1.0)
    given.answer(b, 180, 1.0)
    given.answer(a, 200, 2.0)
    assert given.statuses() == [180, 180, 200]
    assert b.methods == [b"INVITE", b"CANCEL"]
    assert b.got[-1].value(b"reason") == b'SIP;cause=200;text="Call completed elsewhere"'
    assert c.methods == [b"INVITE"]  # It has not said anything yet (§9.1).
    given.answer(c, 180, 2.5)
    assert c.methods == [b"INVITE", b"CANCEL"]

    given.answer(b, 487, 3.0)
    given.answer(c, 487, 3.0)
    given.wait(100.0)
    assert given.statuses() == []
    assert given.outcomes == []
    assert given.invites.open_count == 0


@pytest.mark.rfc("3261", "16.7")
def test_every_2xx_goes_up_repeated_and_late_ones_too() -> None:
    """§16.7 step 5: after a final response "Any 2xx response to an INVITE request"."""
    a, b = Device(1), Device(2)
    given = Given([a, b])
    given.answer(a, 200, 1.0)
    given.answer(a, 200, 1.5)
    given.answer(b, 200, 1.6)
    given.answer(b, 200, 2.1)
    tags = [answer.to_tag for answer in given.answers()]
    assert tags == [b"b1", b"b1", b"b2", b"b2"]


@pytest.mark.rfc("3261", "16.7")
def test_no_provisional_goes_up_after_the_2xx() -> None:
    a, b = Device(1), Device(2)
    given = Given([a, b])
    given.answer(a, 200, 1.0)
    given.answer(b, 180, 1.1)
    assert given.statuses() == [200]


@pytest.mark.rfc("3261", "16.7")
def test_a_6xx_cancels_the_rest_and_waits_for_it() -> None:
    """§16.7 step 5: a 6xx "is not immediately forwarded", and no new branch is made."""
    a, b, c = Device(1), Device(2), Device(3)
    given = Given([a, b], [c])
    given.answer(b, 180, 0.5)
    given.answer(a, 603, 1.0)
    assert given.statuses() == [180]
    assert b.methods == [b"INVITE", b"CANCEL"]
    given.answer(b, 487, 1.1)
    assert given.statuses() == [603]
    assert c.methods == []


@pytest.mark.rfc("3261", "16.7")
def test_a_2xx_that_crosses_the_cancel_of_a_6xx_wins() -> None:
    a, b = Device(1), Device(2)
    given = Given([a, b])
    given.answer(a, 600, 1.0)
    given.answer(b, 200, 1.1)
    assert given.statuses() == [200]


# ---- nobody answers ----------------------------------------------------------------------------


def test_the_outcomes_are_told() -> None:
    a, b = Device(1), Device(2)
    given = Given([a, b])
    given.answer(a, 404, 1.0)
    given.wait(33.0)
    assert given.outcomes == [(a.uri, 404), (b.uri, 0)]
    assert (a.is_silent, b.is_silent) == (False, True)
    assert set(given.statuses()) == {404}


@pytest.mark.rfc("3261", "16.7")
def test_no_answer_at_all_is_a_408() -> None:
    """§16.7 step 6: "If there are no final responses in the context, … 408"."""
    given = Given([Device(1)])
    given.wait(31.9)
    assert given.statuses() == []
    given.wait(32.0)
    assert given.statuses() == [408]


@pytest.mark.rfc("3261", "16.8")
def test_timer_c_cancels_what_rings_for_over_three_minutes() -> None:
    device = Device(1)
    given = Given([device])
    given.answer(device, 180, 1.0)
    given.wait(185.9)
    assert device.methods == [b"INVITE"]
    given.wait(186.0)
    assert device.methods == [b"INVITE", b"CANCEL"]
    given.answer(device, 487, 186.1)
    assert given.statuses() == [180, 408]  # Nobody has cancelled as far as the caller knows.


@pytest.mark.rfc("3261", "16.7")
@pytest.mark.parametrize(("status", "ends"), [(183, 286.0), (100, 186.0)])
def test_step_2_timer_c_is_reset_by_101_to_199(status: int, ends: float) -> None:
    device = Device(1)
    given = Given([device])
    given.answer(device, 180, 1.0)
    given.wait(100.0)
    given.answer(device, status, 100.0)
    given.wait(ends - 0.1)
    assert device.methods == [b"INVITE"]
    given.wait(ends)
    assert device.methods == [b"INVITE", b"CANCEL"]


@pytest.mark.rfc("3261", "16.8")
def test_timer_c_and_then_silence_is_a_408_too() -> None:
    device = Device(1)
    given = Given([device])
    given.answer(device, 100, 1.0)
    given.wait(300.0)
    assert set(given.statuses()) == {408}
    assert given.invites.open_count == 0


def test_timer_c_of_an_answered_call_leaves_the_queue_soon() -> None:
    device = Device(1)
    given = Given([device])
    given.answer(device, 180, 1.0)
    given.answer(device, 200, 2.0)
    given.wait(35.0)
    assert len(given.table._queue) == 0


@pytest.mark.parametrize("status", [0, 200, 486])
def test_nothing_is_left_for_the_garbage_collector(status: int) -> None:
    gc.collect()
    gc.disable()
    try:
        devices = [Device(1), Device(2)]
        given = Given(devices)
        given.answer(devices[0], 180, 0.5)
        if status:
            given.answer(devices[0], status, 1.0)
        given.wait(400.0)
        del given.fork
        left = [found for found in gc.get_objects() if type(found) is InviteFork]
    finally:
        gc.enable()
    assert left == []


# ---- §16.10: the caller cancels ----------------------------------------------------------------


@pytest.mark.rfc("3261", "16.10")
def test_a_cancel_of_the_caller_goes_to_every_open_branch() -> None:
    a, b, c = Device(1), Device(2), Device(3)
    given = Given([a, b], [c])
    given.answer(a, 180, 1.0)
    given.answer(b, 486, 1.0)
    given.cancel(2.0)
    assert a.methods == [b"INVITE", b"CANCEL"]
    given.answer(a, 487, 2.1)
    assert given.statuses() == [180, 487]
    assert c.methods == []


@pytest.mark.rfc("3261", "9.1")
def test_a_cancel_before_any_answer_waits_for_the_100() -> None:
    device = Device(1)
    given = Given([device])
    given.cancel(0.1)
    assert device.methods == [b"INVITE"]
    given.answer(device, 100, 0.2)
    assert device.methods == [b"INVITE", b"CANCEL"]
    given.answer(device, 487, 0.3)
    (answer,) = given.answers()
    assert (answer.status, answer.to_tag) == (487, b"b1")


def test_a_cancelled_call_to_a_dead_phone_ends_in_487() -> None:
    given = Given([Device(1)])
    given.cancel(1.0)
    given.wait(32.0)
    (answer,) = given.answers()
    assert (answer.status, answer.reason) == (487, b"Request Terminated")


def test_a_2xx_that_crosses_the_cancel_goes_up() -> None:
    device = Device(1)
    given = Given([device])
    given.answer(device, 180, 1.0)
    given.cancel(2.0)
    given.answer(device, 200, 2.0)
    assert given.statuses() == [180, 200]


def test_a_cancel_that_came_while_the_targets_were_looked_for() -> None:
    device = Device(1)
    given = Given([Device(9)])
    request = parse(INVITE.replace(b"z9hG4bK-1", b"z9hG4bK-2"))
    server = given.invites.open_server(request, given.sender, None, 0.0)
    server.cancel(0.1)
    InviteFork(request, server, given.proxy, Onward(given.sender)).start([[device]], 0.2)
    assert device.methods == []
    assert given.statuses() == [487]


# ---- what leads elsewhere ----------------------------------------------------------------------


@pytest.mark.rfc("3261", "16.7")
def test_step_4_a_302_inside_is_followed_once() -> None:
    a, b = Device(1), Device(2)
    plan = Plan()
    plan.moved = {b.uri: b, a.uri: a}
    given = Given([a], plan=plan)
    given.answer(a, 302, 1.0, headers=(b"Contact: <%b>, <sip:x@192.0.2.50>" % b.uri,))
    assert given.statuses() == []
    given.answer(b, 302, 2.0, headers=(b"Contact: <" + a.uri + b">",))
    assert given.statuses() == [302]  # Back to where it was: not tried again.
    assert a.methods == [b"INVITE", b"ACK"]


@pytest.mark.rfc("3261", "16.7")
@pytest.mark.parametrize(
    ("status", "contact"),
    [(302, b"<sip:x@192.0.2.50>"), (302, b"<"), (305, b"<sip:bob@192.0.2.2>")],
)
def test_step_4_what_leads_out_goes_up_as_it_came(status: int, contact: bytes) -> None:
    a, b = Device(1), Device(2)
    plan = Plan()
    plan.moved = {b.uri: b}
    given = Given([a], plan=plan)
    given.answer(a, status, 1.0, headers=(b"Contact: " + contact,))
    (answer,) = given.answers()
    assert (answer.status, answer.value(b"contact")) == (status, contact)


def test_a_redirection_after_the_caller_cancelled_is_not_followed() -> None:
    a, b = Device(1), Device(2)
    plan = Plan()
    plan.moved = {b.uri: b}
    given = Given([a], plan=plan)
    given.cancel(0.5)
    given.answer(a, 302, 1.0, headers=(b"Contact: <" + b.uri + b">",))
    assert b.methods == []
    assert given.statuses() == [302]


def test_d5_430_and_a_dead_flow_move_to_the_next_flow_of_the_device() -> None:
    dead, stale, good = Device(1, is_alive=False), Device(2), Device(3)
    plan = Plan()
    plan.others = {dead.uri: stale, stale.uri: good, good.uri: stale}
    given = Given([dead], plan=plan)
    given.answer(stale, 430, 1.0)
    given.answer(good, 200, 2.0)
    assert given.statuses() == [200]
    assert given.outcomes == [(dead.uri, 0), (stale.uri, 430)]


def test_d5_any_other_answer_does_not() -> None:
    a, b = Device(1), Device(2)
    plan = Plan()
    plan.others = {a.uri: b}
    given = Given([a], plan=plan)
    given.answer(a, 486, 1.0)
    assert b.methods == []


def test_d28_a_phone_whose_flow_is_dead_is_away() -> None:
    given = Given([Device(1, is_alive=False)])
    assert given.statuses() == [480]


def test_an_ack_that_cannot_be_sent_changes_nothing() -> None:
    a, b = Device(1), Device(2)
    given = Given([a, b])
    a.way.is_alive = False
    given.answer(a, 486, 1.0)
    given.answer(b, 480, 2.0)
    assert given.statuses() == [486]
    assert given.outcomes == [(a.uri, 486), (b.uri, 480)]


def test_a_caller_who_cannot_be_reached_ends_nothing() -> None:
    device = Device(1)
    given = Given([device])
    given.sender.is_alive = False
    given.answer(device, 180, 1.0)
    given.sender.is_alive = True
    given.answer(device, 200, 2.0)
    assert given.statuses() == [200]


def test_a_plain_routing_puts_nothing_in_and_follows_nothing() -> None:
    a, b = Device(1), Device(2, is_alive=False)
    given = Given([a], [b])
    request = parse(INVITE.replace(b"z9hG4bK-1", b"z9hG4bK-2"))
    server = given.invites.open_server(request, given.sender, None, 0.0)
    a.way.take()
    InviteFork(request, server, given.proxy, Onward(given.sender)).start([[a], [b]], 0.0)
    assert not a.got[0].has(b"record-route")
    given.answer(a, 302, 1.0, headers=(b"Contact: <" + b.uri + b">",))
    assert given.statuses() == [302]  # Better than the 480 of the other.


def test_a_flow_that_dies_after_the_end_of_the_search_moves_nowhere() -> None:
    a, b, c = Device(1), Device(2), Device(3)
    plan = Plan()
    plan.others = {b.uri: c}
    given = Given([a, b], plan=plan)
    given.answer(a, 200, 1.0)
    given.invites.transport_failed((b.flow,), 1.1)
    given.wait(60.0)
    assert c.methods == []
    assert given.statuses() == [200]


@pytest.mark.rfc("3261", "16.11")
def test_the_ack_of_a_2xx_goes_on_without_a_transaction() -> None:
    device = Device(1, is_reliable=True)
    given = Given([Device(2)])
    ack = parse(messages.request(b"ACK").replace(b"Content-Length: 0\r\n", b""))
    for _ in range(2):
        assert given.proxy.forward_ack(ack, device, Onward(given.sender))
    first, again = device.got
    assert first.raw == again.raw
    assert (first.method, first.max_forwards, first.content_length) == (b"ACK", 69, 0)
    assert (first.faults, len(first.values(b"via"))) == ((), 2)
    device.way.is_alive = False
    assert not given.proxy.forward_ack(ack, device, Onward(given.sender))
