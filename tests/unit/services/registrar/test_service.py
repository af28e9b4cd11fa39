"""The registrar's steps (RFC 3261 §10.3)."""

import pytest

from sipgram.errors import ParseError, Refusal
from sipgram.testing.recording import RecordingFlow

from .rig import HOME, INSTANCE, Rig, contacts_of

WORK = b"<sip:bob@192.0.2.2:5060>"


# ---- steps 1 to 5 ------------------------------------------------------------------------------


async def test_step_1_a_foreign_domain_is_not_registered() -> None:
    with pytest.raises(Refusal, match="403"):
        await Rig().register(HOME, aor=b"<sip:bob@elsewhere.example>")


async def test_step_4_only_ones_own_aor() -> None:
    """ "If the user is not authorized to modify bindings, the registrar MUST return a 403"."""
    rig = Rig()

    with pytest.raises(Refusal, match="403"):
        await rig.register(HOME, account_id=7)
    assert rig.uris() == []


async def test_step_5_the_aor_is_the_to_uri_without_parameters() -> None:
    rig = Rig()

    await rig.register(HOME, aor=b"<sip:bob@EXAMPLE.com:5070;transport=tcp>")

    assert rig.uris() == [b"sip:bob@192.0.2.1:5060"]


# ---- step 6 ------------------------------------------------------------------------------------


async def test_step_6_without_a_contact_nothing_changes() -> None:
    rig = Rig()
    await rig.register(HOME, expires=b"600")

    reply = await rig.register(cseq=2, now=100.0)

    assert contacts_of(reply) == [b"<sip:bob@192.0.2.1:5060>;expires=500"]
    assert len(rig.store.put) == 1


async def test_step_6_a_wildcard_removes_every_binding() -> None:
    rig = Rig()
    await rig.register(HOME, call_id=b"a")
    await rig.register(WORK, call_id=b"b")

    reply = await rig.register(b"*", expires=b"0", call_id=b"a", cseq=2)

    assert contacts_of(reply) == []
    assert rig.uris() == []
    assert rig.store.kept == set()


async def test_step_6_a_wildcard_with_an_old_cseq_is_aborted() -> None:
    """ "only if the CSeq in the request is higher than the value stored for that binding.
    Otherwise, the update MUST be aborted and the request fails." """
    rig = Rig()
    await rig.register(WORK, call_id=b"b")
    await rig.register(HOME, call_id=b"a", cseq=5)

    with pytest.raises(ParseError, match="CSeq"):
        await rig.register(b"*", expires=b"0", call_id=b"a", cseq=5)

    assert len(rig.uris()) == 2


async def test_step_6_a_wildcard_for_nobody_is_a_200() -> None:
    assert contacts_of(await Rig().register(b"*", expires=b"0")) == []


@pytest.mark.parametrize("expires", [None, b"1", b"3600"])
async def test_step_6_a_wildcard_without_zero_is_a_400(expires: bytes | None) -> None:
    rig = Rig()
    await rig.register(HOME)

    with pytest.raises(ParseError):
        await rig.register(b"*", expires=expires, cseq=2)
    assert len(rig.uris()) == 1


# ---- step 7 ------------------------------------------------------------------------------------


async def test_step_7_a_contact_is_added_updated_and_removed() -> None:
    rig = Rig()

    added = await rig.register(HOME, expires=b"120")
    updated = await rig.register(HOME, expires=b"240", cseq=2, now=10.0)
    removed = await rig.register(HOME, expires=b"0", cseq=3, now=20.0)

    assert contacts_of(added) == [b"<sip:bob@192.0.2.1:5060>;expires=120"]
    assert contacts_of(updated) == [b"<sip:bob@192.0.2.1:5060>;expires=240"]
    assert contacts_of(removed) == []
    assert rig.locations.bindings_count == 0


async def test_step_7_to_remove_what_is_not_there_is_a_200() -> None:
    assert contacts_of(await Rig().register(HOME, expires=b"0")) == []


@pytest.mark.parametrize(
    "same",
    [
        b"<sip:bob@192.0.2.1:5060>;q=0.5",
        b'"Bob" <sip:bob@192.0.2.1:5060>',
        b"<sip:%62ob@192.0.2.1:5060>",
        b"<SIP:bob@192.0.2.1:5060>",
        b"sip:bob@192.0.2.1:5060",
    ],
)
async def test_step_7_contacts_are_compared_as_uris(same: bytes) -> None:
    """RFC 3261 §19.1.4, not octet by octet."""
    rig = Rig()
    await rig.register(HOME)

    await rig.register(same, cseq=2)

    assert len(rig.uris()) == 1


