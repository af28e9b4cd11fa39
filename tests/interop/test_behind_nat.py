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
from typing import Final

import pytest

from .nat_lab import SERVER, NatLab
from .phone import Account
from .program import ProgramFailed
from .sipgram_server import SipgramServer
from .wire import WireAgent

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


def wait_until(instant: float) -> None:
    """Let time go by: what is tested is what happens while nobody does anything."""
    time.sleep(max(0.0, instant - time.monotonic()))
