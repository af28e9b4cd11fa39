"""TLS in the endpoint: flows, their Via, and servers that are not whom we wanted (RFC 5922 §7.3)."""

import asyncio
import ssl
from pathlib import Path

import pytest

from sipgram.errors import UsageError
from sipgram.net.certificates import Certificates
from sipgram.net.endpoint import Address, Endpoint
from sipgram.net.tcp import TcpFlow
from sipgram.settings import TlsSettings
from sipgram.sip.message.message import Message
from sipgram.sip.sink import Flow
from sipgram.testing.messages import request

from .authority import Authority

MESSAGE = request(body=b"Hello world.")


class Hearer:
    """An endpoint's user that notes requests."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[tuple[Message, Flow]] = asyncio.Queue()

    def on_request(self, message: Message, flow: Flow, now: float) -> None:
        self.requests.put_nowait((message, flow))

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        raise AssertionError(response)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    authority = Authority(tmp_path)
    issued = authority.issue("URI:sip:example.org")
    settings = TlsSettings(
        cert=(issued.cert,), key=(issued.key,), ca=authority.ca, client_cert="optional"
    )
    return Certificates(
        settings, folder=tmp_path, domains=("example.org",), hosts=(), wall=lambda: 0.0
    )


async def test_a_message_goes_over_tls_and_both_know_each_other(certificates: Certificates) -> None:
    hearer = Hearer()
    server = Endpoint(hearer, tls=certificates)
    client = Endpoint(Hearer(), tls=certificates)
    address = await server.listen(Address.parse("tls:127.0.0.1:0"))
    flow = await client.connect_tls(address.host, address.port, domain="example.org")

    assert flow.send(MESSAGE)
    message, came_by = await hearer.requests.get()

    assert message.method == b"MESSAGE"
    assert isinstance(came_by, TcpFlow)
    assert came_by.via_line == f"Via: SIP/2.0/TLS 127.0.0.1:{address.port};branch=".encode()
    assert flow.via_line.startswith(b"Via: SIP/2.0/TLS 127.0.0.1:")
    assert flow.identities == came_by.identities == {"example.org"}
    assert str(flow) == str(address).replace("tcp", "tls")
    assert ("127.0.0.1", address.port) in server.own_addresses()
    flow.close()
    assert not flow.send(MESSAGE)
    await asyncio.gather(flow.closed, came_by.closed)
    await asyncio.gather(client.close(), server.close())


@pytest.mark.parametrize("domain", ["other.example", "sip.example.org", ""])
async def test_a_server_of_another_domain_is_not_talked_to(
    certificates: Certificates, domain: str
) -> None:
    hearer = Hearer()
    server = Endpoint(hearer, tls=certificates)
    client = Endpoint(Hearer(), tls=certificates)
    address = await server.listen(Address.parse("tls:127.0.0.1:0"))

    with pytest.raises(ssl.SSLCertVerificationError, match=r"is for example\.org, not for"):
        await client.connect_tls(address.host, address.port, domain=domain)

    assert not any(flow.send(MESSAGE) for flow in client.connections)
    await asyncio.gather(client.close(), server.close())


async def test_nothing_is_sent_once_the_peer_said_goodbye(certificates: Certificates) -> None:
    """It would be dropped in silence: a TLS transport is not closing until both have said so."""
    server = Endpoint(Hearer(), tls=certificates)
    client = Endpoint(Hearer(), tls=certificates)
    address = await server.listen(Address.parse("tls:127.0.0.1:0"))
    flow = await client.connect_tls(address.host, address.port, domain="example.org")

    (await flow_of(server)).close()
    while flow.send(MESSAGE):  # noqa: ASYNC110 - the end is what is waited for.
        await asyncio.sleep(0)

    await flow.closed
    await asyncio.gather(client.close(), server.close())


async def test_a_flow_may_be_closed_more_than_once(certificates: Certificates) -> None:
    server = Endpoint(Hearer(), tls=certificates)
    client = Endpoint(Hearer(), tls=certificates)
    address = await server.listen(Address.parse("tls:127.0.0.1:0"))
    flow = await client.connect_tls(address.host, address.port, domain="example.org")

    flow.close()
    flow.close()
    flow.abort()

    await flow.closed
    await asyncio.gather(client.close(), server.close())


async def flow_of(endpoint: Endpoint) -> TcpFlow:
    while not endpoint.connections:  # noqa: ASYNC110 - a set tells nobody that it has grown.
        await asyncio.sleep(0)
    return next(iter(endpoint.connections))


async def test_without_certificates_there_is_no_tls() -> None:
    endpoint = Endpoint(Hearer())

    with pytest.raises(UsageError):
        await endpoint.listen(Address.parse("tls:127.0.0.1:0"))
    assert Address.parse("tls:127.0.0.1").port == 5061
    await endpoint.close()
