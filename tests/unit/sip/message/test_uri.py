"""SIP and tel URIs, and the AoR that they name (RFC 3261 §19.1, RFC 3966, DELIVERY.md D4)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgram.errors import ParseError
from sipgram.sip.message.uri import Aor, SipUri


def test_every_part_of_a_uri() -> None:
    uri = SipUri.parse(b"SIPS:alice:secret@Example.COM:5061;Transport=tcp;lr?Subject=hi&a=b")
    assert uri == SipUri(
        scheme=b"sips",
        user=b"alice",
        password=b"secret",
        host=b"example.com",
        port=5061,
        params=((b"transport", b"tcp"), (b"lr", None)),
        headers=b"Subject=hi&a=b",
    )
    assert bytes(uri) == b"sips:alice:secret@example.com:5061;transport=tcp;lr?Subject=hi&a=b"
    assert str(uri) == bytes(uri).decode()
    assert (uri.param(b"transport"), uri.param(b"lr"), uri.param(b"maddr")) == (b"tcp", b"", None)


@pytest.mark.parametrize(
    "text",
    [
        b"sip:example.com",
        b"sip:alice@example.com.",
        b"sip:alice@192.0.2.1:5060",
        b"sip:alice@[2001:db8::9:1]:5070;transport=udp",
        b"sip:[2001:db8::10]",
        b"sip:[::ffff:192.0.2.10]:19823",
        b"sip:+1-212-555-1212:1234@gateway.com;user=phone",
        b"sip:sips%3Auser%40example.com@example.net",
        b"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too."
        b"(doesn't-it)@example.com",
        b"sip:alice:@example.com",
        b"sip:h_o.example.com",
    ],
)
def test_a_uri_is_written_as_it_was_read(text: bytes) -> None:
    assert bytes(SipUri.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"sip:",
        b"sip:@example.com",
        b"sip:alice@",
        b"sip:al ice@example.com",
        b"sip:alice@exa mple.com",
        b"sip:alice@-example.com",
        b"sip:2001:db8::10",
        b"sip:alice@[2001:db8::10",
        b"sip:alice@example.com:port",
        b"sip:alice@example.com:123456",
        b"sip:alice@example.com;;lr",
        b"<sip:alice@example.com>",
        b"sip:al%4ice@example.com",
        b"alice@example.com",
    ],
)
def test_a_malformed_uri_is_a_400(text: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        SipUri.parse(text)
    assert caught.value.status == 400


@pytest.mark.parametrize("port", [1, 65535])
def test_ports_up_to_the_limit(port: int) -> None:
    assert SipUri.parse(b"sip:example.com:%d" % port).port == port


@pytest.mark.parametrize("port", [0, 65536])
def test_ports_beyond_the_limit(port: int) -> None:
    with pytest.raises(ParseError, match=f"port out of range: {port}"):
        SipUri.parse(b"sip:example.com:%d" % port)


@pytest.mark.parametrize("text", [b"http://example.com", b"soap.beep://192.0.2.103:3002", b"tel:1"])
def test_another_scheme_is_a_416(text: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        SipUri.parse(text)
    assert caught.value.status == 416


@pytest.mark.rfc("3261", "19.1.4")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"sip:%61lice@atlanta.com;transport=TCP", b"sip:alice@AtLanTa.CoM;Transport=tcp"),
        (b"sip:carol@chicago.com", b"sip:carol@chicago.com;newparam=5"),
        (b"sip:carol@chicago.com;security=on", b"sip:carol@chicago.com;newparam=5"),
        (
            b"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            b"sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            b"sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            b"sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        (b"sip:a@x;%6C%72", b"sip:a@x;lr"),
    ],
)
def test_equivalent_uris_of_the_rfc(one: bytes, other: bytes) -> None:
    assert SipUri.parse(one).is_equivalent(SipUri.parse(other))
    assert SipUri.parse(other).is_equivalent(SipUri.parse(one))


@pytest.mark.rfc("3261", "19.1.4")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"SIP:ALICE@AtLanTa.CoM;Transport=udp", b"sip:alice@AtLanTa.CoM;Transport=UDP"),
        (b"sip:bob@biloxi.com", b"sip:bob@biloxi.com:5060"),
        (b"sip:bob@biloxi.com", b"sip:bob@biloxi.com;transport=udp"),
        (b"sip:bob@biloxi.com", b"sip:bob@biloxi.com:6000;transport=tcp"),
        (b"sip:carol@chicago.com", b"sip:carol@chicago.com?Subject=next%20meeting"),
        (b"sip:bob@phone21.boxesbybob.com", b"sip:bob@192.0.2.4"),
        (b"sip:bob@biloxi.com", b"sips:bob@biloxi.com"),
        (b"sip:bob:one@biloxi.com", b"sip:bob:two@biloxi.com"),
        (b"sip:carol@chicago.com;security=on", b"sip:carol@chicago.com;security=off"),
    ],
)
def test_uris_of_the_rfc_that_differ(one: bytes, other: bytes) -> None:
    assert not SipUri.parse(one).is_equivalent(SipUri.parse(other))


def test_an_escaped_parameter_name_is_its_character() -> None:
    """RFC 4475 §3.1.1.3: ``%6C%72`` is the parameter lr."""
    uri = SipUri.parse(b"sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31")
    assert uri.param(b"lr") == b""
    assert uri.param(b"name") == b"v%61lue%25%34%31"


@pytest.mark.parametrize(
    ("uri", "user", "domain"),
    [
        (b"sip:Alice@Example.COM:5070;transport=tcp", "Alice", "example.com"),
        (b"sips:%61lice:secret@example.com.", "alice", "example.com"),
        (b"im:alice@example.com", "alice", "example.com"),
        (b"PRES:alice@example.com", "alice", "example.com"),
        (b"sip:+1-212-555.1212;ext=5@example.com;user=Phone", "+12125551212", "example.com"),
        (b"tel:+49-(221)-1234", "+492211234", ""),
        (b"TEL:7042;phone-context=example.com", "7042", ""),
        (b"sip:example.com", "", "example.com"),
    ],
)
def test_d4_an_aor_is_what_remains_of_a_uri(uri: bytes, user: str, domain: str) -> None:
    assert Aor.parse(uri) == Aor(user, domain)


@pytest.mark.parametrize(
    ("uri", "status"), [(b"tel:call me", 400), (b"mailto:a@b", 416), (b"sip:", 400)]
)
def test_what_names_no_aor(uri: bytes, status: int) -> None:
    with pytest.raises(ParseError) as caught:
        Aor.parse(uri)
    assert caught.value.status == status


def test_an_aor_is_shown_as_a_uri() -> None:
    assert str(Aor("alice", "example.com")) == "sip:alice@example.com"
    assert str(Aor("+1", "")) == "tel:+1"


@settings(derandomize=True)
@given(st.binary(max_size=60))
def test_parsing_either_reads_or_refuses(tail: bytes) -> None:
    try:
        uri = SipUri.parse(b"sip:" + tail)
    except ParseError:
        return
    assert SipUri.parse(bytes(uri)) == uri
