"""The registrar's steps (RFC 3261 §10.3; D5, D27, D29, D37)."""

import pytest

from sipgram.errors import ParseError, Refusal, Unavailable
from sipgram.services.answers import Commit
from sipgram.settings import RegistrarSettings
from sipgram.testing.recording import RecordingFlow

from .rig import BOB, HOME, INSTANCE, Rig, contacts_of, finish, registering

OTHER_INSTANCE = INSTANCE.replace(b"AABB", b"CCDD")
WORK = b"<sip:bob@192.0.2.2:5060>"


class Chance:
    """An Entropy whose fraction is always the same."""

    def __init__(self, fraction: float) -> None:
        self._fraction = fraction

    def token(self) -> str:
        return "t"

    def secret(self) -> bytes:
        return bytes(32)

    def fraction(self) -> float:
        return self._fraction


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


# ---- D5 ----------------------------------------------------------------------------------------


async def test_d5_the_same_instance_replaces_its_binding() -> None:
    rig = Rig()
    await rig.register(HOME + INSTANCE)

    await rig.register(b"<sip:bob@203.0.113.5:1234>" + INSTANCE, call_id=b"another")

    assert rig.uris() == [b"sip:bob@203.0.113.5:1234"]
    assert rig.store.put[-1].key == rig.store.put[0].key


async def test_d5_two_devices_may_have_one_uri_behind_two_nats() -> None:
    """Both are sip:bob@192.0.2.1:5060 to themselves; each is reached on its own flow."""
    rig = Rig()
    first, second = RecordingFlow(host=b"198.51.100.1"), RecordingFlow(host=b"203.0.113.1")

    await rig.register(HOME + INSTANCE, source=first)
    await rig.register(HOME + OTHER_INSTANCE, call_id=b"b", source=second)

    entry = rig.locations.find(b"sip:bob@example.com")
    assert [b.flow for b in entry.bindings] == [first, second]


async def test_d5_one_uri_on_one_flow_is_one_contact_whatever_its_instance() -> None:
    """A phone that makes up a new instance at each start would get everything twice."""
    rig = Rig()

    await rig.register(HOME + INSTANCE)
    await rig.register(HOME + OTHER_INSTANCE, call_id=b"b")

    assert len(rig.uris()) == 1
    assert [b.instance for b in rig.store.drop] == [rig.store.put[0].instance]


async def test_d5_an_instance_takes_over_its_nameless_binding() -> None:
    rig = Rig()

    await rig.register(HOME)
    await rig.register(HOME + INSTANCE, cseq=2)

    assert len(rig.uris()) == 1
    assert rig.store.drop == [rig.store.put[0]]


@pytest.mark.parametrize(("count", "gone"), [(2, 0), (3, 0), (4, 1), (5, 2)])
async def test_d5_the_contact_limit_lets_the_oldest_go(count: int, gone: int) -> None:
    rig = Rig(RegistrarSettings(bindings_per_aor_max=3))
    contacts = [b"<sip:bob@192.0.2.%d>" % n for n in range(count)]

    for n, contact in enumerate(contacts):
        await rig.register(contact, call_id=b"c%d" % n, now=float(n))

    assert rig.uris() == [contact[1:-1] for contact in contacts[gone:]]
    assert [b.value for b in rig.store.drop] == contacts[:gone]


async def test_d5_the_oldest_is_the_longest_unheard() -> None:
    rig = Rig(RegistrarSettings(bindings_per_aor_max=2))
    await rig.register(HOME, call_id=b"a", now=0.0)
    await rig.register(WORK, call_id=b"b", now=1.0)
    await rig.register(HOME, call_id=b"a", cseq=2, now=2.0)

    await rig.register(b"<sip:bob@192.0.2.3>", call_id=b"c", now=3.0)

    assert b"sip:bob@192.0.2.2:5060" not in rig.uris()


async def test_d5_more_contacts_in_one_request_than_fit_leave_the_last() -> None:
    rig = Rig(RegistrarSettings(bindings_per_aor_max=3))

    reply = await rig.register(*[b"<sip:bob@192.0.2.%d>" % n for n in range(5)])

    assert len(contacts_of(reply)) == 3
    assert rig.store.kept == set(rig.uris())
    assert all(binding.entry is not None for binding in rig.store.put)


