"""Pidgin and finch (libpurple's SIMPLE), played by hand: the package needs a desktop's D-Bus."""

import hashlib
import re
import uuid

import pytest

from .phone import Account
from .sipgram_server import SipgramServer
from .wire import WireAgent, WireMessage

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]


def purple_message(
    sender: Account, to: Account, *, port: int, branch: str, call_id: str, credentials: str
) -> bytes:
    """A MESSAGE as libpurple 2.14 writes it: no rport, Max-Forwards 10, an epid."""
    return (
        f"MESSAGE {to.aor} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch={branch}\r\n"
        f"From: <{sender.aor}>;tag=0EE0-5B1B;epid=1234567890\r\n"
        f"To: <{to.aor}>\r\n"
        "Max-Forwards: 10\r\n"
        "CSeq: 1 MESSAGE\r\n"
        "User-Agent: Purple/2.14.12\r\n"
        f"Call-ID: {call_id}\r\n"
        f"{credentials}"
        "Content-Type: text/plain\r\n"
        "Content-Length: 5\r\n"
        "\r\n"
        "hello"
    ).encode()


def purple_digest(challenge: str, account: Account, *, uri: str) -> str:
    """libpurple's answer: RFC 2069, though qop was offered, and a quoted nc all the same."""
    values = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    first = _md5(f"{account.user}:{values['realm']}:{account.password}")
    second = _md5(f"MESSAGE:{uri}")
    response = _md5(f"{first}:{values['nonce']}:{second}")
    return (
        f'Proxy-Authorization: Digest username="{account.user}", realm="{values["realm"]}", '
        f'nonce="{values["nonce"]}", uri="{uri}", nc="00000001", response="{response}"\r\n'
    )


def test_the_same_branch_cseq_and_call_id_with_credentials_pass(
    alice: Account, bob: Account, server: SipgramServer
) -> None:
    """INTEROP 2d.1: "re-sends an authenticated MESSAGE with the SAME Via branch, CSeq and
    Call-ID after 407"; 2b: a digest answer without qop is taken."""
    address = server.address("udp")
    with WireAgent(bob, server=address) as receiver, WireAgent(alice, server=address) as sender:
        receiver.register()
        branch, call_id = f"z9hG4bK{uuid.uuid4().hex}", uuid.uuid4().hex

        def send(credentials: str) -> WireMessage:
            sender.send(
                purple_message(
                    alice,
                    bob,
                    port=sender.port,
                    branch=branch,
                    call_id=call_id,
                    credentials=credentials,
                )
            )
            if credentials:
                arrived = receiver.receive_request("MESSAGE")
                assert arrived.body == b"hello"
                assert not arrived.all("Proxy-Authorization")
                receiver.answer(arrived)
            return sender.receive_response()

        challenged = send("")
        assert challenged.status == 407, challenged.raw
        value = challenged.header("Proxy-Authenticate")
        answered = send(purple_digest(value, alice, uri=bob.aor))

        assert answered.status == 200, answered.raw


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
