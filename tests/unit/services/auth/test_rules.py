"""What an account may be called (D4)."""

import pytest

from sipgram.errors import SettingsError
from sipgram.services.auth.rules import (
    PASSWORD_CHARS_MAX,
    USER_CHARS_MAX,
    Name,
    check_password,
    kept_hashes,
    parse_name,
)
from sipgram.sip.message.digest import ha1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("alice@example.com", Name("alice", "example.com")),
        ("sip:Alice@EXAMPLE.com", Name("Alice", "example.com")),
        ("SIPS:a.b-c_d+e@x", Name("a.b-c_d+e", "x")),
        (" zoë@localhost ", Name("zoë", "localhost")),
        ("alice@[2001:DB8::1]", Name("alice", "[2001:db8::1]")),
        ("tel:+1-555 (0100).", Name("+15550100", "")),
    ],
)
def test_names_are_read(text: str, name: Name) -> None:
    assert parse_name(text) == name
    assert parse_name(str(name)) == name


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("alice", "address has no domain, as in alice@example.com: alice"),
        ("@example.com", "user is not 1 to 64"),
        ("a b@example.com", "user is not 1 to 64 .*: a b"),
        ('"a"@example.com', "user is not 1 to 64"),
        ("alice@exam ple", "domain is not a host name: exam ple"),
        ("alice@example.com:5060", "domain is not a host name"),
        ("alice@" + "a" * 254, "domain is not a host name"),
        ("tel:5550100", "number is not tel:\\+ and 3 to 15 digits"),
        ("tel:+12", "number is not"),
        ("tel:+1234567890123456", "number is not"),
        ("http:alice@example.com", "user is not 1 to 64"),
    ],
)
def test_what_is_no_name_is_told(text: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        parse_name(text)


def test_a_user_has_a_longest_name() -> None:
    longest = "a" * USER_CHARS_MAX

    assert parse_name(f"{longest}@x").user == longest
    with pytest.raises(SettingsError):
        parse_name(f"{longest}a@x")


def test_passwords_have_bounds() -> None:
    check_password("x" * PASSWORD_CHARS_MAX)
    check_password("pässwörd with blanks")
    for bad in ("", "x" * (PASSWORD_CHARS_MAX + 1), "a\tb", "a\nb"):
        with pytest.raises(SettingsError, match="password") as caught:
            check_password(bad)
        assert not bad.strip() or bad not in str(caught.value)


def test_hashes_are_kept_for_both_forms_and_algorithms() -> None:
    kept = list(kept_hashes(Name("alice", "example.com"), "secret"))

    assert [(algorithm, username) for algorithm, username, _ in kept] == [
        ("MD5", "alice"),
        ("MD5", "alice@example.com"),
        ("SHA-256", "alice"),
        ("SHA-256", "alice@example.com"),
    ]
    assert kept[1][2] == ha1("alice@example.com", "example.com", "secret", "MD5")


def test_names_that_differ_by_case_fold_to_one() -> None:
    assert Name("Alice", "x").folded == Name("aLICE", "x").folded
    assert Name("alice", "x").folded != Name("alice", "y").folded
