"""A phone's network, a NAT and a server's network: three network namespaces in a row.

The NAT is Linux's own (nftables' masquerade). What it has no mapping for it drops without a
word, as the boxes in homes do; Linux itself would answer with an error.
"""

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from .inventory import Tool, need, unavailable

PHONE: Final = "10.77.1.2"
SERVER: Final = "203.0.113.1"  # TEST-NET-3 (RFC 5737).
RULES: Final = """
table ip nat {
    chain out { type nat hook postrouting priority 100; oifname "outside" masquerade; }
}
table ip filter {
    chain in { type filter hook input priority 0; iifname "outside" drop; }
    chain through {
        type filter hook forward priority 0;
        ct state invalid drop
        iifname "outside" ct state new drop
    }
}
"""
_CLONE_NEWNET: Final = 0x40000000

T = TypeVar("T")


class NatLab:
    """The three namespaces, from ``with`` to its end."""

    def __init__(self, *, udp_timeout_s: int = 30, tcp_timeout_s: int = 7_200) -> None:
        """The times after which the NAT forgets what was silent."""
        mark = f"sg{os.getpid()}"
        self.phone, self.nat, self.server = (f"{mark}-{part}" for part in ("p", "n", "s"))
        self._timeouts = {
            "nf_conntrack_udp_timeout": udp_timeout_s,
            "nf_conntrack_udp_timeout_stream": udp_timeout_s,
            "nf_conntrack_tcp_timeout_established": tcp_timeout_s,
            # A connection that is not known is not taken up in its middle.
            "nf_conntrack_tcp_loose": 0,
        }

    def __enter__(self) -> "NatLab":
        need(Tool.NFT)
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def in_server_network(self) -> Sequence[str]:
        """Return the command that runs another one beside the server."""
        return ("ip", "netns", "exec", self.server)

    def socket_at_phone(self, kind: socket.SocketKind) -> socket.socket:
        """Return a bound socket of the phone's network."""
        return _bound(self.phone, PHONE, kind)

    def socket_at_server(self, kind: socket.SocketKind) -> socket.socket:
        """Return a bound socket of the server's network."""
        return _bound(self.server, SERVER, kind)

    def _build(self) -> None:
        made = _run("ip", "netns", "add", self.phone)
        if made.returncode:
            unavailable(f"no network namespace can be made: {made.stderr.strip()}")
        for name in (self.nat, self.server):
            _must("ip", "netns", "add", name)
        for space, near, far in (
            (self.phone, "phone", "inside"),
            (self.server, "public", "outside"),
        ):
            _must(
                *("ip", "link", "add", near, "netns", space, "type", "veth"),
                *("peer", "name", far, "netns", self.nat),
            )
        for space, device, address in (
            (self.phone, "phone", f"{PHONE}/24"),
            (self.nat, "inside", "10.77.1.1/24"),
            (self.nat, "outside", "203.0.113.2/24"),
            (self.server, "public", f"{SERVER}/24"),
        ):
            _must("ip", "-n", space, "address", "add", address, "dev", device)
            for up in (device, "lo"):
                _must("ip", "-n", space, "link", "set", up, "up")
        _must("ip", "-n", self.phone, "route", "add", "default", "via", "10.77.1.1")
        done = _run("ip", "netns", "exec", self.nat, "nft", "-f", "-", text=RULES)
        if done.returncode:
            unavailable(f"the kernel has no NAT: {done.stderr.strip()}")
        self._set("ipv4/ip_forward", 1)
        for name, value in self._timeouts.items():
            self._set(f"netfilter/{name}", value)

    def _set(self, name: str, value: int) -> None:
        path = Path("/proc/sys/net", name)
        _inside(self.nat, lambda: path.write_text(str(value)))

    def _remove(self) -> None:
        for name in (self.phone, self.nat, self.server):
            _run("ip", "netns", "delete", name)  # Its devices go with it.


def _bound(space: str, host: str, kind: socket.SocketKind) -> socket.socket:
    sock = _inside(space, lambda: socket.socket(socket.AF_INET, kind))
    sock.bind((host, 0))
    return sock


def _inside(space: str, work: Callable[[], T]) -> T:
    """Do something in a namespace, in a thread of its own; a socket stays where it was made."""
    found: list[T] = []
    failed: list[OSError] = []

    def run() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(f"/run/netns/{space}", os.O_RDONLY)
        try:
            if libc.setns(descriptor, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            found.append(work())
        except OSError as error:
            failed.append(error)
        finally:
            os.close(descriptor)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def _must(*command: str) -> None:
    done = _run(*command)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def _run(*command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=10, check=False
    )
