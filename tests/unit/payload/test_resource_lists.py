"""Lists of recipients (RFC 4826, RFC 5364)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgram.errors import ParseError, TooLarge
from sipgram.payload.resource_lists import ANONYMOUS, Recipient, build, build_history, parse

# Figure 2 of RFC 5365.
EXAMPLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"
          xmlns:cp="urn:ietf:params:xml:ns:copycontrol">
  <list>
    <entry uri="sip:bill@example.com" cp:copyControl="to" />
    <entry uri="sip:randy@example.net" cp:copyControl="to" cp:anonymize="true"/>
    <entry uri="sip:eddy@example.com" cp:copyControl="to" cp:anonymize="true"/>
    <entry uri="sip:joe@example.org" cp:copyControl="cc" />
    <list><entry uri="sip:carol@example.net"/></list>
    <entry uri="sip:ted@example.net" cp:copyControl="bcc"><display-name>T</display-name></entry>
  </list>
</resource-lists>"""
RECIPIENTS = st.lists(
    st.builds(
        Recipient,
        st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1),
        st.sampled_from(("to", "cc", "bcc")),
        st.booleans(),
    )
)


@pytest.mark.rfc("5365", "11")
def test_the_example_of_the_standard() -> None:
    assert parse(EXAMPLE) == (
        Recipient("sip:bill@example.com", "to"),
        Recipient("sip:randy@example.net", "to", True),
        Recipient("sip:eddy@example.com", "to", True),
        Recipient("sip:joe@example.org", "cc"),
        Recipient("sip:carol@example.net", "bcc"),
        Recipient("sip:ted@example.net", "bcc"),
    )


@pytest.mark.rfc("5364", "5")
def test_the_history_hides_bcc_and_counts_the_anonymous() -> None:
    history = build_history(parse(EXAMPLE))

    assert [(r.uri, r.copy) for r in parse(history)] == [
        ("sip:bill@example.com", "to"),
        ("sip:joe@example.org", "cc"),
        (ANONYMOUS, "to"),
    ]
    assert b'cp:copyControl="to" cp:count="2"' in history


@given(RECIPIENTS)
def test_what_is_written_is_read_back(recipients: list[Recipient]) -> None:
    assert parse(build(recipients)) == tuple(recipients)


@pytest.mark.parametrize(
    "document",
    [
        b"<resource-lists/>",
        EXAMPLE.replace(b'uri="sip:bill@example.com"', b""),
        EXAMPLE.replace(b"<list>", b'<list><external anchor="http://x"/>', 1),
        EXAMPLE.replace(b"<list>", b'<list><entry-ref ref="x"/>', 1),
    ],
)
def test_malformed_is_refused(document: bytes) -> None:
    with pytest.raises(ParseError):
        parse(document)


@given(st.binary(max_size=10), st.integers(0, len(EXAMPLE)))
def test_a_damaged_document_is_read_or_refused(noise: bytes, at: int) -> None:
    try:
        parse(EXAMPLE[:at] + noise + EXAMPLE[at:])
    except (ParseError, TooLarge):
        return
