"""The plain scanner: one message's bytes to an index of its lines (RFC 3261 §7, §25).

Its twin ``_scan.pyx`` does the same for messages of the usual form and hands the rest to this
one; both are held equal by the same tests. Nothing here raises for what a peer sent: what is
wrong is written down in ``faults``, for the reason phrase of the 400.
"""

import re
from collections.abc import Sequence
from typing import Final

from sipgram.errors import ParseError
from sipgram.sip.message.address import Address
from sipgram.sip.message.grammar import TOKEN, is_token, shown, split_list, unfold
from sipgram.sip.message.headers import MANDATORY, NAMES, SINGLE, SPELLINGS, canonical
from sipgram.sip.message.message import Cut
from sipgram.sip.message.via import Via, stamp

HEADER_LINES_MAX: Final = 256
"""More header lines than this, folded ones counted each, make a message faulty."""
HEADER_BYTES_MAX: Final = 32_768
"""A longer header block makes a message faulty."""
CSEQ_MAX: Final = 2**31 - 1
"""RFC 3261 §8.1.1.5: "The sequence number MUST be less than 2**31"."""
BRANCH_COOKIE: Final = b"z9hG4bK"

_VIA_RE = re.compile(
    rb"SIP/2\.0/(?P<transport>[A-Z]{2,4}) "
    rb"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9\-.]*[a-z0-9])?)"
    rb"(?::(?P<port>[1-5][0-9]{4}|[1-9][0-9]{0,3}))?"
    rb"(?P<params>(?:;[a-z][a-z0-9\-]*(?:=[A-Za-z0-9.\-_*+!%~`']+)?)*)"
)
_USUAL_VIA_RE = re.compile(
    rb"SIP/2\.0/[A-Z]{2,4} ([a-z0-9](?:[a-z0-9\-.]*[a-z0-9])?)(?::([1-5][0-9]{4}|[1-9][0-9]{0,3}))?"
    rb";branch=([A-Za-z0-9.\-_*+!%~`']+)(;rport)?"
)
_VIA_PARAMETER_RE = re.compile(rb";([a-z0-9\-]+)(?:=([^;]+))?")
_NAME_ADDR_RE = re.compile(
    rb'(?:"[^"\\]*" ?|[A-Za-z0-9\-.]* ?)<(?P<uri>[A-Za-z][A-Za-z0-9+.\-]*:[^<>"\s]+)>'
    rb"(?:;tag=(?P<tag>" + TOKEN + rb"))?"
)
_CSEQ_RE = re.compile(rb"([0-9]{1,32})[ \t]+(" + TOKEN + rb")")
_STATUS_RE = re.compile(rb"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?", re.DOTALL | re.IGNORECASE)
_VERSION_RE = re.compile(rb"SIP/[0-9]+\.[0-9]+", re.IGNORECASE)
_URI_RE = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"\x00-\x1f\x7f]+")
_REQUEST_RE = re.compile(rb"([A-Z]+) (sips?:[A-Za-z0-9@:;=.\-_+%\[\]]+) SIP/2\.0")
_NAME_RE = re.compile(TOKEN + rb"[ \t]*")
_LINE_END_RE = re.compile(rb"\r?\n")
_NUL_RE = re.compile(rb"(?<!\\)\0")
_BLANK_LINE_RE = re.compile(rb"\r?\n\r?\n")

_Line = tuple[bytes, bytes, int, int]
"""Canonical name, value, and where in ``raw`` the line stands."""


