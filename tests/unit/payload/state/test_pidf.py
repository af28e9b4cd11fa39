"""PIDF of one publisher, and many composed into one (RFC 3863, RFC 4479, RFC 4480)."""

import pytest
from lxml import etree

from sipgram.errors import ParseError, UsageError
from sipgram.payload.state import composition, pidf
from sipgram.payload.state.composition import TUPLES_MAX, Composed, Document, compose
from sipgram.payload.state.pidf import MODEL, PIDF, RPID, Summary
from sipgram.payload.state.presence_rules import Provided

BOB = "sip:bob@example.com"


def document(inner: str) -> Document:
    root = f'<presence xmlns="{PIDF}" xmlns:dm="{MODEL}" xmlns:rpid="{RPID}" xmlns:x="urn:x"'
    return Document.parse(f'{root} entity="{BOB}">{inner}</presence>'.encode())


def tuple_of(id: str, basic: str = "open", inner: str = "") -> str:
    return f'<tuple id="{id}"><status><basic>{basic}</basic></status>{inner}</tuple>'


def made(*inner: str, **rest: object) -> Composed:
    """Compose publications, the newest first."""
    count = len(inner)
    documents = [(count - n, document(text)) for n, text in enumerate(inner)]
    return compose(BOB, documents, **rest)  # type: ignore[arg-type]  # Of tests alone.


def ids(state: Composed) -> list[str | None]:
    return [element.get("id") for element in state.parts.tuples]


@pytest.mark.rfc("3863", "4.1")
def test_what_is_written_is_read_again() -> None:
    body = pidf.build(BOB, is_open=True, note='<&">', activity="on-the-phone", contact="sip:b@x")

    assert pidf.summary(body) == Summary(True, '<&">', "on-the-phone")
    assert pidf.summary(pidf.closed(BOB)) == Summary(False, "", "")
    assert made("").entity == BOB


def test_an_activity_is_a_name() -> None:
    with pytest.raises(UsageError):
        pidf.build(BOB, is_open=True, activity="a/><b")


@pytest.mark.parametrize("body", [b"<a/>", b'<presence xmlns="urn:x"/>'])
def test_another_root_is_no_pidf(body: bytes) -> None:
    with pytest.raises(ParseError, match="root"):
        Document.parse(body)
    with pytest.raises(ParseError, match="root"):
        pidf.summary(body)


def test_a_tuple_needs_an_id() -> None:
    with pytest.raises(ParseError, match="without id"):
        document("<tuple><status/></tuple>")


def test_a_third_basic_is_closed() -> None:
    assert not made(tuple_of("t", "unknown")).is_open


# ---- precedence ----------------------------------------------------------------------------


def test_of_one_id_the_newest_holds() -> None:
    assert not made(tuple_of("t", "closed"), tuple_of("t", "open")).is_open


def test_of_one_contact_the_newest_holds() -> None:
    contact = "<contact>sip:b@x</contact>"
    assert ids(made(tuple_of("a", inner=contact), tuple_of("b", inner=contact))) == ["a"]


def test_one_id_with_two_contacts_is_two_tuples_with_ids_of_their_own() -> None:
    state = made(
        tuple_of("t", inner="<contact>sip:1@x</contact>"),
        tuple_of("t", inner="<contact>sip:2@x</contact>"),
    )
    assert ids(state) == ["t", "t.1"]


def test_open_stands_before_closed() -> None:
    assert ids(made(tuple_of("a", "closed"), tuple_of("b", "open"))) == ["b", "a"]


def test_the_newest_person_holds_and_devices_by_their_id() -> None:
    person = '<dm:person id="{0}"><rpid:activities><rpid:{0}/></rpid:activities></dm:person>'
    device = '<dm:device id="{0}"><dm:deviceID>{1}</dm:deviceID></dm:device>'
    state = made(
        person.format("away") + device.format("new", "mac:1"),
        person.format("busy") + device.format("old", "mac:1") + device.format("c", "mac:2"),
    )

    assert [p.get("id") for p in state.parts.persons] == ["away"]
    assert [d.get("id") for d in state.parts.devices] == ["new", "c"]


