"""A user agent of a few lines over one UDP socket, for the tests that look at exact bytes.

It shares no code with sipgram on purpose: what both got wrong in the same way would not show.
"""

import hashlib
import re
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from .phone import Account
from .program import ProgramFailed


@dataclass(frozen=True, slots=True)
class WireMessage:
    """One SIP message as it came in; ``raw`` is the whole datagram."""

    raw: bytes
    start_line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        head, _, body = raw.partition(b"\r\n\r\n")
        start_line, *lines = head.decode().split("\r\n")
        headers = [line.partition(":")[::2] for line in lines]
        return cls(
            raw, start_line, tuple((name.strip(), value.strip()) for name, value in headers), body
        )

    def all(self, name: str) -> list[str]:
        """The values of a header, topmost first."""
        return [value for given, value in self.headers if given.lower() == name.lower()]

    def header(self, name: str) -> str:
        """The value of a header that must be there once."""
        (value,) = self.all(name)
        return value

    @property
    def method(self) -> str | None:
        """None for a response."""
        first = self.start_line.partition(" ")[0]
        return None if first == "SIP/2.0" else first

    @property
    def status(self) -> int | None:
        """None for a request."""
        return None if self.method else int(self.start_line.split(" ")[1])


def digest_answer(
    challenge: str, account: Account, *, method: str, uri: str, count: int = 1
) -> str:
    """The value of (Proxy-)Authorization for an MD5 challenge with qop=auth (RFC 2617 §3.2.2)."""
    realm = _parameter(challenge, "realm")
    nonce = _parameter(challenge, "nonce")
    cnonce = uuid.uuid4().hex
    nc = f"{count:08x}"
    first = _md5(f"{account.user}:{realm}:{account.password}")
    second = _md5(f"{method}:{uri}")
    response = _md5(f"{first}:{nonce}:{nc}:{cnonce}:auth:{second}")
    return (
        f'Digest username="{account.user}", realm="{realm}", nonce="{nonce}", uri="{uri}", '
        f'algorithm=MD5, qop=auth, nc={nc}, cnonce="{cnonce}", response="{response}"'
    )


def new_branch() -> str:
    return f"z9hG4bK{uuid.uuid4().hex}"


class WireAgent:
    """A user agent with an account that sends and takes bytes; nothing is repeated by itself."""

    def __init__(
        self, account: Account, *, server: tuple[str, int], sock: socket.socket | None = None
    ) -> None:
        """``sock`` is a bound UDP socket, as one of another network namespace."""
        self.account = account
        self._server = server
        self._socket = sock or _loopback_socket()
        self.host, self.port = self._socket.getsockname()
        self._seen: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def contact(self) -> str:
        return f"sip:{self.account.user}@{self.host}:{self.port}"

    def send(self, data: bytes) -> None:
        self._socket.sendto(data, self._server)

    def receive(self, *, timeout_s: float = 10.0) -> WireMessage:
        """Give the next datagram; ProgramFailed, with all that came before, when there is none."""
        self._socket.settimeout(timeout_s)
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            seen = b"\n----\n".join(self._seen).decode(errors="backslashreplace")
            raise ProgramFailed(f"nothing came in {timeout_s:g} s; before that:\n{seen}") from None
        self._seen.append(data)
        return WireMessage.parse(data)

    def receive_request(self, method: str, *, timeout_s: float = 10.0) -> WireMessage:
        """Give the next request of ``method``; what else comes meanwhile is passed over."""
        return self._receive(lambda message: message.method == method, timeout_s=timeout_s)

    def receive_response(self, *, timeout_s: float = 10.0) -> WireMessage:
        """Give the next final response; requests that come meanwhile are passed over."""
        return self._receive(lambda message: (message.status or 0) >= 200, timeout_s=timeout_s)

    def request(
        self,
        method: str,
        uri: str,
        *,
        to: str,
        call_id: str | None = None,
        sequence: int = 1,
        branch: str | None = None,
        from_tag: str = "wire",
        extra: str = "",
        body: bytes = b"",
    ) -> bytes:
        """Write a request; ``extra`` is whole header lines, each with its CRLF."""
        head = (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.host}:{self.port};branch={branch or new_branch()};rport\r\n"
            "Max-Forwards: 70\r\n"
            f"From: <{self.account.aor}>;tag={from_tag}\r\n"
            f"To: <{to}>\r\n"
            f"Call-ID: {call_id or uuid.uuid4().hex}\r\n"
            f"CSeq: {sequence} {method}\r\n"
            f"{extra}"
            f"Content-Length: {len(body)}\r\n"
            "\r\n"
        )
        return head.encode() + body

    def answer(self, request: WireMessage, status: str = "200 OK") -> None:
        """Answer a request of the server's with a status and reason (RFC 3261 §8.2.6)."""
        lines = [f"SIP/2.0 {status}"]
        lines += [f"Via: {value}" for value in request.all("Via")]
        lines += [f"{name}: {request.header(name)}" for name in ("From", "Call-ID", "CSeq")]
        lines.append(f"To: {request.header('To')};tag=wire-{self.port}")
        lines.append("Content-Length: 0")
        self.send("\r\n".join([*lines, "", ""]).encode())

    def register(self, *, expires_s: int = 300) -> WireMessage:
        """Register this socket with digest; give the 200."""
        uri = f"sip:{self.account.domain}"
        call_id = uuid.uuid4().hex
        extra = f"Contact: <{self.contact}>\r\nExpires: {expires_s}\r\n"

        def send(sequence: int, credentials: str) -> WireMessage:
            self.send(
                self.request(
                    "REGISTER",
                    uri,
                    to=self.account.aor,
                    call_id=call_id,
                    sequence=sequence,
                    extra=extra + credentials,
                )
            )
            return self.receive_response()

        challenge = send(1, "")
        assert challenge.status == 401, challenge.start_line
        value = digest_answer(
            challenge.header("WWW-Authenticate"), self.account, method="REGISTER", uri=uri
        )
        registered = send(2, f"Authorization: {value}\r\n")
        assert registered.status == 200, registered.raw
        return registered

    def authenticated_message(
        self, uri: str, *, body: bytes, call_id: str | None = None, branch: str | None = None
    ) -> bytes:
        """Ask for a challenge, then write, not send, the MESSAGE that answers it.

        The challenged one and this one differ in their credentials alone when ``branch`` is
        given, which is how libpurple does it; else in branch and CSeq too.
        """
        call_id = call_id or uuid.uuid4().hex
        content = "Content-Type: text/plain\r\n"
        self.send(
            self.request(
                "MESSAGE", uri, to=uri, call_id=call_id, branch=branch, extra=content, body=body
            )
        )
        challenge = self.receive_response()
        assert challenge.status == 407, challenge.raw
        value = digest_answer(
            challenge.header("Proxy-Authenticate"), self.account, method="MESSAGE", uri=uri
        )
        return self.request(
            "MESSAGE",
            uri,
            to=uri,
            call_id=call_id,
            branch=branch,
            sequence=1 if branch else 2,
            extra=f"{content}Proxy-Authorization: {value}\r\n",
            body=body,
        )

    def _receive(self, wanted: Callable[[WireMessage], bool], *, timeout_s: float) -> WireMessage:
        deadline = time.monotonic() + timeout_s
        while True:
            message = self.receive(timeout_s=max(deadline - time.monotonic(), 0.001))
            if wanted(message):
                return message


def _loopback_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def _parameter(challenge: str, name: str) -> str:
    found = re.search(rf'\b{name}="([^"]*)"', challenge)
    assert found, f"no {name} in {challenge!r}"
    return found[1]


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
