"""What an operator's own code is asked about messages: write a ``Policy`` and name it in a setting.

    class Curfew(Policy):
        async def may_send(self, letter):
            return Refused("The office is closed") if is_night() else None

``[policy] path = "/etc/sipgram/curfew.py:Curfew"``, or ``"module:object"``. The server waits for
the answer no longer than ``policy.timeout_s``; what an error or a hang in it means is told by
``policy.on_failure``. It runs in the server's own loop: what blocks has to go to a thread.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Letter:
    """One message before it is delivered or stored."""

    sender: str
    "The From URI, which its sender has proved to be entitled to."
    recipient: str
    "The Request-URI."
    body: bytes = b""
    content_type: str = "text/plain"
    call_id: str = ""

    @property
    def text(self) -> str:
        """The body of a text, as far as it can be read."""
        return self.body.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Refused:
    """The sender is told no."""

    reason: str = "Forbidden"
    status: int = 403
    "From 400 to 699."


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message has reached its first device."""

    sender: str
    recipient: str
    was_stored: bool
    "It had to wait for the device."


class Policy(Protocol):
    """Three questions, each with an answer that changes nothing; override those that matter."""

    async def may_send(self, letter: Letter) -> Refused | None:
        """Say no, or nothing."""
        return None

    async def rewrite_target(self, letter: Letter) -> str | None:
        """Return the URI of another recipient of this server, or nothing."""
        return None

    async def on_delivered(self, delivery: Delivery) -> None:
        """Hear of a delivery; nobody waits for this."""
        return None
