"""Store and forward as a process: what a restart must not forget (DELIVERY.md D7, D37)."""

import asyncio
from pathlib import Path

import pytest

from sipgram.sip.message.message import Message
from sipgram.testing.messages import request, response

from .running import Serve, read_message
from .test_lifecycle import Phone

OPEN = ("--auth", "none", "--domain", "example.com", "--http", "none")
LISTEN = ("--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0")
BOB = b"<sip:bob@example.com>"


class TcpPhone:
    """bob's other phone, on a connection."""

    def __init__(self, serve: Serve) -> None:
        self._port = serve.port("tcp")

    async def __aenter__(self) -> "TcpPhone":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def register(self) -> None:
        raw = request(
            b"REGISTER",
            b"sip:example.com",
            via=b"Via: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK-t",
            sender=BOB + b";tag=2",
            to=BOB,
            headers=(b'Contact: <sip:bob@127.0.0.1:9;transport=tcp>;+sip.instance="<urn:b>"',),
        )
        self._writer.write(raw)
        assert (await self.read()).status == 200

    async def read(self) -> Message:
        return await read_message(self._reader)

    def answer(self, message: Message) -> None:
        self._writer.write(response(message.raw, 200))


@pytest.mark.timeout(60)
async def test_d7_a_device_whose_connection_ended_with_the_server_is_waited_for(
    tmp_path: Path,
) -> None:
    """Another device of the account is there all the time, and takes the message at once."""
    async with Serve(*OPEN, *LISTEN, data=tmp_path / "d") as first:
        await first.ready()
        with Phone(first) as here, Phone(first) as alice:
            async with TcpPhone(first) as away:
                await here.register("bob")
                await away.register()
                first.process.kill()
                await first.process.wait()
            ports = (
                "--listen",
                f"udp:127.0.0.1:{first.port('udp')}",
                "--listen",
                "tcp:127.0.0.1:0",
            )
            async with Serve(*OPEN, *ports, data=tmp_path / "d") as second:
                await second.ready()
                alice.send(request(via=alice.via("m"), body=b"to both"))
                got = await here.read()
                here.send(response(got.raw, 200))
                assert (await alice.read()).status == 200

                async with TcpPhone(second) as back:
                    await back.register()
                    async with asyncio.timeout(5):
                        late = await back.read()
                    back.answer(late)
                assert (got.body, late.body) == (b"to both", b"to both")
