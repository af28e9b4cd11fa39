"""One MESSAGE to many recipients (RFC 5365), through the whole server without sockets."""

from dataclasses import replace

import pytest

from sipgram.payload import multipart, resource_lists
from sipgram.payload.media_type import MediaType
from sipgram.payload.multipart import Part
from sipgram.payload.resource_lists import Copy, Recipient
from sipgram.sip.message.message import Message
from sipgram.testing.messages import request, response

from ...server.node import turns
from ..messaging.house import House, only

SERVICE = b"sip:lists@example.com"
REQUIRE = b"Require: recipient-list-message"
TEXT = Part((("Content-Type", "text/plain"),), b"Hello World!")


def recipient(user: str, copy: Copy = "bcc", *, is_anonymous: bool = False) -> Recipient:
    return Recipient(f"sip:{user}@example.com", copy, is_anonymous)


def listed(*recipients: Recipient, parts: tuple[Part, ...] = (TEXT,)) -> bytes:
    head = (
        ("Content-Type", "application/resource-lists+xml"),
        ("Content-Disposition", "recipient-list"),
    )
    document = Part(head, resource_lists.build(recipients))
    return multipart.build((*parts, document), "boundary1")


def sent(
    body: bytes,
    *headers: bytes,
    uri: bytes = SERVICE,
    kind: bytes = b'multipart/mixed;boundary="boundary1"',
    sender: bytes = b"<sip:alice@example.com>;tag=a1",
    number: int = 1,
) -> bytes:
    return request(
        b"MESSAGE",
        uri,
        via=b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-l%d" % number,
        sender=sender,
        to=b"<" + uri + b">",
        call_id=b"list-%d" % number,
        headers=(b"Content-Type: " + kind, *headers),
        body=body,
    )


async def answered(house: House, raw: bytes) -> Message:
    house.receive(raw)
    await turns()
    return only(house.flow)


async def refused(house: House, raw: bytes) -> Message:
    """Nothing has gone out, and nothing is kept."""
    answer = await answered(house, raw)
    assert house.store.messages == {}
    return answer


@pytest.mark.rfc("5365", "7")
async def test_each_recipient_gets_a_copy_of_its_own_and_the_sender_202() -> None:
    house = House()
    bob = house.bind("bob", port=5061)
    body = listed(recipient("bob"), recipient("carol"))
    house.receive(sent(body, REQUIRE, b"Subject: lunch", b"Expires: 600"))
    await turns()
    assert house.flow.take() == []

    got = only(bob)
    house.receive(response(got.raw, 200), flow=bob)
    await turns()

    assert house.statuses() == [202]
    assert (got.body, got.value(b"content-type")) == (b"Hello World!", b"text/plain")
    assert (got.from_uri, got.to_uri) == (b"sip:alice@example.com", b"sip:bob@example.com")
    assert (got.value(b"subject"), got.value(b"expires")) == (b"lunch", b"600")
    assert not got.has(b"require")
    (kept,) = house.store.messages.values()
    assert (kept.aor, kept.body) == ("sip:carol@example.com", b"Hello World!")
    assert kept.call_id != got.call_id


@pytest.mark.rfc("5365", "7.3")
async def test_who_is_to_be_shown_is_in_the_history() -> None:
    house = House()
    body = listed(recipient("bob", "to"), recipient("carol", "cc"), recipient("alice", "bcc"))

    assert (await answered(house, sent(body, REQUIRE))).status == 202

    kept = next(m for m in house.store.messages.values() if "bob" in m.aor)
    kind = MediaType.parse(kept.content_type.decode())
    text, history = multipart.parse(kept.body, kind.parameters["boundary"])
    assert text == TEXT
    assert history.header("content-disposition") == "recipient-list-history; handling=optional"
    shown = resource_lists.parse(history.body)
    assert shown == (recipient("bob", "to"), recipient("carol", "cc"))
    assert len(house.store.messages) == 3


async def test_d20_a_phone_that_takes_no_multipart_gets_the_text() -> None:
    house = House()
    bob = house.bind("bob", port=5061)
    house.receive(sent(listed(recipient("bob", "to")), REQUIRE))
    await turns()
    house.answer_as(bob, 415)

    got = only(bob)
    house.receive(response(got.raw, 200), flow=bob)
    await turns()

    assert (got.body, got.value(b"content-type")) == (b"Hello World!", b"text/plain")
    assert house.statuses() == [202]
    house.receive(sent(listed(recipient("bob", "to")), REQUIRE, number=2))
    await turns()
    assert only(bob).body == b"Hello World!"


async def test_d20_a_multipart_of_somebody_else_is_left_alone() -> None:
    house = House()
    bob = house.bind("bob", port=5061)
    house.send(b"Content-Type: multipart/mixed;boundary=b", body=b"--b\r\n\r\nhi\r\n--b--")
    house.answer_as(bob, 415)
    assert house.statuses() == [415]


async def test_one_account_gets_one_copy_however_often_it_is_named() -> None:
    house = House()
    names = (recipient("bob"), Recipient("sip:bob@EXAMPLE.com;x=y", "bcc"), recipient("bob", "bcc"))
    assert (await answered(house, sent(listed(*names), REQUIRE))).status == 202
    assert len(house.store.messages) == 1


