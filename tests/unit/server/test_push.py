"""A phone that sleeps is woken, by a server that is a process (RFC 8599, DELIVERY.md D25)."""

import asyncio
from pathlib import Path

import pytest

from sipgram.testing.messages import request, response

from ..services.push.http_server import PushServer
from .running import Serve
from .test_lifecycle import Phone

OPEN = ("--auth", "none", "--domain", "example.com", "--http", "none", "--answer-s", "1")
BOB = b"<sip:bob@example.com>"


@pytest.mark.timeout(60)
async def test_d25_a_stored_copy_wakes_a_sleeping_phone_and_it_fetches_its_mail(
    tmp_path: Path,
) -> None:
    async with PushServer() as service:
        file = tmp_path / "push.toml"
        file.write_text(f'[webhook]\nurl = "{service.url}/wake"\nsecret = "hush"\n')
        arguments = (*OPEN, "--listen", "udp:127.0.0.1:0")
        environment = {"SIPGRAM_PUSH__FILE": str(file)}
        async with Serve(*arguments, data=tmp_path / "d", environment=environment) as serve:
            await serve.ready()
            with Phone(serve) as bob, Phone(serve) as alice:
                contact = f"<sip:bob@127.0.0.1:{bob.port};pn-provider=acme;pn-prid=p-1>".encode()
                bob.send(
                    request(
                        b"REGISTER",
                        b"sip:example.com",
                        via=bob.via("r"),
                        sender=BOB + b";tag=1",
                        to=BOB,
                        headers=(b"Contact: " + contact,),
                    )
                )
                registered = await bob.read()
                assert registered.value(b"feature-caps") == b'*;+sip.pns="acme"'

                alice.send(request(via=alice.via("m"), body=b"wake up"))  # bob does not answer.
                async with asyncio.timeout(5):
                    assert (await alice.read()).status == 202
                (asked,) = await service.until_asked(1)
                assert asked.json == {
                    "provider": "acme",
                    "prid": "p-1",
                    "param": "",
                    "aor": "sip:bob@example.com",
                    "reason": "message",
                }

                asleep = await bob.read()
                assert b"pn-" not in asleep.raw
                bob.send(response(asleep.raw, 200))
                log = await serve.stop()
            assert "hush" not in log
            assert "p-1" not in log
