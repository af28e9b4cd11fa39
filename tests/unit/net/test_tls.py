"""TLS on loopback: what is agreed on, who is believed, and how handshakes are bounded (D28)."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from sipgram.errors import SettingsError
from sipgram.net import tls
from sipgram.net.certificates import Certificates
from sipgram.net.sip_identity import is_among
from sipgram.net.tls import TlsListener, client_context
from sipgram.settings import TlsSettings

from .authority import Authority
from .tls_peers import listening

Wish = Literal["none", "optional", "required"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def shown(tmp_path: Path, settings: TlsSettings) -> Certificates:
    return Certificates(
        settings, folder=tmp_path / "tls", domains=("example.org",), hosts=(), wall=lambda: 0.0
    )


def server_of(authority: Authority, tmp_path: Path) -> Certificates:
    issued = authority.issue("URI:sip:example.org")
    return shown(tmp_path, TlsSettings(cert=(issued.cert,), key=(issued.key,)))


async def test_both_ends_talk_and_the_client_knows_the_domain(
    authority: Authority, tmp_path: Path
) -> None:
    certificates = server_of(authority, tmp_path)
    async with listening(certificates.server_context) as server:
        client = await server.connect(client_context(ca=authority.ca), name="example.org")
        accepted = await server.accepted.get()

        client.transport.write(b"\r\n\r\n")
        await accepted.heard.wait()
        accepted.transport.write(b"\r\n")
        await client.heard.wait()

        assert (accepted.received, client.received) == (b"\r\n\r\n", b"\r\n")
        assert is_among(client.identities, "Example.org")
        assert not is_among(client.identities, "sip.example.org")
        assert accepted.identities == frozenset()
        client.transport.close()
        await asyncio.gather(client.closed, accepted.closed)


async def test_octets_behind_the_handshake_are_not_lost(
    authority: Authority, tmp_path: Path
) -> None:
    """A TLS 1.3 client may send its first message together with its Finished."""
    certificates = server_of(authority, tmp_path)
    async with listening(certificates.server_context) as server:
        client = await server.connect(client_context(ca=authority.ca))
        client.transport.write(b"x" * 100_000)
        accepted = await server.accepted.get()
        while len(accepted.received) < 100_000:
            accepted.heard.clear()
            await accepted.heard.wait()

        client.transport.abort()
        await client.closed


@pytest.mark.parametrize(
    ("version", "is_taken"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_nothing_older_than_tls_1_2_is_spoken(
    authority: Authority, tmp_path: Path, version: ssl.TLSVersion, is_taken: bool
) -> None:
    certificates = server_of(authority, tmp_path)
    context = client_context(ca=authority.ca)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    async with listening(certificates.server_context) as server:
        if is_taken:
            client = await server.connect(context)
            assert client.ssl.version() == version.name.replace("_", ".")
            client.transport.abort()
            await client.closed
        else:
            with pytest.raises(OSError):  # noqa: PT011 - the loops differ in which one it is.
                await server.connect(context)


# ---- whom we believe ---------------------------------------------------------------------------


async def test_a_server_of_an_unknown_authority_is_not_believed(
    authority: Authority, tmp_path: Path
) -> None:
    certificates = server_of(authority, tmp_path)
    stranger = Authority(tmp_path, common_name="stranger")
    async with listening(certificates.server_context) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await server.connect(client_context(ca=stranger.ca), name="example.org")


async def test_an_expired_server_is_not_believed(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("URI:sip:example.org", days=-1)
    certificates = shown(tmp_path, TlsSettings(cert=(issued.cert,), key=(issued.key,)))
    async with listening(certificates.server_context) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            await server.connect(client_context(ca=authority.ca), name="example.org")


async def test_our_own_certificate_is_believed_by_who_has_its_file(tmp_path: Path) -> None:
    certificates = Certificates(
        TlsSettings(),
        folder=tmp_path / "tls",
        domains=("localhost", "example.org"),
        hosts=("127.0.0.1",),
        wall=lambda: Path(tmp_path).stat().st_mtime,
    )
    context = client_context(ca=str(tmp_path / "tls" / "cert.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # As Python 3.13 does by itself.
    async with listening(certificates.server_context) as server:
        client = await server.connect(context, name="localhost")

        assert client.identities == {"localhost", "example.org"}
        client.transport.abort()
        await client.closed


@pytest.mark.parametrize(
    ("wish", "has_one", "is_taken"),
    [
        ("none", True, True),
        ("optional", False, True),
        ("optional", True, True),
        ("required", True, True),
        ("required", False, False),
    ],
)
async def test_clients_are_asked_for_a_certificate(
    authority: Authority, tmp_path: Path, wish: Wish, has_one: bool, is_taken: bool
) -> None:
    issued = authority.issue("URI:sip:example.org")
    peer = authority.issue("URI:sip:peer.example", file="peer")
    settings = TlsSettings(
        cert=(issued.cert,), key=(issued.key,), ca=authority.ca, client_cert=wish
    )
    certificates = shown(tmp_path, settings)
    own = (peer.cert, peer.key) if has_one else ("", "")
    context = client_context(ca=authority.ca, cert=own[0], key=own[1])
    async with listening(certificates.server_context) as server:
        client = await server.connect(context)  # TLS 1.3: it learns of a refusal afterwards.
        if is_taken:
            accepted = await server.accepted.get()
            is_known = has_one and wish != "none"
            assert accepted.identities == ({"peer.example"} if is_known else frozenset())
            client.transport.abort()
        await client.closed
        assert server.listener.failed == (not is_taken)


@pytest.mark.parametrize("wish", ["optional", "required"])
async def test_a_client_certificate_of_a_stranger_is_refused_even_behind_sni(
    authority: Authority, tmp_path: Path, wish: Wish
) -> None:
    first = authority.issue("DNS:first.example", file="first")
    second = authority.issue("DNS:second.example", file="second")
    stranger = Authority(tmp_path, common_name="stranger")
    peer = stranger.issue("URI:sip:peer.example", file="peer")
    settings = TlsSettings(
        cert=(first.cert, second.cert),
        key=(first.key, second.key),
        ca=authority.ca,
        client_cert=wish,
    )
    context = client_context(ca=authority.ca, cert=peer.cert, key=peer.key)
    async with listening(shown(tmp_path, settings).server_context) as server:
        for name in ("first.example", "second.example"):
            client = await server.connect(context, name=name)
            await client.closed

        assert server.listener.failed == 2
        assert server.accepted.empty()


# ---- which certificate -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "domain"),
    [
        (None, "first.example"),
        ("first.example", "first.example"),
        ("SECOND.example", "second.example"),
        ("sip.second.example", "second.example"),
        ("a.sip.second.example", "first.example"),
        ("third.example", "first.example"),
    ],
)
async def test_the_certificate_is_chosen_by_sni(
    authority: Authority, tmp_path: Path, asked: str | None, domain: str
) -> None:
    first = authority.issue("URI:sip:first.example", file="first")
    second = authority.issue("URI:sip:second.example", "DNS:*.second.example", file="second")
    settings = TlsSettings(cert=(first.cert, second.cert), key=(first.key, second.key))
    async with listening(shown(tmp_path, settings).server_context) as server:
        client = await server.connect(client_context(ca=authority.ca), name=asked)

        assert client.identities == {domain}
        client.transport.abort()
        await client.closed


async def test_a_new_certificate_counts_for_new_connections(
    authority: Authority, tmp_path: Path
) -> None:
    certificates = server_of(authority, tmp_path)
    context = client_context(ca=authority.ca)
    async with listening(certificates.server_context) as server:
        old = await server.connect(context)
        authority.issue("URI:sip:example.org", "URI:sip:new.example")
        certificates.reload()
        new = await server.connect(context)

        assert old.identities == {"example.org"}
        assert new.identities == {"example.org", "new.example"}
        old.transport.write(b"x")
        await (await server.accepted.get()).heard.wait()
        for end in (old, new):
            end.transport.abort()
            await end.closed


async def test_a_broken_certificate_keeps_the_old_one(authority: Authority, tmp_path: Path) -> None:
    certificates = server_of(authority, tmp_path)
    broken = tmp_path / "leaf.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\n")

    with pytest.raises(SettingsError, match=r"no certificate in .*leaf\.pem"):
        certificates.reload()

    async with listening(certificates.server_context) as server:
        client = await server.connect(client_context(ca=authority.ca))
        assert client.identities == {"example.org"}
        client.transport.abort()
        await client.closed


# ---- handshakes --------------------------------------------------------------------------------


async def until(is_true: Callable[[], bool]) -> None:
    """Let the loop turn until it is so; the test's own limit ends a vain wait."""
    while not is_true():  # noqa: ASYNC110 - a counter tells nobody that it has moved.
        await asyncio.sleep(0)


