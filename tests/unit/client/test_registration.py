"""A binding that is made, kept and taken back (RFC 3261 §10.2)."""

import asyncio
from dataclasses import replace

import pytest

from sipgram.client.client import Client
from sipgram.client.events import ConnectionState
from sipgram.client.messages import NoAnswer, Rejected

from .conftest import SETTINGS
from .peer import Peer

REGISTERED = ConnectionState("registered")


def alice(server: str, **options: object) -> Client:
    settings = replace(SETTINGS, **options)  # type: ignore[arg-type] # Each test names fields.
    return Client("sip:alice@example.com", password="secret", server=server, settings=settings)


@pytest.mark.rfc("3261", "10.2")
async def test_entering_registers_and_leaving_unregisters(peer: Peer) -> None:
    async with alice(peer.udp) as me:
        request = await peer.received(b"REGISTER")
        assert request.uri == b"sip:example.com"
        assert request.to_uri == request.from_uri == b"sip:alice@example.com"
        assert request.rport == 0
        assert request.value(b"expires") == b"3600"
        (binding,) = me.bindings
        assert request.value(b"contact") == f"<{binding.contact}>".encode()
        assert binding.expires_s == 3600

    last = await peer.received(b"REGISTER")
    assert last.value(b"expires") == b"0"
    assert (last.call_id, last.cseq) == (request.call_id, request.cseq + 1)


async def test_contact_is_where_requests_reach_the_client(peer: Peer) -> None:
    async with alice(peer.tcp) as me:
        (binding,) = me.bindings
        assert binding.contact.startswith("sip:alice@127.0.0.1:")
        assert binding.contact.endswith(";transport=tcp")
        assert (await peer.request(b"OPTIONS")).status == 200


@pytest.mark.rfc("3261", "22.2")
async def test_challenge_is_answered_and_then_answered_in_advance(strict: Peer) -> None:
    """§22.2: the repeated request has the same Call-ID, From and To, and a CSeq one higher."""
    async with alice(strict.udp):
        first = await strict.received(b"REGISTER")
        second = await strict.received(b"REGISTER")
        assert not first.has(b"authorization")
        assert second.has(b"authorization")
        assert (second.call_id, second.from_tag) == (first.call_id, first.from_tag)
        assert second.cseq == first.cseq + 1

    third = await strict.received(b"REGISTER")
    assert b"nc=00000002" in (third.value(b"authorization") or b"")
    assert strict.is_idle(b"REGISTER")


async def test_wrong_password_is_tried_once(strict: Peer) -> None:
    strict.password = "another"

    with pytest.raises(Rejected) as caught:
        await alice(strict.udp).__aenter__()

    assert caught.value.status == 401
    await strict.received(b"REGISTER")
    await strict.received(b"REGISTER")
    assert strict.is_idle(b"REGISTER")


@pytest.mark.rfc("3261", "10.2.8")
async def test_interval_too_brief_is_asked_again_with_what_it_wants(peer: Peer) -> None:
    """§10.2.8: "it MAY retry the registration after making the expiration interval [...] equal
    to or greater than the expiration interval within the Min-Expires"."""
    peer.says(b"REGISTER", 423, b"Min-Expires: 120")

    async with alice(peer.udp, expires_s=30) as me:
        assert (await peer.received(b"REGISTER")).value(b"expires") == b"30"
        assert (await peer.received(b"REGISTER")).value(b"expires") == b"120"
        assert me.bindings[0].expires_s == 120


@pytest.mark.parametrize("lines", [(), (b"Min-Expires: 10",), (b"Min-Expires: many",)])
async def test_interval_too_brief_without_a_longer_one_is_a_refusal(
    peer: Peer, lines: tuple[bytes, ...]
) -> None:
    peer.says(b"REGISTER", 423, *lines)

    with pytest.raises(Rejected, match="423"):
        await alice(peer.udp, expires_s=30).__aenter__()


async def test_silent_registrar_is_no_answer(peer: Peer) -> None:
    peer.says(b"REGISTER", 0)

    with pytest.raises(NoAnswer, match=r"no answer from udp:127\.0\.0\.1"):
        await alice(peer.udp).__aenter__()


async def test_registration_is_refreshed(peer: Peer) -> None:
    async with alice(peer.udp, refresh_share=0.00001) as me:
        cseqs = [(await peer.received(b"REGISTER")).cseq for _ in range(3)]
        assert cseqs == [1, 2, 3]
        assert await anext(me.events()) == REGISTERED


@pytest.mark.rfc("3261", "10.2.4")
async def test_granted_time_is_that_of_the_own_contact(peer: Peer) -> None:
    """§10.2.4: the UA compares contacts to find its own, and refreshes before that expires."""
    peer.says(b"REGISTER", 200, b"Contact: <sip:alice@192.0.2.7>, <sip:alice@192.0.2.8>;expires=60")
    async with alice(peer.udp) as me:
        assert [(b.contact, b.expires_s) for b in me.bindings] == [
            ("sip:alice@192.0.2.7", 3600),
            ("sip:alice@192.0.2.8", 60),
        ]


async def test_broken_contact_list_is_left_alone(peer: Peer) -> None:
    peer.says(b"REGISTER", 200, b"Contact: <sip:alice@192.0.2.7", b"Expires: 90")

    async with alice(peer.udp) as me:
        assert me.bindings == ()


async def test_client_registers_again_after_the_connection_was_lost(peer: Peer) -> None:
    async with alice(peer.tcp) as me:
        before = me.bindings
        events = me.events()
        assert await anext(events) == REGISTERED
        await peer.received(b"REGISTER")

        peer.hang_up()

        assert await anext(events) == ConnectionState("lost", "the connection was closed")
        assert await anext(events) == REGISTERED
        await peer.received(b"REGISTER")
        assert me.bindings != before
        assert (await peer.message(b"back again")).status == 200


async def test_client_tries_until_the_registrar_is_back(peer: Peer) -> None:
    async with alice(peer.tcp) as me:
        events = me.events()
        await anext(events)
        peer.says(b"REGISTER", 500)
        peer.says(b"REGISTER", 503, b"Retry-After: 0")

        peer.hang_up()

        assert (await anext(events)) == ConnectionState("lost", "the connection was closed")
        assert await anext(events) == REGISTERED
        statuses = [(await peer.received(b"REGISTER")).cseq for _ in range(4)]
        assert statuses == [1, 2, 3, 4]


async def test_refresh_without_answer_is_told_and_tried_again(peer: Peer) -> None:
    async with alice(peer.udp, refresh_share=0.00001) as me:
        events = me.events()
        await anext(events)
        peer.says(b"REGISTER", 0)

        assert (await anext(events)) == ConnectionState("lost", f"no answer from {peer.udp}")
        assert await anext(events) == REGISTERED


async def test_end_does_not_wait_for_a_registrar_that_is_gone(peer: Peer) -> None:
    async with alice(peer.udp, leave_s=0.02) as me:
        peer.says(b"REGISTER", 0)

    assert [event async for event in me.events()] == [REGISTERED]


async def test_events_end_with_a_mistake_of_ours(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with alice(peer.udp, refresh_share=0.00001) as me:
        monkeypatch.setattr(me._registration, "register", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(_all(me), timeout=5)


async def _all(me: Client) -> None:
    async for _ in me.events():
        pass
