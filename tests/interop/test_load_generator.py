"""The load generator of ``sipgram bench`` on loopback: a relay that misbehaves, and Kamailio."""

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from sipgram.cli.load import generator, process, servers
from sipgram.cli.load.generator import Load, Measured

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generator.compiled(tmp_path_factory.mktemp("program"))


def response_of(
    user: str, realm: str, password: str, method: str, uri: str, nonce: str, nc: str, cnonce: str
) -> str:
    """RFC 2617 §3.2.2.1 with qop=auth, by the standard library."""

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    ha1, ha2 = md5(user, realm, password), md5(method, uri)
    return md5(ha1, nonce, nc, cnonce, "auth", ha2)


class BadRelay(asyncio.DatagramProtocol):
    """A relay that loses datagrams and tires of its nonces, to see the generator cope."""

    def __init__(self, *, lose_every: int = 0, nonce_uses: int = 0) -> None:
        self.lose_every = lose_every
        self.nonce_uses = nonce_uses
        self.faults: list[str] = []
        self.nc_seen: list[int] = []
        self._contacts: dict[str, tuple[str, int]] = {}
        self._taken = 0
        self._nonce = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A selector loop's datagram transport is no subclass of DatagramTransport on 3.11.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._taken += 1
        if self.lose_every and self._taken % self.lose_every == 0:
            return
        text = data.decode()
        vias = re.findall(r"^Via: SIP/2.0/UDP ([^\s;]+)\S*\r\n", text, re.MULTILINE)
        if text.startswith("SIP/2.0"):
            host, _, port = vias[1].partition(":")
            without = re.sub(r"^Via: .*\r\n", "", text, count=1, flags=re.MULTILINE)
            self._transport.sendto(without.encode(), (host, int(port)))
        elif text.startswith("REGISTER"):
            self._contacts[header(text, "To")] = addr
            self._answer(text, "200 OK", addr)
        elif self.nonce_uses and (challenge := self._challenge(text)):
            self._answer(text, f"407 Proxy Authentication Required\r\n{challenge}", addr)
        else:
            first, _, rest = text.partition("\r\n")
            sent = f"{first}\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKbad\r\n{rest}"
            self._transport.sendto(sent.encode(), self._contacts[header(text, "To")])

    def _answer(self, request: str, status: str, addr: tuple[str, int]) -> None:
        copied = [f"{n}: {header(request, n)}" for n in ("Via", "From", "To", "Call-ID", "CSeq")]
        lines = [f"SIP/2.0 {status}", *copied, "Content-Length: 0", "", ""]
        self._transport.sendto("\r\n".join(lines).encode(), addr)

    def _challenge(self, request: str) -> str:
        """A challenge when the request has no valid credentials with the current nonce."""
        stale = ""
        if given := header(request, "Proxy-Authorization"):
            found = dict(re.findall(r'(\w+)="?([^",]+)"?', given))
            uri = request.split()[1]
            right = response_of(
                "u0", "r", "pw", "MESSAGE", uri, found["nonce"], found["nc"], found["cnonce"]
            )
            if (found["response"], found["uri"], found["opaque"]) != (right, uri, "o"):
                self.faults.append(given)
            nc = int(found["nc"], 16)
            if found["nonce"] == f"n{self._nonce}" and nc <= self.nonce_uses:
                self.nc_seen.append(nc)
                return ""
            stale = ", stale=true"
        if not stale or f'nonce="n{self._nonce}"' in request:
            self._nonce += 1
        nonce = f"n{self._nonce}"
        return (
            f'Proxy-Authenticate: Digest realm="r", nonce="{nonce}", opaque="o", qop="auth"{stale}'
        )


def header(text: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*)\r$", text, re.MULTILINE)
    return found[1] if found else ""


@asynccontextmanager
async def serving(relay: BadRelay) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: relay, ("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def load_on(relay: BadRelay, program: Path, load: Load) -> Measured:
    async with serving(relay) as port:
        return await asyncio.to_thread(
            generator.measure, program, load, host="127.0.0.1", port=port, pid=os.getpid()
        )


class TestOnLoopback:
    async def test_what_is_lost_is_sent_again(self, program: Path) -> None:
        load = Load("relay", users=3, count=60, window=16)

        measured = await load_on(BadRelay(lose_every=9), program, load)

        message = measured.phases["message"]
        assert (message.ok, message.fail) == (60, 0)
        assert message.retransmits > 0
        assert message.received >= 60
        assert message.max_ms is not None
        assert message.max_ms >= 500  # T1

    async def test_a_stale_nonce_is_replaced(self, program: Path) -> None:
        relay = BadRelay(nonce_uses=20)
        load = Load("digest", users=3, count=200, window=4, nonce_uses=0, password="pw")

        measured = await load_on(relay, program, load)

        assert measured.phases["message"].ok == 200
        assert measured.phases["message"].challenges >= 200 / 20 - 1
        assert relay.faults == []

    async def test_a_nonce_is_fetched_before_it_wears_out(self, program: Path) -> None:
        relay = BadRelay(nonce_uses=1000)
        load = Load("digest", users=3, count=100, window=1, nonce_uses=10, password="pw")

        measured = await load_on(relay, program, load)

        assert measured.phases["message"].ok == 100
        assert max(relay.nc_seen) == 10
        assert relay.faults == []

    async def test_a_rate_is_kept(self, program: Path) -> None:
        load = Load("rate", users=3, rate=200, seconds=1)

        measured = await load_on(BadRelay(), program, load)

        assert measured.phases["message"].ok == 200
        assert 0.9 < measured.phases["message"].seconds < 3

    async def test_a_dead_server_ends_the_run(self, program: Path) -> None:
        load = Load("relay", users=2, count=5, limit_s=1)

        measured = await load_on(BadRelay(lose_every=1), program, load)

        assert measured.phases["new"].fail == 2
        assert "message" not in measured.phases

    @pytest.mark.skipif(not servers.has_kamailio(), reason="kamailio is not installed")
    @pytest.mark.parametrize("mode", ["relay", "digest", "tcp", "register", "rate"])
    def test_kamailio_is_measured(self, program: Path, mode: generator.Mode) -> None:
        password = "secret" if mode == "digest" else None
        load = Load(mode, users=20, count=400, rate=400, seconds=1, password=password)

        with servers.started("kamailio", load) as server:
            measured = generator.measure(
                program, load, host=server.host, port=server.port, pid=server.pid
            )
            processes = process.tree(server.pid or 0)

        last = list(measured.phases.values())[-1]
        assert (last.ok, last.fail) == (last.count, 0)
        assert last.server_cpu_us is not None
        assert last.server_cpu_us > 1
        assert len(processes) > 1
        assert not any(is_alive(pid) for pid in processes)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
