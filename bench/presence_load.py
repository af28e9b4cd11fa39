"""Presence fan-out load: watchers SUBSCRIBE to one presentity, then PUBLISHes; counts NOTIFYs.

    python bench/presence_load.py HOST PORT DOMAIN WATCHERS PUBLISHES [SERVER_PID]

No digest. One UDP socket plays every watcher, each a dialog of its own. Prints one JSON line; CPU is
that of the whole process tree of SERVER_PID.
"""

import json
import os
import re
import secrets
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path


def tree(root: int) -> list[int]:
    """Return a process and all that it has started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, left = [], [root]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def cpu_s(root: int) -> float:
    """Return the CPU time of a process tree."""
    ticks = 0
    for pid in tree(root) if root else ():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def header(data: bytes, *names: bytes) -> bytes:
    """Return the first value of a header, by any of its names."""
    for name in names:
        match = re.search(rb"(?im)^" + name + rb"[ \t]*:[ \t]*([^\r\n]*)", data)
        if match:
            return match[1]
    return b""


class Load:
    """The socket, what was answered on it, and how many NOTIFYs came."""

    def __init__(self, host: str, port: int, domain: str) -> None:
        self._server = (host, port)
        self._domain = domain
        self._salt = secrets.token_hex(4)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._me = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.presentity = f"sip:pres@{domain}"
        self.notifies = 0
        self.answers: dict[bytes, tuple[int, bytes]] = {}
        "By Call-ID: status and the whole response."

    def pump(self, within_s: float, until: Callable[[], bool]) -> None:
        """Answer NOTIFYs and take responses until something is so, or the time is over."""
        deadline = time.monotonic() + within_s
        while not until() and time.monotonic() < deadline:
            if not select.select([self._socket], [], [], 0.05)[0]:
                continue
            while True:
                try:
                    data, source = self._socket.recvfrom(65_535, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                self._take(data, source)

    def _take(self, data: bytes, source: tuple[str, int]) -> None:
        if data.startswith(b"NOTIFY "):
            self.notifies += 1
            vias = re.findall(rb"(?im)^(?:Via|v)[ \t]*:([^\r\n]*)", data)
            lines = [b"SIP/2.0 200 OK", *(b"Via:" + via for via in vias)]
            lines.append(b"From: " + header(data, b"From", b"f"))
            lines.append(b"To: " + header(data, b"To", b"t"))
            lines.append(b"Call-ID: " + header(data, b"Call-ID", b"i"))
            lines += [b"CSeq: " + header(data, b"CSeq"), b"Content-Length: 0", b"", b""]
            self._socket.sendto(b"\r\n".join(lines), source)
        elif data.startswith(b"SIP/2.0 ") and int(data[8:11]) >= 200:
            self.answers[header(data, b"Call-ID", b"i")] = (int(data[8:11]), data)

    def send(self, method: str, name: str, sender: str, extra: str, body: str = "") -> bytes:
        """Send one request to the presentity; return its Call-ID."""
        call_id = f"{name}-{self._salt}"
        text = (
            f"{method} {self.presentity} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self._me};branch=z9hG4bK{call_id};rport\r\nMax-Forwards: 70\r\n"
            f"From: {sender};tag={call_id}\r\nTo: <{self.presentity}>\r\nCall-ID: {call_id}\r\n"
            f"CSeq: 1 {method}\r\nContact: <sip:w@{self._me}>\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self._socket.sendto(text.encode(), self._server)
        return call_id.encode()

    def subscribe(self, watchers: int) -> None:
        """Make all watchers."""
        extra = "Event: presence\r\nAccept: application/pidf+xml\r\nExpires: 3600\r\n"
        for number in range(watchers):
            self.send("SUBSCRIBE", f"sub{number}", f"<sip:w{number}@{self._domain}>", extra)
            if number % 20 == 19:
                least = number - 10
                self.pump(5, lambda least=least: len(self.answers) >= least)  # type: ignore[misc]
        self.pump(20, lambda: len(self.answers) >= watchers)
        self.pump(3, lambda: self.notifies >= watchers)

    def publish(self, number: int, etag: str, watchers: int) -> tuple[str, float]:
        """Publish once and wait for its fan-out; return the new entity-tag and how long it took."""
        state = "open" if number % 2 else "closed"
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<presence xmlns="urn:ietf:params:xml:ns:pidf"'
            f' entity="{self.presentity}"><tuple id="t1"><status><basic>{state}</basic></status>'
            f"<note>n{number}</note></tuple></presence>\n"
        )
        extra = "Event: presence\r\nExpires: 3600\r\nContent-Type: application/pidf+xml\r\n"
        extra += f"SIP-If-Match: {etag}\r\n" if etag else ""
        want, began = self.notifies + watchers, time.monotonic()
        call_id = self.send("PUBLISH", f"pub{number}", f"<{self.presentity}>", extra, body)
        self.pump(10, lambda: call_id in self.answers and self.notifies >= want)
        _, answer = self.answers.get(call_id, (0, b""))
        return header(answer, b"SIP-ETag").decode(), time.monotonic() - began


def main() -> None:
    """Run the load and print what it was."""
    host, port, domain, watchers, publishes = sys.argv[1:6]
    pid = int(sys.argv[6]) if len(sys.argv) > 6 else 0
    count = int(watchers)
    load = Load(host, int(port), domain)
    marks = [(time.monotonic(), cpu_s(pid))]
    load.subscribe(count)
    initial = load.notifies
    marks.append((time.monotonic(), cpu_s(pid)))
    etag, took = "", []
    for number in range(int(publishes)):
        etag, elapsed_s = load.publish(number, etag, count)
        took.append(elapsed_s)
    marks.append((time.monotonic(), cpu_s(pid)))
    told = load.notifies - initial
    (t0, c0), (t1, c1), (t2, c2) = marks
    statuses = [status for status, _ in load.answers.values()]
    result = {
        "watchers": count,
        "publishes": int(publishes),
        "answers": {status: statuses.count(status) for status in sorted(set(statuses))},
        "initial_notifies": initial,
        "fanout_notifies": told,
        "expected": count * int(publishes),
        "subscribe_cpu_us": round((c1 - c0) / count * 1e6, 1),
        "subscribe_per_s": round(count / (t1 - t0)),
        "notify_per_s": round(told / (t2 - t1)),
        "p50_fanout_ms": round(sorted(took)[len(took) // 2] * 1e3, 1),
        "server_cpu_us_per_notify": round((c2 - c1) / max(told, 1) * 1e6, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
