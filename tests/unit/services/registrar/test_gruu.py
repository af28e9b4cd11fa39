"""GRUUs: made by the registrar, read by the location table (RFC 5627)."""

import pytest

from sipgram.errors import Refusal
from sipgram.services.registrar.gruu import Gruus, gr_of
from sipgram.sip.message.address import Address
from sipgram.testing.recording import RecordingFlow

from .rig import INSTANCE, Rig, contacts_of

HOME = b"<sip:bob@192.0.2.1:5060>" + INSTANCE
PUBLIC = b"sip:bob@example.com;gr=urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF"
SUPPORTED = (b"Supported: gruu",)
OTHER = b'<sip:bob@192.0.2.2>;+sip.instance="<urn:uuid:2>"'


async def gruus(rig: Rig, contact: bytes = HOME, **register: object) -> dict[bytes, bytes | None]:
    """Register; return the parameters of the first Contact of the 200."""
    reply = await rig.register(contact, headers=SUPPORTED, **register)  # type: ignore[arg-type]  # The rig's own.
    return dict(Address.parse(contacts_of(reply)[0], of="Contact").params)


def temporary(params: dict[bytes, bytes | None]) -> bytes:
    found = params[b"temp-gruu"]
    assert found
    return found


@pytest.mark.rfc("5627", "5.2")
async def test_a_phone_that_knows_gruu_is_given_two() -> None:
    """ "MUST include a "pub-gruu" Contact header field parameter"; both are quoted URIs."""
    rig = Rig()

    params = await gruus(rig)

    assert params[b"pub-gruu"] == PUBLIC
    assert temporary(params).startswith(b"sip:tgruu.")
    assert temporary(params).endswith(b"@example.com;gr")
    for told in (b"bob@", b"AABBCCDDEEFF"):
        assert told not in temporary(params)


@pytest.mark.rfc("5627", "5.2")
async def test_a_phone_that_does_not_know_gruu_is_given_none() -> None:
    rig = Rig()

    (contact,) = contacts_of(await rig.register(HOME))

    assert b"gruu" not in contact


@pytest.mark.rfc("5627", "5.1")
async def test_a_contact_without_an_instance_is_given_none() -> None:
    rig = Rig()

    (contact,) = contacts_of(await rig.register(b"<sip:bob@192.0.2.1>", headers=SUPPORTED))

    assert b"gruu" not in contact


@pytest.mark.rfc("5627", "5.4")
async def test_each_refresh_gives_another_temporary_one_and_the_old_stay_good() -> None:
    rig = Rig()
    first = temporary(await gruus(rig, cseq=1))
    second = temporary(await gruus(rig, cseq=2, now=10.0))

    assert first != second
    for uri in (first, second):
        (binding,) = rig.locations.find(uri).bindings
        assert binding.uri == b"sip:bob@192.0.2.1:5060"


@pytest.mark.rfc("5627", "5.4")
async def test_another_call_id_ends_temporary_ones() -> None:
    """ "any previously assigned temporary GRUUs … MUST be invalidated"."""
    rig = Rig()
    old = temporary(await gruus(rig, call_id=b"one"))
    new = temporary(await gruus(rig, call_id=b"two"))

    with pytest.raises(Refusal, match="404"):
        rig.locations.find(old)
    assert rig.locations.find(new).bindings


@pytest.mark.rfc("5627", "5.4")
async def test_the_end_of_the_registration_ends_temporary_ones() -> None:
    rig = Rig()
    old = temporary(await gruus(rig, call_id=b"one"))
    await rig.register(HOME, expires=b"0", call_id=b"one", cseq=2)

    with pytest.raises(Refusal, match="404"):
        rig.locations.find(old)


@pytest.mark.parametrize("change", [b"A", b"", b"!"])
async def test_a_temporary_one_cannot_be_made_up(change: bytes) -> None:
    rig = Rig()
    uri = temporary(await gruus(rig))
    made_up = uri[:12] + change + uri[13:]

    if made_up != uri:
        with pytest.raises(Refusal, match="404"):
            rig.locations.find(made_up)


@pytest.mark.rfc("5627", "5.5")
async def test_d6_a_public_one_leads_to_its_device_alone() -> None:
    rig = Rig()
    await gruus(rig)
    await rig.register(OTHER, source=RecordingFlow(port=2))

    for uri, contact in (
        (PUBLIC, b"sip:bob@192.0.2.1:5060"),
        (PUBLIC.replace(b"gr=", b"GR="), b"sip:bob@192.0.2.1:5060"),
        (b"sip:bob@example.com;gr=urn:uuid:2", b"sip:bob@192.0.2.2"),
    ):
        assert [b.uri for b in rig.locations.find(uri).bindings] == [contact]
    assert len(rig.locations.find(b"sip:bob@example.com").bindings) == 2
    assert rig.locations.find(b"sip:bob@example.com;gr=urn:uuid:3").bindings == []


@pytest.mark.rfc("5627", "5.1")
async def test_a_register_is_for_an_aor_and_not_for_a_gruu() -> None:
    rig = Rig()

    with pytest.raises(Refusal, match="403"):
        await rig.register(HOME, aor=b"<" + PUBLIC + b">")


def test_a_gr_holds_only_what_a_parameter_may() -> None:
    assert gr_of(b'<urn:x:a;b="c">') == b"urn:x:a%3Bb%3D%22c%22"


def test_another_servers_token_is_nothing_here() -> None:
    uri = Gruus(b"one").temporary("sip:bob@example.com", b"<urn:x>", b"c", 1)
    user = uri.removeprefix(b"sip:").partition(b"@")[0]

    assert Gruus(b"one").opened(user) is not None
    assert Gruus(b"two").opened(user) is None
