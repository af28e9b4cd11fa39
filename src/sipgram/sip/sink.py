"""What the pure SIP machines ask of their driver: where bytes go, whom to tell (RFC 3261 §17)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeVar

from sipgram.sip.message.message import Message
from sipgram.sip.timers import Sleeper, Timers

if TYPE_CHECKING:
    from sipgram.sip.proxy import Target

Cause = Literal["timeout", "transport-error"]
"""Why a client transaction ended without a final response (RFC 3261 §8.1.3.1)."""


class Flow(Protocol):
    """One way to one peer: a connection, or a UDP socket and an address (RFC 5626 §2)."""

    host: bytes
    "The peer's address as text, IPv6 without brackets."
    port: int
    is_reliable: bool
    via_line: bytes
    "Our Via for requests that leave here, up to and with ``;branch=``."

    def send(self, data: bytes) -> bool:
        """Hand one message to the transport; False when the flow is dead."""

    def reply_flow(self, request: Message) -> "Flow":
        """Return where responses to a request that came in here go (RFC 3261 §18.2.2)."""


Mover = Callable[[bytes], tuple[Flow, bytes] | None]
"""Takes a request that waits; returns where it goes now and as what, None when it stays."""


def is_secure(flow: Flow) -> bool:
    """Say whether a flow is one over TLS, as sips: asks for; our Via for it tells (RFC 3261 §26.2.2)."""
    return flow.via_line[13:16] in (b"TLS", b"WSS")


def is_websocket(flow: Flow) -> bool:
    """Say whether a flow is a WebSocket, which ends with its page and is never opened by us."""
    return flow.via_line[13:15].upper() == b"WS"  # Via: SIP/2.0/WS or WSS.


class ClientUser(Protocol):
    """The transaction user of a client transaction."""

    def on_response(self, transaction: "ClientSide", response: Message, now: float) -> None:
        """Take a response, provisional or final; nothing follows a final one."""

    def on_failure(self, transaction: "ClientSide", cause: Cause, now: float) -> None:
        """There will be no final response."""

    def on_waiting(self, now: float) -> None:
        """T1 has gone by without an answer; told once."""


class ClientSide(Protocol):
    """What its user may see of a client transaction."""

    branch: bytes
    request: bytes
    flow: Flow


class ServerSide(Protocol):
    """Who asked for what a proxy forwards: a server transaction, or the server itself."""

    flow: Flow
    "Where responses go."

    @property
    def is_open(self) -> bool:
        """Whether the final response is still to come."""

    def expect(self, now: float) -> None:
        """Be told that the answer takes its time."""

    def respond(self, response: bytes, now: float) -> None:
        """Take the final response; a second one is dropped."""


class Sink(Protocol):
    """What a transaction machine asks for; the transaction table in production."""

    timers: Timers
    "The base values of the timers."

    def wake(self, sleeper: Sleeper, after_s: float, now: float) -> None:
        """Set the machine's only deadline."""

    def end_client(self, branch: bytes) -> None:
        """The client transaction is over: responses to it are strays from now on."""

    def complete_server(self, key: bytes, response: bytes, is_reliable: bool, now: float) -> None:
        """The server transaction is Completed: only its response is needed, until Timer J."""


SMALL_BYTES: Final = 1_200
"""D26: so much goes by datagram anywhere; of more the carrier is asked."""

T = TypeVar("T", bound="Target")


class Carrier(Protocol):
    """Who finds a way for what is too large for a datagram (RFC 3261 §18.1.1; D26)."""

    def carry(self, target: T, size: int) -> tuple[T, Flow] | None:
        """Return the flow for a request of ``size`` octets, and the target that it belongs to.

        None when there is none: 513.
        """

    def give_up(self, target: "Target", flow: Flow) -> bool:
        """Hear that a flow which ``carry`` gave is dead; True when there may be another."""


class AsItIs:
    """Sends everything on the target's own flow."""

    def carry(self, target: T, size: int) -> tuple[T, Flow] | None:
        return target, target.flow

    def give_up(self, target: "Target", flow: Flow) -> bool:
        return False


AS_IT_IS: Final = AsItIs()
