"""Watcher, registration and dialog information (RFC 3858, RFC 3680, RFC 4235)."""

import pytest
from lxml import etree

from sipgram.errors import ParseError
from sipgram.payload.state import dialog_info, reginfo, winfo
from sipgram.payload.state.winfo import Watcher

ALICE = Watcher("w1", 'sip:"a"<&>@x', "active", "approved")
BOB = Watcher("w2", "sip:b@x", "pending", "subscribe")


@pytest.mark.rfc("3858", "4")
@pytest.mark.parametrize("is_full", [True, False])
def test_watcher_information_is_read_as_it_was_written(is_full: bool) -> None:
    body = winfo.build([ALICE, BOB], version=7, is_full=is_full, resource="sip:c@x", package="p")

    assert winfo.Document.parse(body) == winfo.Document(7, is_full, (ALICE, BOB))


@pytest.mark.parametrize("version", ["", "-1", "x", "1" * 11, "\u0661"])
def test_a_version_is_a_number(version: str) -> None:
    body = f'<watcherinfo xmlns="{winfo.SPACE}" version="{version}"/>'.encode()
    with pytest.raises(ParseError, match="version"):
        winfo.Document.parse(body)


def test_changes_are_what_is_new_or_differs() -> None:
    later = BOB._replace(status="active")

    assert winfo.changes({"w1": ALICE, "w2": BOB}, {"w1": ALICE, "w2": later}) == [later]
    assert winfo.changes({}, {"w1": ALICE}) == [ALICE]


@pytest.mark.rfc("3680", "5")
def test_registration_information() -> None:
    live = reginfo.Contact("c1", "sip:b@192.0.2.1", "registered", True, 60, "call", 3)
    gone = live._replace(id="c2", is_active=False, event="expired")

    root = etree.fromstring(reginfo.build("sip:b@x", "a1", [live, gone], version=2))
    states = [
        etree.fromstring(reginfo.build("sip:b@x", "a1", some, version=0))[0].get("state")
        for some in ([live], [gone], [])
    ]

    contacts = root.findall(f".//{{{reginfo.SPACE}}}contact")
    assert (root.get("version"), root.get("state")) == ("2", "full")
    assert [c.get("state") for c in contacts] == ["active", "terminated"]
    assert [c.get("expires") for c in contacts] == ["60", None]
    assert states == ["active", "terminated", "init"]


@pytest.mark.rfc("4235", "4.1")
def test_dialogs_of_two_publishers_have_ids_of_their_own_and_a_bound() -> None:
    space = dialog_info.SPACE
    inner = '<dialog id="1"><state>early</state><x:y xmlns:x="urn:x"/></dialog>'
    one = dialog_info.parse(f'<dialog-info xmlns="{space}">{inner}</dialog-info>'.encode())

    root = etree.fromstring(dialog_info.compose("sip:b@x", [one, one], version=4))
    most = etree.fromstring(dialog_info.compose("sip:b@x", [one * 99, one * 2], version=4))

    assert [dialog.get("id") for dialog in root] == ["1", "1.1"]
    assert root.find(".//{urn:x}y") is not None
    assert (root.get("version"), root.get("state"), root.get("entity")) == ("4", "full", "sip:b@x")
    assert len(most) == dialog_info.DIALOGS_MAX
