"""Receipts by the server as a process: what is owed outlives SIGKILL (DELIVERY.md D15)."""

from pathlib import Path

import pytest

from sipgram.payload.body import Body
from sipgram.payload.cpim import Cpim
from sipgram.payload.imdn import Imdn, asking
from sipgram.testing.messages import request, response

from .running import Serve
from .test_lifecycle import Phone

OPEN = ("--auth", "none", "--domain", "example.com", "--http", "none")
LISTEN = ("--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0")


@pytest.mark.timeout(60)
async def test_d15_a_negative_receipt_is_owed_over_a_kill(tmp_path: Path) -> None:
    body = bytes(Cpim(b"hi", headers=asking("m1", ("negative-delivery",))))
    headers = (b"Content-Type: message/cpim", b"Expires: 1")
    async with Serve(*OPEN, *LISTEN, data=tmp_path / "d") as first:
        await first.ready()
        with Phone(first) as alice:
            alice.send(request(via=alice.via("m"), headers=headers, body=body))
            assert (await alice.read()).status == 202
        first.process.kill()
        await first.process.wait()

    async with Serve(*OPEN, *LISTEN, data=tmp_path / "d") as second:
        await second.ready()
        with Phone(second) as alice:
            await alice.register("alice")
            got = await alice.read()
            alice.send(response(got.raw, 200))
            notice = Imdn.parse(Body.parse(got.body, "message/cpim").content)
            assert (notice.message_id, notice.status) == ("m1", "failed")
        await second.stop()
