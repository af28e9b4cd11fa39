"""Phones see each other come, go, be busy and be blocked (RFC 3856, RFC 3903, RFC 5025)."""

import pytest

from .baresip import StartBaresip
from .linphone import StartLinphone
from .phone import Account, Transport
from .sipgram_server import SipgramCommand, SipgramServer

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]


@pytest.mark.parametrize(("alices_way", "bobs_way"), [("udp", "tcp"), ("tcp", "udp")])
def test_baresip_and_linphone_see_each_other_come_and_go(
    alices_way: Transport,
    bobs_way: Transport,
    alice: Account,
    bob: Account,
    baresip: StartBaresip,
    linphone: StartLinphone,
) -> None:
    """Issue presence, shown by 1, over UDP and TCP: online and offline, both ways."""
    alices = baresip(alice, peer=bob, transport=alices_way, presence=True)
    bobs = linphone(bob, peer=alice, transport=bobs_way, presence=True)
    alices.wait_registered()
    bobs.wait_registered()

    alices.wait_notified("<basic>open</basic>", timeout_s=20)
    assert alices.shown_peer() == "Online"
    bobs.wait_notified("<basic>open</basic>", timeout_s=20)

    alices.be("offline")
    bobs.wait_notified("<basic>closed</basic>")
    alices.be("online")
    bobs.wait_notified("<basic>open</basic>")

    bobs.stop()  # It publishes Expires: 0.
    alices.wait_notified("<basic>closed</basic>")
    assert alices.shown_peer() == "Offline"
    alices.stop()


def test_baresip_is_told_busy_and_away_of_another_publisher(
    alice: Account, bob: Account, baresip: StartBaresip, sipgram: SipgramCommand
) -> None:
    """Issue presence, shown by 1: "busy, away"; baresip looks for the very letters ``rpid:busy``."""
    alices = baresip(alice, peer=bob, transport="udp", presence=True)
    alices.wait_registered()
    alices.wait_notified("<basic>closed</basic>", timeout_s=20)

    bobs = sipgram.publish(bob, "--activity", "busy", "--note", "Not now")
    alices.wait_notified("<rpid:busy/>")
    assert alices.shown_peer() == "Busy"
    bobs.kill()

    sipgram.publish(bob, "--activity", "away")
    alices.wait_notified("<rpid:away/>")
    assert alices.shown_peer() == "Offline"  # It has no word for away.


def test_a_block_turns_the_blocker_offline_for_the_other(
    alice: Account,
    bob: Account,
    baresip: StartBaresip,
    linphone: StartLinphone,
    sipgram: SipgramCommand,
    server: SipgramServer,
) -> None:
    """Issue presence, shown by 1: "a block by one of them turns it to offline for the other"."""
    alices = baresip(alice, peer=bob, transport="udp", presence=True)
    bobs = linphone(bob, peer=alice, transport="udp", presence=True)
    alices.wait_registered()
    bobs.wait_registered()
    alices.wait_notified("<basic>open</basic>", timeout_s=20)

    sipgram.rule("polite-block", bob.aor, alice.aor, data=server.data)

    alices.wait_notified("<basic>closed</basic>")
    assert alices.shown_peer() == "Offline"