class PlainMessage:
    """A message and its index; the attributes are told in ``message.Message``."""

    __slots__ = (
        "body_at",
        "branch",
        "call_id",
        "content_length",
        "cseq",
        "fault_status",
        "faults",
        "first",
        "from_tag",
        "from_uri",
        "key",
        "lines",
        "max_forwards",
        "method",
        "raw",
        "reason",
        "rport",
        "sent_by",
        "sent_host",
        "sent_port",
        "status",
        "to_tag",
        "to_uri",
        "uri",
        "via_rest",
    )

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.body_at = len(raw)
        self.status = 0
        self.method = self.uri = self.reason = b""
        self.lines: list[_Line] = []
        self.first: dict[bytes, bytes] = {}
        self.branch = self.sent_by = self.sent_host = self.via_rest = self.key = b""
        self.sent_port = 0
        self.rport = self.max_forwards = self.content_length = -1
        self.cseq = -1
        self.call_id = self.from_uri = self.from_tag = self.to_uri = self.to_tag = b""
        self.faults: tuple[str, ...] = ()
        self.fault_status = 400

    @property
    def body(self) -> bytes:
        return self.raw[self.body_at :]

    def has(self, name: bytes) -> bool:
        return name in self.first

    def value(self, name: bytes) -> bytes | None:
        return self.first.get(name)

    def values(self, name: bytes) -> list[bytes]:
        if name not in self.first:
            return []
        return [line[1] for line in self.lines if line[0] == name]

    def spans(self, name: bytes) -> list[tuple[int, int]]:
        return [(start, end) for known, _, start, end in self.lines if known == name]

    def forwarded(
        self, uri: bytes, top: bytes, host: bytes, port: int, cuts: Sequence[Cut] = ()
    ) -> bytes:
        raw = self.raw
        via = hops = (0, 0)
        for name, _, start, end in self.lines:
            if name == b"via":
                via = via if via[1] else (start, end)
            elif name == b"max-forwards":
                hops = (start, end)
        edits = [(*via, self._stamped_line(via, host, port)), *cuts]
        if self.max_forwards < 0:
            top += b"Max-Forwards: 70\r\n"
        else:
            edits.append((*hops, b"Max-Forwards: %d\r\n" % (self.max_forwards - 1)))
        edits.sort()
        parts = [self.method, b" ", uri, b" SIP/2.0\r\n", top]
        at = raw.index(b"\r\n") + 2
        for start, end, text in edits:
            parts.append(raw[at:start])
            parts.append(text)
            at = end
        parts.append(raw[at:])
        return b"".join(parts)

    def relayed(self) -> bytes:
        (start, end) = self.spans(b"via")[0]
        rest = b"Via: " + self.via_rest + b"\r\n" if self.via_rest else b""
        return self.raw[:start] + rest + self.raw[end:]

    def echoed(self, to_tag: bytes, host: bytes, port: int) -> bytes:
        parts = []
        seen_via = False
        for name, value, start, end in self.lines:
            if name == b"via":
                if seen_via or not self.sent_by:  # One that cannot be read goes back as it came.
                    parts.append(self._whole_line(start, end))
                else:
                    parts.append(self._stamped_line((start, end), host, port))
                seen_via = True
            elif name == b"to" and to_tag and not self.to_tag:
                parts.append(b"To: " + value + b";tag=" + to_tag + b"\r\n")
            elif name in (b"from", b"to", b"call-id", b"cseq", b"timestamp"):
                parts.append(self._whole_line(start, end))
        return b"".join(parts)

    def _whole_line(self, start: int, end: int) -> bytes:
        line = self.raw[start:end]
        return line if line.endswith(b"\r\n") else line + b"\r\n"  # It broke off in this line.

    def _stamped_line(self, span: tuple[int, int], host: bytes, port: int) -> bytes:
        line = self.raw[span[0] : span[1] - 2]
        if self.via_rest or b"\n" in line:
            line = b"Via: " + split_list(self.first[b"via"])[0]
        text = stamp(line, host, port, sent_host=self.sent_host, has_rport=self.rport >= 0)
        return text + (b", " + self.via_rest if self.via_rest else b"") + b"\r\n"


def scan(data: bytes, *, bare_lf: bool = False) -> PlainMessage:
    """Index one message, a whole datagram or what a stream's framing cut out.

    ``bare_lf`` accepts lines that end in LF alone, and rewrites them; without it they are a
    fault. A message that lacks even a readable start line comes back with ``method`` empty and
    ``status`` 0: there is nothing to answer.
    """
    faults: list[str] = []
    head_end = data.find(b"\r\n\r\n")
    if bare_lf and (
        head_end < 0 or data.count(b"\n", 0, head_end) != data.count(b"\r\n", 0, head_end)
    ):
        data = _with_crlf(data)
        head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        faults.append("the empty line after the headers is missing")
        head_end = len(data) - 2 if data.endswith(b"\r\n") else len(data)
    message = PlainMessage(data)
    message.body_at = min(head_end + 4, len(data))
    head = data[:head_end]
    if len(head) > HEADER_BYTES_MAX:
        faults.append(f"headers are longer than {HEADER_BYTES_MAX} bytes")
        head = head[:HEADER_BYTES_MAX]
    start_line, _, block = head.partition(b"\r\n")
    _read_start_line(message, start_line, faults)
    _read_lines(message, block, len(start_line) + 2, faults)
    if message.method or message.status:
        _read_fields(message, faults)
    message.faults = tuple(faults)
    return message


