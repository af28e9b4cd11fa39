"""linphone-daemon, driven through its command prompt on standard input."""

from pathlib import Path
from typing import Final, Protocol

from .inventory import Tool, need
from .phone import Account, CallState, Phone, Transport
from .program import Program, ProgramFailed

# No comment may stand on a line of this file, and without [misc] it writes into friends.db.
CONFIGURATION = """\
[sip]
sip_port=-1
sip_tcp_port=-1
sip_tls_port=-1
default_proxy=0
guess_hostname=0
root_ca={certificate}
verify_server_certs=1
verify_server_cn=0
[sound]
playback_dev_id=
capture_dev_id=
[net]
firewall_policy=0
[misc]
store_friends=0
[proxy_0]
reg_proxy=<{route}>
reg_route=<{route};lr>
reg_identity=<{aor}>
reg_expires=300
reg_sendregister=1
publish={publish}
[auth_info_0]
username={user}
passwd={password}
realm={domain}
domain={domain}
"""

FRIEND = """\
[friend_0]
url=<{peer}>
pol=accept
subscribe=1
"""


_STATES: Final[dict[CallState, str]] = {
    "ringing": "IncomingReceived",
    "connected": "StreamsRunning",
    "ended": "(?:End|Error)",
}


class Linphone(Phone):
    """A registered linphone-daemon."""

    def __init__(
        self,
        account: Account,
        *,
        peer: str,
        server: tuple[str, int],
        transport: Transport,
        certificate: Path,
        home: Path,
        presence: bool = False,
    ) -> None:
        """``certificate`` is what the server's is to be checked against, over TLS.

        With ``presence`` it publishes its own and watches that of its peer.
        """
        path = need(Tool.LINPHONE)
        for folder in (".local/share/linphone", ".config/linphone"):
            # Missing ones are not made but crash it; a second start is the same device.
            (home / folder).mkdir(parents=True, exist_ok=True)
        host, port = server
        configuration = home / "linphonerc"
        configuration.write_text(
            CONFIGURATION.format(
                route=f"sip:{host}:{port};transport={transport}",
                aor=account.aor,
                user=account.user,
                password=account.password,
                domain=account.domain,
                certificate=certificate,
                publish=int(presence),
            )
            + (FRIEND.format(peer=peer) if presence else "")
        )
        self.account = account
        self.peer = peer
        # The log has the SIP trace too: whatever fails, the report has the bytes.
        self.program = Program(
            [path, "--config", str(configuration), "--log", "/dev/stderr"], home=home
        )

    def wait_registered(self, *, timeout_s: float = 10.0) -> None:
        """The prompt tells nothing of it, the log does."""
        moved = self.program.stderr.expect(
            r"moving from state \[\w+\] to \[LinphoneRegistration(Ok|Failed)\]", timeout_s=timeout_s
        )
        if moved[1] != "Ok":
            raise ProgramFailed(f"linphone was not registered\n{self.program.report()}")

    def send_text(self, text: str) -> None:
        self.program.write_line(f"message {self.peer} {text}")

    def wait_sent(self, *, timeout_s: float = 10.0) -> str:
        """Give ``Delivered`` or ``NotDelivered``; DeliveredToUser comes with the receipt."""
        return self.program.expect(
            r"^State: LinphoneChatMessageState(Delivered|NotDelivered)$", timeout_s=timeout_s
        )[1]

    def wait_text(self, *, timeout_s: float = 10.0) -> str:
        return self.program.expect(
            r"^Event-type: message-received\n(?:.*\n)*?Content: \"(.*)\"$", timeout_s=timeout_s
        )[1]

    def call(self) -> None:
        self.program.write_line(f"call {self.peer}")

    def answer(self) -> None:
        self.program.write_line("answer")

    def hang_up(self) -> None:
        self.program.write_line("terminate")

    def wait_call(self, state: CallState, *, timeout_s: float = 20.0) -> None:
        self.program.expect(rf"^Event: LinphoneCall{_STATES[state]}$", timeout_s=timeout_s)

    def wait_notified(self, pattern: str, *, timeout_s: float = 10.0) -> None:
        """Return when a NOTIFY about the peer came that ``pattern`` is found in."""
        self.program.stderr.expect(rf"^NOTIFY [\s\S]*?{pattern}", timeout_s=timeout_s)

    def stop(self) -> None:
        self.program.write_line("quit")
        self.program.wait(timeout_s=10.0)


class StartLinphone(Protocol):
    """Starts a linphone-daemon; ``server`` is the one under test unless told otherwise."""

    def __call__(
        self,
        account: Account,
        *,
        peer: Account,
        transport: Transport,
        server: tuple[str, int] | None = None,
        presence: bool = False,
    ) -> Linphone: ...
