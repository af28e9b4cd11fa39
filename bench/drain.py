"""Stores messages for one device that is away, lets it register, and times how it gets them.

    python bench/drain.py --server 127.0.0.1:5060 --count 10000 [--domain example.com]

The server must run with `--auth none`. Prints one JSON object; `in_order` and `missing` must be
true and 0. Run `sipgram bench rate --target …` beside it to see what others notice of it.
"""

import argparse
import json
import re
import socket
import time
from collections.abc import Callable
from typing import TypeVar

WINDOW = 128
T = TypeVar("T")


def request(method: str, user: str, number: int, port: int, extra: str, body: str) -> bytes:
    """Return one request; ``number`` makes branch and Call-ID."""
    to = f"<sip:{user}>"
    sender = to if method == "REGISTER" else "<sip:sender@" + user.partition("@")[2] + ">"
    uri = "sip:" + (user.partition("@")[2] if method == "REGISTER" else user)
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKd{number};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: {sender};tag=t{number}\r\nTo: {to}\r\nCall-ID: d{number}@{port}\r\n"
        f"CSeq: 1 {method}\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def store(sender: socket.socket, server: tuple[str, int], user: str, count: int) -> int:
    """Send all messages with so many on their way; return how many got 202."""
    port = sender.getsockname()[1]
    sent = answered = accepted = 0
    while answered < count:
        while sent < count and sent - answered < WINDOW:
            extra = "Content-Type: text/plain\r\n"
            sender.sendto(request("MESSAGE", user, sent, port, extra, f"n{sent}"), server)
            sent += 1
        data = sender.recv(65_535)
        if not data.startswith(b"SIP/2.0 1"):
            answered += 1
            accepted += data.startswith(b"SIP/2.0 202")
    return accepted


def drain(
    phone: socket.socket, server: tuple[str, int], user: str, count: int
) -> dict[str, object]:
    """Register and take every message; return what came when."""
    port = phone.getsockname()[1]
    contact = f"Contact: <sip:{user.partition('@')[0]}@127.0.0.1:{port}>\r\nExpires: 600\r\n"
    phone.sendto(request("REGISTER", user, 10**9, port, contact, ""), server)
    bodies: list[int] = []
    first = last = 0.0
    while len(bodies) < count:
        data = phone.recv(65_535)
        if not data.startswith(b"MESSAGE"):
            continue
        lines = re.findall(rb"^(?:Via|From|To|Call-ID|CSeq): .*\r\n", data, re.MULTILINE)
        phone.sendto(b"SIP/2.0 200 OK\r\n" + b"".join(lines) + b"Content-Length: 0\r\n\r\n", server)
        number = int(data.rpartition(b"\r\n\r\nn")[2])
        first = first or time.monotonic()
        last = time.monotonic()
        bodies.append(number)
    return {
        "taken": len(bodies),
        "a_second": round((len(bodies) - 1) / max(last - first, 1e-9)),
        "in_order": bodies == sorted(set(bodies)),
        "missing": count - len(set(bodies)),
    }


def run(
    server: tuple[str, int],
    *,
    count: int,
    domain: str = "example.com",
    before: Callable[[], T],
) -> tuple[dict[str, object], T]:
    """Store, call ``before``, wait two seconds, let the device come; return what it got."""
    user = f"drained{time.time_ns()}@{domain}"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone,
    ):
        for each in (sender, phone):
            each.bind(("127.0.0.1", 0))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_194_304)
            each.settimeout(10)
        store(sender, server, user, count)
        begun = before()
        time.sleep(2.0)
        return drain(phone, server, user, count), begun


def main() -> None:
    """Run once."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--server", default="127.0.0.1:5060")
    arguments.add_argument("--count", type=int, default=10_000)
    arguments.add_argument("--domain", default="example.com")
    asked = arguments.parse_args()
    host, _, port = asked.server.rpartition(":")
    server = (host, int(port))
    user = f"drained{time.time_ns()}@{asked.domain}"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone,
    ):
        for each in (sender, phone):
            each.bind(("127.0.0.1", 0))
            each.settimeout(10)
        began = time.monotonic()
        accepted = store(sender, server, user, asked.count)
        stored_s = time.monotonic() - began
        found = drain(phone, server, user, asked.count)
    print(json.dumps({"stored": accepted, "stored_a_second": round(accepted / stored_s), **found}))


if __name__ == "__main__":
    main()
