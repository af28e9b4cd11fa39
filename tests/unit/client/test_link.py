"""The flow to the server: found, lost, found again."""

import socket
from collections.abc import AsyncIterator

import pytest

from sipgram.client import link as link_module
from sipgram.client.link import Line
from sipgram.client.messages import NoAnswer
from sipgram.net.endpoint import Address

from .conftest import SETTINGS
from .peer import Peer


@pytest.fixture
async def line(peer: Peer) -> AsyncIterator[Line]:
    made = line_to(peer.udp)
    yield made
    await made.close()


def line_to(server: str) -> Line:
    return Line(
        Address.parse(server),
        domain="example.com",
        answer=lambda request, flow: None,
        settings=SETTINGS,
        trace=None,
    )


async def test_link_is_kept_while_it_lives(line: Line) -> None:
    assert await line.link() is await line.link()


async def test_new_address_of_ours_means_a_new_link(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that changes its network has a socket bound to an address that is gone."""
    old = await line.link()
    monkeypatch.setattr(link_module, "_local_host", lambda peer: "127.0.0.2")

    new = await line.link()

    assert new is not old
    assert new.local[0] == "127.0.0.2"
    assert await old.broke_within(0)


async def test_flow_that_holds_is_told_apart(line: Line) -> None:
    assert not await (await line.link()).broke_within(0)


async def test_unknown_name_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(NoAnswer, match=r"cannot reach udp:example\.invalid:5060: Name or service"):
        await line_to("udp:example.invalid").link()


async def test_ipv4_comes_first_for_datagrams(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """``localhost`` is ::1 first on many machines, and nobody says that nothing listens there."""

    def both(host: str, port: int, *_: object, **__: object) -> list[object]:
        return [
            (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    line = line_to(f"udp:both.example.com:{peer.port}")

    assert (await line.link()).local[0] == "127.0.0.1"
    await line.close()


async def test_network_that_leads_nowhere_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_local_host", lambda peer: "192.0.2.1")

    with pytest.raises(NoAnswer, match=r"cannot reach udp:127\.0\.0\.1:5060"):
        await line_to("udp:127.0.0.1:5060").link()
