"""What a service says that sends a MESSAGE of our own making, and what it hears of it."""

from collections.abc import Callable
from typing import NamedTuple, Protocol


class DeviceAnswer(NamedTuple):
    """What one device said at once; ``status`` is 0 for no answer."""

    instance: bytes
    contact: bytes
    status: int
    state: str
    "taken, refused or waiting."


class Outcome(NamedTuple):
    """The answer to a message of our own, as its sender would have heard it (D9)."""

    status: int
    reason: str
    is_taken: bool
    "A device has it; else a status under 300 says that it is on disk."
    retry_after_s: int
    "0 when trying again is of no use."
    devices: tuple[DeviceAnswer, ...]


class Injects(Protocol):
    """Puts a request into the delivery path that requests of phones take."""

    def send(
        self, id: int, raw: bytes, *, account_id: int | None, done: Callable[[Outcome], None]
    ) -> None:
        """Deliver or keep it; ``done`` hears once, maybe before this returns.

        When it is kept, then under ``id``.
        """
