"""Where webhooks may go, how they are signed, and when they are tried again. Pure decisions.

Signatures follow Standard Webhooks 1.0: HMAC-SHA256 over id, time stamp and body.
"""

import base64
import hmac
import ipaddress
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from sipgram.errors import SettingsError

KINDS: Final = (
    "message.received",
    "message.stored",
    "message.delivered",
    "message.displayed",
    "message.failed",
    "message.expired",
    "message.cancelled",
)
URL_CHARS_MAX: Final = 2_000
SECRET_PREFIX: Final = "whsec_"
OLD_SECRET_S: Final = 86_400.0
"""How long the secret before the last one still signs, too."""
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("100.64.0.0/10", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
"""What Python counts as global and leads into private networks all the same."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that hears what happens to an account."""

    id: str
    aor: str
    account_id: int
    "0 under ``--auth none``."
    url: str
    kinds: tuple[str, ...]
    secret: str
    old_secret: str
    old_until_utc: float
    created_utc: float


def new_secret(octets: bytes) -> str:
    """Return a secret as Standard Webhooks writes it."""
    return SECRET_PREFIX + base64.b64encode(octets).decode()


def signature(secret: str, *, id: str, at_utc: int, body: bytes) -> str:
    """Return one signature of a delivery."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = b"%b.%d.%b" % (id.encode(), at_utc, body)
    return "v1," + base64.b64encode(hmac.new(key, signed, sha256).digest()).decode()


def headers_of(
    secrets: tuple[str, ...], *, id: str, at_utc: int, body: bytes
) -> list[tuple[bytes, bytes]]:
    """Return the headers of a delivery; a receiver may know any of the secrets."""
    signatures = " ".join(signature(s, id=id, at_utc=at_utc, body=body) for s in secrets)
    return [
        (b"Content-Type", b"application/json"),
        (b"User-Agent", b"sipgram"),
        (b"webhook-id", id.encode()),
        (b"webhook-timestamp", b"%d" % at_utc),
        (b"webhook-signature", signatures.encode()),
    ]


def check_url(url: str, *, may_be_private: bool) -> None:
    """Refuse a URL that no webhook may have; its host is looked up only when it is used.

    Raises:
        SettingsError: it is none, or names a private address.
    """
    if len(url) > URL_CHARS_MAX or not url.isascii() or re.search(r"[\s\\\x00-\x1f]", url):
        raise SettingsError("the URL is too long, or holds a blank or a letter that is not ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"the URL is malformed: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError("the URL is not http: or https: with a host")
    if parts.username is not None or parts.password is not None:
        raise SettingsError("the URL holds a user or a password: check the signature instead")
    if port == 0:
        raise SettingsError("the URL has no port that can be used")
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return
    if not may_be_private and not is_public(str(address)):
        raise SettingsError(f"the URL names a private address: {address}")


def is_public(address: str) -> bool:
    """Say whether an address is one of the Internet, and not of somebody's own network."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if any(parsed.version == net.version and parsed in net for net in _NOT_PUBLIC):
        return False
    return parsed.is_global and not parsed.is_multicast


def backoff_s(tries: int, first_s: float) -> float:
    """Return how long to wait after so many attempts: doubled each time, up to an hour."""
    return float(min(3_600.0, first_s * 2 ** min(tries - 1, 20)))
