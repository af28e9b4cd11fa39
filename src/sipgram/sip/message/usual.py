"""Messages of the usual form, read by one regular expression (RFC 3261 §7).

The way for servers without the native scanner: each line's name is one that phones send and
spelled as the RFCs do, none stands twice but Via, nothing is folded. All else goes to the
careful scanner, which is the only one to find faults. Held equal to it by the same tests.
"""

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from sipgram.sip.message.grammar import TOKEN
from sipgram.sip.message.message import Cut
from sipgram.sip.message.scan import BRANCH_COOKIE, CSEQ_MAX, HEADER_BYTES_MAX, PlainMessage, scan
from sipgram.sip.message.via import stamp

_TEXT = rb"[^\x00\s](?:[^\x00\r\n]*[^\x00\s])?"
_VIA = (
    rb"SIP/2\.0/[A-Z]{2,4} (?P<host>[a-z0-9](?:[a-z0-9\-.]*[a-z0-9])?)"
    rb"(?P<colon>:(?P<port>[1-5][0-9]{4}|[1-9][0-9]{0,3}))?"
    rb"(?P<before>;rport(?:=[0-9]{1,5})?)?;branch=(?P<branch>[A-Za-z0-9.\-_*+!%~`']+)"
    rb"(?P<behind>;rport(?:=[0-9]{1,5})?)?(?:;received=[0-9.]+)?"
)


def _party(group: bytes) -> bytes:
    return (
        rb'(?P<%b>(?:[A-Za-z0-9\-.]* ?|"[^"\\\x00\r\n]*" ?)' % group
        + rb"<(?P<%b_uri>[A-Za-z][A-Za-z0-9+.\-]*:[^<>\"\s\x00]+)>" % group
        + rb"(?:;tag=(?P<%b_tag>" % group
        + TOKEN
        + rb"))?)\r\n"
    )


# Grouped by first letters, and no group opens before a literal: the matcher then looks at one
# octet to pass over an alternative.
_MESSAGE_RE: Final = re.compile(
    rb"(?:SIP/2\.0 (?P<status>[1-6][0-9]{2})(?: (?P<reason>[^\x00\r\n]*))?"
    rb"|(?P<method>[A-Z]+) (?P<uri>sips?:[A-Za-z0-9@:;=.\-_+%\[\]]+) SIP/2\.0)\r\n"
    rb"(?:"
    rb"Via: (?P<via>" + _VIA + rb")\r\n(?:Via: (?P<under>" + _TEXT + rb")\r\n)?"
    rb"|From: " + _party(b"from") + rb"|To: " + _party(b"to") + rb"|C(?:"
    rb"all-ID: (?P<call_id>" + _TEXT + rb")\r\n"
    rb"|Seq: (?P<cseq>(?P<number>[0-9]{1,10}) (?P<of>[A-Z]+))\r\n"
    rb"|ontent-(?:Length: (?P<content_length>[0-9]{1,9})"
    rb"|Type: (?P<content_type>" + _TEXT + rb"))\r\n"
    rb"|ontact: (?P<contact>" + _TEXT + rb")\r\n)"
    rb"|Max-Forwards: (?P<max_forwards>[0-9]{1,3})\r\n"
    rb"|User-Agent: (?P<user_agent>" + _TEXT + rb")\r\n"
    rb"|Proxy-Authorization: (?P<proxy_authorization>" + _TEXT + rb")\r\n"
    rb"|A(?:uthorization: (?P<authorization>" + _TEXT + rb")"
    rb"|llow: (?P<allow>" + _TEXT + rb")"
    rb"|ccept: (?P<accept>" + _TEXT + rb"))\r\n"
    rb"|Supported: (?P<supported>" + _TEXT + rb")\r\n"
    rb"|Expires: (?P<expires>" + _TEXT + rb")\r\n"
    rb"|Date: (?P<date>" + _TEXT + rb")\r\n"
    rb")+\r\n"
)
_GROUPS: Final = _MESSAGE_RE.groupindex
_PARTS: Final = frozenset(
    (
        *("status", "reason", "method", "uri", "host", "colon", "port", "before", "branch"),
        *("behind", "from_uri", "from_tag", "to_uri", "to_tag", "number", "of", "under"),
    )
)
_PLACE_OF: Final = {
    name.replace("_", "-").encode(): place for name, place in _GROUPS.items() if name not in _PARTS
}
_lines_of: Final = itemgetter(*(place - 1 for place in (*_PLACE_OF.values(), _GROUPS["under"])))
_NAMES: Final = (
    *("status", "reason", "method", "uri", "host", "colon", "port", "before", "branch", "behind"),
    *("from_uri", "from_tag", "to_uri", "to_tag", "call_id", "number", "of", "max_forwards"),
    "content_length",
)
_values_of: Final = itemgetter(*(_GROUPS[name] - 1 for name in _NAMES))
_URI_PLACE: Final = _GROUPS["uri"]
_VIA_PLACE: Final = _GROUPS["via"]
_HOPS_PLACE: Final = _GROUPS["max_forwards"]


