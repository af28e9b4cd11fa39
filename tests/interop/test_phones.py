"""Real softphones register with digest and write to each other through the server."""

import zlib

import pytest

from .baresip import StartBaresip
from .linphone import StartLinphone
from .phone import Account, Transport
from .sipgram_server import SipgramServer
from .tap import Tap
from .wire import WireAgent

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

# Quotes, signs that mean something in headers, two to four bytes a character.
TEXT = 'grüße, 日本 "quoted" <sip:x@y>; 50% \\n 😀'


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_linphone_and_baresip_write_to_each_other(
    transport: Transport,
    alice: Account,
    bob: Account,
    baresip: StartBaresip,
    linphone: StartLinphone,
) -> None:
    """Issue skeleton, shown by 2: "linphone-daemon and baresip register with digest and write
    to each other over UDP and TCP"; the text arrives unchanged both ways."""
    alices = baresip(alice, peer=bob, transport=transport)
    bobs = linphone(bob, peer=alice, transport=transport)
    alices.wait_registered()
    bobs.wait_registered()

    alices.send_text(TEXT)

    assert bobs.wait_text() == TEXT
    assert alices.wait_sent().startswith("200")

    bobs.send_text(TEXT[::-1])

    assert alices.wait_text() == TEXT[::-1]
    assert bobs.wait_sent() == "Delivered"

    bobs.stop()
    alices.stop()


@pytest.mark.parametrize(("sender", "receiver"), [("udp", "tcp"), ("tcp", "udp")])
def test_a_message_crosses_from_one_transport_to_the_other(
    sender: Transport,
    receiver: Transport,
    alice: Account,
    bob: Account,
    baresip: StartBaresip,
    linphone: StartLinphone,
) -> None:
    """Issue skeleton, shown by 2, "over UDP and TCP": also one phone on each. linphone's answers
    over UDP have no Content-Length, which on a stream "MUST be used" (RFC 3261 §18.3)."""
    alices = baresip(alice, peer=bob, transport=sender)
    bobs = linphone(bob, peer=alice, transport=receiver)
    alices.wait_registered()
    bobs.wait_registered()

    alices.send_text(TEXT)
    assert bobs.wait_text() == TEXT
    bobs.send_text(TEXT)

    assert alices.wait_text() == TEXT
    assert bobs.wait_sent() == "Delivered"


def test_d9_linphone_gets_what_was_sent_while_it_was_away(
    alice: Account, bob: Account, baresip: StartBaresip, linphone: StartLinphone
) -> None:
    """Issue nothing lost, shown by 4: "linphone-daemon offline, sent to, started: receives the text
    unchanged"; its REGISTER with Expires 0 ended a binding, not the device (D7)."""
    alices = baresip(alice, peer=bob, transport="udp")
    bobs = linphone(bob, peer=alice, transport="udp")
    alices.wait_registered()
    bobs.wait_registered()
    bobs.stop()

    alices.send_text(TEXT)
    assert alices.wait_sent().startswith("202")

    again = linphone(bob, peer=alice, transport="udp")
    again.wait_registered()
    assert again.wait_text() == TEXT


def test_d9_linphones_receipt_waits_for_a_sender_who_is_away(
    alice: Account, bob: Account, server: SipgramServer, linphone: StartLinphone
) -> None:
    """Issue nothing lost, shown by 4: "and its receipts come back to the sender, who was offline
    meanwhile"."""
    with WireAgent(alice, server=server.address("udp")) as agent:
        agent.register()
        agent.send(agent.authenticated_message(bob.aor, body=b"are you there?", call_id="later"))
        assert agent.receive_response().status == 202
        agent.register(expires_s=0)

        phone = linphone(bob, peer=alice, transport="udp")
        phone.wait_registered()
        assert phone.wait_text() == "are you there?"

        agent.register()
        receipt = agent.receive_request("MESSAGE", timeout_s=20.0)
        agent.answer(receipt)
        is_deflated = receipt.all("Content-Encoding") == ["deflate"]
        document = zlib.decompress(receipt.body) if is_deflated else receipt.body
        assert b"<message-id>later</message-id>" in document
        assert b"<delivered/>" in document


def test_linphones_deflated_receipt_passes_byte_for_byte(
    alice: Account, bob: Account, server: SipgramServer, linphone: StartLinphone
) -> None:
    """INTEROP 2d.3: linphone sends an IMDN, `Content-Encoding: deflate`, for each plain MESSAGE
    before it answers it; the receipt reaches the sender exactly as linphone wrote it."""
    with (
        Tap(server=server.address("udp")) as tap,
        WireAgent(alice, server=server.address("udp")) as agent,
    ):
        phone = linphone(bob, peer=alice, transport="udp", server=tap.address)
        phone.wait_registered()
        agent.register()
        agent.send(agent.authenticated_message(bob.aor, body=b"hello", call_id="asks-for-receipt"))
        receipt = agent.receive_request("MESSAGE")
        agent.answer(receipt)
        sent = tap.sent_by_phone("MESSAGE")[-1]

        assert receipt.body == sent.body
        assert len(receipt.body) == int(receipt.header("Content-Length"))
        for name in ("Content-Encoding", "Content-Type", "Priority", "Call-ID", "CSeq", "Date"):
            assert receipt.all(name) == sent.all(name)
        assert receipt.header("Content-Encoding") == "deflate"
        document = zlib.decompress(receipt.body)
        assert b"<message-id>asks-for-receipt</message-id>" in document
        assert b"<delivered/>" in document


def test_the_answer_comes_though_the_receipt_came_first(
    alice: Account, bob: Account, server: SipgramServer, linphone: StartLinphone
) -> None:
    """INTEROP 2d.4: linphone's receipt overtakes its 200; neither may wait for the other."""
    with WireAgent(alice, server=server.address("udp")) as agent:
        phone = linphone(bob, peer=alice, transport="udp")
        phone.wait_registered()
        agent.register()
        agent.send(agent.authenticated_message(bob.aor, body=b"hello"))

        kinds: set[str] = set()
        while kinds != {"answer", "receipt"}:
            message = agent.receive()
            if message.method == "MESSAGE":
                agent.answer(message)
                kinds.add("receipt")
            elif (message.status or 0) >= 200:
                assert message.status == 200, message.raw
                kinds.add("answer")
