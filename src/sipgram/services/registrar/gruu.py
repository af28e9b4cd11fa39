"""Globally routable user agent URIs: one name for one device of an account (RFC 5627).

A public one is the AoR with ``gr=INSTANCE``. A temporary one tells neither to those who see it: its
user is a sealed token, of which nothing is remembered here. It holds the AoR and a mark of the
device's registration, so that it means nothing any more once that has ended or its Call-ID is
another one (§3.1.2).
"""

import base64
import binascii
from hashlib import blake2b
from typing import Final, NamedTuple

from sipgram.sip.message.grammar import unescape
from sipgram.sip.message.uri import SipUri

TAG: Final = b"gruu"
"""The option tag (§10.3)."""
PARAMETER: Final = b";gr"
"""Is in every one; what has it not is not looked at."""
_PREFIX: Final = b"tgruu."
_SEAL_BYTES: Final = 8
_MARK_BYTES: Final = 8
_CSEQ_BYTES: Final = 4
_PLAIN: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()[]/:&+$"
)
"""What a URI parameter's value may hold (RFC 3261 §25.1)."""


class Temporary(NamedTuple):
    """What a temporary one says."""

    aor: bytes
    mark: bytes
    "Of the device and the Call-ID of its registration."


class Gruus:
    """Makes them and reads them; any node with the secret does."""

    def __init__(self, secret: bytes) -> None:
        self._seal_key = blake2b(secret, digest_size=32, person=b"gruu seal").digest()
        self._stream_key = blake2b(secret, digest_size=32, person=b"gruu stream").digest()

    def public(self, aor: str, instance: bytes) -> bytes:
        """Return the one that everybody may know; it is the same for ever."""
        return b"%b;gr=%b" % (aor.encode(), gr_of(instance))

    def temporary(self, aor: str, instance: bytes, call_id: bytes, cseq: int) -> bytes:
        """Return one that hides whose it is; another after each REGISTER."""
        name = aor.encode().removeprefix(b"sip:")
        count = (cseq % 2**32).to_bytes(_CSEQ_BYTES, "big")
        plain = count + self.mark(instance, call_id) + name
        seal = self._seal(plain)
        token = base64.urlsafe_b64encode(seal + self._mixed(plain, seal)).rstrip(b"=")
        return b"sip:%b%b@%b;gr" % (_PREFIX, token, name.rpartition(b"@")[2])

    def opened(self, user: bytes) -> Temporary | None:
        """Read the user part of a temporary one; None when we did not make it."""
        if not user.startswith(_PREFIX):
            return None
        token = user.removeprefix(_PREFIX)
        try:
            data = base64.b64decode(token + b"=" * (-len(token) % 4), b"-_", validate=True)
        except binascii.Error:
            return None
        seal, hidden = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
        plain = self._mixed(hidden, seal)
        if len(seal) < _SEAL_BYTES or self._seal(plain) != seal:
            return None
        begin = _CSEQ_BYTES + _MARK_BYTES
        return Temporary(b"sip:" + plain[begin:], plain[_CSEQ_BYTES:begin])

    def mark(self, instance: bytes, call_id: bytes) -> bytes:
        """Return what tells a registration from those before and after it."""
        text = b"%d %b%b" % (len(instance), instance, call_id)
        return blake2b(text, digest_size=_MARK_BYTES, key=self._seal_key, person=b"mark").digest()

    def _seal(self, plain: bytes) -> bytes:
        return blake2b(plain, digest_size=_SEAL_BYTES, key=self._seal_key, person=b"seal").digest()

    def _mixed(self, data: bytes, seal: bytes) -> bytes:
        """Hide, or show again: the seal of what is hidden makes every key stream another."""
        stream = b"".join(
            blake2b(seal, key=self._stream_key, salt=block.to_bytes(4, "big")).digest()
            for block in range(-(-len(data) // 64))
        )
        return bytes(a ^ b for a, b in zip(data, stream, strict=False))


def gr_of(instance: bytes) -> bytes:
    """Return the value of ``gr`` for a +sip.instance."""
    bare = instance.strip(b'"').removeprefix(b"<").removesuffix(b">")
    return b"".join(bytes((c,)) if c in _PLAIN else b"%%%02X" % c for c in bare)


def instance_of(gr: bytes) -> bytes:
    """Return the +sip.instance that a ``gr`` names."""
    return b"<" + unescape(gr) + b">"


def gr_in(uri: bytes) -> tuple[SipUri, bytes] | None:
    """Return a URI and its ``gr``, which is empty in a temporary one; None for another URI.

    Raises:
        ParseError: it is malformed.
    """
    if PARAMETER not in uri.lower() or not uri[:4].lower().startswith(b"sip"):
        return None
    parsed = SipUri.parse(uri)
    gr = parsed.param(b"gr")
    return None if gr is None else (parsed, gr)
