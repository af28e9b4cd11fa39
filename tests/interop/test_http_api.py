"""curl sends, a real phone prints (issue 7, shown by 1)."""

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from typing import Any

import pytest

from .baresip import StartBaresip
from .inventory import Tool, need
from .phone import Account
from .sipgram_server import SipgramServer, sipgram_command

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

TEXT = "grüße, 日本 <script> & 50% 😀"


def new_key(server: SipgramServer, *accounts: Account) -> str:
    named = [word for account in accounts for word in ("--account", account.aor)]
    command = [sipgram_command(), "key", "add", "curl", *named, "--data", str(server.data)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def curl(server: SipgramServer, path: str, key: str, *arguments: str) -> dict[str, Any]:
    """Ask with curl until the key is known, which takes up to a second."""
    url = f"http://127.0.0.1:{server.address('http')[1]}{path}"
    command = [
        *(need(Tool.CURL), "--silent", "--show-error", "--retry", "20", "--retry-delay", "0"),
        *("--retry-all-errors", "--fail-with-body", "--noproxy", "*"),
        *("-H", f"Authorization: Bearer {key}", *arguments, url),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout
    found: dict[str, Any] = {}
    while text:  # What each attempt printed, one behind the other.
        found, end = json.JSONDecoder().raw_decode(text)
        text = text[end:].lstrip()
    return found


def test_a_get_makes_a_registered_baresip_print_hello(
    alice: Account, bob: Account, baresip: StartBaresip, server: SipgramServer
) -> None:
    """Issue 7, shown by 1: "makes a registered baresip print Hello"."""
    key = new_key(server, alice)
    bobs = baresip(bob, peer=alice, transport="udp")
    bobs.wait_registered()

    answer = curl(server, f"/send?to={bob.aor}&text=Hello&wait=5", key)

    assert bobs.wait_text() == "Hello"
    assert [each["state"] for each in answer["messages"]] == ["delivered"]

    body = json.dumps({"to": bob.aor, "text": TEXT})
    curl(server, "/v1/messages", key, "--json", body)

    assert bobs.wait_text() == TEXT
    bobs.stop()


@pytest.fixture
def told() -> Iterator[tuple[str, "Queue[dict[str, Any]]"]]:
    """The URL of a webhook receiver, and what it hears."""
    heard: Queue[dict[str, Any]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{receiver.server_port}/", heard
        receiver.shutdown()
        thread.join()


@pytest.mark.server_settings(SIPGRAM_WEBHOOKS__ALLOW_PRIVATE="true")
def test_the_same_to_an_absent_bob_is_stored_and_its_webhook_tells_when_he_comes(
    alice: Account,
    bob: Account,
    baresip: StartBaresip,
    server: SipgramServer,
    told: tuple[str, "Queue[dict[str, Any]]"],
) -> None:
    """Issue 7, shown by 1: "stored and its webhook tells delivered when he comes"."""
    url, heard = told
    key = new_key(server, alice)
    curl(server, "/v1/webhooks", key, "--json", json.dumps({"url": url}))

    answer = curl(server, f"/send?to={bob.aor}&text=Hello&wait=5", key)
    assert [each["state"] for each in answer["messages"]] == ["stored"]
    bobs = baresip(bob, peer=alice, transport="tcp")

    assert bobs.wait_text() == "Hello"
    event = heard.get(timeout=10)
    assert (event["type"], event["data"]["message_id"]) == ("message.delivered", answer["id"])
    bobs.stop()
