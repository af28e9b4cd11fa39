"""What may be tuned about a client: times and bounds, in one frozen value."""

from dataclasses import dataclass, field

from sipgram.sip.timers import Timers


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The defaults suit a phone on the open Internet."""

    expires_s: int = 3600
    "Asked of the registrar; it grants what it likes."
    refresh_share: float = 0.9
    "The binding is refreshed after this share of what was granted, give or take 5 %."
    events_max: int = 1_000
    "Messages waiting to be read; one more is answered 480 with Retry-After."
    messages_max: int | None = None
    "Messages taken in all; later ones are answered 480, so that the server keeps them."
    retry_first_s: float = 1.0
    "Wait before registering again after the flow broke; doubled each time it fails."
    retry_max_s: float = 120.0
    "The longest such wait."
    sends_receipts: bool = True
    "Whether ``delivered`` is sent for messages that ask for it."
    errands_max: int = 100
    "Receipts on their way at one time; one more is not sent."
    connect_s: float = 5.0
    "How long a TCP or TLS connection may take to come up."
    tls_ca: str = ""
    "PEM file of the authorities that the server's certificate must come from; empty for the system's."
    leave_s: float = 2.0
    "How long taking back the registration may hold up the end."
    timers: Timers = field(default_factory=Timers)
    "The base values of RFC 3261's timers; a request is given up after 64*T1."
