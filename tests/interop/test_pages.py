"""JsSIP and SIP.js in headless Chromium: what a web page needs of the server (RFC 7118; INTEROP 1)."""

import json
import subprocess

import pytest

from .linphone import StartLinphone
from .pages import Library, OpenPage
from .phone import Account
from .sipgram_server import SipgramCommand, SipgramServer, sipgram_command

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(100),
    # A page that ends leaves its driver's pipes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

LIBRARIES: tuple[Library, ...] = ("jssip", "sipjs")
TEXT = 'grüße, 日本 "quoted" <sip:x@y>; 50% 😀'
RELOADS = 50


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_page_and_linphone_write_to_each_other(
    library: Library, alice: Account, bob: Account, open_page: OpenPage, linphone: StartLinphone
) -> None:
    """Issue HTTP, shown by 2: "register, exchange messages with linphone-daemon"; and linphone's
    receipt, whose body it sent deflated, can be read by the page (D20, INTEROP 1.6)."""
    phone = linphone(bob, peer=alice, transport="tcp")
    phone.wait_registered()
    page = open_page(library, alice)
    page.wait_registered()

    assert page.send_text(bob.aor, TEXT) == 200
    assert phone.wait_text() == TEXT
    phone.send_text(TEXT[::-1])

    (message,) = page.wait_messages()
    assert message["from"] == bob.aor
    assert message["text"] == TEXT[::-1]
    assert phone.wait_sent() == "Delivered"
    (receipt, *_) = page.wait_messages(kind="message/imdn+xml")
    assert "<delivered/>" in receipt["text"]
    phone.stop()


@pytest.mark.parametrize("kind", ["ws", "wss", "http"])
def test_pages_of_both_libraries_write_to_each_other(
    kind: str, alice: Account, bob: Account, open_page: OpenPage, server: SipgramServer
) -> None:
    """On a listener, over TLS, and at /sip of the HTTP port."""
    one = open_page("jssip", alice, url=server.url(kind))
    other = open_page("sipjs", bob, url=server.url(kind))
    one.wait_registered()
    other.wait_registered()

    assert one.send_text(bob.aor, TEXT) == 200
    assert other.wait_messages()[0]["text"] == TEXT
    assert other.send_text(alice.aor, TEXT[::-1]) == 200
    assert one.wait_messages()[0]["text"] == TEXT[::-1]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_page_gets_what_was_stored_while_it_was_closed(
    library: Library,
    alice: Account,
    bob: Account,
    open_page: OpenPage,
    sipgram: SipgramCommand,
) -> None:
    """Issue HTTP, shown by 2: "get what was stored while the page was closed"."""
    with open_page(library, bob) as page:
        page.wait_registered()
    for text in ("one", "two", TEXT):
        code, said = sipgram.outcome(sipgram.send(bob.aor, text, account=alice))
        assert (code, said["outcome"]) == (3, "stored")

    page = open_page(library, bob)
    page.wait_registered()

    assert [m["text"] for m in page.wait_messages(3)] == ["one", "two", TEXT]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_wrong_password_is_refused(library: Library, alice: Account, open_page: OpenPage) -> None:
    assert open_page(library, Account(alice.aor, "wrong")).wait_refused() == 401


@pytest.mark.parametrize("library", LIBRARIES)
def test_d7_fifty_reloads_leave_no_debt(
    library: Library,
    alice: Account,
    bob: Account,
    open_page: OpenPage,
    server: SipgramServer,
    sipgram: SipgramCommand,
) -> None:
    """Issue HTTP, shown by 2: "fifty reloads leave no debt (D7)": each is a new device, of which two
    are waited for, and what the open page has taken is owed to those two alone."""
    page = open_page(library, bob)
    page.wait_registered()
    for _ in range(RELOADS):
        page.reload()
        page.wait_registered()

    code, said = sipgram.outcome(sipgram.send(bob.aor, TEXT, account=alice))

    assert (code, said["outcome"]) == (0, "delivered")
    assert page.wait_messages()[0]["text"] == TEXT
    assert _count("device", "list", server=server) <= 2
    assert _count("messages", "list", server=server) <= 1


def _count(*command: str, server: SipgramServer) -> int:
    """Return how many the command line lists."""
    said = subprocess.run(
        [sipgram_command(), *command, "--json", "--data", str(server.data)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return len(json.loads(said.stdout))
