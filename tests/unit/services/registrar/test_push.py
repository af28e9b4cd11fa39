"""A REGISTER that tells how to wake its phone (RFC 8599 §5.6, DELIVERY.md D25)."""

import pytest

from sipgram.errors import ParseError, Refusal, Unavailable
from sipgram.services.registrar.push import PushTerms
from sipgram.sip.push import PUSH_BYTES_MAX, Push

from .rig import HOME, Rig, contacts_of

PARAMS = b"pn-provider=fcm;pn-prid=a%3Ab;pn-param=sender"
URI = b"sip:bob@192.0.2.1:5060"
CONTACT = b"<" + URI + b";" + PARAMS + b'>;+sip.instance="<urn:uuid:1>"'
PHONE = Push(b"fcm", b"a:b", b"sender")
TERMS = PushTerms({b"fcm": b"", b"webpush": b'+sip.vapid="BKey"'})


def capabilities(headers: tuple[bytes, ...]) -> list[bytes]:
    return [line for line in headers if line.startswith(b"Feature-Caps: ")]


async def test_d25_the_parameters_are_kept_with_the_binding_and_hidden_from_its_uri() -> None:
    rig = Rig(push=TERMS)

    reply = await rig.register(CONTACT)

    binding = rig.binding()
    assert (binding.uri, binding.push) == (URI, PHONE)
    assert rig.watched == [binding]
    # The phone itself hears what it said.
    (own,) = contacts_of(reply)
    assert own.startswith(b"<" + URI + b";" + PARAMS + b">")


async def test_d25_another_device_of_the_account_does_not_see_them() -> None:
    rig = Rig(push=TERMS)
    await rig.register(CONTACT)

    reply = await rig.register(b"<sip:bob@192.0.2.7>", call_id=b"another")

    assert len(contacts_of(reply)) == 2
    assert not any(b"pn-" in contact for contact in contacts_of(reply))


@pytest.mark.rfc("8599", "5.6.1.1")
async def test_a_2xx_tells_that_the_service_is_told() -> None:
    rig = Rig(push=TERMS)

    reply = await rig.register(CONTACT)

    assert capabilities(reply.headers) == [b'Feature-Caps: *;+sip.pns="fcm"']
    refreshed = await rig.register(CONTACT, cseq=2)
    assert capabilities(refreshed.headers) == [b'Feature-Caps: *;+sip.pns="fcm"']


@pytest.mark.rfc("8599", "5.6.1.1")
async def test_a_phone_that_wakes_by_itself_is_told_when_to_refresh() -> None:
    """§8.2: the value is larger than 120."""
    rig = Rig(push=TERMS)
    reply = await rig.register(CONTACT + b";+sip.pnsreg")
    assert capabilities(reply.headers) == [b'Feature-Caps: *;+sip.pns="fcm";+sip.pnsreg="130"']


@pytest.mark.rfc("8599", "4.1.3")
async def test_a_provider_without_value_asks_which_there_are() -> None:
    rig = Rig(push=TERMS)

    reply = await rig.register(b"<" + URI + b";pn-provider>")

    assert capabilities(reply.headers) == [
        b'Feature-Caps: *;+sip.pns="fcm"',
        b'Feature-Caps: *;+sip.pns="webpush";+sip.vapid="BKey"',
    ]
    assert rig.binding().push is None


@pytest.mark.rfc("8599", "5.6.1.1")
async def test_a_service_that_is_not_told_here_is_555() -> None:
    rig = Rig(push=TERMS)

    with pytest.raises(Refusal) as refused:
        await rig.register(CONTACT.replace(b"fcm", b"acme"))

    assert (refused.value.status, refused.value.reason) == (
        555,
        "Push Notification Service Not Supported",
    )
    assert capabilities(refused.value.headers) == [
        b'Feature-Caps: *;+sip.pns="fcm"',
        b'Feature-Caps: *;+sip.pns="webpush";+sip.vapid="BKey"',
    ]
    assert rig.uris() == []


async def test_a_webhook_for_all_takes_any_service() -> None:
    rig = Rig(push=PushTerms(takes_any=True))
    reply = await rig.register(CONTACT.replace(b"fcm", b"acme"))
    assert capabilities(reply.headers) == [b'Feature-Caps: *;+sip.pns="acme"']


async def test_where_no_service_is_set_up_nobody_is_refused_and_nothing_promised() -> None:
    """Linphone sends its parameters to every server: without push it must still get in."""
    rig = Rig()
    reply = await rig.register(CONTACT)
    assert capabilities(reply.headers) == []
    assert rig.binding().push == PHONE


@pytest.mark.rfc("8599", "4.1.2")
@pytest.mark.parametrize(
    "contact", [CONTACT + b";expires=0", CONTACT.replace(b"pn-prid=a%3Ab;", b"")]
)
async def test_a_phone_that_takes_leave_or_its_name_back_is_not_woken(contact: bytes) -> None:
    rig = Rig(push=TERMS)
    await rig.register(CONTACT)
    before = rig.binding()

    await rig.register(contact, cseq=2)

    assert before.push is None
    assert [b.push for b in rig.locations.find(b"sip:bob@example.com").bindings] in ([], [None])


async def test_a_leave_that_is_not_committed_is_taken_back_with_its_push() -> None:
    rig = Rig(push=TERMS)
    await rig.register(CONTACT)
    rig.store.error = Unavailable("full")

    with pytest.raises(Unavailable):
        await rig.register(CONTACT + b";expires=0", cseq=2)

    assert rig.binding().push == PHONE


async def test_one_phone_without_instance_is_found_by_its_push_name() -> None:
    """Its address has changed while it slept."""
    rig = Rig(push=TERMS)
    await rig.register(CONTACT.partition(b">")[0] + b">")
    moved = b"<sip:bob@192.0.2.99:6000;" + PARAMS + b">"

    await rig.register(moved, call_id=b"call-2")

    assert rig.uris() == [b"sip:bob@192.0.2.99:6000"]


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_the_parameters_are_bounded(over: int) -> None:
    rig = Rig(push=TERMS)
    prid = b"x" * (PUSH_BYTES_MAX - len("fcm") + over)
    contact = b"<" + URI + b";pn-provider=fcm;pn-prid=" + prid + b">"
    if over > 0:
        with pytest.raises(ParseError):
            await rig.register(contact)
    else:
        await rig.register(contact)
        assert rig.binding().push == Push(b"fcm", prid)


async def test_a_contact_without_push_is_as_it_was() -> None:
    rig = Rig(push=TERMS)
    reply = await rig.register(HOME)
    assert capabilities(reply.headers) == []
    assert rig.watched == []


def test_what_is_kept_is_read_back() -> None:
    full = Push(b"webpush", b"https://push.example/\xff", b"p", b"purr")
    assert Push.unpacked(full.packed()) == full
    assert Push.of_contact(CONTACT) == PHONE
    assert Push.of_contact(b"<sip:bob@192.0.2.1;pn-provider=fcm>") is None
    assert Push.of_contact(b"nonsense pn-") is None
    with pytest.raises(ParseError):
        Push.unpacked(b"a\0b")
