"""What the INVITE machines ask of their driver and of their user (RFC 3261 §17.1.1, §17.2.1; RFC 6026)."""

from typing import Protocol

from sipgram.sip.message.message import Message
from sipgram.sip.sink import Cause, ClientSide, Flow
from sipgram.sip.timers import Sleeper, Timers


class InviteClientUser(Protocol):
    """The transaction user of an INVITE client transaction."""

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        """Take a response: each provisional, one failure, or every 2xx there is."""

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        """No final response will come, or its ACK could not be sent."""


class InviteServerUser(Protocol):
    """The transaction user of an INVITE server transaction."""

    def on_cancel(self, now: float) -> None:
        """The sender takes the request back; told once, while no final response was sent."""

    def on_undelivered(self, cause: Cause, now: float) -> None:
        """A response could not be sent, or no ACK came within Timer H."""


class InviteSink(Protocol):
    """What an INVITE machine asks for; ``invites.Invites`` in production."""

    timers: Timers
    "The base values of the timers."

    def wake(self, sleeper: Sleeper, after_s: float, now: float) -> None:
        """Set the machine's only deadline."""

    def start_cancel(self, cancel: bytes, branch: bytes, flow: Flow, now: float) -> None:
        """Send a CANCEL as a client transaction of its own, whose result nobody waits for."""

    def end_client(self, branch: bytes) -> None:
        """The client transaction is Terminated."""

    def end_server(self, key: bytes) -> None:
        """The server transaction is Terminated."""
