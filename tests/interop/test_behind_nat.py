"""Phones behind a real NAT, in network namespaces (D27, D28; issue calls, shown by 4).

A NAT here forgets after 3 s, so that the suite is quick; ``NAT_TIMEOUT_S=30 NAT_PROBES=5`` is the
ten minutes of the issue.
"""

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import pytest

from .nat_lab import SERVER, NatLab
from .phone import Account
from .program import ProgramFailed
from .sipgram_server import SipgramServer
from .wire import WireAgent, WireMessage, digest_answer, new_branch

TIMEOUT_S: Final = int(os.environ.get("NAT_TIMEOUT_S", "3"))
PROBES: Final = int(os.environ.get("NAT_PROBES", "2"))
SILENCE: Final = 4
"""Timeouts without a message between two probes."""
KEEP_ALIVE_S: Final = TIMEOUT_S * 25 / 30
"""As 25 s are to a NAT that forgets after 30 s."""

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(60 + 2 * TIMEOUT_S * SILENCE * PROBES),
]


@pytest.fixture
def lab() -> Iterator[NatLab]:
    with NatLab(udp_timeout_s=TIMEOUT_S) as built:
        yield built


@contextmanager
def serving(lab: NatLab, data: Path, home: Path, **settings: str) -> Iterator[SipgramServer]:
    shutil.copytree(data, home / "data")
    with SipgramServer(
        data=home / "data",
        home=home,
        environment=settings,
        host=SERVER,
        prefix=lab.in_server_network(),
    ) as server:
        yield server


def texted(sender: WireAgent, to: Account, body: bytes) -> int:
    """Send a message; return its final status."""
    sender.send(sender.authenticated_message(to.aor, body=body))
    return sender.receive_response().status or 0


def test_d27_a_udp_phone_behind_nat_stays_reachable(
    lab: NatLab, data_with_accounts: Path, tmp_path: Path, alice: Account, bob: Account
) -> None:
    """The phone sends nothing by itself after its REGISTER: the server's four octets alone keep
    the NAT's mapping."""
    setting = {"SIPGRAM_TRANSPORT__KEEP_ALIVE_S": f"{KEEP_ALIVE_S:g}"}
    with serving(lab, data_with_accounts, tmp_path / "server", **setting) as server:
        address = server.address("udp")
        with (
            WireAgent(bob, server=address, sock=lab.socket_at_phone(socket.SOCK_DGRAM)) as phone,
            WireAgent(alice, server=address, sock=lab.socket_at_server(socket.SOCK_DGRAM)) as other,
        ):
            began = time.monotonic()
            phone.register(expires_s=3_600)
            for number in range(PROBES):
                wait_until(began + (number + 1) * SILENCE * TIMEOUT_S)
                body = b"message %d" % number
                other.send(other.authenticated_message(bob.aor, body=body))
                came = phone.receive_request("MESSAGE", timeout_s=2.0)
                phone.answer(came)

                assert came.body == body
                assert other.receive_response().status == 200


def test_without_keep_alives_the_nat_forgets_the_phone(
    lab: NatLab, data_with_accounts: Path, tmp_path: Path, alice: Account, bob: Account
) -> None:
    """The control of the test above: this NAT does forget. The message is kept."""
    setting = {"SIPGRAM_TRANSPORT__KEEP_ALIVE_S": "0"}
    with serving(lab, data_with_accounts, tmp_path / "server", **setting) as server:
        address = server.address("udp")
        with (
            WireAgent(bob, server=address, sock=lab.socket_at_phone(socket.SOCK_DGRAM)) as phone,
            WireAgent(alice, server=address, sock=lab.socket_at_server(socket.SOCK_DGRAM)) as other,
        ):
            phone.register()
            wait_until(time.monotonic() + SILENCE * TIMEOUT_S)

            assert texted(other, bob, b"lost?") == 202
            with pytest.raises(ProgramFailed):
                phone.receive_request("MESSAGE", timeout_s=0.5)

            phone.register()
            assert phone.receive_request("MESSAGE").body == b"lost?"


