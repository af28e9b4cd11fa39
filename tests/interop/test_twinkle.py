"""twinkle-console joins linphone and baresip (issue calls, shown by 2); it knows no TLS."""

import time
from collections.abc import Callable

import pytest

from .baresip import StartBaresip
from .linphone import StartLinphone
from .phone import Account, Phone, Transport
from .sipgram_server import SipgramServer
from .twinkle import StartTwinkle
from .wire import WireAgent

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

TEXT = "grüße, 日本 <sip:x@y>; 50% 😀"
AT_ONCE_S = 2.0
"""Far below answer_s (5 s), far above what a busy machine needs."""
Start = Callable[..., Phone]


@pytest.fixture(params=["linphone", "baresip"])
def other(request: pytest.FixtureRequest, linphone: StartLinphone, baresip: StartBaresip) -> Start:
    """Starts the phone at the other end."""
    return linphone if request.param == "linphone" else baresip


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_twinkle_and_the_others_write_to_each_other(
    transport: Transport, alice: Account, bob: Account, twinkle: StartTwinkle, other: Start
) -> None:
    """Issue calls, shown by 2: "register, write"; the text arrives unchanged both ways."""
    alices = twinkle(alice, peer=bob, transport=transport)
    bobs = other(bob, peer=alice, transport=transport)
    alices.wait_registered()
    bobs.wait_registered()

    alices.send_text(TEXT)
    assert bobs.wait_text() == TEXT
    assert alices.wait_sent().startswith("200")

    bobs.send_text(TEXT[::-1])
    assert alices.wait_text() == TEXT[::-1]

    alices.stop()


def test_twinkle_on_tcp_writes_to_a_phone_on_tls(
    alice: Account, bob: Account, twinkle: StartTwinkle, other: Start
) -> None:
    alices = twinkle(alice, peer=bob, transport="tcp")
    bobs = other(bob, peer=alice, transport="tls")
    alices.wait_registered()
    bobs.wait_registered()

    alices.send_text(TEXT)
    assert bobs.wait_text() == TEXT
    bobs.send_text(TEXT)
    assert alices.wait_text() == TEXT


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_twinkle_calls_and_hangs_up(
    transport: Transport, alice: Account, bob: Account, twinkle: StartTwinkle, other: Start
) -> None:
    """Issue calls, shown by 2: "call each other (signalling)"."""
    alices = twinkle(alice, peer=bob, transport=transport)
    bobs = other(bob, peer=alice, transport=transport)
    alices.wait_registered()
    bobs.wait_registered()

    alices.call()
    bobs.wait_call("ringing")
    bobs.answer()
    alices.wait_call("connected")
    bobs.wait_call("connected")
    alices.hang_up()
    bobs.wait_call("ended")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_twinkle_is_called_and_hangs_up(
    transport: Transport, alice: Account, bob: Account, twinkle: StartTwinkle, other: Start
) -> None:
    alices = twinkle(alice, peer=bob, transport=transport)
    bobs = other(bob, peer=alice, transport=transport)
    alices.wait_registered()
    bobs.wait_registered()

    bobs.call()
    alices.wait_call("ringing")
    alices.answer()
    bobs.wait_call("connected")
    alices.wait_call("connected")
    alices.hang_up()
    bobs.wait_call("ended")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("is_twinkle_killed", [True, False])
def test_d9_one_of_two_devices_is_killed_without_a_word(
    transport: Transport,
    is_twinkle_killed: bool,
    alice: Account,
    bob: Account,
    server: SipgramServer,
    twinkle: StartTwinkle,
    other: Start,
) -> None:
    """Issue calls, shown by 2: "the other still gets everything, and the sender 200 at once"."""
    twinkles = twinkle(bob, peer=alice, transport=transport)
    others = other(bob, peer=alice, transport=transport)
    twinkles.wait_registered()
    others.wait_registered()
    alive = others if is_twinkle_killed else twinkles
    with WireAgent(alice, server=server.address("udp")) as agent:
        (twinkles if is_twinkle_killed else others).program.kill()

        for number in range(3):
            text = f"message {number}"
            agent.send(agent.authenticated_message(bob.aor, body=text.encode()))
            sent = time.monotonic()
            answer = agent.receive_response()

            assert answer.status == 200, answer.raw
            assert time.monotonic() - sent < AT_ONCE_S
            assert alive.wait_text() == text
