"""What a fork asks of whoever keeps messages for devices that are away (DELIVERY.md D9 to D12)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from sipgram.sip.message.message import Cut, Message
from sipgram.sip.sink import Flow


class KeptTarget(Protocol):
    """One contact of the fork, as the keeper knows it."""

    uri: bytes
    flow: Flow
    instance: bytes
    "Its +sip.instance, empty for those without one (D5)."


class Verdict(NamedTuple):
    """The answer to a sender whose message could not be kept; ``headers`` are whole lines."""

    status: int
    reason: str
    headers: tuple[bytes, ...]


Concluded = Callable[[Verdict | None, float], None]
"""Hears, with the time, that all copies are on disk, or else what the sender is to be told."""


class Keeping(Protocol):
    """What is kept of one request."""

    def on_taken(self, target: KeptTarget, status: int, now: float) -> None:
        """The device has the message; told after ``conclude`` too (D12)."""

    def on_refused(self, target: KeptTarget, status: int, now: float) -> None:
        """The device will never take it."""

    def on_owed(self, target: KeptTarget, branch: bytes, status: int, now: float) -> None:
        """The device has not taken it, or not yet: it is to have it later."""

    def conclude(self, done: Concluded, now: float) -> bool:
        """Keep the copies that are owed.

        False when there is nothing to keep, so that the fork's own answer stands; ``done`` is not
        called then.
        """


class Keeper(Protocol):
    """Opens the book for a request that some device did not take at once."""

    def open(self, request: Message, cuts: Sequence[Cut], now: float) -> Keeping | None:
        """Begin to keep a request without writing anything; None when it is not to be kept."""
