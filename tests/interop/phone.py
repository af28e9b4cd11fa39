"""What the tests ask of a phone, whichever it is."""

from dataclasses import dataclass
from typing import Literal, Protocol, Self

from .program import Program

Transport = Literal["udp", "tcp", "tls"]
CallState = Literal["ringing", "connected", "ended"]


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the server under test; ``aor`` has its ``sip:``."""

    aor: str
    password: str

    @property
    def user(self) -> str:
        return self.aor.removeprefix("sip:").partition("@")[0]

    @property
    def domain(self) -> str:
        return self.aor.partition("@")[2]


class Phone(Protocol):
    """A softphone with an account; it ends with its ``with`` block, registered or not."""

    account: Account
    program: Program

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.kill()

    def wait_registered(self, *, timeout_s: float = 10.0) -> None:
        """Return when its REGISTER, with digest, got 200."""
        ...

    def send_text(self, text: str) -> None:
        """Send one pager-mode MESSAGE to the peer."""
        ...

    def wait_sent(self, *, timeout_s: float = 10.0) -> str:
        """Give what the phone knows of the fate of the MESSAGE it sent last."""
        ...

    def wait_text(self, *, timeout_s: float = 10.0) -> str:
        """Give the next text that came in."""
        ...

    def call(self) -> None:
        """Call the peer."""
        ...

    def answer(self) -> None:
        """Take the call that rings here."""
        ...

    def hang_up(self) -> None:
        """End the call there is, or refuse the one that rings."""
        ...

    def wait_call(self, state: CallState, *, timeout_s: float = 20.0) -> None:
        """Return when a call is in this state; it is waited for after the state before."""
        ...

    def stop(self) -> None:
        """Let it unregister and end; its end is waited for."""
        ...
