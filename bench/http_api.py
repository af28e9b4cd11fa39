"""Measures the HTTP API of a server on core 0, from core 1: posts, a batch, event streams.

    python bench/http_api.py

Needs Linux with two cores; starts `sipgram serve` in a temporary folder.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POSTS = 20_000
CONNECTIONS = 32
BATCH = 10_000
STREAMS = 500
MESSAGES = 2_000
PER_S = 200
SIPGRAM = [sys.executable, "-m", "sipgram"]
OPEN = ("--auth", "none", "--domain", "example.com", "--http", "127.0.0.1:0")


class Phone(asyncio.DatagramProtocol):
    """Answers each MESSAGE 200, and measures what it relays to itself."""

    def __init__(self) -> None:
        self.taken = 0
        self.bound = asyncio.get_running_loop().create_future()
        self.sent: dict[bytes, float] = {}
        self.relayed: list[float] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        if data.startswith(b"SIP/2.0"):
            call_id = re.search(rb"Call-ID: (\S+)", data)[1]
            started = self.sent.pop(call_id, None)
            if started is not None:
                self.relayed.append(time.perf_counter() - started)
            elif not self.bound.done():
                self.bound.set_result(None)
            return
        self.taken += 1
        lines = data.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        kept = [line for line in lines if line[:4].lower() in (b"via:", b"from", b"call", b"cseq")]
        kept += [line + b";tag=p" for line in lines if line[:3].lower() == b"to:"]
        head = b"\r\n".join((b"SIP/2.0 200 OK", *kept, b"Content-Length: 0", b"", b""))
        self.transport.sendto(head, source)

    def ask(self, method: str, server: tuple[str, int], call_id: str, *more: str) -> None:
        """Send a request of bob, about bob."""
        port = self.transport.get_extra_info("sockname")[1]
        uri = "sip:example.com" if method == "REGISTER" else "sip:bob@example.com"
        lines = (
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{call_id}",
            "Max-Forwards: 70",
            "From: <sip:bob@example.com>;tag=1",
            "To: <sip:bob@example.com>",
            f"Call-ID: {call_id}",
            f"CSeq: 1 {method}",
            *more,
            "Content-Length: 0",
            "",
            "",
        )
        self.sent[call_id.encode()] = time.perf_counter()
        self.transport.sendto("\r\n".join(lines).encode(), server)


class Server:
    """`sipgram serve` on core 0."""

    def __init__(self, data: str) -> None:
        key = [*SIPGRAM, "key", "add", "bench", "--all-accounts", "--open", "--data", data]
        self.key = subprocess.run(key, capture_output=True, text=True, check=True).stdout.strip()
        command = ["taskset", "-c", "0", *SIPGRAM, "serve", *OPEN, "--listen", "udp:127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*command, "--data", data], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.ports: dict[str, int] = {}
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.match(r"listening (\w+) .*:(\d+)", line):
                self.ports[found[1]] = int(found[2])
            if line.strip() == "ready":
                break

    def cpu_s(self) -> float:
        """CPU of the server and of its writer."""
        listed = ["pgrep", "-P", str(self.process.pid)]
        children = subprocess.run(listed, capture_output=True, text=True, check=False).stdout
        total = 0
        for pid in (str(self.process.pid), *children.split()):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")


def request(server: Server, method: str, path: str, body: bytes = b"") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask(server: Server, streams: tuple, data: bytes) -> tuple[bytes, bytes]:
    reader, writer = streams
    writer.write(data)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    return head, await reader.readexactly(length)


async def posts(server: Server, phone: Phone) -> None:
    body = json.dumps({"to": "bob", "from": "alice", "text": "Hello"}).encode()
    data = request(server, "POST", "/v1/messages", body)
    took: list[float] = []

    async def client(count: int) -> None:
        streams = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        for _ in range(count):
            started = time.perf_counter()
            head, _ = await ask(server, streams, data)
            assert b" 202 " in head[:20], head
            took.append(time.perf_counter() - started)
        streams[1].close()

    before, cpu = phone.taken, server.cpu_s()
    started = time.perf_counter()
    await asyncio.gather(*(client(POSTS // CONNECTIONS) for _ in range(CONNECTIONS)))
    elapsed, cpu = time.perf_counter() - started, server.cpu_s() - cpu
    await asyncio.sleep(1)
    count = len(took)
    took.sort()
    print(
        f"posts: {count / elapsed:.0f}/s, {cpu / count * 1e6:.0f} us of CPU each (writer too), "
        f"p50 {took[count // 2] * 1e3:.1f} p99 {took[count * 99 // 100] * 1e3:.1f} ms, "
        f"{phone.taken - before} of {count} delivered"
    )


async def batch(server: Server, phone: Phone) -> None:
    lines = [{"to": f"u{n}", "from": "alice", "text": f"Hello {n}"} for n in range(BATCH)]
    data = request(
        server, "POST", "/v1/messages:batch", b"\n".join(json.dumps(x).encode() for x in lines)
    )
    streams = await asyncio.open_connection("127.0.0.1", server.ports["http"])
    address = ("127.0.0.1", server.ports["udp"])
    is_over = False

    async def relay() -> None:
        count = 0
        while not is_over:
            count += 1
            phone.ask("MESSAGE", address, f"relay-{count}")
            await asyncio.sleep(0.005)

    relaying = asyncio.create_task(relay())
    phone.relayed.clear()
    started = time.perf_counter()
    _, body = await ask(server, streams, data)
    elapsed = time.perf_counter() - started
    await asyncio.sleep(3)
    is_over = True
    await relaying
    took = sorted(phone.relayed)
    p99 = took[len(took) * 99 // 100] * 1e3
    print(
        f"batch: {json.loads(body)['accepted']} accepted in {elapsed:.2f} s; meanwhile and for 3 s "
        f"after, relay p50 {took[len(took) // 2] * 1e3:.1f} p99 {p99:.1f} max {took[-1] * 1e3:.1f} ms"
    )


async def events(server: Server) -> None:
    took: list[float] = []
    strays = 0

    async def listen(n: int, is_there: asyncio.Future) -> None:
        nonlocal strays
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        path = f"/v1/events?account=sip:l{n}@example.com"
        writer.write(request(server, "GET", path))
        await reader.readuntil(b"retry: 2000")
        is_there.set_result(None)
        while line := await reader.readline():
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                if event["type"] != "message.received":
                    continue
                strays += event["account"] != f"sip:l{n}@example.com"
                took.append(time.time() - float(event["data"]["text"]))

    loop = asyncio.get_running_loop()
    there = [loop.create_future() for _ in range(STREAMS)]
    tasks = [asyncio.create_task(listen(n, each)) for n, each in enumerate(there)]
    await asyncio.gather(*there)
    senders = [await asyncio.open_connection("127.0.0.1", server.ports["http"]) for _ in range(10)]
    cpu, started = server.cpu_s(), time.perf_counter()

    async def send(which: int) -> None:
        for count in range(MESSAGES // len(senders)):
            due = started + (count * len(senders) + which) / PER_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            to = f"l{(count * len(senders) + which) % STREAMS}"
            body = {"to": to, "from": "alice", "text": f"{time.time():.6f}"}
            data = request(server, "POST", "/v1/messages", json.dumps(body).encode())
            await ask(server, senders[which], data)

    await asyncio.gather(*(send(which) for which in range(len(senders))))
    elapsed, cpu = time.perf_counter() - started, server.cpu_s() - cpu
    await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    took.sort()
    print(
        f"events: {STREAMS} streams, {MESSAGES / elapsed:.0f} messages/s, {len(took)} heard, "
        f"{strays} by others, p50 {took[len(took) // 2] * 1e3:.1f} "
        f"p99 {took[len(took) * 99 // 100] * 1e3:.1f} max {took[-1] * 1e3:.1f} ms; "
        f"{cpu / elapsed * 100:.0f} % of a core"
    )


async def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        server = Server(data)
        os.sched_setaffinity(0, {1})
        try:
            loop = asyncio.get_running_loop()
            _, phone = await loop.create_datagram_endpoint(Phone, local_addr=("127.0.0.1", 0))
            port = phone.transport.get_extra_info("sockname")[1]
            contact = f"Contact: <sip:bob@127.0.0.1:{port}>"
            phone.ask("REGISTER", ("127.0.0.1", server.ports["udp"]), "r", contact)
            await asyncio.sleep(0.5)
            await posts(server, phone)
            await batch(server, phone)
            await events(server)
        finally:
            server.process.send_signal(signal.SIGTERM)
            server.process.wait()


if __name__ == "__main__":
    asyncio.run(main())
