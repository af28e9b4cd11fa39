"""From start to drain, as a process (DESIGN.md §4), and the message that this project began with."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request, response, wire

from .running import Listening, Serve, read_message, refused

OPEN = ("--auth", "none", "--domain", "example.com", "--http", "none")
UDP = ("--listen", "udp:127.0.0.1:0")
TCP = ("--listen", "tcp:127.0.0.1:0")

SEED = wire("""
    MESSAGE sip:user2@domain.com SIP/2.0
    Via: SIP/2.0/TCP user1pc.domain.com;branch=z9hG4bK776sgdkse
    Max-Forwards: 70
    From: sip:user1@domain.com;tag=49583
    To: sip:user2@domain.com
    Call-ID: asd88asd77a@1.2.3.4
    Content-Type: text/plain
    Content-Length: 18

    Hello world.
    """).removesuffix(b"\r\n")
BOTH_FAULTS = b"CSeq is missing; Content-Length is 18 but 12 bytes of body came"


class Phone:
    """One UDP socket that talks to the server by hand."""

    def __init__(self, serve: Listening) -> None:
        self._server = ("127.0.0.1", serve.port("udp"))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]

    def __enter__(self) -> "Phone":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def move_to(self, serve: Serve) -> None:
        """Talk to another server from the same port."""
        self._server = ("127.0.0.1", serve.port("udp"))

    def send(self, data: bytes) -> None:
        self._socket.sendto(data, self._server)

    async def read(self) -> Message:
        data = await asyncio.get_running_loop().sock_recv(self._socket, 65_535)
        return parse(data)

    def via(self, branch: str) -> bytes:
        return f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};rport;branch=z9hG4bK-{branch}".encode()

    async def register(self, user: str) -> Message:
        aor = f"<sip:{user}@example.com>".encode()
        contact = f"Contact: <sip:{user}@127.0.0.1:{self.port}>".encode()
        self.send(
            request(
                b"REGISTER",
                b"sip:example.com",
                via=self.via("r"),
                sender=aor + b";tag=1",
                to=aor,
                headers=(contact,),
            )
        )
        return await self.read()


@asynccontextmanager
async def serving(
    *arguments: str, data: Path, environment: dict[str, str] | None = None
) -> AsyncIterator[Serve]:
    async with Serve(*arguments, data=data, environment=environment) as serve:
        await serve.ready()
        yield serve


# ---- start -------------------------------------------------------------------------------------


async def test_each_listener_is_told_and_then_ready(tmp_path: Path) -> None:
    arguments = ("--auth", "none", "--http", "127.0.0.1:0", *UDP, *TCP, "--listen", "udp:[::1]:0")
    async with serving(*arguments, data=tmp_path) as serve:
        words = [line.rpartition(":")[0] for line in serve.lines[:-1]]
        assert words == [
            "listening udp 127.0.0.1",
            "listening tcp 127.0.0.1",
            "listening udp [::1]",
            "listening http 127.0.0.1",
        ]
        assert serve.lines[-1] == "ready"
        assert serve.port("http") > 0

        await serve.stop()


async def test_two_servers_do_not_share_a_data_folder(tmp_path: Path) -> None:
    """Each would restore the other's bindings, and neither know of the other's phones."""
    async with Serve(*OPEN, *UDP, data=tmp_path) as first:
        await first.ready()

        line = await refused(*OPEN, *UDP, data=tmp_path)

        assert line == f"sipgram: another sipgram serves from this data folder: {tmp_path}"
        await first.stop()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_taken_port_is_one_line_and_exit_2(tmp_path: Path, transport: str) -> None:
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if transport == "tcp":
            taken.listen()
        address = f"{transport}:127.0.0.1:{taken.getsockname()[1]}"

        line = await refused(*OPEN, "--listen", address, data=tmp_path)

    assert line.startswith(f"sipgram: cannot listen on {address}: ")
    assert "address already in use" in line.lower()


async def test_a_taken_http_port_is_one_line_and_exit_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        line = await refused("--auth", "none", *UDP, "--http", address, data=tmp_path)

    assert line == f"sipgram: cannot serve HTTP on {address}: Address already in use"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen", "udp:no-such-host.invalid:5060"), "cannot listen on udp:no-such-host"),
        (("--listen", "udp:0.0.0.0:0", "--auth", "none"), "would relay for anybody"),
        (("--listen", "udp:127.0.0.1:0", "--http", "127.0.0.1:99999"), "server.http"),
        (("--config", "nowhere.toml"), "cannot read nowhere.toml"),
    ],
)
async def test_what_cannot_be_is_one_line_and_exit_2(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    assert words in await refused(*arguments, data=tmp_path)


async def test_a_file_that_is_no_database_is_one_line_and_exit_2(tmp_path: Path) -> None:
    (tmp_path / "sipgram.db").write_bytes(b"this is no database" * 100)

    line = await refused(*UDP, "--http", "none", data=tmp_path)

    assert "database cannot be used" in line


async def test_an_unknown_setting_of_the_environment_stops_the_start(tmp_path: Path) -> None:
    line = await refused(data=tmp_path, environment={"SIPGRAM_SERVER__DOMAINE": "x"})

    assert line.endswith("setting server.domaine is unknown; the nearest is domains")


# ---- end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_an_idle_server_with_0(tmp_path: Path, number: signal.Signals) -> None:
    async with serving(*OPEN, *UDP, *TCP, data=tmp_path) as serve:
        log = await serve.stop(number)

    assert "drained" in log


async def test_draining_answers_what_was_open_and_takes_nothing_new(tmp_path: Path) -> None:
    arguments = (*OPEN, *UDP, "--answer-s", "20")
    async with serving(*arguments, data=tmp_path) as serve:
        with Phone(serve) as bob, Phone(serve) as alice:
            assert (await bob.register("bob")).status == 200
            alice.send(request(via=alice.via("open"), body=b"hi"))
            relayed = await bob.read()

            serve.process.send_signal(signal.SIGTERM)
            for branch in count():
                alice.send(request(b"OPTIONS", b"sip:example.com", via=alice.via(f"o{branch}")))
                answer = await alice.read()
                if answer.status == 503:  # The signal has come through.
                    break
            assert answer.has(b"retry-after")

            bob.send(response(relayed.raw, 200))
            assert (await alice.read()).status == 200
            await serve.ended()


async def test_draining_ends_in_time_though_a_phone_is_silent(tmp_path: Path) -> None:
    arguments = (*OPEN, *UDP, "--answer-s", "1")
    limit = {"SIPGRAM_SERVER__DRAIN_S": "1.5"}
    async with serving(*arguments, data=tmp_path, environment=limit) as serve:
        with Phone(serve) as bob, Phone(serve) as alice:
            await bob.register("bob")
            alice.send(request(via=alice.via("open"), body=b"hi"))
            await bob.read()

            serve.process.send_signal(signal.SIGTERM)

            assert (await alice.read()).status == 202
            await serve.ended()


async def test_an_open_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    arguments = ("--auth", "none", *UDP, *TCP, "--http", "127.0.0.1:0")
    async with serving(*arguments, data=tmp_path) as serve:
        streams = [
            await asyncio.open_connection("127.0.0.1", serve.port(name)) for name in ("tcp", "http")
        ]
        streams[1][1].write(b"GET /healthz HTTP/1.1\r\n")  # And never the rest of it.

        await serve.stop()

        for _, writer in streams:
            writer.close()


async def test_d37_a_killed_server_forgets_nobody(tmp_path: Path) -> None:
    async with serving(*OPEN, *UDP, data=tmp_path) as first:
        with Phone(first) as bob:
            assert (await bob.register("bob")).status == 200
            first.process.kill()
            await first.process.communicate()

            async with serving(*OPEN, *UDP, data=tmp_path) as second:
                bob.move_to(second)
                with Phone(second) as alice:
                    alice.send(request(via=alice.via("m"), body=b"hi"))
                    relayed = await bob.read()
                    bob.send(response(relayed.raw, 200))
                    assert (await alice.read()).status == 200
                await second.stop()
    assert relayed.body == b"hi"


# ---- the seed message --------------------------------------------------------------------------


def mended() -> bytes:
    return SEED.replace(b"Content-Type", b"CSeq: 1 MESSAGE\r\nContent-Type").replace(b"18", b"12")


async def test_the_seed_message_over_udp_names_both_faults(tmp_path: Path) -> None:
    async with serving("--auth", "none", "--http", "none", *UDP, data=tmp_path) as serve:
        with Phone(serve) as phone:
            phone.send(SEED)
            answer = await phone.read()
        await serve.stop()

    assert (answer.status, answer.reason) == (400, BOTH_FAULTS)


async def test_the_seed_message_over_tcp_meets_the_limit_then_names_both_faults(
    tmp_path: Path,
) -> None:
    limit = {"SIPGRAM_TRANSPORT__HALF_MESSAGE_S": "0.2"}
    arguments = ("--auth", "none", "--http", "none", *TCP)
    async with serving(*arguments, data=tmp_path, environment=limit) as serve:
        reader, writer = await asyncio.open_connection("127.0.0.1", serve.port("tcp"))

        writer.write(SEED)

        answer = await read_message(reader)
        assert (answer.status, answer.reason) == (400, BOTH_FAULTS)
        assert await reader.read() == b""
        writer.close()
        await serve.stop()


async def test_the_seed_message_mended_is_delivered_to_the_byte(tmp_path: Path) -> None:
    arguments = ("--auth", "none", "--http", "none", "--domain", "domain.com", *UDP, *TCP)
    async with serving(*arguments, data=tmp_path) as serve:
        with Phone(serve) as user2:
            user2.send(
                request(
                    b"REGISTER",
                    b"sip:domain.com",
                    via=user2.via("r"),
                    sender=b"<sip:user2@domain.com>;tag=1",
                    to=b"<sip:user2@domain.com>",
                    headers=(b"Contact: <sip:user2@127.0.0.1:%d>" % user2.port,),
                )
            )
            assert (await user2.read()).status == 200
            reader, writer = await asyncio.open_connection("127.0.0.1", serve.port("tcp"))

            writer.write(mended())

            delivered = await user2.read()
            user2.send(response(delivered.raw, 200))
            assert (await read_message(reader)).status == 200
            writer.close()
        await serve.stop()

    assert delivered.body == b"Hello world."
    assert delivered.value(b"content-type") == b"text/plain"
    assert delivered.value(b"from") == b"sip:user1@domain.com;tag=49583"
    assert delivered.max_forwards == 69
