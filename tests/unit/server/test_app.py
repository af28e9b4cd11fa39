"""What the composition root decides by itself: the flow of a binding (D27), restored ones."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sipgram.errors import SettingsError
from sipgram.net.endpoint import Address, Endpoint
from sipgram.server.app import build
from sipgram.server.contacts import ContactRoutes
from sipgram.settings import AuthSettings, ServerSettings, Settings
from sipgram.sip.message.uri import SipUri
from sipgram.testing.recording import RecordingFlow, RecordingUser


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """Two UDP listeners of one family, as a server on two interfaces has."""
    opened = Endpoint(RecordingUser())
    for _ in range(2):
        await opened.listen(Address("udp", "127.0.0.1", 0))
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("contact", "port"),
    [
        (b"sip:bob@127.0.0.9:5070", 5070),
        (b"sip:bob@127.0.0.9", 5060),
        (b"sip:bob@127.0.0.9:5070;transport=udp", 5070),
        (b"sip:bob@127.0.0.9:5070;transport=tcp", 40_000),
        (b"sip:bob@192.168.1.2:5070", 40_000),
        (b"sip:bob@phone.example:5070", 40_000),
        (b"sip:bob@[::1]:5070", 40_000),
    ],
)
async def test_d27_a_contact_is_reached_where_it_says_when_that_is_its_source(
    endpoint: Endpoint, contact: bytes, port: int
) -> None:
    listener = endpoint.udp[1]
    source = listener.flow(("127.0.0.9", 40_000))

    flow = ContactRoutes.flow_to(SipUri.parse(contact), source)

    assert flow is listener.flow(("127.0.0.9", port)), "by the listener that the phone knows"


async def test_d27_the_port_that_it_came_from_is_the_source_itself(endpoint: Endpoint) -> None:
    source = endpoint.udp[0].flow(("127.0.0.9", 5070))

    assert ContactRoutes.flow_to(SipUri.parse(b"sip:bob@127.0.0.9:5070"), source) is source


def test_d27_a_connection_is_its_own_way_back() -> None:
    source = RecordingFlow(is_reliable=True)

    assert ContactRoutes.flow_to(SipUri.parse(b"sip:bob@192.0.2.1:5070"), source) is source


def settings(data: Path, *listeners: str) -> Settings:
    return Settings(
        server=ServerSettings(listen=listeners or ("udp:127.0.0.1:0",), data=str(data)),
        auth=AuthSettings(mode="none"),
    )


@pytest.mark.parametrize(
    "flow", ["udp:[fe80::9%nowhere0]:5060", "udp:[::1]:5060", "tcp:127.0.0.1:5060", "nonsense", ""]
)
async def test_a_binding_whose_flow_is_gone_does_not_stop_the_start(
    tmp_path: Path, flow: str
) -> None:
    await (await build(settings(tmp_path))).close()
    columns = (
        "aor, key, contact, instance, reg_id, call_id, cseq, path, flow, user_agent, methods,"
        " q_thousandths, registered_utc, expires_utc"
    )
    with sqlite3.connect(tmp_path / "sipgram.db") as connection:
        connection.execute(
            f"INSERT INTO bindings ({columns}) VALUES"
            " ('sip:bob@localhost', x'00', CAST('<sip:bob@127.0.0.9>' AS BLOB), x'', 0, x'00', 1,"
            " x'', ?, x'', x'', 1000, 0, 99999999999)",
            (flow,),
        )
    connection.close()

    server = await build(settings(tmp_path))

    assert server.locations.bindings_count == 0
    await server.close()


async def test_a_listener_that_cannot_be_opened_is_named_and_the_others_closed(
    tmp_path: Path,
) -> None:
    first = await build(settings(tmp_path / "a"))
    taken = str(first.listeners[0])

    with pytest.raises(SettingsError, match=f"cannot listen on {taken}: "):
        await build(settings(tmp_path / "b", "tcp:127.0.0.1:0", taken))

    await first.close()
    assert len(asyncio.all_tasks()) == 1
