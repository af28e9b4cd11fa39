"""Receipts, both ways (RFC 5438)."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgram.errors import ParseError, TooLarge
from sipgram.payload.body import Body
from sipgram.payload.cpim import Cpim
from sipgram.payload.imdn import Imdn, Status, asking, enclosed, message_id_of, wishes_of

# §11.1.10 of RFC 5438.
EXAMPLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<imdn xmlns="urn:ietf:params:xml:ns:imdn">
 <message-id>34jk324j</message-id>
 <datetime>2008-04-04T12:16:49-05:00</datetime>
 <display-notification>
     <status>
         <displayed/>
     </status>
 </display-notification>
</imdn>"""
LINPHONE = (
    b'<?xml version="1.0" encoding="UTF-8" standalone="no" ?>'
    b'<imdn xmlns="urn:ietf:params:xml:ns:imdn" xmlns:lp="http://www.linphone.org/xsds/imdn.xsd">'
    b"<message-id>call-1</message-id><datetime>2022-11-04T09:00:00Z</datetime>"
    b'<delivery-notification><status><error/><lp:reason code="415">x</lp:reason></status>'
    b"</delivery-notification></imdn>"
)
TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S"))).map(str.strip)


@pytest.mark.rfc("5438", "11.1.10")
def test_the_example_of_the_standard() -> None:
    notice = Imdn.parse(EXAMPLE)

    assert (notice.message_id, notice.status, notice.kind) == ("34jk324j", "displayed", "display")
    assert notice.date_time == "2008-04-04T12:16:49-05:00"


def test_linphones_error_is_read() -> None:
    notice = Imdn.parse(LINPHONE)
    assert (notice.message_id, notice.status, notice.kind) == ("call-1", "error", "delivery")


@given(st.sampled_from(get_args(Status)), TEXTS.filter(bool), TEXTS, TEXTS)
def test_what_is_written_is_read_back(
    status: Status, message_id: str, uri: str, date_time: str
) -> None:
    notice = Imdn.of(message_id, status, recipient_uri=uri, date_time=date_time)
    assert Imdn.parse(bytes(notice)) == notice


@pytest.mark.parametrize(
    "document",
    [
        b"<x/>",
        b"<imdn/>",
        b"<imdn><message-id>1</message-id></imdn>",
        EXAMPLE.replace(b"displayed", b"eaten"),
        EXAMPLE.replace(b"<status>", b"<x>").replace(b"</status>", b"</x>"),
    ],
)
def test_a_document_that_says_nothing_is_refused(document: bytes) -> None:
    with pytest.raises(ParseError):
        Imdn.parse(document)


@given(st.binary(max_size=10), st.integers(0, len(LINPHONE)))
def test_a_damaged_document_is_read_or_refused(noise: bytes, at: int) -> None:
    try:
        Imdn.parse(LINPHONE[:at] + noise + LINPHONE[at:])
    except (ParseError, TooLarge):
        return


def test_a_message_asks_for_receipts() -> None:
    message = Cpim(b"hi", headers=asking("m1", ("display", "positive-delivery")))

    read = Cpim.parse(bytes(message))

    assert (message_id_of(read), wishes_of(read)) == (
        "m1",
        frozenset(("display", "positive-delivery")),
    )
    assert b"imdn.Disposition-Notification: display, positive-delivery\r\n" in bytes(message)
    assert wishes_of(Cpim(b"hi", headers=asking("", ("display",)))) == frozenset()


@pytest.mark.rfc("5438", "8")
def test_a_receipt_never_asks_for_one() -> None:
    """ "An IMDN MUST NOT be sent in response to an IMDN" (D24)."""
    notice = Imdn.of("m1", "delivered", recipient_uri="sip:b@x")
    message = enclosed(notice, message_id="m2", sender="sip:b@x", to="sip:a@x")
    greedy = Cpim.parse(bytes(message).replace(b"NS: imdn", b"To: <sip:c@x>\r\nNS: imdn"))

    body = Body.parse(bytes(message), "message/cpim")

    assert wishes_of(greedy) == frozenset()
    assert (body.is_notice, body.name, body.message_id) == (True, "message/imdn+xml", "m2")
    assert Imdn.parse(body.content) == notice