async def test_d11_no_202_before_every_copy_is_on_disk() -> None:
    house = House()
    house.store.is_slow = True
    house.receive(sent(listed(recipient("bob"), recipient("carol")), REQUIRE))
    await turns()
    assert house.flow.take() == []

    house.store.commit()
    await turns()

    assert house.statuses() == [202]


async def test_d11_a_copy_that_cannot_be_kept_is_told() -> None:
    house = House()
    bob = house.bind("bob", port=5061)
    house.store.is_away = True
    house.receive(sent(listed(recipient("bob"), recipient("carol")), REQUIRE))
    await turns()
    house.answer_as(bob)
    await turns()

    answer = only(house.flow)

    assert (answer.status, answer.value(b"retry-after")) == (500, b"5")
    assert answer.reason == b"Not Taken For 1 Of 2: sip:carol@example.com"


async def test_d23_a_list_that_comes_again_is_stored_once() -> None:
    house = House()
    raw = sent(listed(recipient("bob")), REQUIRE)
    assert (await answered(house, raw)).status == 202
    again = raw.replace(b"z9hG4bK-l1", b"z9hG4bK-l2")
    assert (await answered(house, again)).status == 202
    assert len(house.store.messages) == 1


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ((), 421, (b"require", b"recipient-list-message")),
        ((b"Require: recipient-list-message, teleport",), 420, (b"unsupported", b"teleport")),
    ],
)
async def test_the_extension_must_be_named(
    headers: tuple[bytes, ...], status: int, told: tuple[bytes, bytes]
) -> None:
    answer = await refused(House(), sent(listed(recipient("bob")), *headers))
    assert (answer.status, answer.value(told[0])) == (status, told[1])


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"hi", b"text/plain", 415),
        (b"hi", b'multipart/mixed;boundary="boundary1"', 400),
        (multipart.build((TEXT,), "boundary1"), b'multipart/mixed;boundary="boundary1"', 400),
        (listed(parts=()), b'multipart/mixed;boundary="boundary1"', 400),
        (listed(), b'multipart/mixed;boundary="boundary1"', 400),
        (
            listed(recipient("bob")).replace(b"<list>", b"<!DOCTYPE x>"),
            b'multipart/mixed;boundary="boundary1"',
            400,
        ),
    ],
)
async def test_what_is_no_list_is_refused(body: bytes, kind: bytes, status: int) -> None:
    assert (await refused(House(), sent(body, REQUIRE, kind=kind))).status == status


@pytest.mark.parametrize(
    ("recipients", "status", "reason"),
    [
        ([recipient("bob"), recipient("lists")], 403, b"List Names The List Service Itself"),
        ([recipient(f"u{n}") for n in range(6)], 403, b"List Has Over 5 Recipients: 6"),
        ([recipient("bob"), Recipient("sip:x@elsewhere.org")], 403, None),
        ([recipient("bob"), Recipient("nonsense")], 400, None),
    ],
)
async def test_d1_nothing_goes_out_when_one_entry_is_bad(
    recipients: list[Recipient], status: int, reason: bytes | None
) -> None:
    house = House()
    bob = house.bind("bob", port=5061)

    answer = await refused(house, sent(listed(*recipients), REQUIRE))

    assert answer.status == status
    assert reason in (None, answer.reason)
    assert bob.take() == []


async def test_d1_no_amplification_for_strangers() -> None:
    """However the request was admitted: its sender must live here."""
    house = House()
    stranger = b"<sip:mallory@elsewhere.org>;tag=m"
    answer = await refused(house, sent(listed(recipient("bob")), REQUIRE, sender=stranger))
    assert answer.status == 403


@pytest.mark.rfc("5360", "5.9.2")
async def test_who_does_not_consent_is_not_written_to() -> None:
    house = House()
    name = ("bob", "example.com")
    house.household.by_name[name] = replace(house.household.by_name[name], takes_lists=False)

    answer = await refused(house, sent(listed(recipient("bob"), recipient("carol")), REQUIRE))

    assert answer.status == 470
    assert answer.value(b"permission-missing") == b"<sip:bob@example.com>"


@pytest.mark.rfc("5365", "5")
async def test_options_tell_of_the_extension_and_other_methods_are_refused() -> None:
    house = House()
    answer = await answered(house, sent(b"", uri=SERVICE).replace(b"MESSAGE", b"OPTIONS"))
    assert (answer.status, answer.value(b"supported")) == (200, b"recipient-list-message")
    raw = sent(b"", uri=SERVICE, number=2).replace(b"MESSAGE", b"REFER")
    assert (await answered(house, raw)).status == 405


async def test_an_account_of_that_name_comes_first() -> None:
    house = House()
    phone = house.bind("lists", port=5061)
    house.receive(sent(listed(recipient("bob")), REQUIRE))
    assert only(phone).method == b"MESSAGE"


async def test_the_work_is_spread_over_turns() -> None:
    """At most 5 ms of work a turn: with a clock that runs, copies leave in several turns."""
    house = House()
    flows = [house.bind(f"u{n}", port=6000 + n) for n in range(5)]
    steps = iter(range(1_000_000))
    house.lists._clock = lambda: 0.002 * next(steps)

    house.receive(sent(listed(*(recipient(f"u{n}") for n in range(5))), REQUIRE))
    counts = []
    for _ in range(6):
        await turns(1)
        counts.append(sum(len(flow.sent) for flow in flows))

    assert counts[0] < 5
    assert counts[-1] == 5
