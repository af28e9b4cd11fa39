"""sipsak, one shot at a time.

Its own ``-M`` mode crashes and cuts five-digit ports short, so a MESSAGE goes by file.
"""

import uuid
from pathlib import Path

from .inventory import Tool, need
from .phone import Account
from .program import Program


class Sipsak:
    """Runs sipsak against one server over UDP."""

    def __init__(self, *, server: tuple[str, int], home: Path) -> None:
        self._path = need(Tool.SIPSAK)
        self._host, self._port = server
        self._home = home

    def options(self) -> tuple[int, str]:
        """Ask for OPTIONS; give the exit code (0 for 2xx) and what it printed."""
        return self._run(["-s", f"sip:{self._host}:{self._port}", "-vv"])

    def message(self, account: Account, *, to: str, text: str) -> tuple[int, str]:
        """Send a MESSAGE with digest; give the exit code (0 for 2xx) and what it printed."""
        body = text.encode()
        request = (
            f"MESSAGE {to} SIP/2.0\n"
            f"From: <{account.aor}>;tag=sipsak\n"
            f"To: <{to}>\n"
            f"Call-ID: {uuid.uuid4().hex}\n"
            "CSeq: 1 MESSAGE\n"
            "Max-Forwards: 70\n"
            "Content-Type: text/plain\n"
            f"Content-Length: {len(body)}\n"
            "\n"
        )
        self._home.mkdir(parents=True, exist_ok=True)
        file = self._home / "message.sip"
        file.write_bytes(request.encode() + body)  # sipsak itself writes CRLF for each LF.
        user = to.removeprefix("sip:").partition("@")[0]
        target = f"sip:{user}@{self._host}:{self._port}"
        credentials = ["-u", account.user, "-a", account.password]
        return self._run(["-f", str(file), "-s", target, *credentials, "-vv"])

    def _run(self, arguments: list[str]) -> tuple[int, str]:
        with Program([self._path, *arguments], home=self._home) as program:
            code = program.wait(timeout_s=30.0)
            return code, program.report()
