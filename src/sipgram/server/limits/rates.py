"""How much of each kind of request an account may send: one token bucket each."""

from typing import Final

from sipgram.errors import Refusal
from sipgram.server.limits.tally import Tally
from sipgram.settings import LimitSettings

BUCKETS_MAX: Final = 100_000
"""Accounts remembered, per kind; beyond that all begin anew with a full bucket."""


class Rates:
    """Buckets of plain floats: this is asked for each request of an account."""

    def __init__(self, settings: LimitSettings, tally: Tally) -> None:
        self._tally = tally
        limits = {
            b"MESSAGE": settings.messages_per_minute,
            b"INVITE": settings.invites_per_minute,
            b"REGISTER": settings.registers_per_minute,
        }
        self._kinds: dict[bytes, tuple[float, dict[int, list[float]]]] = {
            method: (float(limit), {}) for method, limit in limits.items() if limit
        }

    @property
    def count(self) -> int:
        """How many buckets there are."""
        return sum(len(buckets) for _, buckets in self._kinds.values())

    def take(self, method: bytes, account_id: int, now: float) -> None:
        """Take a token.

        Raises:
            Refusal: there is none: 480 with Retry-After, for a REGISTER 500.
        """
        kind = self._kinds.get(method)
        if kind is None:
            return
        limit, buckets = kind
        bucket = buckets.get(account_id)
        if bucket is None:
            if len(buckets) >= BUCKETS_MAX:
                buckets.clear()
            buckets[account_id] = [limit - 1.0, now]
            return
        left = bucket[0] + (now - bucket[1]) * limit / 60.0
        bucket[1] = now
        if left < 1.0:
            bucket[0] = left
            self._refuse(method, account_id, limit)
        bucket[0] = (left if left < limit else limit) - 1.0

    def _refuse(self, method: bytes, account_id: int, limit: float) -> None:
        self._tally.note("rate", method=method.decode(), account=account_id)
        wait = b"Retry-After: %d" % max(1, round(60.0 / limit))
        status = 500 if method == b"REGISTER" else 480
        raise Refusal(status, f"More Than {limit:.0f} {method.decode()} A Minute", (wait,))
