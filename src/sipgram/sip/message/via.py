"""The Via header: where a response goes back to (RFC 3261 §20.42, §18.2, RFC 3581)."""

import re
from dataclasses import dataclass

from sipgram.errors import ParseError
from sipgram.sip.message.grammar import TOKEN, parameters, shown

_VIA_RE = re.compile(
    TOKEN + rb"[ \t]*/[ \t]*" + TOKEN + rb"[ \t]*/[ \t]*(?P<transport>" + TOKEN + rb")[ \t]+"
    rb"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9\-_.]*[A-Za-z0-9.])?)"
    rb"(?:[ \t]*:[ \t]*(?P<port>[0-9]{1,5}))?[ \t]*(?P<params>;.*)?",
    re.IGNORECASE | re.DOTALL,
)

_RPORT_RE = re.compile(rb";[ \t]*rport[ \t]*(?:=[ \t]*[^\s;,]*)?(?=[ \t]*(?:;|$))", re.IGNORECASE)
_RECEIVED_RE = re.compile(rb";[ \t]*received[ \t]*=[ \t]*[^\s;,]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value."""

    transport: bytes
    "Upper case."
    host: bytes
    "Lower case; an IPv6 address in brackets."
    port: int | None
    params: dict[bytes, bytes | None]

    @classmethod
    def parse(cls, value: bytes) -> "Via":
        """Read one value, not a comma list.

        Raises:
            ParseError: status 400, saying what is wrong.
        """
        match = _VIA_RE.fullmatch(value)
        if match is None:
            raise ParseError(f"Via is malformed: {shown(value)}")
        port = int(match["port"]) if match["port"] else None
        if port is not None and not 0 < port < 65536:
            raise ParseError(f"Via has a port out of range: {port}")
        return cls(
            transport=match["transport"].upper(),
            host=match["host"].lower(),
            port=port,
            params=parameters(match["params"] or b"", of="Via"),
        )

    @property
    def sent_by(self) -> bytes:
        """Host and port as §17.2.3 compares them."""
        return self.host if self.port is None else b"%b:%d" % (self.host, self.port)

    @property
    def branch(self) -> bytes:
        """The branch parameter, empty when there is none."""
        return self.params.get(b"branch") or b""

    @property
    def has_rport(self) -> bool:
        """Whether the sender asks for a response to its source port (RFC 3581 §3)."""
        return b"rport" in self.params


def stamp(text: bytes, host: bytes, port: int, *, sent_host: bytes, has_rport: bool) -> bytes:
    """Write into a Via value or line where the request really came from (§18.2.1, RFC 3581 §4).

    D27: ``received`` always stands beside ``rport``; without ``rport`` it is added only when
    the source differs from sent-by. A ``received`` that the sender wrote itself is removed.
    """
    if b"received" in text.lower():
        text = _RECEIVED_RE.sub(b"", text)
    if text.endswith(b";rport"):
        return b"%b=%d;received=%b" % (text, port, host)
    if has_rport:
        text = _RPORT_RE.sub(b";rport=%d" % port, text, count=1)
    elif sent_host.strip(b"[]") == host:
        return text
    return text + b";received=" + host
