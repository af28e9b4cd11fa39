"""The dialog that a SUBSCRIBE creates (RFC 3261 §12.1.1, §12.2)."""

import pytest

from sipgram.errors import ParseError
from sipgram.sip.events.dialog import HEADER_BYTES_MAX, ROUTES_MAX, Dialog, contact_of
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request

CONTACT = b'Contact: "A" <sip:alice@192.0.2.9;transport=tcp>;x=y'


def subscribe(*headers: bytes, to: bytes = b"<sip:bob@example.com>") -> Message:
    sender = b"<sip:alice@example.com>;tag=w"
    return parse(
        request(b"SUBSCRIBE", b"sip:bob@example.com", sender=sender, to=to, headers=headers)
    )


@pytest.mark.rfc("3261", "12.1.1")
def test_a_dialog_is_made_of_its_request() -> None:
    asked = subscribe(
        CONTACT, b"Record-Route: <sip:p1;lr>, <sip:p2;lr>", b"Record-Route: <sip:p3;lr>"
    )

    dialog = Dialog.of(asked, b"ours")

    assert (dialog.local, dialog.remote) == (
        b"<sip:bob@example.com>;tag=ours",
        b"<sip:alice@example.com>;tag=w",
    )
    assert dialog.target == b"sip:alice@192.0.2.9;transport=tcp"
    assert dialog.routes == b"<sip:p1;lr>, <sip:p2;lr>, <sip:p3;lr>"
    assert (dialog.next_hop, dialog.remote_cseq) == (b"sip:p1;lr", asked.cseq)
    assert dialog.is_of(asked)
    assert Dialog.of(subscribe(CONTACT), b"ours").next_hop == dialog.target


def test_a_tag_in_to_is_not_doubled() -> None:
    assert Dialog.of(subscribe(CONTACT, to=b"<sip:b@x>;tag=t"), b"t").local == b"<sip:b@x>;tag=t"


@pytest.mark.parametrize(
    "headers", [(), (CONTACT, CONTACT), (b"Contact: *",), (b"Contact: <sip:a",)]
)
def test_one_contact_is_needed(headers: tuple[bytes, ...]) -> None:
    with pytest.raises(ParseError):
        contact_of(subscribe(*headers))


@pytest.mark.parametrize("count", [ROUTES_MAX - 1, ROUTES_MAX, ROUTES_MAX + 1])
def test_routes_are_bounded(count: int) -> None:
    asked = subscribe(CONTACT, *[b"Record-Route: <sip:p;lr>"] * count)
    if count <= ROUTES_MAX:
        assert Dialog.of(asked, b"t").routes.count(b"lr") == count
    else:
        with pytest.raises(ParseError, match="Record-Route"):
            Dialog.of(asked, b"t")


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_headers_are_bounded(more: int) -> None:
    uri = b"sip:" + b"a" * (HEADER_BYTES_MAX - 4 + more)
    asked = subscribe(b"Contact: <%b>" % uri)
    if more <= 0:
        assert Dialog.of(asked, b"t").target == uri
    else:
        with pytest.raises(ParseError, match="Contact is over"):
            Dialog.of(asked, b"t")
