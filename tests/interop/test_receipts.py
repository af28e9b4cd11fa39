"""Receipts between the command line and real phones, with either side away for a while."""

import json

import pytest

from .baresip import StartBaresip
from .linphone import StartLinphone
from .phone import Account
from .program import Program
from .sipgram_server import SipgramCommand

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

TEXT = 'grüße, 日本 "quoted" <sip:x@y>; 50% \\n 😀'
DELIVERED = ("delivered",)


def receipt(listening: Program) -> dict[str, object]:
    line = listening.expect(r'^\{.*"event": ?"receipt".*\}$', timeout_s=20.0)[0]
    found: dict[str, object] = json.loads(line)
    return found


@pytest.mark.parametrize("want", [(), DELIVERED])
def test_d9_linphone_away_gets_the_text_and_its_receipt_finds_a_sender_who_was_away(
    want: tuple[str, ...],
    alice: Account,
    bob: Account,
    sipgram: SipgramCommand,
    linphone: StartLinphone,
) -> None:
    """Issue nothing lost, shown by 4: "linphone-daemon offline, sent to, started: receives the text
    unchanged, and its receipts come back to the sender, who was offline meanwhile". As plain text,
    whose receipt names the Call-ID, and in CPIM, whose receipt names the imdn.Message-ID."""
    code, sent = sipgram.outcome(sipgram.send(bob.aor, TEXT, account=alice, want=want))
    assert (code, sent["outcome"]) == (3, "stored")

    phone = linphone(bob, peer=alice, transport="tcp")
    phone.wait_registered()
    assert phone.wait_text() == TEXT

    listening = sipgram.listen(alice, count=1)
    found = receipt(listening)
    assert (found["message_id"], found["status"]) == (sent["id"], "delivered")
    assert found["from"] == bob.aor


def test_d20_baresip_gets_the_text_of_cpim_and_the_sender_its_receipt(
    alice: Account, bob: Account, sipgram: SipgramCommand, baresip: StartBaresip
) -> None:
    """Issue nothing lost, shown by 5: "baresip (text/plain only) gets the text of a CPIM message; the
    sender gets `delivered` (D20)"; the second time it is not even tried in CPIM."""
    phone = baresip(bob, peer=alice, transport="udp")
    phone.wait_registered()

    sent = []
    for text in (TEXT, TEXT[::-1]):
        sending = sipgram.send(bob.aor, text, account=alice, want=DELIVERED)
        assert phone.wait_text() == text
        code, outcome = sipgram.outcome(sending)
        assert (code, outcome["outcome"], outcome["status"]) == (0, "delivered", 200)
        sent.append(outcome["id"])
    assert phone.program.stdout.text.count("415 Unsupported Media Type") == 1

    listening = sipgram.listen(alice, count=1)
    found = [receipt(listening) for _ in sent]
    assert [(each["message_id"], each["status"]) for each in found] == [
        (message_id, "delivered") for message_id in sent
    ]


def test_d20_baresip_away_gets_the_text_of_cpim_later(
    alice: Account, bob: Account, sipgram: SipgramCommand, baresip: StartBaresip
) -> None:
    """The same from the store."""
    _, sent = sipgram.outcome(sipgram.send(bob.aor, TEXT, account=alice, want=DELIVERED))
    assert sent["outcome"] == "stored"

    phone = baresip(bob, peer=alice, transport="tcp")

    assert phone.wait_text() == TEXT
    found = receipt(sipgram.listen(alice, count=1))
    assert (found["message_id"], found["status"]) == (sent["id"], "delivered")