async def silent(port: int) -> socket.socket:
    """Open a connection that says nothing."""
    sock = socket.socket()
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


async def test_a_peer_that_says_nothing_is_cut_off(authority: Authority, tmp_path: Path) -> None:
    certificates = server_of(authority, tmp_path)
    async with listening(certificates.server_context, handshake_s=0.05) as server:
        with await silent(server.port) as sock:
            assert await asyncio.get_running_loop().sock_recv(sock, 1) == b""

        await until(lambda: server.listener.failed == 1)
        assert server.accepted.empty()


@pytest.mark.parametrize(
    "octets", [b"MESSAGE sip:a@b SIP/2.0\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\xff" * 600]
)
async def test_a_peer_that_does_not_speak_tls_is_cut_off(
    authority: Authority, tmp_path: Path, octets: bytes
) -> None:
    certificates = server_of(authority, tmp_path)
    loop = asyncio.get_running_loop()
    async with listening(certificates.server_context) as server:
        with await silent(server.port) as sock:
            await loop.sock_sendall(sock, octets)
            await until(lambda: server.listener.failed == 1)

        client = await server.connect(client_context(ca=authority.ca))
        client.transport.abort()
        await client.closed


async def test_old_handshakes_make_room_for_new_ones(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one who opens connections and says nothing keeps all others out."""
    monkeypatch.setattr(tls, "PATIENCE_S", 0.05)
    certificates = server_of(authority, tmp_path)
    async with listening(certificates.server_context, handshakes_max=2) as server:
        idle = [await silent(server.port) for _ in range(4)]

        client = await server.connect(client_context(ca=authority.ca))

        assert server.listener.given_up >= 3
        client.transport.abort()
        await client.closed
        for sock in idle:
            sock.close()


async def test_young_handshakes_are_waited_for(authority: Authority, tmp_path: Path) -> None:
    """A storm of phones that all come back at once must not throw each other out."""
    certificates = server_of(authority, tmp_path)
    context = client_context(ca=authority.ca)
    async with listening(certificates.server_context, handshakes_max=2) as server:
        clients = await asyncio.gather(*(server.connect(context) for _ in range(20)))

        assert (server.listener.given_up, server.listener.failed) == (0, 0)
        for client in clients:
            client.transport.abort()
            await client.closed


async def test_without_file_descriptors_it_rests(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "NO_MEANS_PAUSE_S", 0.02)
    certificates = server_of(authority, tmp_path)
    refusals = [errno.EMFILE, errno.ENFILE]
    accept = socket.socket.accept

    def accept_when_there_are_means(sock: socket.socket) -> tuple[socket.socket, object]:
        if refusals:
            raise OSError(refusals.pop(), "no more files")
        return accept(sock)

    async with listening(certificates.server_context) as server:
        monkeypatch.setattr(socket.socket, "accept", accept_when_there_are_means)
        client = await server.connect(client_context(ca=authority.ca))

        assert not refusals
        client.transport.abort()
        await client.closed


async def test_closing_ends_handshakes_and_spares_connections(
    authority: Authority, tmp_path: Path
) -> None:
    certificates = server_of(authority, tmp_path)
    loop = asyncio.get_running_loop()
    async with listening(certificates.server_context) as server:
        client = await server.connect(client_context(ca=authority.ca))
        accepted = await server.accepted.get()
        with await silent(server.port) as sock:
            await asyncio.sleep(0)
            await server.listener.close()
            with pytest.raises(ConnectionRefusedError):
                await silent(server.port)

            client.transport.write(b"x")
            await accepted.heard.wait()
            with suppress(ConnectionResetError):  # It may have been in the backlog still.
                assert await loop.sock_recv(sock, 1) == b""
        client.transport.abort()
        await asyncio.gather(client.closed, accepted.closed)


async def test_an_address_in_use_is_told(authority: Authority, tmp_path: Path) -> None:
    certificates = server_of(authority, tmp_path)
    async with listening(certificates.server_context) as server:
        second = TlsListener(
            connection=asyncio.Protocol,
            context=certificates.server_context,
            loop=asyncio.get_running_loop(),
        )
        with pytest.raises(OSError, match="in use"):
            await second.open("127.0.0.1", server.port)


async def test_each_address_of_a_name_is_listened_on(authority: Authority, tmp_path: Path) -> None:
    certificates = server_of(authority, tmp_path)
    listener = TlsListener(
        connection=asyncio.Protocol,
        context=certificates.server_context,
        loop=asyncio.get_running_loop(),
    )
    host, port = await listener.open("::1", 0)
    await listener.close()

    assert (host, port > 0) == ("::1", True)