async def test_a_full_table_is_unavailable_and_changes_nothing() -> None:
    rig = Rig(bindings_max=2)
    await rig.register(HOME, aor=BOB)
    await rig.register(b"<sip:carol@192.0.2.9>", aor=b"<sip:carol@example.com>")

    with pytest.raises(Unavailable, match="full"):
        await rig.register(HOME, WORK, cseq=2, expires=b"900")

    assert rig.binding().cseq == 1
    assert rig.binding().expires == 3600.0
    assert contacts_of(await rig.register(HOME, cseq=3, expires=b"600")) == [HOME + b";expires=600"]


# ---- D27, D29 ----------------------------------------------------------------------------------


async def test_d27_the_binding_has_the_flow_that_its_route_says() -> None:
    rig = Rig()
    rig.routes.others[b"sip:bob@192.0.2.1:5060"] = direct = RecordingFlow(port=5060)

    await rig.register(HOME, source=RecordingFlow(port=40_000))

    assert rig.binding().flow is direct


async def test_d29_the_spread_comes_from_the_injected_chance() -> None:
    assert contacts_of(
        await Rig(RegistrarSettings(), entropy=Chance(0.5)).register(HOME, expires=b"1000")
    ) == [HOME + b";expires=950"]
    assert contacts_of(
        await Rig(RegistrarSettings(), entropy=Chance(0.5)).register(HOME, expires=b"600")
    ) == [HOME + b";expires=600"]


async def test_d29_a_refresh_is_spread_too() -> None:
    rig = Rig(RegistrarSettings(), entropy=Chance(0.5))
    await rig.register(HOME, expires=b"1000")

    reply = await rig.register(HOME, expires=b"1000", cseq=2, now=100.0)

    assert contacts_of(reply) == [HOME + b";expires=950"]


@pytest.mark.parametrize(
    ("later_s", "is_new_flow", "is_taken"),
    [(31.9, False, False), (32.0, False, False), (32.1, False, True), (0.1, True, True)],
)
async def test_d29_a_rebooted_phone_may_count_from_one_again(
    later_s: float, is_new_flow: bool, is_taken: bool
) -> None:
    """ "A lower CSeq with the same Call-ID on a new flow, or more than 32 s later"."""
    rig = Rig()
    await rig.register(HOME, cseq=100)
    source = RecordingFlow(port=1024) if is_new_flow else rig.flow

    if is_taken:
        await rig.register(HOME, cseq=1, source=source, now=later_s)
        assert (rig.binding().cseq, rig.binding().flow) == (1, source)
    else:
        with pytest.raises(ParseError):
            await rig.register(HOME, cseq=1, source=source, now=later_s)
        assert rig.binding().cseq == 100


# ---- D37 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("expires", [b"600", b"0"])
async def test_d37_a_change_waits_for_its_commit(expires: bytes) -> None:
    rig = Rig()
    await rig.register(HOME)

    answer = rig.registrar.handle(
        registering(HOME if expires == b"0" else WORK, expires=expires, cseq=2), rig.flow, None, 1.0
    )

    assert isinstance(answer, Commit)
    assert len(rig.store.put) + len(rig.store.drop) == 1
    finish(answer)
    assert len(rig.store.put) + len(rig.store.drop) == 2


async def test_d37_an_unchanged_refresh_touches_memory_only() -> None:
    rig = Rig()
    await rig.register(HOME, expires=b"600")

    answer = rig.registrar.handle(registering(HOME, expires=b"600", cseq=2), rig.flow, None, 50.0)

    assert not isinstance(answer, Commit)
    assert len(rig.store.put) == 1
    assert rig.store.behind == [rig.binding()]
    assert rig.binding().expires == 650.0


async def test_d37_a_refresh_is_unchanged_when_the_contact_lies_elsewhere_too() -> None:
    """The flow to the contact differs from the one that its REGISTERs come on (D27)."""
    rig = Rig()
    rig.routes.others[b"sip:bob@192.0.2.1:5060"] = RecordingFlow()
    await rig.register(HOME)

    answer = rig.registrar.handle(registering(HOME, cseq=2), rig.flow, None, 50.0)

    assert not isinstance(answer, Commit)


