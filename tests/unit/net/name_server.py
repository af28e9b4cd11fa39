"""A name server of the tests' own, on UDP and TCP: what it tells, and how it fails, is data."""

import asyncio
import struct
from collections import Counter
from contextlib import suppress
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

UDP_RECORDS_MAX = 8
"""A longer answer is cut short over UDP, so that the asker comes back by TCP."""


class NameServer:
    """Answers from ``zone``; a name without records of any type gets NXDOMAIN.

    A record is one line of a zone file, ``NAME TTL TYPE DATA``, all names absolute without dot.
    """

    def __init__(self, *zone: str) -> None:
        self.records: dict[tuple[str, str], list[dns.rrset.RRset]] = {}
        self.broken: dict[str, int] = {}
        "Response code by name."
        self.silent: set[str] = set()
        "Names that get no answer."
        self.asked: Counter[tuple[str, str]] = Counter()
        "How often each name and type was asked for."
        self.by_tcp = 0
        self.negative_ttl = 300
        self.has_soa = True
        self.heard = asyncio.Event()
        "Set with each question."
        self.address = ""
        self.set(*zone)

    def set(self, *zone: str) -> None:
        """Replace what it tells."""
        self.records.clear()
        for line in zone:
            name, ttl, kind, data = line.split(None, 3)
            found = dns.rrset.from_text(name + ".", int(ttl), "IN", kind, data)
            self.records.setdefault((name.lower(), kind), []).append(found)

    async def __aenter__(self) -> "NameServer":
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=("127.0.0.1", port)
        )
        self.address = f"127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    def answer(self, wire: bytes, *, is_tcp: bool) -> bytes | None:
        """Return the answer to one question, None for silence."""
        query = dns.message.from_wire(wire)
        asked = query.question[0]
        name = asked.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(asked.rdtype)
        self.asked[name, kind] += 1
        self.by_tcp += is_tcp
        self.heard.set()
        if name in self.silent:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if name in self.broken:
            response.set_rcode(dns.rcode.Rcode(self.broken[name]))
            return response.to_wire()
        self._fill(response, name, kind)
        if not is_tcp and len(response.answer) > UDP_RECORDS_MAX:
            response.answer.clear()
            response.flags |= dns.flags.TC
        return response.to_wire(want_shuffle=False)

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        while alias := self.records.get((name, "CNAME")):
            response.answer.append(alias[0])
            name = alias[0][0].to_text().removesuffix(".")
        response.answer += self.records.get((name, kind), [])
        if (name, kind) in self.records:
            return
        if not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if self.has_soa:
            text = f"ns. admin. 1 3600 600 86400 {self.negative_ttl}"
            zone = name.rpartition(".")[2] + "."
            response.authority.append(dns.rrset.from_text(zone, 3600, "IN", "SOA", text))

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(asyncio.IncompleteReadError):
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            answer = self.answer(await reader.readexactly(length), is_tcp=True)
            if answer is not None:
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.answer(data, is_tcp=False)
        if answer is not None:
            self._transport.sendto(answer, addr)
