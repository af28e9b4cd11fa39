"""The comparison of the two scanners: messages, mutations of them, and what must be equal."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from sipgram.errors import ParseError
from sipgram.sip.message import digest
from sipgram.sip.message._scan import parse_credentials as parse_credentials_native
from sipgram.sip.message._scan import scan as scan_native
from sipgram.sip.message.headers import KINDS
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.scan import PlainMessage
from sipgram.sip.message.scan import scan as scan_plain
from sipgram.sip.message.usual import scan_usual

TORTURE: Final = Path(__file__).parents[1] / "data" / "rfc4475"

ATTRIBUTES: Final = (
    *("raw", "status", "method", "uri", "reason", "branch", "sent_by", "sent_port", "rport"),
    *("key", "max_forwards", "cseq", "call_id", "from_uri", "from_tag", "to_uri", "to_tag"),
    *("content_length", "faults", "fault_status", "body"),
)
NAMES: Final = (
    *(kind.name.lower() for kind in KINDS),
    *(b"x-foo", b"x-bar", b"foo", b"v", b"Via", b"", b"x", b"p-charging-vector", b"to:"),
)
HOSTS: Final = (b"127.0.0.1", b"192.0.2.77", b"2001:db8::9", b"::1", b"", b"h" * 64, b"h" * 65)
TOP: Final = b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKn1l0123456789abcdef\r\n"

_HEAD: Final = (
    b"MESSAGE sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 127.0.0.1:40001;branch=z9hG4bK776asdhds;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: <sip:alice@example.com>;tag=49583\r\n"
    b"To: <sip:bob@example.com>\r\n"
    b"Call-ID: asd88asd77a@127.0.0.1\r\n"
    b"CSeq: 1 MESSAGE\r\n"
)

MESSAGES: Final = (
    _HEAD + b"Content-Type: text/plain\r\nContent-Length: 18\r\n\r\nWatson, come here.",
    # Every display name that the native twin reads, several Via, unknown headers, blanks.
    b"MESSAGE sip:bob@[2001:db8::9]:5070;transport=udp SIP/2.0\r\n"
    b"via: SIP/2.0/TCP [2001:db8::9]:5061;rport;branch=z9hG4bK1;alias\r\n"
    b"Via:SIP/2.0/UDP  pc33.Example.com , SIP/2.0/UDP b\r\n"
    b'FROM:   "Alice, of \xc3\xa9" <sips:alice@example.com;x=y?h=v>;tag=a-b.c!d\r\n'
    b"to: Bob <sip:bob@example.com>;tag=7\t\r\n"
    b"X-Foo:one\r\nX-FOO: two \r\nx-bar:\r\n"
    b"Call-ID: \t 1@x \r\nCSeq: 0007  MESSAGE\r\n"
    b"Timestamp: 54\r\nRecord-Route: <sip:p1;lr>, <sip:p2;lr>\r\n"
    b"Max-Forwards: 0\r\nUser-Agent:\r\nRoute: <sip:p1;lr>\r\nROUTE: <sip:p2;lr>\r\n"
    b"Content-Length:  3\r\n\r\nabcdef",
    # No Max-Forwards, no Content-Length, sent-by without port and rport.
    b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKnashds7\r\n"
    b"To: Bob <sip:bob@example.com>\r\nFrom: <sip:bob@example.com>;tag=456248\r\n"
    b"Call-ID: 843817637684230@998sdasdh09\r\nCSeq: 1826 REGISTER\r\n"
    b"Contact: <sip:bob@192.0.2.77>;expires=7200\r\nExpires: 7200\r\n"
    b'Authorization: Digest username="bob", realm="example.com", nonce="a"\r\n\r\n',
    b"ACK sip:bob@192.0.2.4 SIP/2.0\r\nVia: SIP/2.0/WSS [::1];branch=z9hG4bKx;a=1;b;c=2\r\n"
    b"Max-Forwards: 255\r\nTo: <sip:b@c>;tag=1\r\nFrom: <sip:a@c>;tag=2\r\nCall-ID: q\r\n"
    b"CSeq: 314159 ACK\r\nContent-Length: 0\r\n\r\n",
    b"SIP/2.0 200 OK\r\n"
    b"Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKn1l0123456789abcdef;received=10.0.0.1\r\n"
    b"Via: SIP/2.0/UDP 127.0.0.1:40001;branch=z9hG4bK776;rport=40001;received=127.0.0.1\r\n"
    b"From: <sip:alice@example.com>;tag=49583\r\nTo: <sip:bob@example.com>;tag=9\r\n"
    b"Call-ID: asd88asd77a@127.0.0.1\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n",
    b"SIP/2.0 100 \r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=1;rport=5060\r\n"
    b"From: a <sip:a@b>\r\nTo: <sip:b>\r\nCall-ID: 1\r\nCSeq: 2147483647 OPTIONS\r\n\r\n",
    b"SIP/2.0 486\r\nVia: SIP/2.0/UDP a:65535\r\nFrom: <sip:a@b>\r\nTo: <sip:b>\r\n"
    b"Call-ID: 1\r\nCSeq: 1 BYE\r\nTo-Do: x\r\n\r\n",
)
"""Messages of the usual form: the native twin reads all but the odd ones among them itself."""

_LF_MESSAGE: Final = _HEAD.replace(b"\r\n", b"\n") + b"\nx"
_COMPACT_MESSAGE: Final = (
    _HEAD.replace(b"Via", b"v").replace(b"From", b"f").replace(b"To:", b"t:") + b"l: 0\r\n\r\n"
)
_FOLDED_MESSAGE: Final = _HEAD.replace(b"CSeq: 1 ", b"CSeq:\r\n 1\r\n\t") + b"\r\n"
_LONG_MESSAGES: Final = tuple(
    _HEAD + b"X-Foo: %b\r\n\r\n" % (b"y" * size)
    for size in (32_768 - len(_HEAD) - 8, 32_768 - len(_HEAD) - 7, 32_768 - len(_HEAD) - 6, 65_530)
)
_MANY_LINES: Final = tuple(
    _HEAD + b"X-Foo: y\r\n" * count + b"\r\n" for count in (57, 58, 59, 249, 250, 251)
)


def corpus() -> list[bytes]:
    """Return hand-written messages and the torture messages of RFC 4475."""
    torture = [path.read_bytes() for path in sorted(TORTURE.glob("*.dat"))]
    odd = (
        _LF_MESSAGE,
        _COMPACT_MESSAGE,
        _FOLDED_MESSAGE,
        b"",
        b"\r\n",
        b"\r\n\r\n",
        b"SIP/2.0 200",
    )
    return [*MESSAGES, *odd, *_LONG_MESSAGES, *_MANY_LINES, *torture]


FRAGMENTS: Final = (
    *(b" ", b"\t", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b"\x7f", b"\x0b", b"\x80", b"\\"),
    *(b",", b";", b":", b"=", b"<", b">", b'"', b"@", b"?", b"%", b"[", b"]", b"-", b".", b"/"),
    *(b";rport", b";rport=5060", b";received=1.2.3.4", b";branch=z9hG4bK2", b";tag=q", b";lr"),
    *(b"z9hG4bK", b"SIP/2.0", b"sip/2.0", b"SIP/3.0", b"SIP/2.0/UDP ", b"0", b"9", b"255", b"256"),
    *(b'"Bob" ', b"Bob ", b"0", b"-1", b"65535", b"65536", b"2147483648", b"4294967297"),
    *(b"Via: SIP/2.0/UDP h;branch=z9hG4bK3\r\n", b"v: SIP/2.0/UDP h\r\n", b"To: <sip:x>\r\n"),
    *(
        b"Max-Forwards: 9\r\n",
        b"Content-Length: 1\r\n",
        b"X-Foo : 1\r\n",
        b"Call-ID:\r\n",
        b"x:1\r\n",
    ),
    *(
        b"Subject: 1\r\n",
        b"Timestamp: 2\r\n",
        b" folded\r\n",
        b"ACK",
        b"INVITE",
        b"MESSAGE",
        b"FOO",
    ),
)


def mutated(data: bytes, random: random.Random) -> bytes:
    """Return the message with one thing about it changed."""
    return random.choice(_MUTATIONS)(data, random)


def _flip(data: bytes, random: random.Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + bytes((random.randrange(256),)) + data[at + 1 :]


def _insert(data: bytes, random: random.Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(FRAGMENTS) + data[at:]


def _insert_at_edge(data: bytes, random: random.Random) -> bytes:
    """Put something next to a separator, where a grammar is most easily got wrong."""
    edges = [at for at, octet in enumerate(data) if octet in b'\r\n:;=<>,/ "'] or [0]
    at = random.choice(edges) + random.randrange(2)
    return data[:at] + random.choice(FRAGMENTS) + data[at:]


def _delete(data: bytes, random: random.Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice((1, 1, 1, 2, 5, 20)) :]


def _cut_off(data: bytes, random: random.Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _change_case(data: bytes, random: random.Random) -> bytes:
    at = random.randrange(len(data) + 1)
    end = at + random.choice((1, 1, 4, 12))
    return data[:at] + data[at:end].swapcase() + data[end:]


def _change_lines(data: bytes, random: random.Random) -> bytes:
    lines = data.split(b"\r\n")
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(4):
        case 0:
            lines[one], lines[other] = lines[other], lines[one]
        case 1:
            lines.insert(one, lines[other])
        case 2:
            del lines[one]
        case _:
            lines.insert(one, random.choice(FRAGMENTS).rstrip(b"\r\n"))
    return b"\r\n".join(lines)


_MUTATIONS: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (
    _flip,
    _insert,
    _insert_at_edge,
    _insert_at_edge,
    _delete,
    _cut_off,
    _change_case,
    _change_lines,
)


def is_native(data: bytes, *, bare_lf: bool = False) -> bool:
    """Say whether the native twin reads this message itself."""
    return not isinstance(scan_native(data, bare_lf=bare_lf), PlainMessage)


def differences(data: bytes, *, bare_lf: bool = False) -> list[str]:
    """Return in what the two quick scanners differ from the careful one, a line each."""
    plain = scan_plain(data, bare_lf=bare_lf)
    return [
        *_differences("native", scan_native(data, bare_lf=bare_lf), plain),
        *_differences("usual", scan_usual(data, bare_lf=bare_lf), plain),
    ]


def _differences(kind: str, quick: Message, plain: PlainMessage) -> list[str]:
    found = [
        f"{name}: {kind} {getattr(quick, name)!r}, plain {getattr(plain, name)!r}"
        for name in ATTRIBUTES
        if getattr(quick, name) != getattr(plain, name)
    ]
    if isinstance(quick, PlainMessage):
        return found
    for method, *arguments in _calls(plain):
        told, meant = _outcome(quick, method, arguments), _outcome(plain, method, arguments)
        if told != meant:
            found.append(f"{method}{tuple(arguments)}: {kind} {told!r}, plain {meant!r}")
    return found


def _outcome(message: Message, method: str, arguments: list[object]) -> object:
    try:
        return getattr(message, method)(*arguments)
    except (ValueError, IndexError) as error:
        return type(error)


def _calls(message: Message) -> Iterator[tuple[Any, ...]]:
    """Yield each method that is to be compared, and its arguments."""
    yield ("relayed",)
    for name in NAMES:
        yield from ((method, name) for method in ("has", "value", "values", "spans"))
    for host in (*HOSTS, message.sent_by.partition(b":")[0]):
        yield ("echoed", b"", host, 5062)
        yield ("echoed", b"d2f", host, 5062)
        yield ("forwarded", b"sip:b@192.0.2.4", TOP, host, 7)
    for cuts in _cut_sets(message):
        yield ("forwarded", b"sip:b@192.0.2.4", TOP, b"192.0.2.1", 65_535, cuts)


def _cut_sets(message: Message) -> list[list[Cut]]:
    spans = sorted(
        span
        for name in NAMES
        if name not in (b"via", b"max-forwards")
        for span in message.spans(name)
    )
    return [
        [(start, end, b"") for start, end in spans[:3]],
        [(start, end, b"X-New: 1\r\n") for start, end in spans[-2:]],
        [(start, start, b"X-New: 1\r\n") for start, _ in spans[1:2]],
        [(start, end, b"") for start, end in spans],
        [(0, 5, b"x"), (10**6, 10**6, b"y")],
    ]


CREDENTIALS: Final = (
    b'Digest username="alice", realm="example.com", nonce="n1YWJjZAAAABAAAAAB", '
    b'uri="sip:bob@example.com", response="0123456789abcdef0123456789abcdef", '
    b'algorithm=MD5, qop=auth, nc=00000001, cnonce="0a4f113b", opaque=""',
    b'Digest username="a",realm="b",nonce="c",uri="d",response="e"',
    b'Digest username="a" , realm="b" ,, nonce=c, uri=d=e, response=e,algorithm="sha-256", qop="auth"'
    b",nc=f,cnonce=x , ",
)
CREDENTIAL_FRAGMENTS: Final = (
    *(b" ", b",", b"=", b'"', b"\\", b"\t", b"\r\n ", b"\xc3\xa9", b"\x7f", b"\0", b'nc=""', b"g"),
    *(b'qop="auth,auth-int", ', b"nc=123456789, ", b'cnonce="", ', b'realm="x", ', b"Digest "),
    *(b'auth="x", ', b"USERNAME=x, ", b"algorithm=md5-SESS, ", b'opaque="a\\"b", ', b"0x1"),
)


def credential_differences(value: bytes) -> list[str]:
    """Return in what the two readers of credentials differ, a line each."""
    native = _credentials_or_reason(parse_credentials_native, value)
    plain = _credentials_or_reason(digest.parse_credentials, value)
    if native == plain and type(native) is type(plain):
        return []
    return [f"credentials: native {native!r}, plain {plain!r}"]


def _credentials_or_reason(
    parse: Callable[[bytes], digest.Credentials], value: bytes
) -> digest.Credentials | str:
    try:
        return parse(value)
    except ParseError as error:
        return error.reason


def mutated_credentials(value: bytes, random: random.Random) -> bytes:
    """Return the value with one thing about it changed."""
    if random.random() < 0.5:
        return random.choice((_flip, _delete, _cut_off, _change_case))(value, random)
    edges = [at for at, octet in enumerate(value) if octet in b', ="'] or [0]
    at = random.choice(edges) + random.randrange(2)
    return value[:at] + random.choice(CREDENTIAL_FRAGMENTS) + value[at:]
