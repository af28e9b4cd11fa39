"""SUBSCRIBE and its NOTIFYs (RFC 6665 §4.2)."""

import pytest

from sipgram.settings import EventSettings
from sipgram.testing.messages import request, response
from sipgram.testing.recording import RecordingFlow

from .house import House, pidf, state_of


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.rfc("6665", "4.2.1.2")
def test_each_subscribe_gets_a_notify_at_once(house: House) -> None:
    answer = house.subscribe()

    notify = house.notify()
    assert answer.status == 200
    assert answer.value(b"expires") == b"3600"
    assert notify.uri == b"sip:alice@192.0.2.9"
    assert notify.call_id == answer.call_id
    assert notify.from_tag == answer.to_tag
    assert notify.to_tag == answer.from_tag
    assert notify.value(b"event") == b"presence"
    assert notify.value(b"subscription-state") == b"active;expires=3600"
    assert notify.value(b"content-type") == b"application/pidf+xml"
    assert b"<basic>closed</basic>" in notify.body
    assert notify.cseq == 1


def test_a_change_is_told_and_nothing_is_told_twice(house: House) -> None:
    house.watched()

    assert house.publish(pidf("open")).status == 200
    first = house.notify()
    assert house.publish(pidf("open")).status == 200  # Another publisher, the same state.
    assert house.notifies() == []

    assert b"<basic>open</basic>" in first.body
    assert first.cseq == 2


@pytest.mark.rfc("6665", "4.2.2")
def test_the_newest_state_wins_when_a_watcher_is_slow(house: House) -> None:
    house.watched()
    etag = house.publish(pidf(note="0")).value(b"sip-etag") or b""
    (slow,) = house.notifies(status=0)
    for n in range(1, 100):
        etag = house.publish(pidf(note=str(n)), etag=etag).value(b"sip-etag") or b""
        assert house.notifies(status=0, within_s=0.0) == []

    house.receive(response(slow.raw, 200))
    last = house.notify()

    assert b"<note>99</note>" in last.body
    assert last.body.count(b"<tuple") == 1
    assert last.cseq == slow.cseq + 1


def test_one_dead_watcher_holds_up_nobody(house: House) -> None:
    dead = RecordingFlow(host=b"192.0.2.66")
    house.subscribe(watcher=b"carol", flow=dead)
    house.advance(0.1)
    dead.take()
    house.watched()

    house.publish(pidf("open"))

    assert b"open" in house.notify().body


@pytest.mark.rfc("6665", "4.2.2")
def test_a_watcher_that_never_answers_is_removed_after_timer_f(house: House) -> None:
    house.subscribe()
    house.notifies(status=0)
    house.advance(33.0)
    house.flow.take()

    assert len(house.parts.subscriptions) == 0
    house.publish(pidf("open"))
    assert house.notifies() == []


@pytest.mark.rfc("5057", "5.1")
@pytest.mark.parametrize(
    ("status", "left"), [(481, 0), (404, 0), (489, 0), (500, 1), (415, 1), (503, 1)]
)
def test_an_answer_to_notify_ends_the_subscription_or_only_the_notify(
    house: House, status: int, left: int
) -> None:
    house.subscribe()
    house.notify(status=status)

    assert len(house.parts.subscriptions) == left


@pytest.mark.rfc("6665", "4.4.3")
def test_expires_0_fetches_the_state_once(house: House) -> None:
    answer = house.subscribe(expires=0)

    notify = house.notify()
    assert answer.value(b"expires") == b"0"
    assert notify.value(b"subscription-state") == b"terminated;reason=timeout"
    assert b"<basic>closed</basic>" in notify.body
    assert len(house.parts.subscriptions) == 0


@pytest.mark.rfc("6665", "4.2.1.4")
def test_a_refresh_prolongs_and_expires_0_ends_the_dialog(house: House) -> None:
    first = house.subscribe(call_id=b"c1")
    house.notify()
    to = b"<sip:bob@example.com>;tag=" + first.to_tag
    house.advance(3000)

    again = house.subscribe(call_id=b"c1", cseq=2, to=to)
    refreshed = house.notify()
    assert house.notifies(within_s=3000) == []
    end = house.subscribe(call_id=b"c1", cseq=3, to=to, expires=0)
    last = house.notify()

    assert (again.status, end.status) == (200, 200)
    assert refreshed.value(b"subscription-state") == b"active;expires=3600"
    assert last.value(b"subscription-state") == b"terminated;reason=timeout"
    assert len(house.parts.subscriptions) == 0


def test_a_refresh_may_name_the_aor_as_libpurple_does(house: House) -> None:
    first = house.subscribe(call_id=b"c1")
    house.notify()

    to = b"<sip:bob@example.com>;tag=" + first.to_tag
    assert house.subscribe(call_id=b"c1", cseq=2, to=to, uri=b"sip:bob@example.com").status == 200


