"""Real softphones call each other through the server; the media need not flow."""

import pytest

from .baresip import StartBaresip
from .linphone import StartLinphone
from .phone import Account, Transport

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_baresip_calls_linphone_and_hangs_up(
    transport: Transport,
    alice: Account,
    bob: Account,
    baresip: StartBaresip,
    linphone: StartLinphone,
) -> None:
    """Issue calls, shown by 2: INVITE, its answer, ACK by the Record-Route, BYE of the caller."""
    alices = baresip(alice, peer=bob, transport=transport)
    bobs = linphone(bob, peer=alice, transport=transport)
    alices.wait_registered()
    bobs.wait_registered()

    alices.call()
    bobs.wait_call("ringing")
    bobs.answer()
    alices.wait_call("connected")
    bobs.wait_call("connected")

    alices.hang_up()
    bobs.wait_call("ended")


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_linphone_calls_baresip_which_hangs_up(
    transport: Transport,
    alice: Account,
    bob: Account,
    baresip: StartBaresip,
    linphone: StartLinphone,
) -> None:
    """Issue calls, shown by 2: the same the other way; the BYE of the one who was called."""
    alices = baresip(alice, peer=bob, transport=transport)
    bobs = linphone(bob, peer=alice, transport=transport)
    alices.wait_registered()
    bobs.wait_registered()

    bobs.call()
    alices.wait_call("ringing")
    alices.answer()
    alices.wait_call("connected")
    bobs.wait_call("connected")

    alices.hang_up()
    bobs.wait_call("ended")


def test_linphone_takes_its_call_back(
    alice: Account, bob: Account, baresip: StartBaresip, linphone: StartLinphone
) -> None:
    """Issue calls, shown by 2: CANCEL after 180 (RFC 3261 §9)."""
    alices = baresip(alice, peer=bob, transport="udp")
    bobs = linphone(bob, peer=alice, transport="tcp")
    alices.wait_registered()
    bobs.wait_registered()

    bobs.call()
    alices.wait_call("ringing")
    bobs.hang_up()

    alices.wait_call("ended")
    bobs.wait_call("ended")
