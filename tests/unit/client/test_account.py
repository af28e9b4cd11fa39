"""What follows from an account's name."""

import pytest

from sipgram.client.account import Account
from sipgram.errors import SettingsError, UsageError


@pytest.mark.parametrize(
    ("aor", "uri", "server"),
    [
        ("sip:alice@example.com", b"sip:alice@example.com", "udp:example.com:5060"),
        ("alice@Example.COM", b"sip:alice@example.com", "udp:example.com:5060"),
        ("sip:alice@[2001:db8::1]", b"sip:alice@[2001:db8::1]", "udp:[2001:db8::1]:5060"),
        ("sip:alice@example.com:5070", b"sip:alice@example.com", "udp:example.com:5070"),
        ("al ice@example.com", b"sip:al%20ice@example.com", "udp:example.com:5060"),
    ],
)
def test_server_follows_from_the_domain(aor: str, uri: bytes, server: str) -> None:
    account = Account.parse(aor)

    assert account.uri == uri
    assert str(account.server) == server


def test_server_may_be_told() -> None:
    assert str(Account.parse("a@example.com", server="tcp:[::1]:5062").server) == "tcp:[::1]:5062"


@pytest.mark.parametrize(
    "aor", ["", "alice", "sip:example.com", "tel:+15550100", "sips:a@b.c", "<"]
)
def test_account_is_a_sip_uri_with_a_user(aor: str) -> None:
    with pytest.raises(UsageError, match="account is not sip:USER@DOMAIN"):
        Account.parse(aor)


def test_server_is_transport_host_port() -> None:
    with pytest.raises(SettingsError, match="transport is not one of udp, tcp"):
        Account.parse("a@example.com", server="127.0.0.1:5060")


@pytest.mark.parametrize(
    ("to", "uri"),
    [
        ("bob", b"sip:bob@example.com"),
        ("bob@example.org", b"sip:bob@example.org"),
        ("bob@home@example.org", b"sip:bob%40home@example.org"),
        ("sip:bob@example.org;transport=tcp", b"sip:bob@example.org;transport=tcp"),
        ("tel:+1-555-0100", b"tel:+1-555-0100"),
        ("+15550100", b"sip:+15550100@example.com"),
        ("jörg", b"sip:j%C3%B6rg@example.com"),
    ],
)
def test_address_is_completed(to: str, uri: bytes) -> None:
    assert Account.parse("alice@example.com").complete(to) == uri


@pytest.mark.parametrize("to", ["", "@example.com", "bob@", "sip:", "sip:a b@c", "tel:x\r\nX: y"])
def test_address_that_is_none_is_refused(to: str) -> None:
    with pytest.raises(UsageError, match="address is not one that SIP knows"):
        Account.parse("alice@example.com").complete(to)
