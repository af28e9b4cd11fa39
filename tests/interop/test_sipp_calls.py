"""SIPp calls SIPp through the server: Record-Route, BYE both ways, CANCEL, 486, a fork (RFC 3261 §16)."""

import pytest

from .phone import Account
from .sipp import Sipp, SippRun, free_port

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]


def started(sipp: Sipp, scenario: str, bob: Account) -> SippRun:
    """Register a phone of bob, and let it play ``scenario``."""
    port = free_port()
    sipp.start("register", bob, port=port).wait()
    phone = sipp.start(scenario, bob, port=port)
    phone.wait_listening()
    return phone


@pytest.mark.parametrize(
    ("caller", "callee"),
    [
        ("call", "answer_call"),
        ("call_ended_by_peer", "answer_call_and_end"),
        ("call_cancelled", "answer_cancelled"),
        ("call_busy", "answer_busy"),
    ],
)
def test_a_call(caller: str, callee: str, alice: Account, bob: Account, sipp: Sipp) -> None:
    """Issue calls, shown by 1: each side gets what its scenario says, in that order."""
    phone = started(sipp, callee, bob)

    calling = sipp.start(caller, alice, peer="bob")
    calling.wait()
    phone.wait()

    (invite,) = phone.received("INVITE ")
    assert "Proxy-Authorization" not in invite, "D3: our own credentials are taken out"
    assert "\nRecord-Route: <sip:" in invite


def test_the_other_phone_stops_ringing_when_one_answers(
    alice: Account, bob: Account, sipp: Sipp
) -> None:
    """§16.7 step 10: CANCEL to all pending branches; RFC 3326 says why."""
    answering = started(sipp, "answer_call", bob)
    ringing = started(sipp, "answer_cancelled", bob)

    calling = sipp.start("call_forked", alice, peer="bob")
    calling.wait()
    answering.wait()
    ringing.wait()

    (cancel,) = ringing.received("CANCEL ")
    assert "Reason: SIP;cause=200" in cancel
    assert len(calling.received("SIP/2.0 200")) == 2, "of the INVITE and the BYE"