class UsualMessage:
    """A message of the usual form; the attributes are told in ``message.Message``."""

    __slots__ = (
        "_careful",
        "_lines",
        "_sent_host",
        "body_at",
        "branch",
        "call_id",
        "content_length",
        "cseq",
        "fault_status",
        "faults",
        "from_tag",
        "from_uri",
        "key",
        "max_forwards",
        "method",
        "raw",
        "reason",
        "rport",
        "sent_by",
        "sent_port",
        "status",
        "to_tag",
        "to_uri",
        "uri",
    )

    faults: tuple[str, ...]
    fault_status: int
    raw: bytes
    status: int
    method: bytes
    uri: bytes
    reason: bytes
    branch: bytes
    sent_by: bytes
    sent_port: int
    rport: int
    key: bytes
    max_forwards: int
    cseq: int
    call_id: bytes
    from_uri: bytes
    from_tag: bytes
    to_uri: bytes
    to_tag: bytes
    content_length: int
    body_at: int
    _careful: PlainMessage | None
    _lines: re.Match[bytes]
    _sent_host: bytes

    @property
    def careful(self) -> PlainMessage:
        """The same message with an index of all its lines, for what is seldom asked."""
        if self._careful is None:
            self._careful = scan(self.raw)
        return self._careful

    @property
    def body(self) -> bytes:
        return self.raw[self.body_at :]

    def has(self, name: bytes) -> bool:
        place = _PLACE_OF.get(name)
        return place is not None and self._lines.start(place) >= 0

    def value(self, name: bytes) -> bytes | None:
        return self.careful.value(name) if self.has(name) else None

    def values(self, name: bytes) -> list[bytes]:
        return self.careful.values(name) if self.has(name) else []

    def spans(self, name: bytes) -> list[tuple[int, int]]:
        return self.careful.spans(name) if self.has(name) else []

    def forwarded(
        self, uri: bytes, top: bytes, host: bytes, port: int, cuts: Sequence[Cut] = ()
    ) -> bytes:
        if self.max_forwards < 0 or cuts or self.status:
            return self.careful.forwarded(uri, top, host, port, cuts)
        raw, lines = self.raw, self._lines
        start, end = lines.span(_VIA_PLACE)
        hops, behind = lines.span(_HOPS_PLACE)
        via = stamp(
            raw[start:end], host, port, sent_host=self._sent_host, has_rport=self.rport >= 0
        )
        left = b"%d" % (self.max_forwards - 1)
        first = lines.end(_URI_PLACE) + len(b" SIP/2.0\r\n")
        begin = (self.method, b" ", uri, b" SIP/2.0\r\n", top)
        if start < hops:
            rest = (raw[first:start], via, raw[end:hops], left, raw[behind:])
        else:
            rest = (raw[first:hops], left, raw[behind:start], via, raw[end:])
        return b"".join(begin + rest)

    def relayed(self) -> bytes:
        start, end = self._lines.span(_VIA_PLACE)
        return self.raw[: start - len(b"Via: ")] + self.raw[end + len(b"\r\n") :]

    def echoed(self, to_tag: bytes, host: bytes, port: int) -> bytes:
        return self.careful.echoed(to_tag, host, port)


def scan_usual(data: bytes, *, bare_lf: bool = False) -> UsualMessage | PlainMessage:
    """Index one message, by the careful scanner when it is not of the usual form."""
    match = _MESSAGE_RE.match(data)
    message = None if match is None else _read(data, match)
    return message or scan(data, bare_lf=bare_lf)


def _read(data: bytes, match: re.Match[bytes]) -> UsualMessage | None:
    groups = match.groups()
    lines = _lines_of(groups)
    end = match.end()
    if len(lines) - lines.count(None) + 2 != data.count(b"\r\n", 0, end):
        return None  # A line stands twice.
    if end > HEADER_BYTES_MAX:
        return None
    message = UsualMessage()
    (
        status,
        reason,
        method,
        uri,
        host,
        colon,
        port,
        before,
        branch,
        behind,
        message.from_uri,
        from_tag,
        message.to_uri,
        to_tag,
        message.call_id,
        number,
        of,
        hops,
        length,
    ) = _values_of(groups)
    if not (host and message.from_uri and message.to_uri and message.call_id and number):
        return None
    if (before and behind) or (method and of != method):
        return None
    message.cseq = int(number)
    message.max_forwards = int(hops) if hops else -1
    if message.cseq > CSEQ_MAX or message.max_forwards > 255:
        return None
    if not _cut(message, data, end, length):
        return None
    message.faults = ()  # Until somebody else finds one, as a stream's framing does.
    message.fault_status = 400
    message._lines = match
    message._careful = None
    message._sent_host = host
    message.body_at = end
    message.from_tag = from_tag or b""
    message.to_tag = to_tag or b""
    message.rport = _rport(before or behind)
    message.branch = branch
    message.sent_port = int(port) if port else 0
    message.sent_by = host + colon if colon else host
    message.method = of
    message.status, message.uri, message.key = 0, b"", b""
    message.reason = reason or b""
    if status:
        message.status = int(status)
        return message
    message.uri = uri
    return message if _name(message) else None


def _name(message: UsualMessage) -> bool:
    """Name the request's server transaction; False for a branch of the RFC 2543 sort."""
    branch, method = message.branch, message.method
    named = b"INVITE" if method == b"ACK" else method
    message.key = b"%b %b %b" % (branch, message.sent_by, named)
    return branch.startswith(BRANCH_COOKIE) and len(branch) > len(BRANCH_COOKIE)


def _cut(message: UsualMessage, data: bytes, end: int, length: bytes | None) -> bool:
    """Take the body's length; False when not all of it came."""
    message.raw = data
    message.content_length = -1
    if length is None:
        return True
    message.content_length = int(length)
    over = len(data) - end - message.content_length
    if over > 0:
        message.raw = data[: end + message.content_length]
    return over >= 0


def _rport(parameter: bytes | None) -> int:
    if parameter is None:
        return -1
    return int(parameter[7:] or 0)