def _with_crlf(data: bytes) -> bytes:
    end = _BLANK_LINE_RE.search(data)
    if end is None or (
        end[0] == b"\r\n\r\n" and b"\n" not in data[: end.start()].replace(b"\r\n", b"")
    ):
        return data
    return _LINE_END_RE.sub(b"\r\n", data[: end.start()]) + b"\r\n\r\n" + data[end.end() :]


def _read_start_line(message: PlainMessage, line: bytes, faults: list[str]) -> None:
    usual = _REQUEST_RE.fullmatch(line)
    if usual is not None:
        message.method, message.uri = usual.groups()
        return
    if line[:4].upper() == b"SIP/":
        match = _STATUS_RE.fullmatch(line)
        if match is None:
            faults.append(f"status line is malformed: {shown(line)}")
            return
        message.status = int(match[1])
        message.reason = match[2] or b""
        return
    method, _, rest = line.partition(b" ")
    uri, _, version = rest.rpartition(b" ")
    if not is_token(method) or b"SIP/" not in rest.upper():
        faults.append(f"start line is malformed: {shown(line)}")
        return
    message.method = method
    message.uri = uri
    if version != b"SIP/2.0":
        if _VERSION_RE.fullmatch(version) and version[4:] != b"2.0":
            message.fault_status = 505
            faults.append(f"SIP version is not supported: {shown(version)}")
        elif version.upper() != b"SIP/2.0":
            faults.append(f"start line does not end in SIP/2.0: {shown(line[-20:])}")
    if not _URI_RE.fullmatch(uri):
        faults.append(f"Request-URI is malformed: {shown(uri)}")


def _read_lines(message: PlainMessage, block: bytes, at: int, faults: list[str]) -> None:
    """Split the header block into lines, joining folds (§7.3.1)."""
    lines, first = message.lines, message.first
    texts = block.split(b"\r\n") if block else []
    ends = max(0, len(texts) - 1)
    if block.count(b"\n") != ends or block.count(b"\r") != ends:
        faults.append("a header holds CR or LF alone")
    if b"\0" in block and _NUL_RE.search(block):
        faults.append("a header holds NUL outside a quoted pair")
    for count, text in enumerate(texts):
        if count == HEADER_LINES_MAX:
            faults.append(f"more than {HEADER_LINES_MAX} header lines")
            return
        end = at + len(text) + 2
        name, colon, value = text.partition(b":")
        known = SPELLINGS.get(name)
        if known is None and text[:1] in (b" ", b"\t"):
            if not lines:
                faults.append("the first header line is folded")
            else:
                known, before, start, _ = lines.pop()
                value = unfold(before + b"\r\n" + text)
                if all(line[0] != known for line in lines):
                    first[known] = value
                lines.append((known, value, start, end))
        elif not colon or (known is None and not _NAME_RE.fullmatch(name)):
            faults.append(f"header line is malformed: {shown(text)}")
        else:
            known = known or canonical(name)
            value = value.strip(b" \t")
            lines.append((known, value, at, end))
            if known not in first:
                first[known] = value
            elif known in SINGLE:
                faults.append(f"{NAMES[known]} stands more than once")
        at = end


def _read_fields(message: PlainMessage, faults: list[str]) -> None:
    first = message.first
    faults += [
        f"{NAMES[name]} is {'empty' if name in first else 'missing'}"
        for name in MANDATORY
        if not first.get(name)
    ]
    try:
        _read_via(message)
    except ParseError as error:
        faults.append(error.reason)
    message.call_id = first.get(b"call-id", b"")
    _read_cseq(message, faults)
    message.from_uri, message.from_tag = _read_party(first.get(b"from"), "From", faults)
    message.to_uri, message.to_tag = _read_party(first.get(b"to"), "To", faults)
    hops = first.get(b"max-forwards")
    if hops is not None:
        if hops.isdigit() and len(hops) < 8 and int(hops) <= 255:
            message.max_forwards = int(hops)
        else:
            faults.append(f"Max-Forwards is not a number from 0 to 255: {shown(hops)}")
    _read_length(message, faults)
    if not message.status:
        message.key = _key(message)


