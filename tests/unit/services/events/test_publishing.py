"""PUBLISH: entity-tags, refresh, modify, remove, expiry (RFC 3903 §6)."""

import pytest

from sipgram.settings import EventSettings
from sipgram.testing.messages import request

from .house import House, pidf


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.rfc("3903", "6")
def test_refresh_modify_and_remove_by_entity_tag(house: House) -> None:
    house.watched()
    first = house.publish(pidf(note="1"))
    house.notify()
    tags = [first.value(b"sip-etag") or b""]

    refresh = house.publish(etag=tags[-1])
    tags.append(refresh.value(b"sip-etag") or b"")
    assert house.notifies() == []
    modify = house.publish(pidf(note="2"), etag=tags[-1])
    tags.append(modify.value(b"sip-etag") or b"")
    changed = house.notify()
    remove = house.publish(etag=tags[-1], expires=0)
    gone = house.notify()

    assert [a.status for a in (first, refresh, modify, remove)] == [200] * 4
    assert len(set(tags)) == 3
    assert b"<note>2</note>" in changed.body
    assert b"<note>1</note>" not in changed.body
    assert b"<basic>closed</basic>" in gone.body
    assert len(house.parts.publishing) == 0


def test_a_wrong_tag_is_412_and_a_missing_body_400(house: House) -> None:
    assert house.publish(pidf(), etag=b"nonsense").status == 412
    assert house.publish(etag=b"").status == 400
    old = house.publish(pidf()).value(b"sip-etag") or b""
    new = house.publish(pidf(), etag=old).value(b"sip-etag") or b""
    assert house.publish(pidf(), etag=old).status == 412
    assert house.publish(etag=new).status == 200


def test_a_publisher_whose_200_was_lost_publishes_nothing_twice(house: House) -> None:
    house.publish(pidf(note="1"), call_id=b"c1")
    again = house.publish(pidf(note="1"), call_id=b"c1")  # It never got its first tag.
    assert len(house.parts.publishing) == 1
    old = again.value(b"sip-etag") or b""
    house.publish(pidf(note="2"), etag=old, call_id=b"c1")

    repeated = house.publish(pidf(note="2"), etag=old, call_id=b"c1")

    assert repeated.status == 200
    assert len(house.parts.publishing) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (pidf(), {"content_type": b"text/plain"}, 415),
        (b"<presence", {}, 400),
        (b"<other/>", {}, 400),
        (pidf(), {"event": b"weather"}, 489),
        (pidf(), {"event": b"reg"}, 489),
        (pidf(), {"expires": 3}, 423),
        (pidf(note="x" * 40_000), {}, 413),
    ],
)
def test_what_cannot_be_published_is_refused(
    house: House, body: bytes, headers: dict[str, bytes | int], status: int
) -> None:
    answer = house.publish(body, **headers)  # type: ignore[arg-type]

    assert answer.status == status
    assert len(house.parts.publishing) == 0


def test_publications_expire(house: House) -> None:
    house.watched()
    house.publish(pidf(), expires=60)
    house.notify()

    (last,) = house.notifies(within_s=63.0)

    assert b"<basic>closed</basic>" in last.body
    assert len(house.parts.publishing) == 0


def test_several_publishers_are_composed_open_first(house: House) -> None:
    house.watched()
    house.publish(pidf("open", id="phone", contact="sip:bob@192.0.2.1"))
    house.notify()
    house.publish(pidf("closed", id="desk", contact="sip:bob@192.0.2.2"))

    body = house.notify().body

    assert body.index(b'id="phone"') < body.index(b'id="desk"')


def test_there_is_a_limit_to_publications_and_the_oldest_goes() -> None:
    house = House(events=EventSettings(publications_per_aor_max=2, publications_max=3))
    for n in range(4):
        assert house.publish(pidf(id=f"t{n}")).status == 200
    assert len(house.parts.publishing) == 2
    assert house.publish(pidf(), user=b"carol").status == 200
    assert house.publish(pidf(), user=b"alice").status == 480


def test_nobody_publishes_for_another(house: House) -> None:
    strict = House(has_digest=True)
    body = pidf()
    raw = request(
        b"PUBLISH",
        b"sip:bob@example.com",
        headers=(b"Event: presence", b"Content-Type: application/pidf+xml"),
        body=body,
    )
    challenged = strict.ask(raw)
    assert challenged.status == 401
    assert challenged.has(b"www-authenticate")

    answer = strict.ask(strict.authorized(raw.replace(b"z9hG4bK-1", b"z9hG4bK-2")))

    assert answer.status == 403


def test_dialog_information_is_passed_through(house: House) -> None:
    body = (
        b'<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="7" state="full" '
        b'entity="sip:bob@example.com"><dialog id="d1"><state>confirmed</state></dialog></dialog-info>'
    )
    house.watched(event=b"dialog")

    house.publish(body, event=b"dialog", content_type=b"application/dialog-info+xml")
    notify = house.notify()

    assert b"<state>confirmed</state>" in notify.body
    assert b'version="1"' in notify.body


def test_waiting_messages_are_told_to_their_owner_alone(house: House) -> None:
    own = {"event": b"message-summary", "watcher": b"bob"}
    house.watched(**own)
    house.waiting["sip:bob@example.com"] = 3
    house.parts.tick(house.clock.now)
    notify = house.notify()

    assert notify.body == (
        b"Messages-Waiting: yes\r\nMessage-Account: sip:bob@example.com\r\nText-Message: 3/0\r\n"
    )
    assert house.subscribe(event=b"message-summary", watcher=b"alice").status == 403


def test_registrations_are_told_to_their_owner(house: House) -> None:
    house.watched(event=b"reg", watcher=b"bob")
    house.bind("bob")
    notify = house.notify()

    assert notify.value(b"content-type") == b"application/reginfo+xml"
    assert b"<uri>sip:bob@198.51.100.1:5060</uri>" in notify.body
    assert b'state="active"' in notify.body