@pytest.mark.parametrize("spelling", [b";expires=120", b";Expires=120", b"; expires = 120"])
async def test_a_refresh_gets_what_its_contact_asks_for(spelling: bytes) -> None:
    rig = Rig()

    for cseq in (1, 2):
        reply = await rig.register(HOME + spelling, expires=b"3600", cseq=cseq)
        assert contacts_of(reply) == [HOME + b";expires=120"]


@pytest.mark.parametrize(
    ("contact", "call_id", "new_flow"),
    [
        (HOME + b";q=0.5", b"call-1", False),
        (HOME, b"another", False),
        (HOME, b"call-1", True),
    ],
)
async def test_d37_whatever_differs_is_committed(
    contact: bytes, call_id: bytes, new_flow: bool
) -> None:
    rig = Rig()
    await rig.register(HOME)

    await rig.register(
        contact, call_id=call_id, cseq=2, source=RecordingFlow(port=9) if new_flow else rig.flow
    )

    assert len(rig.store.put) == 2
    assert rig.store.behind == []


@pytest.mark.rfc("3261", "10.3")
@pytest.mark.parametrize("is_full", [False, True])
async def test_d37_a_commit_that_fails_leaves_nothing_behind(is_full: bool) -> None:
    """ "If any one of them fails (for example, because the back-end database commit failed),
    the request MUST fail with a 500 (Server Error) response and all tentative binding updates
    MUST be removed." """
    rig = Rig()
    rig.store.error = Unavailable("the disk is full")
    rig.store.is_full = is_full

    with pytest.raises(Unavailable, match="the disk is full"):
        await rig.register(HOME)

    assert rig.uris() == []
    assert rig.bound == []
    assert rig.locations.bindings_count == 0


async def test_d37_a_commit_that_fails_brings_back_what_it_replaced() -> None:
    rig = Rig()
    await rig.register(HOME + INSTANCE)
    await rig.register(WORK, call_id=b"b")
    rig.store.error = Unavailable("the disk is full")

    with pytest.raises(Unavailable):
        await rig.register(b"<sip:bob@203.0.113.5>" + INSTANCE, cseq=2)
    with pytest.raises(Unavailable):
        await rig.register(b"*", expires=b"0", call_id=b"c")

    assert sorted(rig.uris()) == [b"sip:bob@192.0.2.1:5060", b"sip:bob@192.0.2.2:5060"]
    assert rig.locations.bindings_count == 2


async def test_d37_after_a_failed_commit_the_phones_next_try_is_committed() -> None:
    """Its REGISTER looks like a refresh, of a binding that is not on disk."""
    rig = Rig()
    rig.store.error = Unavailable("the disk is full")
    with pytest.raises(Unavailable):
        await rig.register(HOME)
    rig.store.error = None

    await rig.register(HOME, cseq=2)

    assert [b.uri for b in rig.store.put] == [b"sip:bob@192.0.2.1:5060"]


async def test_d37_a_refresh_does_not_overtake_the_commit_that_it_refreshes() -> None:
    rig = Rig()
    first = rig.registrar.handle(registering(HOME), rig.flow, None, 0.0)

    second = rig.registrar.handle(registering(HOME, cseq=2), rig.flow, None, 0.1)

    assert isinstance(first, Commit)
    assert isinstance(second, Commit), "a 200 for a binding that is not on disk yet"
    finish(first)
    finish(second)
    assert rig.binding().cseq == 2
    assert rig.store.put[-1] is rig.binding()


async def test_d37_a_late_failure_does_not_undo_a_newer_registration() -> None:
    rig = Rig()
    first = rig.registrar.handle(registering(HOME + INSTANCE), rig.flow, None, 0.0)
    await rig.register(WORK + INSTANCE, cseq=2)
    rig.store.error = Unavailable("the disk is full")

    assert isinstance(first, Commit)
    with pytest.raises(Unavailable):
        finish(first)

    assert rig.uris() == [b"sip:bob@192.0.2.2:5060"]


async def test_those_who_wait_for_a_binding_hear_of_new_and_changed_ones() -> None:
    rig = Rig()

    await rig.register(HOME)
    await rig.register(HOME, cseq=2)
    await rig.register(HOME + b";q=0.1", cseq=3)
    await rig.register(HOME, expires=b"0", cseq=4)

    assert rig.bound == [b"sip:bob@192.0.2.1:5060"] * 2
