"""baresip, driven through its standard input; it writes to its *current contact* only."""

import re
from pathlib import Path
from typing import Final, Literal, Protocol

from .inventory import Tool, need
from .phone import Account, CallState, Phone, Transport
from .program import Program

MODULES = Path("/usr/lib/baresip/modules")

# menu.so handles what comes in (without it every MESSAGE is refused), contact.so knows whom
# /message goes to, stdio.so reads the keyboard. Port 0 lets the system choose.
CONFIGURATION = """\
poll_method epoll
sip_listen 127.0.0.1:0
sip_cafile {certificate}
sip_verify_server yes
module_path {modules}
module stdio.so
module g711.so
module_tmp uuid.so
module_tmp account.so
module_app contact.so
module_app menu.so
"""


_STATES: Final[dict[CallState, str]] = {
    "ringing": "Incoming call from",
    "connected": "Call established",
    "ended": "session closed|terminated",
}


class Baresip(Phone):
    """A registered baresip that talks to one peer."""

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
        path = need(Tool.BARESIP)
        settings = home / "settings"
        settings.mkdir(parents=True)
        host, port = server
        outbound = f"sip:{host}:{port};transport={transport}"
        modules = "module_app presence.so\n" if presence else ""
        (settings / "config").write_text(
            CONFIGURATION.format(modules=MODULES, certificate=certificate) + modules
        )
        published = ";pubint=300" if presence else ""
        (settings / "accounts").write_text(
            f'<{account.aor}>;auth_pass={account.password};outbound="{outbound}";regint=300'
            f"{published}\n"
        )
        watched = ";presence=p2p" if presence else ""
        (settings / "contacts").write_text(f"<{peer}>{watched}\n")
        (settings / "current_contact").write_text(peer)
        self.account = account
        self.peer = peer
        self._server = f"{host}:{port}"
        # -s traces SIP to standard output: whatever fails, the report has the bytes.
        self.program = Program([path, "-f", str(settings), "-s"], home=home)

    def wait_registered(self, *, timeout_s: float = 10.0) -> None:
        bare = re.escape(self.account.aor.removeprefix("sip:"))
        self.program.expect(rf"^{bare}: \{{.*\}} 200 ", timeout_s=timeout_s)

    def send_text(self, text: str) -> None:
        self.program.write_line(f"/message {text}")

    def wait_sent(self, *, timeout_s: float = 10.0) -> str:
        """Give the status line that answered the MESSAGE, challenges passed over."""
        from_server = rf"^(?:UDP|TCP|TLS) {re.escape(self._server)} -> \S+\n"
        status = self.program.expect(
            rf"{from_server}SIP/2\.0 (?!401|407|1\d\d)(\d{{3}} [^\r\n]*)\r\n"
            r"(?:[^\r\n]+\r\n)*?CSeq: \d+ MESSAGE\r$",
            timeout_s=timeout_s,
        )
        return status[1]

    def wait_text(self, *, timeout_s: float = 10.0) -> str:
        """Give the next text that came in from the peer; baresip shows it on standard error."""
        shown = rf'{re.escape(self.peer)}: "(.*)"$'
        return self.program.stderr.expect(shown, timeout_s=timeout_s)[1]

    def call(self) -> None:
        self.program.write_line(f"/dial {self.peer}")

    def answer(self) -> None:
        self.program.write_line("/accept")

    def hang_up(self) -> None:
        self.program.write_line("/hangup")

    def wait_call(self, state: CallState, *, timeout_s: float = 20.0) -> None:
        self.program.expect(_STATES[state], timeout_s=timeout_s)

    def be(self, state: Literal["online", "offline"]) -> None:
        """Publish another state of its own."""
        self.program.write_line(f"/presence_{state}")

    def wait_notified(self, pattern: str, *, timeout_s: float = 10.0) -> None:
        """Return when a NOTIFY about the peer came that ``pattern`` is found in."""
        self.program.expect(rf"^NOTIFY [\s\S]*?{pattern}", timeout_s=timeout_s)

    def shown_peer(self, *, timeout_s: float = 10.0) -> str:
        """Give how its list of contacts shows the peer: Online, Offline, Busy, Away or Unknown."""
        self.program.write_line("/contacts")
        listed = r"--- Contacts \(1\) ---\n>?\s*\S*?(Online|Offline|Busy|Away|Unknown)\S*\s+<"
        return self.program.stderr.expect(listed, timeout_s=timeout_s)[1]

    def stop(self) -> None:
        """Let it unregister and end."""
        self.program.write_line("/quit")
        self.program.wait(timeout_s=10.0)


class StartBaresip(Protocol):
    """Starts a baresip that is pointed at the server under test."""

    def __call__(
        self, account: Account, *, peer: Account, transport: Transport, presence: bool = False
    ) -> Baresip: ...