def _read_via(message: PlainMessage) -> None:
    message.rport = 0  # Where Via cannot be read, the answer goes to where the request came from.
    value = message.first.get(b"via")
    if not value:
        return
    usual = _USUAL_VIA_RE.fullmatch(value)
    if usual is not None:
        message.sent_host, port, message.branch, rport = usual.groups()
        message.rport = -1 if rport is None else 0
        message.sent_port = int(port) if port else 0
        message.sent_by = message.sent_host + b":" + port if port else message.sent_host
        return
    match = _VIA_RE.fullmatch(value)
    if match is not None:
        pairs = _VIA_PARAMETER_RE.findall(match["params"])
        params = dict(pairs)
        rport = params.get(b"rport")
        if len(params) == len(pairs) and not rport:
            message.branch = params.get(b"branch", b"")
            message.rport = -1 if rport is None else 0
            message.sent_host = match["host"]
            port = match["port"]
            message.sent_port = int(port) if port else 0
            message.sent_by = message.sent_host + b":" + port if port else message.sent_host
            return
    top, *rest = split_list(value)
    via = Via.parse(top)
    message.branch = via.branch
    message.sent_host = via.host
    message.sent_port = via.port or 0
    message.sent_by = via.sent_by
    if not via.has_rport:
        message.rport = -1
    else:
        text = via.params[b"rport"] or b"0"
        message.rport = int(text) if text.isdigit() and len(text) < 6 else 0
    message.via_rest = b", ".join(rest)


def _read_cseq(message: PlainMessage, faults: list[str]) -> None:
    value = message.first.get(b"cseq")
    if not value:
        return
    match = _CSEQ_RE.fullmatch(value)
    if match is None:
        faults.append(f"CSeq is malformed: {shown(value)}")
        return
    number, method = int(match[1]), match[2]
    if number > CSEQ_MAX:
        faults.append(f"CSeq number is 2**31 or more: {number}")
        return
    message.cseq = number
    if message.status:
        message.method = method
    elif method != message.method:
        faults.append(f"CSeq method is {shown(method)} but the request is {shown(message.method)}")


def _read_party(value: bytes | None, name: str, faults: list[str]) -> tuple[bytes, bytes]:
    if not value:
        return b"", b""
    match = _NAME_ADDR_RE.fullmatch(value)
    if match is not None:
        return match["uri"], match["tag"] or b""
    try:
        address = Address.parse(value, of=name)
    except ParseError as error:
        faults.append(error.reason)
        return b"", b""
    return address.uri, address.tag


def _read_length(message: PlainMessage, faults: list[str]) -> None:
    value = message.first.get(b"content-length")
    if value is None:
        return
    if not value.isdigit() or len(value) > 9:
        faults.append(f"Content-Length is not a length: {shown(value)}")
        return
    length = message.content_length = int(value)
    there = len(message.raw) - message.body_at
    if length > there:
        faults.append(f"Content-Length is {length} but {there} bytes of body came")
    elif length < there:
        # RFC 3261 §18.3: "If there are additional bytes in the transport packet beyond the end
        # of the body, they MUST be discarded."
        message.raw = message.raw[: message.body_at + length]


def _key(message: PlainMessage) -> bytes:
    method = b"INVITE" if message.method == b"ACK" else message.method
    if message.branch.startswith(BRANCH_COOKIE) and len(message.branch) > len(BRANCH_COOKIE):
        return b"%b %b %b" % (message.branch, message.sent_by, method)
    # RFC 3261 §17.2.3: a branch of the RFC 2543 sort is not unique by itself. The To tag is left
    # out: an ACK has one that the INVITE had not.
    via = message.first.get(b"via", b"")
    parts = (message.uri, message.from_tag, message.call_id, b"%d" % message.cseq, via, method)
    return b"2543 " + b" ".join(parts)
