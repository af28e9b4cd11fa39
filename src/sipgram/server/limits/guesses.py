"""Wrong passwords, by account and address (D3): guessing is slow, and locks nobody else out.

Counted are the pair of account and address, all accounts from one address, and one account from all
addresses. An account that registered from an address of late is known there and has ten times the
patience, so that its owner gets in while others guess, and one guesser behind a NAT does not lock
out the phones beside it.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from sipgram.settings import LimitSettings

ENTRIES_MAX: Final = 50_000
"""Counters of each sort; beyond that the oldest is forgotten."""
KNOWN_MAX: Final = 200_000
"""Pairs of account and address that registered of late."""
KNOWN_S: Final = 30 * 86_400.0
PER_ADDRESS: Final = 10
"""So many times the limit is too much from one address, or for one account from anywhere."""


class _Counts:
    """Counters that leak: a full one is empty again after ``drain_s``."""

    def __init__(self, drain_s: float) -> None:
        self._drain_s = drain_s
        self.at: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def add(self, key: Hashable, limit: float, now: float) -> None:
        self.at[key] = (min(self.level(key, limit, now) + 1.0, 2.0 * limit), now)
        self.at.move_to_end(key)
        if len(self.at) > ENTRIES_MAX:
            self.at.popitem(last=False)

    def level(self, key: Hashable, limit: float, now: float) -> float:
        found = self.at.get(key)
        if found is None:
            return 0.0
        left = found[0] - (now - found[1]) * limit / self._drain_s
        if left <= 0.0:
            del self.at[key]
            return 0.0
        return left


class Guesses:
    """What is remembered of wrong passwords."""

    def __init__(self, settings: LimitSettings) -> None:
        self._limit = float(settings.wrong_passwords)
        self._drain_s = settings.wrong_passwords_s
        self._pairs = _Counts(self._drain_s)
        self._hosts = _Counts(self._drain_s)
        self._names = _Counts(self._drain_s)
        self._names_until = 0.0  # Until then some account is guessed at from many addresses.
        self._known: OrderedDict[tuple[str, bytes], tuple[float, int]] = OrderedDict()

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """How many pairs, addresses, accounts and homes are remembered."""
        return len(self._pairs.at), len(self._hosts.at), len(self._names.at), len(self._known)

    def is_suspect(self, host: bytes, now: float) -> bool:
        """Say whether ``is_stopped`` has to be asked at all: cheap, for each request."""
        return host in self._hosts.at or now < self._names_until

    def is_stopped(self, name: str, host: bytes, port: int, now: float) -> bool:
        """Say whether credentials of an account from an address are not looked at any more."""
        limit, many = self._limit, self._limit * PER_ADDRESS
        by_pair = self._pairs.level((name, host), many, now)
        by_host = self._hosts.level(host, many, now)
        until, at_home = self._known.get((name, host), (0.0, 0))
        if until > now:
            # Someone beside the owner behind one NAT may guess, but not where the owner is.
            return by_pair >= many and port != at_home
        return by_pair >= limit or by_host >= many or self._names.level(name, many, now) >= many

    def wrong(self, name: str, host: bytes, now: float) -> None:
        """Count a wrong password."""
        many = self._limit * PER_ADDRESS
        if not many:
            return
        self._pairs.add((name, host), many, now)
        self._hosts.add(host, many, now)
        self._names.add(name, many, now)
        if self._names.level(name, many, now) >= many:
            self._names_until = now + self._drain_s

    def right(self, name: str, host: bytes, port: int, now: float) -> None:
        """Remember that an account is at home at an address."""
        self._known[name, host] = (now + KNOWN_S, port)
        self._known.move_to_end((name, host))
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
