"""Web pages with a SIP library, in headless Chromium: JsSIP and SIP.js as their users load them.

``scripts/install-interop`` puts the libraries, which npm brings, into one script each.
"""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self

from playwright.sync_api import Browser, Page, sync_playwright

from .inventory import Tool, need, unavailable
from .phone import Account

Library = Literal["jssip", "sipjs"]
BUNDLES: Final = Path(__file__).parents[2] / ".cache" / "browser"
FLAGS: Final = (
    "--no-sandbox",  # As root, which CI is.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--ignore-certificate-errors",  # The server's certificate is its own.
)
WAIT_MS: Final = 15_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium."""
    path = need(Tool.CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def site() -> Iterator[str]:
    """Serve the pages from loopback; yield where."""
    for library in ("jssip", "sipjs"):
        if not (BUNDLES / f"{library}.html").exists():
            unavailable(f"{library} is not installed: scripts/install-interop")
    handler = functools.partial(_Quiet, directory=str(BUNDLES))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class PagePhone:
    """One open page, whose phone registers as soon as it is loaded."""

    def __init__(
        self, browser: Browser, site: str, library: Library, account: Account, *, url: str
    ) -> None:
        self._account = account
        self._url = url
        self._page: Page = browser.new_context().new_page()
        self._page.set_default_timeout(WAIT_MS)
        self._console: list[str] = []
        self._page.on("console", lambda message: self._console.append(message.text))
        self._page.on("pageerror", lambda error: self._console.append(f"error: {error}"))
        self._page.goto(f"{site}/{library}.html")
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._page.context.close()

    def wait_registered(self) -> None:
        self._wait("() => phone.states.length > 0")
        states = self._page.evaluate("() => phone.states")
        assert states[-1] == "registered", self._report(states)

    def wait_refused(self) -> int:
        """Return the status that the registration got."""
        self._wait("() => phone.states.some((state) => state.startsWith('refused'))")
        return int(self._page.evaluate("() => phone.states.at(-1)").split()[1])

    def send_text(self, to: str, text: str) -> int | str:
        """Send; return the status of the answer."""
        status: int | str = self._page.evaluate("([to, text]) => phone.send(to, text)", [to, text])
        return status

    def wait_messages(self, count: int = 1, *, kind: str = "text/plain") -> list[dict[str, Any]]:
        """Return all messages of a content type, once there are so many."""
        own = "phone.received.filter((m) => m.type.startsWith(kind))"
        self._page.wait_for_function(f"([kind, count]) => {own}.length >= count", arg=[kind, count])
        found: list[dict[str, Any]] = self._page.evaluate(f"(kind) => {own}", kind)
        return found

    def reload(self) -> None:
        """Load the page anew, which is another phone to its server."""
        self._page.reload()
        self._start()

    def _start(self) -> None:
        account = {"url": self._url, "aor": self._account.aor, "password": self._account.password}
        self._page.evaluate("(account) => { phone.start(account); }", account)

    def _wait(self, condition: str) -> None:
        try:
            self._page.wait_for_function(condition)
        except Exception as error:
            raise AssertionError(self._report(condition)) from error

    def _report(self, what: object) -> str:
        return "\n".join([str(what), *self._console[-40:]])


class OpenPage(Protocol):
    """Opens a page with a library's phone; it is closed at the end of the test."""

    def __call__(self, library: Library, account: Account, *, url: str = "") -> PagePhone: ...
