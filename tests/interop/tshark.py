"""Wireshark's dissectors over bodies of application/vnd.3gpp.sms, each in a SIP MESSAGE."""

import json
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_RAW_IPV4: Final = 228
_LOOPBACK: Final = bytes((127, 0, 0, 1))
_SIP_PORT: Final = 5060
_UDP: Final = 17
_REQUEST: Final = (
    "MESSAGE sip:bob@example.com SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{number}\r\n"
    "From: <sip:alice@example.com>;tag=a\r\n"
    "To: <sip:bob@example.com>\r\n"
    "Call-ID: {number}\r\n"
    "CSeq: 1 MESSAGE\r\n"
    "Max-Forwards: 70\r\n"
    "Content-Type: application/vnd.3gpp.sms\r\n"
    "Content-Length: {size}\r\n\r\n"
)

Said = dict[str, list[str]]
"What tshark found in one message: the values of each field, in order."


def command() -> str | None:
    """Return where tshark is, None when it is not."""
    return shutil.which("tshark")


def dissected(bodies: Sequence[bytes], fields: Iterable[str], *, folder: Path) -> list[Said]:
    """Return what tshark says of each body, as far as ``fields`` go."""
    path = folder / "messages.pcap"
    path.write_bytes(_capture(bodies))
    ran = subprocess.run(
        [
            command() or "tshark",
            *("-r", str(path), "-T", "json", "-o", "gsm_sms.reassemble:FALSE"),
            *(flag for field in fields for flag in ("-e", field)),
        ],
        capture_output=True,
        check=True,
        timeout=120,
    )
    return [packet["_source"].get("layers", {}) for packet in json.loads(ran.stdout)]


def _capture(bodies: Iterable[bytes]) -> bytes:
    """Write a capture file of one datagram a body, a second apart."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, _RAW_IPV4)
    return head + b"".join(_record(number, body) for number, body in enumerate(bodies))


def _record(number: int, body: bytes) -> bytes:
    request = _REQUEST.format(number=number, size=len(body)).encode() + body
    datagram = struct.pack(">HHHH", _SIP_PORT, _SIP_PORT, 8 + len(request), 0) + request
    packet = (
        struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, _UDP, 0)
        + _LOOPBACK
        + _LOOPBACK
        + datagram
    )
    return struct.pack("<IIII", number, 0, len(packet), len(packet)) + packet
