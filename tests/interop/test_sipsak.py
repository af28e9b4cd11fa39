"""sipsak against the server: the administrator's first question and a MESSAGE with digest."""

import json

import pytest

from .baresip import StartBaresip
from .phone import Account
from .sipgram_server import SipgramCommand
from .sipsak import Sipsak

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]


def test_options_gets_200(sipsak: Sipsak) -> None:
    """Issue skeleton, shown by 2: "sipsak's OPTIONS". It cuts a five-digit port short in its
    Request-URI, which must not matter (D4: "port and parameters dropped")."""
    code, said = sipsak.options()

    assert code == 0, said
    assert "SIP/2.0 200 " in said


def test_authenticated_message_reaches_baresip(
    alice: Account, bob: Account, sipsak: Sipsak, baresip: StartBaresip
) -> None:
    """Issue skeleton, shown by 2: sipsak's "authenticated MESSAGE", to a real phone."""
    phone = baresip(bob, peer=alice, transport="udp")
    phone.wait_registered()

    code, said = sipsak.message(alice, to=bob.aor, text="from sipsak")

    assert code == 0, said
    assert phone.wait_text() == "from sipsak"


def test_authenticated_message_reaches_sipgram_listen(
    alice: Account, bob: Account, sipsak: Sipsak, sipgram: SipgramCommand
) -> None:
    """Issue skeleton, shown by 2: sipsak's "authenticated MESSAGE", to our own client."""
    listening = sipgram.listen(bob, count=1)
    sipgram.wait_registered(listening)

    code, said = sipsak.message(alice, to=bob.aor, text="from sipsak, größer")

    assert code == 0, said
    event = json.loads(listening.expect(r'^\{.*"event": ?"message".*\}$')[0])
    assert event["text"] == "from sipsak, größer"
    assert event["from"] == alice.aor
    assert event["content_type"].partition(";")[0] == "text/plain"
    assert listening.wait(timeout_s=10.0) == 0


def test_wrong_password_is_refused(alice: Account, bob: Account, sipsak: Sipsak) -> None:
    """Issue skeleton, shown by 2: sipsak answers one challenge, and is challenged again."""
    code, said = sipsak.message(Account(alice.aor, "wrong"), to=bob.aor, text="never")

    assert code != 0, said
    assert "SIP/2.0 2" not in said
