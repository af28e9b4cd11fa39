"""Nonces and To tags that are recognised without being remembered (RFC 7616 §3.3, §3.4.5).

Pure. A challenge costs no memory (D3): the nonce carries its node, its process, its age
and a keyed hash. Memory is spent only on a nonce that a right password has used.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections import OrderedDict
from typing import Literal

from sipgram.errors import UsageError
from sipgram.identity import NodeId

Verdict = Literal["good", "stale", "foreign", "forged"]

NC_WINDOW = 64
"""How far ``nc`` may lag behind the highest one seen: forks and datagrams overtake each other."""

_BODY = struct.Struct(">4sII")  # process, sixteenths of a second, count
_MAC_BYTES = 12
_NONCE_CHARS = 2 + (_BODY.size + _MAC_BYTES) // 3 * 4
_WINDOW_MASK = (1 << NC_WINDOW) - 1
_EXPIRED_PER_USE = 2  # More than one, so that the table shrinks while it is in use.


class _Window:
    """The counts that one nonce has been used with."""

    __slots__ = ("expires_at", "highest", "issued_at", "seen")

    def __init__(self, *, issued_at: float, expires_at: float) -> None:
        self.issued_at = issued_at
        self.expires_at = expires_at
        self.highest = -1  # -1 until a request with nc has come.
        self.seen = 0  # Bit n stands for ``highest - n``.


class NonceMint:
    """Issues nonces and knows its own again.

    ``secret`` is 16 to 64 bytes and outlives the process; ``process`` is 4 bytes that do
    not: a nonce of an earlier run is ``stale``, because which of its counts were used is
    forgotten. At most ``nonces_max`` used nonces are remembered (about 300 bytes each);
    beyond it the oldest becomes stale, with every unused one that is as old, so that
    forgetting never opens a replay.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        node: NodeId,
        process: bytes,
        lifetime_s: float = 600.0,
        nonces_max: int = 100_000,
    ) -> None:
        if len(node) != 2 or not node.isascii():
            raise UsageError(f"node is not two letters or digits: {node!r}")
        if len(process) != 4:
            raise UsageError(f"process is not 4 bytes: {len(process)}")
        self._keyed = hashlib.blake2b(key=secret, digest_size=_MAC_BYTES, person=b"sipgram nonce")
        self._keyed.update(node.encode())
        self._node = node
        self._process = process
        self._lifetime_s = lifetime_s
        self._nonces_max = nonces_max
        # Ordered, since a plain dict finds its first key the slower the more were removed before it.
        self._used: OrderedDict[str, _Window] = OrderedDict()
        self._forgotten_at = float("-inf")  # Nonces issued up to here are known or stale.
        self._count = 0

    def __len__(self) -> int:
        """How many used nonces are remembered."""
        return len(self._used)

    def issue(self, now: float) -> str:
        """Return a new nonce, 34 characters, good for ``lifetime_s`` from ``now``."""
        # The count keeps two challenges of one instant apart: their nc would collide.
        self._count = (self._count + 1) & 0xFFFFFFFF
        body = _BODY.pack(self._process, int(now * 16) & 0xFFFFFFFF, self._count)
        return self._node + base64.urlsafe_b64encode(body + self._mac(body)).decode()

    def verify(self, nonce: str, now: float) -> Verdict:
        """Tell whose nonce this is and whether it may still be used.

        ``foreign`` is the shape of another node's nonce, which only that node can check.
        """
        window = self._used.get(nonce)
        if window is not None:
            return "good" if now < window.expires_at else "stale"
        if len(nonce) != _NONCE_CHARS or not nonce.isascii():
            return "forged"
        if not nonce.startswith(self._node):
            return "foreign"
        body = self._body(nonce)
        if body is None:
            return "forged"
        process, ticks, _ = _BODY.unpack(body)
        issued_at = ticks / 16
        if process != self._process or issued_at <= self._forgotten_at:
            return "stale"
        return "good" if issued_at <= now < issued_at + self._lifetime_s else "stale"

    def take(self, nonce: str, nc: int | None, now: float) -> bool:
        """Say whether a right answer may use a nonce with this count, and note that it did."""
        window = self._used.get(nonce)
        if window is not None and nc is not None and nc == window.highest + 1:
            # The usual case: the next request of a phone that was here before.
            if now >= window.expires_at:
                return False
            window.seen = (window.seen << 1 | 1) & _WINDOW_MASK
            window.highest = nc
            return True
        return self.verify(nonce, now) == "good" and self.use(nonce, nc, now)

    def use(self, nonce: str, nc: int | None, now: float) -> bool:
        """Note that a right answer used a good ``nonce``; False when that count was used before.

        ``nc`` is None for an answer without qop, which a nonce allows any number of times.
        """
        window = self._used.get(nonce) or self._remember(nonce, now)
        if nc is None:
            return True
        ahead = nc - window.highest
        if ahead > 0:
            # Compared first: a shift by a peer's number could take gigabytes.
            window.seen = 1 if ahead >= NC_WINDOW else (window.seen << ahead | 1) & _WINDOW_MASK
            window.highest = nc
            return True
        if -ahead >= NC_WINDOW:
            return False
        bit = 1 << -ahead
        if window.seen & bit:
            return False
        window.seen |= bit
        return True

    def _remember(self, nonce: str, now: float) -> _Window:
        body = self._body(nonce)
        if body is None:
            raise UsageError("a nonce was used that is not ours")
        issued_at = _BODY.unpack(body)[1] / 16
        used = self._used
        for _ in range(_EXPIRED_PER_USE):
            oldest = next(iter(used), None)
            if oldest is None:
                break
            if used[oldest].expires_at > now and len(used) < self._nonces_max:
                break
            self._forgotten_at = max(self._forgotten_at, used.pop(oldest).issued_at)
        window = _Window(issued_at=issued_at, expires_at=issued_at + self._lifetime_s)
        used[nonce] = window
        return window

    def _body(self, nonce: str) -> bytes | None:
        """Return what a nonce of this node says, or None when the hash is not ours."""
        try:
            packed = base64.b64decode(nonce[2:], altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body, mac = packed[: _BODY.size], packed[_BODY.size :]
        return body if hmac.compare_digest(mac, self._mac(body)) else None

    def _mac(self, body: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(body)
        return keyed.digest()


class StatelessTags:
    """To tags of stateless answers (D3): the ACK of a stateless 407 is known by its tag."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = hashlib.blake2b(key=secret, digest_size=8, person=b"sipgram to-tag")

    def tag(self, call_id: bytes, from_tag: bytes, branch: bytes) -> bytes:
        """Return the same 16 hex digits for the same request, retransmissions included."""
        keyed = self._keyed.copy()
        # Lengths keep (ab, c) and (a, bc) apart.
        keyed.update(b"%d:%d:%b%b%b" % (len(call_id), len(from_tag), call_id, from_tag, branch))
        return keyed.hexdigest().encode()
