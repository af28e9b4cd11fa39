"""What an account may be called, and how its password is kept (D3, D4). Pure decisions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sipgram.errors import SettingsError
from sipgram.sip.message import digest

USER_CHARS_MAX = 64
PASSWORD_CHARS_MAX = 256
STORED_ALGORITHMS = ("MD5", "SHA-256")
"""HA1 is kept for both, so that the challenge may change later without new passwords."""

# RFC 3261 §25.1 unreserved and user-unreserved, without the ones that need care in a shell,
# a URL path or a header parameter. Letters of every script are allowed.
_USER = re.compile(r"[\w.+=!~*'-]+")
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\]")
_TEL = re.compile(r"\+[0-9]{3,15}")
_TEL_SEPARATORS = re.compile(r"[-.() ]")


@dataclass(frozen=True, slots=True)
class Name:
    """One AoR of an account; a telephone number has an empty ``domain``."""

    user: str
    domain: str

    def __str__(self) -> str:
        return f"sip:{self.user}@{self.domain}" if self.domain else f"tel:{self.user}"

    @property
    def folded(self) -> str:
        """What must differ between two names: "two that differ only by case are refused"."""
        return f"{self.user.casefold()}@{self.domain}"


def parse_name(text: str) -> Name:
    """Parse ``alice@example.com``, ``sip:alice@example.com`` or ``tel:+15550100``.

    The domain is lower-cased, the user is not. Raises ``SettingsError`` that names the text.
    """
    scheme, colon, rest = text.strip().partition(":")
    if colon and scheme.lower() == "tel":
        number = _TEL_SEPARATORS.sub("", rest)
        if not _TEL.fullmatch(number):
            raise SettingsError(f"number is not tel:+ and 3 to 15 digits: {text}")
        return Name(number, "")
    plain = rest if colon and scheme.lower() in ("sip", "sips") else text.strip()
    user, at, domain = plain.rpartition("@")
    if not at:
        raise SettingsError(f"address has no domain, as in alice@example.com: {text}")
    domain = domain.lower()
    if len(user) > USER_CHARS_MAX or not _USER.fullmatch(user):
        raise SettingsError(f"user is not 1 to {USER_CHARS_MAX} letters, digits or . _ - +: {user}")
    if len(domain) > 253 or not _DOMAIN.fullmatch(domain):
        raise SettingsError(f"domain is not a host name: {domain}")
    return Name(user, domain)


def check_password(password: str) -> None:
    """Raise ``SettingsError`` for a password that a phone could not send."""
    if not password:
        raise SettingsError("password is empty")
    if len(password) > PASSWORD_CHARS_MAX:
        raise SettingsError(f"password is longer than {PASSWORD_CHARS_MAX} characters")
    if not password.isprintable():
        raise SettingsError("password holds a control character")


def kept_hashes(name: Name, password: str) -> Iterator[tuple[str, str, str]]:
    """Give ``(algorithm, username, ha1)`` for each form that a phone may send.

    The realm is the account's domain, for good: a hash cannot move to another one.
    """
    for algorithm in STORED_ALGORITHMS:
        for username in (name.user, f"{name.user}@{name.domain}"):
            yield algorithm, username, digest.ha1(username, name.domain, password, algorithm)
