"""A 200 says what is on disk, and an unchanged refresh costs nothing (D37)."""

import pytest

from sipgram.errors import Unavailable
from sipgram.services.answers import Commitment
from sipgram.testing.recording import RecordingFlow

from .rig import HOME, INSTANCE, Rig, contacts_of, finish, registering

WORK = b"<sip:bob@192.0.2.2:5060>"


@pytest.mark.parametrize("expires", [b"600", b"0"])
async def test_d37_a_change_waits_for_its_commit(expires: bytes) -> None:
    rig = Rig()
    await rig.register(HOME)

    answer = rig.registrar.handle(
        registering(HOME if expires == b"0" else WORK, expires=expires, cseq=2), rig.flow, None, 1.0
    )

    assert isinstance(answer, Commitment)
    assert len(rig.store.put) + len(rig.store.drop) == 1
    finish(answer)
    assert len(rig.store.put) + len(rig.store.drop) == 2


async def test_d37_an_unchanged_refresh_touches_memory_only() -> None:
    rig = Rig()
    await rig.register(HOME, expires=b"600")

    answer = rig.registrar.handle(registering(HOME, expires=b"600", cseq=2), rig.flow, None, 50.0)

    assert not isinstance(answer, Commitment)
    assert len(rig.store.put) == 1
    assert rig.store.behind == [rig.binding()]
    assert rig.binding().expires == 650.0


async def test_d37_a_refresh_is_unchanged_when_the_contact_lies_elsewhere_too() -> None:
    """The flow to the contact differs from the one that its REGISTERs come on (D27)."""
    rig = Rig()
    rig.routes.others[b"sip:bob@192.0.2.1:5060"] = RecordingFlow()
    await rig.register(HOME)

    answer = rig.registrar.handle(registering(HOME, cseq=2), rig.flow, None, 50.0)

    assert not isinstance(answer, Commitment)


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

    assert isinstance(first, Commitment)
    assert isinstance(second, Commitment), "a 200 for a binding that is not on disk yet"
    finish(first)
    finish(second)
    assert rig.binding().cseq == 2
    assert rig.store.put[-1] is rig.binding()


async def test_d37_a_late_failure_does_not_undo_a_newer_registration() -> None:
    rig = Rig()
    first = rig.registrar.handle(registering(HOME + INSTANCE), rig.flow, None, 0.0)
    await rig.register(WORK + INSTANCE, cseq=2)
    rig.store.error = Unavailable("the disk is full")

    assert isinstance(first, Commitment)
    with pytest.raises(Unavailable):
        finish(first)

    assert rig.uris() == [b"sip:bob@192.0.2.2:5060"]


async def test_those_who_wait_for_a_binding_hear_of_new_changed_and_refreshed_ones() -> None:
    """D17: nobody waits at first, so that nobody is told."""
    rig = Rig()
    entry = rig.locations.find(b"sip:bob@example.com")

    await rig.register(HOME, cseq=1)
    assert rig.bound == []
    entry.has_inbox = True
    await rig.register(HOME, cseq=2)
    await rig.register(HOME + b";q=0.1", cseq=3)
    await rig.register(HOME, expires=b"0", cseq=4)

    assert rig.bound == [b"sip:bob@192.0.2.1:5060"] * 2


async def test_d29_a_storm_of_refreshes_commits_nothing() -> None:
    """ "a refresh with nothing waiting touches memory only", whoever else refreshes at that time."""
    rig = Rig()
    phones = [b"<sip:user%d@example.com>" % number for number in range(300)]
    for phone in phones:
        await rig.register(HOME, aor=phone)
    committed = len(rig.store.put)

    answers = [
        rig.registrar.handle(registering(HOME, aor=phone, cseq=2), rig.flow, None, 5.0)
        for phone in phones
    ]

    assert not any(isinstance(answer, Commitment) for answer in answers)
    assert len(rig.store.put) == committed
    assert rig.bound == []
