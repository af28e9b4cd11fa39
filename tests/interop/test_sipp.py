"""SIPp's scenarios: wrong passwords, retransmissions, people who do not exist."""

import pytest

from .phone import Account
from .sipgram_server import SipgramServer
from .sipp import Sipp, free_port
from .wire import WireAgent

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]


@pytest.mark.parametrize("scenario", ["register_wrong_password", "message_wrong_password"])
def test_a_wrong_password_is_challenged_for_ever(scenario: str, alice: Account, sipp: Sipp) -> None:
    """Issue skeleton, shown by 2: "SIPp with wrong password": 401 or 407 each time, never 200."""
    run = sipp.start(scenario, Account(alice.aor, "wrong"), peer="bob")

    run.wait()

    assert not run.received("SIP/2.0 2")


def test_an_unknown_user_is_404_after_authentication(alice: Account, sipp: Sipp) -> None:
    """Issue skeleton, shown by 2: "unknown user"; D3: "Existence of accounts (404) is told only
    after authentication", without credentials it is 407 as for everybody."""
    run = sipp.start("message_unknown_user", alice, peer="nobody")

    run.wait()

    assert [answer.split()[1] for answer in run.received("SIP/2.0 ")] == ["407", "404"]


def test_an_unknown_sender_is_challenged_like_a_known_one(sipp: Sipp) -> None:
    """D3: a sender without an account learns no more than one with a wrong password."""
    run = sipp.start(
        "message_wrong_password", Account("sip:mallory@example.com", "any"), peer="bob"
    )

    run.wait()


def test_a_retransmission_after_the_answer_is_absorbed(
    alice: Account, bob: Account, server: SipgramServer, sipp: Sipp
) -> None:
    """Issue skeleton, shown by 2: "retransmission absorbed". The same request sent twice: the
    same answer twice, and the receiver sees one (RFC 3261 §17.2.2, Completed)."""
    port = free_port()
    sipp.start("register", bob, port=port).wait()
    receiver = sipp.start("answer_message", bob, port=port, calls=2)
    receiver.wait_listening()

    with WireAgent(alice, server=server.address("udp")) as agent:
        request = agent.authenticated_message(bob.aor, body=b"once")
        agent.send(request)
        first = agent.receive_response()
        agent.send(request)
        second = agent.receive_response()
        # What the server still had to pass on of "once" would have to arrive before this one.
        agent.send(agent.authenticated_message(bob.aor, body=b"afterwards"))
        last = agent.receive_response()

    assert first.status == 200
    assert second.raw == first.raw
    assert last.status == 200
    receiver.wait()
    bodies = [message.rstrip().rpartition("\n")[2] for message in receiver.received("MESSAGE ")]
    assert bodies == ["once", "afterwards"]


def test_retransmissions_before_the_answer_are_absorbed(
    alice: Account, bob: Account, sipp: Sipp
) -> None:
    """Issue skeleton, shown by 2: "retransmission absorbed". A slow receiver and a sender that
    repeats itself: one transaction on each side, one answer (RFC 3261 §17.2.2, Trying)."""
    port = free_port()
    sipp.start("register", bob, port=port).wait()
    receiver = sipp.start("answer_message_late", bob, port=port)
    receiver.wait_listening()

    sender = sipp.start("message_repeated", alice, peer="bob")
    sender.wait()
    receiver.wait()

    authenticated = [each for each in sender.sent("MESSAGE ") if "Proxy-Authorization" in each]
    assert len(authenticated) >= 2, "SIPp did not repeat itself"
    assert len(sender.received("SIP/2.0 200")) == 1
    copies = receiver.received("MESSAGE ")
    assert len({_top_via(copy) for copy in copies}) == 1
    assert "Proxy-Authorization" not in copies[0], "D3: our own credentials are taken out"


def test_credentials_on_the_same_branch_pass(alice: Account, bob: Account, sipp: Sipp) -> None:
    """INTEROP 2d.1: after 407 libpurple repeats branch, CSeq and Call-ID; D3: challenges are
    stateless."""
    port = free_port()
    sipp.start("register", bob, port=port).wait()
    receiver = sipp.start("answer_message", bob, port=port)
    receiver.wait_listening()

    sender = sipp.start("message_same_branch", alice, peer="bob")

    sender.wait()
    receiver.wait()


def _top_via(message: str) -> str:
    return next(line for line in message.splitlines() if line.startswith("Via: "))
