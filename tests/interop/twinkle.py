"""twinkle-console, driven through its command prompt on standard input; it knows no TLS."""

import socket
from pathlib import Path
from typing import Final, Protocol

from .inventory import Tool, need
from .phone import Account, CallState, Phone, Transport
from .program import Program, ProgramFailed

CONFIGURATION: Final = """\
user_name={user}
user_domain={domain}
auth_realm={domain}
auth_name={user}
auth_pass={password}
outbound_proxy={server}
all_requests_to_proxy=yes
registrar={server}
registration_time=300
register_at_startup=yes
sip_transport={transport}
pres_publish_startup=no
im_send_iscomposing=no
"""

NO_SOUND_CARD: Final = """\
pcm.!default { type null }
ctl.!default { type null }
"""
"""Without one it hangs up each call as it is answered."""

_STATES: Final[dict[CallState, str]] = {
    "ringing": "incoming call$",
    "connected": "(?:call established|far end answered call)",
    "ended": "(?:call ended|far end ended call|far end cancelled call|call failed)",
}


class Twinkle(Phone):
    """A registered twinkle-console."""

    def __init__(
        self,
        account: Account,
        *,
        peer: str,
        server: tuple[str, int],
        transport: Transport,
        home: Path,
    ) -> None:
        path = need(Tool.TWINKLE)
        settings = home / ".twinkle"
        settings.mkdir(parents=True, exist_ok=True)
        (home / ".asoundrc").write_text(NO_SOUND_CARD)
        (settings / "twinkle.sys").write_text(
            f"sip_port={_free_port()}\nrtp_port={_free_port() & ~1}\nvalidate_audio_dev=no\n"
        )
        host, port = server
        (settings / "phone.cfg").write_text(
            CONFIGURATION.format(
                user=account.user,
                domain=account.domain,
                password=account.password,
                server=f"{host}:{port}",
                transport=transport,
            )
        )
        self.account = account
        self.peer = peer
        log = settings / "twinkle.log"
        log.touch()
        # Its log has the SIP trace: the prompt tells nothing of a message that was taken.
        self.log = Program(["tail", "-n", "+1", "-F", str(log)], home=home, name="twinkle log")
        self.program = Program([path, "phone.cfg"], home=home)

    def kill(self) -> None:
        """End it without a word."""
        self.program.kill()
        self.log.kill()

    def wait_registered(self, *, timeout_s: float = 10.0) -> None:
        said = self.program.expect(r"registration (succeeded|failed)", timeout_s=timeout_s)
        if said[1] != "succeeded":
            raise ProgramFailed(f"twinkle was not registered\n{self.log.report()}")

    def send_text(self, text: str) -> None:
        self.program.write_line(f'message {self.peer} "{text}"')

    def wait_sent(self, *, timeout_s: float = 10.0) -> str:
        """Give the status line that answered the MESSAGE, challenges passed over."""
        return self.log.expect(
            r"^SIP/2\.0 (?!401|407|1\d\d)(\d{3} [^\r\n]*)\r?\n"
            r"(?:[^\r\n]+\r?\n)*?CSeq: \d+ MESSAGE\r?$",
            timeout_s=timeout_s,
        )[1]

    def wait_text(self, *, timeout_s: float = 10.0) -> str:
        return self.program.expect(
            r"^Received message\nFrom:.*\nTo:.*\n(?:Subject:.*\n)?\n(.+)\n", timeout_s=timeout_s
        )[1]

    def call(self) -> None:
        self.program.write_line(f"call {self.peer}")

    def answer(self) -> None:
        self.program.write_line("answer")

    def hang_up(self) -> None:
        self.program.write_line("bye")

    def wait_call(self, state: CallState, *, timeout_s: float = 20.0) -> None:
        self.program.expect(rf"^Line 1: {_STATES[state]}", timeout_s=timeout_s)

    def stop(self) -> None:
        self.program.write_line("quit")
        self.program.wait(timeout_s=10.0)


class StartTwinkle(Protocol):
    """Starts a twinkle-console that is pointed at the server under test."""

    def __call__(self, account: Account, *, peer: Account, transport: Transport) -> Twinkle: ...


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
