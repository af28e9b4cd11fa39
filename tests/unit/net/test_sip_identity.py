"""Which domains a certificate speaks for, by way of both doors (RFC 5922 §7.1, §7.2)."""

import pytest

from sipgram.errors import ParseError
from sipgram.net.sip_identity import (
    comparable,
    identities_of_peer,
    is_among,
    is_authority_for,
    sip_identities,
)

from .authority import Authority

WORDS = {"URI": "URI", "DNS": "DNS", "IP": "IP Address", "EMAIL": "email"}
"""Types of names as ``ssl`` calls them."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.rfc("5922", "7.1")
@pytest.mark.parametrize(
    ("names", "identities"),
    [
        (["URI:sip:example.org"], {"example.org"}),
        (["URI:SIP:Example.ORG:5061;transport=tls"], {"example.org"}),
        (["URI:sip:example.org", "URI:sip:example.net"], {"example.org", "example.net"}),
        (["DNS:Example.org", "DNS:sip.example.org"], {"example.org", "sip.example.org"}),
        (["URI:sip:example.org", "DNS:example.net"], {"example.org"}),
        (["URI:sip:alice@example.org", "DNS:example.net"], {"example.net"}),
        (["URI:sips:example.org", "DNS:example.net"], {"example.net"}),
        (["URI:https://example.org", "DNS:example.net"], {"example.net"}),
        (["URI:sip:*.example.org", "DNS:example.net"], set()),
        (["DNS:*.example.org"], {"*.example.org"}),
        (["EMAIL:a@example.org"], set()),
        (["IP:192.0.2.1", "IP:2001:db8::1"], {"192.0.2.1", "2001:db8::1"}),
        (["URI:sip:example.org", "IP:192.0.2.1"], {"example.org"}),
        (["DNS:xn--bcher-kva.example"], {"xn--bcher-kva.example"}),
    ],
)
def test_identities_of_alternative_names(
    authority: Authority, names: list[str], identities: set[str]
) -> None:
    issued = authority.issue(*names, common_name="cn.example.org")
    pairs = [text.partition(":")[::2] for text in names]
    peer = {
        "subject": ((("commonName", "cn.example.org"),),),
        "subjectAltName": tuple((WORDS[kind], value) for kind, value in pairs),
    }

    assert sip_identities(issued.der) == identities
    assert identities_of_peer(peer) == identities


@pytest.mark.rfc("5922", "7.1")
@pytest.mark.parametrize(
    ("common_name", "identities"),
    [
        ("Example.org", {"example.org"}),
        ("Alice Smith", set()),
        ("*.example.org", set()),
        ("sip:example.org", set()),
        ("", set()),
    ],
)
def test_the_common_name_counts_only_without_alternative_names(
    authority: Authority, common_name: str, identities: set[str]
) -> None:
    issued = authority.issue(common_name=common_name)
    subject = ((("organizationName", "x.example"),), (("commonName", common_name),))

    assert sip_identities(issued.der) == identities
    assert identities_of_peer({"subject": subject}) == identities


def test_two_common_names_are_none() -> None:
    subject = ((("commonName", "a.example"),), (("commonName", "b.example"),))

    assert identities_of_peer({"subject": subject}) == frozenset()


@pytest.mark.parametrize("peer", [None, {}])
def test_a_peer_without_a_certificate_speaks_for_nobody(peer: dict[str, object] | None) -> None:
    assert identities_of_peer(peer) == frozenset()


@pytest.mark.rfc("5922", "7.2")
@pytest.mark.parametrize(
    ("domain", "is_match"),
    [
        ("example.org", True),
        ("EXAMPLE.org", True),
        ("example.org.", True),
        ("foo.example.org", False),
        ("org", False),
        ("example.org.evil.example", False),
        ("", False),
        (".", False),
    ],
)
def test_names_are_compared_whole(authority: Authority, domain: str, is_match: bool) -> None:
    """'Implementations MUST NOT match suffixes.'"""
    der = authority.issue("URI:sip:example.org").der

    assert is_authority_for(der, domain) is is_match


def test_a_wildcard_matches_nothing_but_itself(authority: Authority) -> None:
    """'"*.example.com" matches only "*.example.com" but not "foo.example.com".'"""
    der = authority.issue("DNS:*.example.com").der

    assert not is_authority_for(der, "foo.example.com")
    assert is_authority_for(der, "*.example.com")


def test_addresses_are_compared_as_addresses(authority: Authority) -> None:
    der = authority.issue("IP:2001:db8::1").der

    assert is_authority_for(der, "[2001:DB8:0::1]")
    assert not is_authority_for(der, "2001:db8::2")
    assert is_among(
        identities_of_peer({"subjectAltName": (("IP Address", "0:0:0:0:0:0:0:1"),)}), "::1"
    )


@pytest.mark.rfc("5922", "7.2")
@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("straße.example", None),
        ("βόλος.example", None),
        ("a" * 64 + "ü.example", None),
        ("ü..example", None),
        ("example.org\0.evil.example", "example.org\0.evil.example"),
    ],
)
def test_international_names_are_compared_as_a_labels(domain: str, name: str | None) -> None:
    """IDNA 2003 would take "straße" for "strasse", another domain: nobody speaks for it."""
    assert comparable(domain) == name


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"no certificate"])
def test_what_is_no_certificate_is_told(der: bytes) -> None:
    with pytest.raises(ParseError, match="certificate cannot be read"):
        is_authority_for(der, "example.org")
