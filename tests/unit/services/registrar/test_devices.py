"""Whose contact replaces whose, and how long it stays (D5, D27, D29)."""

import pytest

from sipgram.errors import ParseError, Unavailable
from sipgram.settings import RegistrarSettings
from sipgram.testing.recording import RecordingFlow

from .rig import BOB, HOME, INSTANCE, Rig, contacts_of

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
