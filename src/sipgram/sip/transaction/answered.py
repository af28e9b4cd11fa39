"""Server transactions in state Completed: a key and the response bytes, until Timer J (RFC 3261 §17.2.2).

At 20,000 requests a second there are 640,000 of them. They lie in many small dicts, because one
large one stands still for 50 ms each time that it grows or sheds its holes; and those of a
quarter second are forgotten together, because a deadline each would cost as much as the answer.
"""

from collections import deque
from typing import Final

from sipgram.sip.timers import NEVER

SHARDS: Final = 256
"""A power of two; each shard holds 2,500 answers at 20,000 requests a second."""
BUCKET_S: Final = 0.25
"""Answers of this long a time are forgotten together."""
BYTES_MAX: Final = 512 * 1024 * 1024
"""Octets of keys and responses kept in all; beyond that the oldest quarter second goes."""
_MASK: Final = SHARDS - 1


class AnsweredRequests:
    """The responses that a repeated request gets again."""

    def __init__(self, *, keep_s: float, at_most: int, bytes_max: int = BYTES_MAX) -> None:
        """``keep_s`` is Timer J; beyond ``at_most`` or ``bytes_max`` the oldest answers go early."""
        self._shards: list[dict[bytes, bytes]] = [{} for _ in range(SHARDS)]
        self._buckets: deque[tuple[float, list[bytes], list[int]]] = deque()
        self._bucket: list[bytes] = []
        self._bucket_bytes = [0]  # A list of one, which the bucket's own entry shares.
        self._bytes = 0
        self._bytes_max = bytes_max
        self._bucket_closes = -NEVER
        self._keep_s = keep_s
        self._at_most = at_most
        self._count = 0  # Keys in the buckets; one that was answered twice counts twice.

    def of(self, key: bytes) -> bytes | None:
        """Return the response to the request of this key, None when there is none."""
        return self._shards[hash(key) & _MASK].get(key)

    def keep(self, key: bytes, response: bytes, now: float) -> None:
        """Remember a response."""
        size = len(key) + len(response)
        while self._buckets and (
            self._count >= self._at_most or self._bytes + size > self._bytes_max
        ):
            self._forget_oldest()
        if now >= self._bucket_closes or not self._buckets:
            self._bucket, self._bucket_bytes = [], [0]
            self._bucket_closes = now + BUCKET_S
            due = self._bucket_closes + self._keep_s
            self._buckets.append((due, self._bucket, self._bucket_bytes))
        self._shards[hash(key) & _MASK][key] = response
        self._bucket.append(key)
        self._bucket_bytes[0] += size
        self._bytes += size
        self._count += 1

    @property
    def next_due(self) -> float:
        """When ``advance`` has something to forget."""
        return self._buckets[0][0] if self._buckets else NEVER

    def advance(self, now: float) -> None:
        """Forget what Timer J ends."""
        while self._buckets and self._buckets[0][0] <= now:
            self._forget_oldest()

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def _forget_oldest(self) -> None:
        _, keys, size = self._buckets.popleft()
        self._count -= len(keys)
        self._bytes -= size[0]
        for key in keys:
            self._shards[hash(key) & _MASK].pop(key, None)
