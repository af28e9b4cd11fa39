"""Feeds mutated bodies to every reader of ``payload/``: each is read or refused, nothing else.

    python fuzz/payloads.py --seconds 60 [--seed N]

What falls over is printed with the bytes that made it; the exit code is then 1.
"""

import argparse
import random
import sys
import time
import zlib
from collections.abc import Callable

from sipgram.errors import PeerError
from sipgram.payload import deflate, multipart, resource_lists, xml
from sipgram.payload.body import Body
from sipgram.payload.cpim import Cpim, Party
from sipgram.payload.imdn import Imdn, asking, enclosed, wishes_of
from sipgram.payload.iscomposing import IsComposing
from sipgram.payload.resource_lists import Recipient

NOTICE = Imdn.of("m1", "delivered", recipient_uri="sip:b@x", date_time="2026-11-25T12:00:00Z")
MESSAGE = bytes(
    Cpim(
        "größe".encode(),
        sender=Party("sip:a@x", 'A "q" <z>'),
        to=(Party("sip:b@x"),),
        subject="a\tb",
        headers=asking("m1", ("display", "positive-delivery")),
    )
)
LIST = resource_lists.build([Recipient("sip:a@x", "to"), Recipient("sip:b@x", "cc", True)])
BOMB = b'<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;">]><imdn>&b;</imdn>'
MIXED = b"--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: message/cpim\r\n\r\n"
MIXED += MESSAGE + b"\r\n--b--"
SEEDS = (
    *(bytes(NOTICE), bytes(IsComposing("active", "text/plain", 90)), MESSAGE, LIST, BOMB, MIXED),
    bytes(enclosed(NOTICE, message_id="m2", sender="sip:b@x", to="sip:a@x")),
    *(zlib.compress(MESSAGE), b"<a>" * 40, b"<?xml version='1.0' encoding='utf-16'?><a/>", b""),
)
READERS: tuple[Callable[[bytes], object], ...] = (
    xml.parse,
    Imdn.parse,
    IsComposing.parse,
    resource_lists.parse,
    lambda data: wishes_of(Cpim.parse(data)),
    lambda data: multipart.parse(data, "b"),
    deflate.inflate,
    lambda data: Body.parse(data, "message/cpim").wishes,
    lambda data: Body.parse(data, "multipart/mixed;boundary=b").text,
    lambda data: Body.parse(data, "message/cpim", encoding="deflate").text,
    lambda data: Body.parse(b"hi", data.decode("latin-1")).text,
)


def mutated(data: bytes, source: random.Random) -> bytes:
    """Cut, double, swap or flip something."""
    at, other = source.randint(0, len(data)), source.randint(0, len(data))
    first, last = min(at, other), max(at, other)
    match source.randrange(5):
        case 0:
            return data[:first] + data[last:]
        case 1:
            return data[:last] + data[first:]
        case 2:
            return data[:at] + source.randbytes(source.randint(1, 4)) + data[at:]
        case 3:
            seed = source.choice(SEEDS)
            return data[:at] + seed[source.randint(0, len(seed)) :]
        case _:
            return data[:at] + bytes((source.randrange(256),)) + data[at + 1 :]


def main() -> int:
    """Run for the time that was asked for."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--seed", type=int, default=time.time_ns())
    asked = arguments.parse_args()
    source = random.Random(asked.seed)
    ends = time.monotonic() + asked.seconds
    tried = refused = 0
    while time.monotonic() < ends:
        data = source.choice(SEEDS)
        for _ in range(source.choice((0, 1, 1, 2, 3, 6))):
            data = mutated(data, source)
        for reader in READERS:
            tried += 1
            try:
                reader(data)
            except PeerError:
                refused += 1
            except Exception as error:
                sys.stderr.write(f"{error!r} of {data!r}\n")
                return 1
    sys.stdout.write(f"{tried} bodies, {refused} refused, seed {asked.seed}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