class StreamPhone:
    """bob's phone on a connection through the NAT."""

    def __init__(self, account: Account, *, server: tuple[str, int], lab: NatLab) -> None:
        self.account = account
        self._socket = lab.socket_at_phone(socket.SOCK_STREAM)
        self._socket.settimeout(10.0)
        self._socket.connect(server)
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def register(self) -> None:
        """Register with digest; no Outbound, as most phones."""
        call_id = new_branch()
        uri = f"sip:{self.account.domain}"
        self._send_register(uri, call_id, 1, "")
        challenge = self.receive()
        assert challenge.status == 401, challenge.raw
        value = digest_answer(
            challenge.header("WWW-Authenticate"), self.account, method="REGISTER", uri=uri
        )
        self._send_register(uri, call_id, 2, f"Authorization: {value}\r\n")
        assert self.receive().status == 200

    def _send_register(self, uri: str, call_id: str, sequence: int, credentials: str) -> None:
        host, port = self._socket.getsockname()
        self._socket.sendall(
            (
                f"REGISTER {uri} SIP/2.0\r\n"
                f"Via: SIP/2.0/TCP {host}:{port};branch={new_branch()};rport\r\n"
                f"Max-Forwards: 70\r\nFrom: <{self.account.aor}>;tag=stream\r\n"
                f"To: <{self.account.aor}>\r\nCall-ID: {call_id}\r\nCSeq: {sequence} REGISTER\r\n"
                f"Contact: <sip:{self.account.user}@{host}:{port};transport=tcp>"
                ';+sip.instance="<urn:uuid:00000000-0000-1000-8000-0000000000b0>"\r\n'
                f"Expires: 600\r\n{credentials}Content-Length: 0\r\n\r\n"
            ).encode()
        )

    def take(self) -> bytes:
        """Answer the next request 200; give its body."""
        request = self.receive()
        lines = ["SIP/2.0 200 OK", *(f"Via: {value}" for value in request.all("Via"))]
        lines += [f"{name}: {request.header(name)}" for name in ("From", "Call-ID", "CSeq")]
        lines += [f"To: {request.header('To')};tag=stream", "Content-Length: 0", "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        return request.body

    def receive(self) -> WireMessage:
        """Give the next message; TimeoutError when none comes."""
        while b"\r\n\r\n" not in self._unread:
            data = self._socket.recv(65_536)
            assert data, "the server has closed the connection"
            self._unread += data
        head, _, rest = self._unread.partition(b"\r\n\r\n")
        length = int(WireMessage.parse(head + b"\r\n\r\n").header("Content-Length"))
        assert len(rest) >= length
        self._unread = rest[length:]
        return WireMessage.parse(head + b"\r\n\r\n" + rest[:length])


PING_S: Final = 4
"""transport.stream_ping_s, longer than the NAT here remembers a connection."""


def test_d28_a_tcp_phone_that_its_nat_forgot_is_found_dead_and_comes_back(
    data_with_accounts: Path, tmp_path: Path, alice: Account, bob: Account
) -> None:
    """The message that went into the void is on the new connection once the phone is back; what
    comes while the phone is known to be away is answered at once, and kept."""
    setting = {"SIPGRAM_TRANSPORT__STREAM_PING_S": str(PING_S)}
    with (
        NatLab(tcp_timeout_s=2) as lab,
        serving(lab, data_with_accounts, tmp_path / "server", **setting) as server,
        WireAgent(
            alice, server=server.address("udp"), sock=lab.socket_at_server(socket.SOCK_DGRAM)
        ) as sender,
    ):
        with StreamPhone(bob, server=server.address("tcp"), lab=lab) as forgotten:
            forgotten.register()
            wait_until(time.monotonic() + 3.0)
            assert texted(sender, bob, b"into the void") == 202

            with StreamPhone(bob, server=server.address("tcp"), lab=lab) as phone:
                phone.register()
                assert phone.take() == b"into the void"

        with StreamPhone(bob, server=server.address("tcp"), lab=lab) as forgotten:
            forgotten.register()
            wait_until(time.monotonic() + 3 * PING_S)
            began = time.monotonic()
            assert texted(sender, bob, b"while away") == 202
            assert time.monotonic() - began < 1.0
            with StreamPhone(bob, server=server.address("tcp"), lab=lab) as phone:
                phone.register()
                assert phone.take() == b"while away"


def wait_until(instant: float) -> None:
    """Let time go by: what is tested is what happens while nobody does anything."""
    time.sleep(max(0.0, instant - time.monotonic()))
