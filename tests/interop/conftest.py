"""The server under test, its accounts, and the user agents that are pointed at it."""

import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from . import inventory
from .baresip import Baresip, StartBaresip
from .interface import outer_interface
from .linphone import Linphone, StartLinphone
from .pages import Library, OpenPage, PagePhone, chromium, site
from .phone import Account, Transport
from .program import Program
from .sipgram_server import DOMAIN, SipgramCommand, SipgramServer, add_accounts
from .sipp import Sipp
from .sipsak import Sipsak
from .twinkle import StartTwinkle, Twinkle

ALICE = Account(f"sip:alice@{DOMAIN}", "secret")
BOB = Account(f"sip:bob@{DOMAIN}", "builder")


def pytest_report_header() -> list[str]:
    """Say at the start what this machine has."""
    return inventory.report_lines()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what each program of the test has printed."""
    report = yield
    programs = getattr(item, "funcargs", {}).get("running", [])
    if report.failed:
        report.sections += [(program.name, program.report()) for program in programs]
    return report


@pytest.fixture
def alice() -> Account:
    return ALICE


@pytest.fixture
def bob() -> Account:
    return BOB


@pytest.fixture
def running() -> list[Program]:
    """The programs of this test, for the report of its failure."""
    return []


@pytest.fixture(scope="session")
def data_with_accounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that knows alice and bob; made once, copied for each test."""
    folder = tmp_path_factory.mktemp("accounts")
    data = folder / "data"
    add_accounts([ALICE, BOB], data=data, home=folder)
    return data


@pytest.fixture
def server(
    data_with_accounts: Path,
    tmp_path: Path,
    running: list[Program],
    request: pytest.FixtureRequest,
) -> Iterator[SipgramServer]:
    """A server of the test's own; it must end well on SIGTERM, whatever the test did to it.

    The mark ``server_settings`` gives it settings, as ``SIPGRAM_SECTION__KEY="value"``.
    """
    mark = request.node.get_closest_marker("server_settings")
    environment = mark.kwargs if mark else {}
    home = tmp_path / "server"
    data = home / "data"
    shutil.copytree(data_with_accounts, data)
    with SipgramServer(data=data, home=home, environment=environment) as started:
        running.append(started.program)
        yield started
        started.stop()


@pytest.fixture(scope="session")
def beside_loopback() -> Iterator[str]:
    with outer_interface() as name:
        yield name


@pytest.fixture
def baresip(
    server: SipgramServer, beside_loopback: str, tmp_path: Path, running: list[Program]
) -> Iterator[StartBaresip]:
    """Starts one baresip; it is gone at the end of the test."""
    started: list[Baresip] = []

    def start(
        account: Account, *, peer: Account, transport: Transport, presence: bool = False
    ) -> Baresip:
        phone = Baresip(
            account,
            peer=peer.aor,
            server=server.address(transport),
            transport=transport,
            certificate=server.certificate,
            home=tmp_path / f"baresip-{account.user}",
            presence=presence,
        )
        started.append(phone)
        running.append(phone.program)
        return phone

    yield start
    for phone in started:
        phone.program.kill()


@pytest.fixture
def linphone(
    server: SipgramServer, tmp_path: Path, running: list[Program]
) -> Iterator[StartLinphone]:
    """Starts one linphone-daemon; it is gone at the end of the test."""
    started: list[Linphone] = []

    def start(
        account: Account,
        *,
        peer: Account,
        transport: Transport,
        server: tuple[str, int] | None = None,
        presence: bool = False,
    ) -> Linphone:
        phone = Linphone(
            account,
            peer=peer.aor,
            server=server or under_test.address(transport),
            transport=transport,
            certificate=under_test.certificate,
            home=tmp_path / f"linphone-{account.user}",
            presence=presence,
        )
        started.append(phone)
        running.append(phone.program)
        return phone

    under_test = server
    yield start
    for phone in started:
        phone.program.kill()


@pytest.fixture
def twinkle(
    server: SipgramServer, tmp_path: Path, running: list[Program]
) -> Iterator[StartTwinkle]:
    """Starts one twinkle-console; it is gone at the end of the test."""
    started: list[Twinkle] = []

    def start(account: Account, *, peer: Account, transport: Transport) -> Twinkle:
        phone = Twinkle(
            account,
            peer=peer.aor,
            server=server.address(transport),
            transport=transport,
            home=tmp_path / f"twinkle-{account.user}",
        )
        started.append(phone)
        running.append(phone.program)
        running.append(phone.log)
        return phone

    yield start
    for phone in started:
        phone.kill()


@pytest.fixture
def open_page(server: SipgramServer) -> Iterator[OpenPage]:
    """Opens pages in one Chromium; ``url`` is that of the server's listener unless told otherwise."""
    with ExitStack() as stack:
        browser, at = stack.enter_context(chromium()), stack.enter_context(site())

        def start(library: Library, account: Account, *, url: str = "") -> PagePhone:
            page = PagePhone(browser, at, library, account, url=url or server.url("ws"))
            return stack.enter_context(page)

        yield start


@pytest.fixture
def sipsak(server: SipgramServer, tmp_path: Path) -> Sipsak:
    return Sipsak(server=server.address("udp"), home=tmp_path / "sipsak")


@pytest.fixture
def sipp(server: SipgramServer, tmp_path: Path) -> Iterator[Sipp]:
    with Sipp(server=server.address("udp"), home=tmp_path / "sipp") as started:
        yield started


@pytest.fixture
def sipgram(server: SipgramServer, tmp_path: Path) -> Iterator[SipgramCommand]:
    """The command line of sipgram itself, pointed at the server."""
    with SipgramCommand(server=server, home=tmp_path / "sipgram") as started:
        yield started
