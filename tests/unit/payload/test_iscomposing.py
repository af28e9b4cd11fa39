"""Who is typing, both ends (RFC 3994)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgram.errors import ParseError, TooLarge
from sipgram.payload.iscomposing import Composer, IsComposing, State, Watcher

# §6 of RFC 3994.
EXAMPLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"
   xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
   xsi:schemaLocation="urn:ietf:params:xml:ns:im-composing iscomposing.xsd">
    <state>active</state>
    <contenttype>text/plain</contenttype>
    <refresh>90</refresh>
</isComposing>"""
ACTIVE = IsComposing("active", "text/plain", 120)
IDLE = IsComposing("idle", "text/plain")


@pytest.mark.rfc("3994", "6")
def test_the_example_of_the_standard() -> None:
    assert IsComposing.parse(EXAMPLE) == IsComposing("active", "text/plain", 90)


def test_an_unknown_state_is_idle() -> None:
    assert IsComposing.parse(EXAMPLE.replace(b"active", b"dreaming")).state == "idle"
    with pytest.raises(ParseError):
        IsComposing.parse(b"<isComposed/>")


@given(st.sampled_from(("active", "idle")), st.none() | st.integers(0, 9_999_999))
def test_what_is_written_is_read_back(state: State, refresh_s: int | None) -> None:
    status = IsComposing(state, "text/plain", refresh_s, "2026-11-25T12:00:00Z")
    assert IsComposing.parse(bytes(status)) == status


@given(st.binary(max_size=10), st.integers(0, len(EXAMPLE)))
def test_a_damaged_document_is_read_or_refused(noise: bytes, at: int) -> None:
    try:
        IsComposing.parse(EXAMPLE[:at] + noise + EXAMPLE[at:])
    except (ParseError, TooLarge):
        return


@pytest.mark.rfc("3994", "3.2")
def test_the_composer_tells_at_first_and_to_refresh() -> None:
    composer = Composer()

    assert composer.type(10.0) == ACTIVE
    assert [composer.type(float(at)) for at in (11, 20, 129)] == [None] * 3
    assert composer.type(130.0) == ACTIVE
    assert composer.due == 145.0
    assert composer.advance(144.9) is None
    assert composer.advance(145.0) == IDLE
    assert (composer.due, composer.advance(200.0)) == (math.inf, None)


def test_the_text_itself_ends_composing_without_a_word() -> None:
    composer = Composer()
    composer.type(1.0)
    composer.send()
    assert (composer.due, composer.stop()) == (math.inf, None)
    assert composer.type(2.0) == ACTIVE
    assert composer.stop() == IDLE


def test_no_refresh_under_60_s() -> None:
    assert Composer(refresh_s=1).type(0.0) == IsComposing("active", "text/plain", 60)


@pytest.mark.rfc("3994", "3.3")
def test_the_watcher_sees_changes_alone() -> None:
    watcher = Watcher()

    assert watcher.receive(IDLE, 0.0) is None
    assert watcher.receive(IsComposing("active"), 0.0) is True
    assert watcher.receive(IsComposing("active", "", 90), 60.0) is None
    assert watcher.due == 150.0
    assert watcher.advance(149.0) is None
    assert watcher.advance(150.0) is False
    assert watcher.receive(ACTIVE, 200.0) is True
    assert watcher.message() is False
    assert watcher.due == math.inf