def test_one_note_of_two_publishers_stands_once() -> None:
    state = made("<note>hi</note>", "<note>hi</note><note>there</note>")
    assert [note.text for note in state.parts.notes] == ["hi", "there"]


def test_a_registered_phone_is_open_and_nobody_is_closed() -> None:
    assert made(reachable=[BOB]).is_open
    assert not made().is_open
    assert ids(made()) == ["none"]


@pytest.mark.rfc("4827", "1")
def test_hard_state_holds_when_nobody_publishes() -> None:
    hard = document(tuple_of("hard", "closed"))

    assert ids(made(hard=hard)) == ["hard"]
    assert ids(made(tuple_of("t"), hard=hard)) == ["t"]


def test_tuples_are_bounded() -> None:
    many = "".join(tuple_of(f"t{n}") for n in range(TUPLES_MAX + 1))
    for count in (TUPLES_MAX - 1, TUPLES_MAX, TUPLES_MAX + 1):
        inner = many[: len("".join(tuple_of(f"t{n}") for n in range(count)))]
        assert len(ids(made(inner))) == min(count, TUPLES_MAX)


# ---- what is written -----------------------------------------------------------------------

RICH = (
    tuple_of("t", inner='<x:odd x:at="1"><x:deep/></x:odd><rpid:class>c</rpid:class><note>n</note>')
    + '<dm:person id="p"><rpid:mood><rpid:happy/></rpid:mood><rpid:sphere><rpid:work/></rpid:sphere>'
    + "</dm:person><x:beside/>"
)


def test_unknown_namespaces_are_kept() -> None:
    written = made(RICH).written(Provided.ALL)

    root = etree.fromstring(written)
    odd = root.find(".//{urn:x}odd")
    assert odd is not None
    assert odd.get("{urn:x}at") == "1"
    assert odd.find("{urn:x}deep") is not None
    assert root.find("{urn:x}beside") is not None
    assert b"rpid:mood" in written
    assert composition.Document.parse(written).tuples


@pytest.mark.rfc("5025", "3.3")
@pytest.mark.parametrize(
    ("provided", "there", "gone"),
    [
        (Provided(), (), (b"<tuple", b"person", b"odd", b"beside")),
        (Provided(services=True), (b"<tuple",), (b"odd", b"class>", b"<note", b"person")),
        (Provided(services=True, notes=True), (b"<note",), (b"odd", b"class>")),
        (
            Provided(persons=True, attributes=frozenset(("mood",))),
            (b"mood",),
            (b"sphere", b"tuple"),
        ),
        (
            Provided(services=True, attributes=frozenset(("{urn:x}odd",))),
            (b"odd", b"deep"),
            (b"class>", b"beside"),
        ),
    ],
)
def test_a_watcher_sees_what_is_provided(
    provided: Provided, there: tuple[bytes, ...], gone: tuple[bytes, ...]
) -> None:
    written = made(RICH).written(provided)

    assert [word for word in there if word not in written] == []
    assert [word for word in gone if word in written] == []


def test_writing_leaves_the_state_as_it_was() -> None:
    state = made(RICH)
    before = state.written(Provided.ALL)
    state.written(Provided(services=True))

    assert state.written(Provided.ALL) == before


@pytest.mark.parametrize(
    ("inner", "sphere"),
    [
        ("<rpid:sphere><rpid:work/></rpid:sphere>", "work"),
        ("<rpid:sphere> bowling </rpid:sphere>", "bowling"),
        ("", ""),
    ],
)
def test_the_sphere_is_a_name_or_text(inner: str, sphere: str) -> None:
    assert made(f'<dm:person id="p">{inner}</dm:person>').sphere == sphere
