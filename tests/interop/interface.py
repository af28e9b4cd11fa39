"""A network interface that is not loopback: baresip starts its stack on nothing else."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator

from .inventory import unavailable

NAMES = ("sipgram-veth0", "sipgram-veth1")
ADDRESS = "198.51.100.1/30"  # TEST-NET-2 (RFC 5737): nobody's real address.


def outer_interfaces() -> list[str]:
    """Names of interfaces that are up and have an IPv4 address, loopback left out."""
    shown = _ip("-json", "-4", "address", "show", "up")
    return [
        link["ifname"]
        for link in json.loads(shown.stdout or "[]")
        if "LOOPBACK" not in link.get("flags", []) and link.get("addr_info")
    ]


@contextlib.contextmanager
def outer_interface() -> Iterator[str]:
    """Give the name of such an interface; a veth pair is made, and removed, where there is none."""
    if shutil.which("ip") is None:
        unavailable("the ip command is missing: apt-get install iproute2")
    if there := outer_interfaces():
        yield there[0]
        return
    made = _ip("link", "add", NAMES[0], "type", "veth", "peer", "name", NAMES[1])
    if made.returncode:
        unavailable(f"baresip needs an interface beside loopback: {made.stderr.strip()}")
    try:
        for arguments in (
            ("address", "add", ADDRESS, "dev", NAMES[0]),
            ("link", "set", NAMES[0], "up"),
            ("link", "set", NAMES[1], "up"),
        ):
            done = _ip(*arguments)
            assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
        yield NAMES[0]
    finally:
        _ip("link", "delete", NAMES[0])  # Its peer goes with it.


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ip", *arguments], capture_output=True, text=True, timeout=10, check=False
    )
