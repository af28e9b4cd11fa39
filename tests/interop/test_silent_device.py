"""Two devices of one account, of which one is killed without a word (D9)."""

import time

import pytest

from .baresip import StartBaresip
from .linphone import StartLinphone
from .phone import Account, Transport
from .sipgram_server import SipgramServer
from .wire import WireAgent

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

FORK_S = 0.1
"""messaging.fork_s: what the open branches get once one has answered."""
AT_ONCE_S = 2.0
"""Far below answer_s (5 s), far above what a busy machine needs."""


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_d9_a_device_that_was_killed_holds_nobody_up(
    transport: Transport,
    alice: Account,
    bob: Account,
    server: SipgramServer,
    baresip: StartBaresip,
    linphone: StartLinphone,
) -> None:
    """Issue calls, shown by 2: the other device still gets everything and the sender has 200 at
    once; the silent one is given ``fork_s`` the first time and nothing after that."""
    killed = baresip(bob, peer=alice, transport=transport)
    alive = linphone(bob, peer=alice, transport=transport)
    killed.wait_registered()
    alive.wait_registered()
    with WireAgent(alice, server=server.address("udp")) as agent:
        killed.program.kill()

        for number in range(5):
            text = f"message {number}"
            agent.send(agent.authenticated_message(bob.aor, body=text.encode()))
            sent = time.monotonic()
            answer = agent.receive_response()
            took_s = time.monotonic() - sent

            assert answer.status == 200, answer.raw
            assert took_s < AT_ONCE_S, f"{text}: {took_s:.2f} s"
            assert alive.wait_text() == text