@pytest.mark.parametrize("call_id", [b"c1", b"other"])
def test_a_refresh_of_what_is_not_there_is_481(house: House, call_id: bytes) -> None:
    house.subscribe(call_id=b"c1")
    house.notify()

    tag = (
        b"nobody"
        if call_id == b"c1"
        else next(iter(house.parts.subscriptions.of(b"presence", "sip:bob@example.com"))).dialog.tag
    )
    answer = house.subscribe(call_id=call_id, cseq=2, to=b"<sip:bob@example.com>;tag=" + tag)

    assert answer.status == 481


def test_an_old_cseq_within_the_dialog_is_500(house: House) -> None:
    first = house.subscribe(call_id=b"c1", cseq=5)
    house.notify()

    to = b"<sip:bob@example.com>;tag=" + first.to_tag
    assert house.subscribe(call_id=b"c1", cseq=5, to=to).status == 500


@pytest.mark.rfc("6665", "4.2.1.1")
def test_a_subscription_that_is_not_refreshed_ends_and_says_so(house: House) -> None:
    house.subscribe(expires=60)
    house.notify()

    (last,) = house.notifies(within_s=62.0)

    assert last.value(b"subscription-state") == b"terminated;reason=timeout"
    assert len(house.parts.subscriptions) == 0


@pytest.mark.parametrize(
    ("headers", "status", "line"),
    [
        ({"event": b"weather"}, 489, b"allow-events"),
        ({"expires": 5}, 423, b"min-expires"),
        ({"uri": b"sip:nobody@elsewhere.example"}, 403, b""),
        ({"event": b"presence;max-rate=x"}, 400, b""),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    house: House, headers: dict[str, bytes | int], status: int, line: bytes
) -> None:
    answer = house.subscribe(**headers)  # type: ignore[arg-type]

    assert answer.status == status
    assert not line or answer.has(line)
    assert house.notifies() == []


def test_an_accept_without_our_types_is_406(house: House) -> None:
    answer = house.subscribe(b"Accept: text/html")

    assert answer.status == 406
    assert answer.value(b"accept") == b"application/pidf+xml"


@pytest.mark.parametrize("accept", [b"application/pidf+xml", b"*/*", b"application/*;q=0.5"])
def test_an_accept_with_our_type_or_its_range_is_taken(house: House, accept: bytes) -> None:
    assert house.subscribe(b"Accept: " + accept).status == 200


def test_a_subscribe_without_event_is_489(house: House) -> None:
    answer = house.ask(request(b"SUBSCRIBE", headers=(b"Contact: <sip:a@192.0.2.9>",)))

    assert answer.status == 489


@pytest.mark.rfc("6446", "4")
def test_a_watcher_may_ask_for_no_more_than_some_notifies_a_second(house: House) -> None:
    house.subscribe(event=b"presence;max-rate=0.5")
    house.notify()
    etag = house.publish(pidf(note="1")).value(b"sip-etag") or b""
    assert house.notifies() == []
    house.publish(pidf(note="2"), etag=etag)
    assert house.notifies() == []

    (late,) = house.notifies(within_s=2.0)

    assert b"<note>2</note>" in late.body


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (EventSettings(subscriptions_per_watcher_max=2), 403),
        (EventSettings(subscriptions_max=2), 480),
        (EventSettings(watchers_max=2), 480),
    ],
)
def test_there_is_a_limit_to_subscriptions(limits: EventSettings, status: int) -> None:
    house = House(events=limits)
    statuses = []
    for n in range(3):
        statuses.append(house.subscribe(call_id=b"c%d" % n).status)
        house.notifies()

    assert statuses == [200, 200, status]


def test_routes_of_a_dialog_are_kept(house: House) -> None:
    house.subscribe(b"Record-Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>")

    notify = house.notify()

    assert notify.value(b"route") == b"<sip:p1.example.com;lr>, <sip:p2.example.com;lr>"


def test_a_closed_connection_is_no_end_and_a_new_binding_resumes(house: House) -> None:
    stream = RecordingFlow(host=b"192.0.2.7", is_reliable=True)
    house.subscribe(flow=stream, contact=b"sip:alice@198.51.100.1:5060")
    house.notify(flow=stream)
    stream.is_alive = False
    house.publish(pidf("open"))
    house.advance(1.0)
    assert len(house.parts.subscriptions) == 1

    again = house.bind("alice")
    notify = house.notify(flow=again)

    assert b"open" in notify.body
    assert notify.cseq == 3  # The one that the closed connection took is not used again.


def test_state_of_phones_that_only_register(house: House) -> None:
    house.watched()
    house.bind("bob")
    here = house.notify()
    house.unbind("bob")
    away = house.notify()

    assert b"<basic>open</basic>" in here.body
    assert b"<basic>closed</basic>" in away.body
    assert state_of(away) == b"active"
