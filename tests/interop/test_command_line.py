"""`sipgram send` and `sipgram listen` with real phones at the other end."""

import json

import pytest

from .baresip import StartBaresip
from .linphone import StartLinphone
from .phone import Account
from .sipgram_server import SipgramCommand

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]


def test_send_to_baresip_is_delivered(
    alice: Account, bob: Account, sipgram: SipgramCommand, baresip: StartBaresip
) -> None:
    """DESIGN §4: exit code 0 and outcome "delivered" when the phone said 200."""
    phone = baresip(bob, peer=alice, transport="udp")
    phone.wait_registered()

    sending = sipgram.send(bob.aor, "to baresip, größer", account=alice)

    assert phone.wait_text() == "to baresip, größer"
    code, outcome = sipgram.outcome(sending)
    assert (code, outcome["outcome"], outcome["status"]) == (0, "delivered", 200)


def test_send_to_linphone_is_delivered(
    alice: Account, bob: Account, sipgram: SipgramCommand, linphone: StartLinphone
) -> None:
    """DESIGN §4: exit code 0 and outcome "delivered"; linphone's receipt finds nobody home."""
    phone = linphone(bob, peer=alice, transport="tcp")
    phone.wait_registered()

    sending = sipgram.send(bob.aor, "to linphone, größer", account=alice)

    assert phone.wait_text() == "to linphone, größer"
    code, outcome = sipgram.outcome(sending)
    assert (code, outcome["outcome"], outcome["status"]) == (0, "delivered", 200)


def test_send_to_somebody_away_is_stored(
    alice: Account, bob: Account, sipgram: SipgramCommand
) -> None:
    """DESIGN §4: exit code 3 when it was stored (202)."""
    code, outcome = sipgram.outcome(sipgram.send(bob.aor, "anybody?", account=alice))

    assert (code, outcome["outcome"], outcome["status"]) == (3, "stored", 202)


def test_listen_shows_what_linphone_wrote(
    alice: Account, bob: Account, sipgram: SipgramCommand, linphone: StartLinphone
) -> None:
    """DESIGN §4, JSON of `listen`: one object a line with id, from, to, text, call_id."""
    listening = sipgram.listen(alice, count=1)
    sipgram.wait_registered(listening)
    phone = linphone(bob, peer=alice, transport="udp")
    phone.wait_registered()

    phone.send_text("from linphone, größer")

    assert phone.wait_sent() == "Delivered"
    event = json.loads(listening.expect(r'^\{.*"event": ?"message".*\}$')[0])
    assert event["text"] == "from linphone, größer"
    assert event["from"] == bob.aor
    assert event["to"] == alice.aor
    assert {"id", "call_id", "content_type", "sent_at", "delayed"} <= event.keys()
    assert listening.wait(timeout_s=10.0) == 0