@pytest.mark.parametrize(
    "other",
    [
        b"<sip:bob@192.0.2.1>",
        b"<sip:Bob@192.0.2.1:5060>",
        b"<sip:bob@192.0.2.1:5060;transport=udp>",
        b"<sips:bob@192.0.2.1:5060>",
    ],
)
async def test_step_7_uris_that_differ_are_two_contacts(other: bytes) -> None:
    rig = Rig()
    await rig.register(HOME)

    await rig.register(other, cseq=2)

    assert len(rig.uris()) == 2


@pytest.mark.parametrize("cseq", [4, 5])
async def test_step_7_an_old_cseq_is_refused(cseq: int) -> None:
    rig = Rig()
    await rig.register(HOME, cseq=5, expires=b"600")

    with pytest.raises(ParseError, match="CSeq is not higher"):
        await rig.register(HOME, cseq=cseq, expires=b"0", now=1.0)

    assert len(rig.uris()) == 1


async def test_step_7_an_old_cseq_is_refused_when_the_contact_lies_elsewhere() -> None:
    """The flow to the contact is not the flow that its REGISTER came on (D27)."""
    rig = Rig()
    rig.routes.others[b"sip:bob@192.0.2.1:5070"] = RecordingFlow(port=5070)
    await rig.register(b"<sip:bob@192.0.2.1:5070>", cseq=5)

    with pytest.raises(ParseError, match="CSeq is not higher"):
        await rig.register(b"<sip:bob@192.0.2.1:5070>", cseq=4, expires=b"0", now=1.0)


async def test_step_7_all_or_none() -> None:
    """ "The binding updates MUST be committed ... if and only if all binding updates and
    additions succeed." """
    rig = Rig()
    await rig.register(HOME, cseq=5)

    with pytest.raises(ParseError):
        await rig.register(WORK, HOME, cseq=5, expires=b"600")
    with pytest.raises(Refusal, match="423"):
        await rig.register(WORK, b"<sip:bob@192.0.2.3>;expires=5", cseq=6)
    with pytest.raises(ParseError):
        await rig.register(WORK, b"<sip:bob@", cseq=6)

    assert rig.uris() == [b"sip:bob@192.0.2.1:5060"]
    assert len(rig.store.put) == 1


async def test_step_7_several_contacts_at_once() -> None:
    rig = Rig()
    await rig.register(HOME)

    reply = await rig.register(HOME + b";expires=0", WORK + b";q=0.3", cseq=2)

    assert contacts_of(reply) == [b"<sip:bob@192.0.2.2:5060>;q=0.3;expires=3600"]


async def test_step_7_a_contact_that_stands_twice_is_one() -> None:
    rig = Rig()

    await rig.register(HOME, HOME + b";expires=120")
    await rig.register(WORK + INSTANCE, b"<sip:bob@192.0.2.3>" + INSTANCE, cseq=2)

    assert rig.uris() == [b"sip:bob@192.0.2.1:5060", b"sip:bob@192.0.2.3"]
    entry = rig.locations.find(b"sip:bob@example.com")
    assert {b.key for b in rig.store.put if b.entry is entry} == {b.key for b in entry.bindings}


async def test_step_7_a_contact_put_and_removed_in_one_request_is_gone() -> None:
    rig = Rig()

    reply = await rig.register(HOME, HOME + b";expires=0")

    assert contacts_of(reply) == []
    assert rig.store.kept == set()


@pytest.mark.parametrize(
    "contact",
    [b"<sip:bob@192.0.2.100>", b"<sip:bob@192.0.2.100:5060>", b"<sip:x@192.0.2.100;transport=tcp>"],
)
async def test_a_contact_that_is_this_server_is_refused(contact: bytes) -> None:
    """It would send each request back to us until Max-Forwards ends it."""
    rig = Rig()

    with pytest.raises(Refusal, match="Contact Is This Server"):
        await rig.register(contact)
    assert rig.uris() == []


async def test_another_port_of_this_host_is_no_loop() -> None:
    assert (await Rig().register(b"<sip:bob@192.0.2.100:5070>")).status == 200


# ---- step 8 ------------------------------------------------------------------------------------


async def test_step_8_the_200_lists_every_binding_with_its_time() -> None:
    rig = Rig()
    await rig.register(HOME + INSTANCE + b";q=0.7", expires=b"600")

    reply = await rig.register(WORK, expires=b"60", call_id=b"b", now=540.4)

    assert contacts_of(reply) == [
        b"<sip:bob@192.0.2.1:5060>" + INSTANCE + b";q=0.7;expires=60",
        b"<sip:bob@192.0.2.2:5060>;expires=60",
    ]


async def test_step_8_what_has_expired_is_not_listed() -> None:
    rig = Rig()
    await rig.register(HOME, expires=b"60")

    assert contacts_of(await rig.register(cseq=2, now=59.9)) == [HOME + b";expires=1"]
    assert contacts_of(await rig.register(cseq=3, now=60.0)) == []
