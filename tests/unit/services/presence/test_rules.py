"""Who may see whose presence, and what changes at once when rules do (RFC 5025, RFC 3856 §6.6)."""

import pytest

from sipgram.payload.state.presence_rules import Handling, with_identity
from sipgram.services.presence.store import HARD_STATE, RULES, KeptDocument
from sipgram.settings import PresenceSettings

from ..events.house import House, pidf, state_of

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"


@pytest.fixture
def house() -> House:
    found = House()
    found.publish(pidf("open", note="busy with things"))
    return found


def rule(house: House, handling: Handling | None, *, watcher: str = ALICE) -> None:
    body = with_identity(b"", watcher, handling)
    house.parts.presence.take_document(KeptDocument(BOB, RULES, body), house.clock.now)


def test_a_block_turns_a_running_subscription_offline_at_once(house: House) -> None:
    house.watched()

    rule(house, Handling.BLOCK)
    last = house.notify()

    assert last.value(b"subscription-state") == b"terminated;reason=rejected"
    assert b"<basic>closed</basic>" in last.body
    assert b"things" not in last.body
    assert house.subscribe().status == 403


def test_polite_block_says_offline_and_goes_on_saying_so(house: House) -> None:
    rule(house, Handling.POLITE_BLOCK)
    house.subscribe()
    notify = house.notify()
    house.publish(pidf("open", note="more things", id="t2"))

    assert state_of(notify) == b"active"
    assert b"<basic>closed</basic>" in notify.body
    assert house.notifies() == []  # Nor does a change betray that somebody is there.


def test_confirm_is_pending_until_the_owner_allows(house: House) -> None:
    rule(house, Handling.CONFIRM)
    house.subscribe()
    pending = house.notify()

    rule(house, Handling.ALLOW)
    active = house.notify()

    assert state_of(pending) == b"pending"
    assert b"things" not in pending.body
    assert state_of(active) == b"active"
    assert b"things" in active.body


@pytest.mark.parametrize(
    ("settings", "status", "state"),
    [
        (PresenceSettings(), 200, b"active"),
        (PresenceSettings(same_domain="confirm"), 200, b"pending"),
        (PresenceSettings(same_domain="block"), 403, b""),
    ],
)
def test_without_rules_the_settings_decide(
    settings: PresenceSettings, status: int, state: bytes
) -> None:
    house = House(presence=settings)

    assert house.subscribe().status == status
    if state:
        assert state_of(house.notify()) == state


def test_the_owner_always_sees_all(house: House) -> None:
    rule(house, Handling.BLOCK, watcher=BOB)

    assert house.subscribe(watcher=b"bob").status == 200
    assert b"things" in house.notify().body


def test_rules_that_cannot_be_read_show_nobody_anything(house: House) -> None:
    house.parts.presence.take_document(KeptDocument(BOB, RULES, b"<broken"), house.clock.now)

    house.subscribe()

    assert b"things" not in house.notify().body


def test_hard_state_holds_when_nobody_publishes(house: House) -> None:
    empty = House()
    hard = pidf("closed", note="On holiday")
    empty.parts.presence.take_document(KeptDocument(BOB, HARD_STATE, hard), empty.clock.now)

    empty.subscribe()

    assert b"On holiday" in empty.notify().body


@pytest.mark.rfc("3858", "4")
def test_watcher_information_is_full_then_partial_and_its_version_rises(house: House) -> None:
    house.subscribe(event=b"presence.winfo", watcher=b"bob")
    first = house.notify()
    house.subscribe(watcher=b"alice")
    house.notifies()
    house.subscribe(watcher=b"carol", expires=60)
    rest = house.notifies()
    winfo = [n for n in rest if n.value(b"event") == b"presence.winfo"]
    later = [n for n in house.notifies(within_s=63.0) if n.value(b"event") == b"presence.winfo"]

    assert b'state="full"' in first.body
    assert b'version="0"' in first.body
    assert b"carol" in winfo[-1].body
    assert b"alice" not in winfo[-1].body
    assert b'state="partial"' in winfo[-1].body
    assert b'status="terminated"' in later[-1].body
    assert b'event="timeout"' in later[-1].body
    assert house.subscribe(event=b"presence.winfo", watcher=b"alice").status == 403


def test_an_account_that_is_gone_ends_its_watchers(house: House) -> None:
    strict = House()
    strict.watched()
    strict.parts.subscriptions.end_all(BOB, strict.clock.now)

    assert strict.notify().value(b"subscription-state") == b"terminated;reason=noresource"
