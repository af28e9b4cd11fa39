"""One message's bytes to its index and faults, by either scanner (RFC 3261 §7, §8.1.1, §25)."""

import importlib
from collections.abc import Callable
from typing import Protocol, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgram.sip.message import scan as plain_scan
from sipgram.sip.message.message import Message
from sipgram.testing.messages import request, response, wire


class Scan(Protocol):
    def __call__(self, data: bytes, *, bare_lf: bool = False) -> Message: ...


def implementations() -> dict[str, Scan]:
    """Return the plain scanner, and the native one when it was compiled."""
    found: dict[str, Scan] = {"plain": plain_scan.scan}
    try:
        native = importlib.import_module("sipgram.sip.message._scan")
    except ImportError:
        return found
    # A compiled module has no annotations that mypy could read.
    found["native"] = cast("Scan", native.scan)
    return found


@pytest.fixture(params=implementations())
def scan(request: pytest.FixtureRequest) -> Scan:
    return implementations()[request.param]


MESSAGE = wire("""
    MESSAGE sip:bob@example.com SIP/2.0
    Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK-1;rport
    Max-Forwards: 70
    From: "Alice" <sip:alice@example.com>;tag=a1
    To: <sip:bob@example.com>
    Call-ID: 1@192.0.2.9
    CSeq: 7 MESSAGE
    Content-Type: text/plain
    Content-Length: 5

    Hello""")

UNUSUAL = wire("""
    MESSAGE sip:bob@example.com SIP/2.0
    v :
      SIP / 2.0 / UDP  Host5.Example.com : 5070 ; branch = z9hG4bK-2 , SIP/2.0/TCP old;branch=z9hG4bK-0
    MAX-FORWARDS: 0068
    f: alice <sip:alice@example.com>
     ; tag = a1
    t: sip:bob@example.com;tag=b1
    i: 1@192.0.2.9
    cseq: 0007
      MESSAGE
    Contact: <sip:a@x>
    X-Else: first
    m: <sip:b@x>,
     <sip:c@x>
    x-else:
    l: 0

    """)


# ---- attributes ------------------------------------------------------------------------------


def test_every_attribute_of_a_request(scan: Scan) -> None:
    message = scan(MESSAGE)
    assert message.faults == ()
    assert message.raw == MESSAGE
    assert (message.method, message.uri, message.status) == (b"MESSAGE", b"sip:bob@example.com", 0)
    assert (message.branch, message.sent_by) == (b"z9hG4bK-1", b"192.0.2.9:5062")
    assert (message.sent_port, message.rport) == (5062, 0)
    assert message.key == b"z9hG4bK-1 192.0.2.9:5062 MESSAGE"
    assert (message.max_forwards, message.cseq, message.content_length) == (70, 7, 5)
    assert message.call_id == b"1@192.0.2.9"
    assert (message.from_uri, message.from_tag) == (b"sip:alice@example.com", b"a1")
    assert (message.to_uri, message.to_tag) == (b"sip:bob@example.com", b"")
    assert message.body == b"Hello"


def test_every_attribute_of_a_response(scan: Scan) -> None:
    message = scan(response(MESSAGE, 202, body=b"x", headers=(b"Content-Type: a/b",)))
    assert message.faults == ()
    assert (message.status, message.reason, message.method) == (202, b"Accepted", b"MESSAGE")
    assert message.uri == b""
    assert message.branch == b"z9hG4bK-1"
    assert message.rport == 5060
    assert (message.to_tag, message.cseq, message.body) == (b"b1", 7, b"x")


def test_a_request_in_unusual_spelling(scan: Scan) -> None:
    message = scan(UNUSUAL)
    assert message.faults == ()
    assert (message.branch, message.sent_by) == (b"z9hG4bK-2", b"host5.example.com:5070")
    assert (message.sent_port, message.rport) == (5070, -1)
    assert (message.max_forwards, message.cseq, message.content_length) == (68, 7, 0)
    assert (message.from_uri, message.from_tag) == (b"sip:alice@example.com", b"a1")
    assert (message.to_uri, message.to_tag) == (b"sip:bob@example.com", b"b1")


def test_lines_by_name(scan: Scan) -> None:
    message = scan(UNUSUAL)
    assert message.has(b"contact")
    assert message.value(b"contact") == b"<sip:a@x>"
    assert message.values(b"contact") == [b"<sip:a@x>", b"<sip:b@x>, <sip:c@x>"]
    assert message.value(b"x-else") == b"first"
    assert message.values(b"x-else") == [b"first", b""]
    assert not message.has(b"route")
    assert message.value(b"route") is None
    assert message.values(b"route") == []
    assert message.spans(b"route") == []
    spans = message.spans(b"contact")
    assert [UNUSUAL[start:end] for start, end in spans] == [
        b"Contact: <sip:a@x>\r\n",
        b"m: <sip:b@x>,\r\n <sip:c@x>\r\n",
    ]


def test_the_first_line_of_a_name_stays_the_first(scan: Scan) -> None:
    data = MESSAGE.replace(b"Content-Type", b"Allow: 5\r\nAllow: 5\r\n 6\r\nContent-Type")
    message = scan(data)
    assert message.value(b"allow") == b"5"
    assert message.values(b"allow") == [b"5", b"5 6"]


@pytest.mark.parametrize(
    ("via", "rport"),
    [(b"", -1), (b";rport", 0), (b";rport=5071", 5071), (b";rport=x", 0), (b";rport=123456", 0)],
)
def test_rport(scan: Scan, via: bytes, rport: int) -> None:
    assert scan(MESSAGE.replace(b";rport", via)).rport == rport


@pytest.mark.parametrize(
    ("via", "sent_by", "port"),
    [
        (b"SIP/2.0/UDP 192.0.2.9", b"192.0.2.9", 0),
        (b"SIP/2.0/UDP HOST.example.com", b"host.example.com", 0),
        (b"SIP/2.0/TCP [2001:DB8::1]:65535", b"[2001:db8::1]:65535", 65535),
        (b"SIP/2.0/UNKNOWN t4.example.com:1", b"t4.example.com:1", 1),
        (b"SIP/2.0/UDP h:05060", b"h:5060", 5060),
    ],
)
def test_sent_by(scan: Scan, via: bytes, sent_by: bytes, port: int) -> None:
    message = scan(MESSAGE.replace(b"SIP/2.0/UDP 192.0.2.9:5062", via))
    assert message.faults == ()
    assert (message.sent_by, message.sent_port) == (sent_by, port)


@pytest.mark.rfc("3261", "17.2.3")
def test_an_ack_belongs_to_its_invite_and_a_cancel_does_not(scan: Scan) -> None:
    keys = [scan(request(method)).key for method in (b"INVITE", b"ACK", b"CANCEL")]
    assert keys[0] == keys[1] == b"z9hG4bK-1 192.0.2.9:5060 INVITE"
    assert keys[2] == b"z9hG4bK-1 192.0.2.9:5060 CANCEL"


@pytest.mark.rfc("3261", "17.2.3")
@pytest.mark.parametrize("branch", [b"", b";branch=1", b";branch=z9hG4bK"])
def test_without_the_cookie_more_than_the_branch_counts(scan: Scan, branch: bytes) -> None:
    """§17.2.3: "the Request-URI, To tag, From tag, Call-ID, CSeq, and top Via header"."""
    old = MESSAGE.replace(b";branch=z9hG4bK-1", branch)
    keys = {
        scan(data).key
        for data in (
            old,
            old.replace(b"sip:bob@example.com SIP", b"sip:bo@example.com SIP"),
            old.replace(b"tag=a1", b"tag=a2"),
            old.replace(b"1@192", b"2@192"),
            old.replace(b"7 MESSAGE", b"8 MESSAGE"),
            old.replace(b"UDP 192.0.2.9", b"UDP 192.0.2.8"),
        )
    }
    assert len(keys) == 6
    assert scan(old).key == scan(bytes(old)).key


# ---- the body --------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "18.3")
def test_octets_behind_the_body_are_discarded(scan: Scan) -> None:
    """§18.3: "If there are additional bytes …, they MUST be discarded"."""
    message = scan(MESSAGE + b"\r\nmore")
    assert message.faults == ()
    assert message.raw == MESSAGE


def test_without_content_length_the_body_is_the_rest(scan: Scan) -> None:
    message = scan(MESSAGE.replace(b"Content-Length: 5\r\n", b"") + b"\r\n\r\nmore")
    assert message.faults == ()
    assert message.content_length == -1
    assert message.body == b"Hello\r\n\r\nmore"


@pytest.mark.parametrize("body", [b"", b"\r\n\r\n", bytes(range(256)), b"\0" * 100])
def test_a_body_is_kept_to_the_octet(scan: Scan, body: bytes) -> None:
    message = scan(request(body=body))
    assert message.faults == ()
    assert message.body == body


# ---- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"Via: ", b"X: ", "Via is missing"),
        (b"From: ", b"X: ", "From is missing"),
        (b"To: ", b"X: ", "To is missing"),
        (b"Call-ID: ", b"X: ", "Call-ID is missing"),
        (b"CSeq: ", b"X: ", "CSeq is missing"),
        (b"7 MESSAGE", b"", "CSeq is empty"),
        (b"1@192.0.2.9", b" ", "Call-ID is empty"),
        (b"<sip:bob@example.com>", b"", "To is empty"),
        (b"7 MESSAGE", b"MESSAGE 7", "CSeq is malformed: MESSAGE 7"),
        (b"7 MESSAGE", b"-7 MESSAGE", "CSeq is malformed: -7 MESSAGE"),
        (b"7 MESSAGE", b"7", "CSeq is malformed: 7"),
        (b"7 MESSAGE", b"7 INVITE", "CSeq method is INVITE but the request is MESSAGE"),
        (b"7 MESSAGE", b"7 message", "CSeq method is message but the request is MESSAGE"),
        (b"7 M", b"2147483648 M", "CSeq number is 2**31 or more: 2147483648"),
        (b": 70", b": 256", "Max-Forwards is not a number from 0 to 255: 256"),
        (b": 70", b": -1", "Max-Forwards is not a number from 0 to 255: -1"),
        (b": 70", b": ", "Max-Forwards is not a number from 0 to 255: "),
        (b": 70", b": " + b"0" * 8, "Max-Forwards is not a number from 0 to 255: 00000000"),
        (b"Length: 5", b"Length: 6", "Content-Length is 6 but 5 bytes of body came"),
        (b"Length: 5", b"Length: -5", "Content-Length is not a length: -5"),
        (b"Length: 5", b"Length: ", "Content-Length is not a length: "),
        (b"Length: 5", b"Length: 0000000005", "Content-Length is not a length: 0000000005"),
        (b"Length: 5", b"Length: 5\r\nl: 5", "Content-Length stands more than once"),
        (b"CSeq", b"CSeq: 7 MESSAGE\r\nCSeq", "CSeq stands more than once"),
        (b"From", b"f: <sip:a@x>;tag=1\r\nFrom", "From stands more than once"),
        (b"\r\nVia", b"\r\n folded\r\nVia", "the first header line is folded"),
        (b"Content-Type: text/plain", b"no colon", "header line is malformed: no colon"),
        (b"Content-Type: text", b": text", "header line is malformed: : text/plain"),
        (b"Content-Type:", b"Content Type:", "header line is malformed: Content Type: text/plain"),
        (b"Type: text", b"Type: te\rxt", "a header holds CR or LF alone"),
        (b"Type: text", b"Type: te\nxt", "a header holds CR or LF alone"),
        (b"Type: text", b"Type: te\0xt", "a header holds NUL outside a quoted pair"),
        (b"<sip:alice@", b"<sip:alice @", "From has a malformed URI: sip:alice @example.com"),
        (b"<sip:alice@example.com>", b"<alice>", "From has a malformed URI: alice"),
        (b";tag=a1", b";tag=", "From has a malformed parameter: ="),
        (b"<sip:bob@example.com>", b"bob", "To is malformed: bob"),
        (b"192.0.2.9:5062;", b"192.0.2.9:0;", "Via has a port out of range: 0"),
        (b"UDP 192", b"192", "Via is malformed: SIP/2.0/192.0.2.9:5062;branch=z9hG4bK-1;…"),
        (b";rport", b";rport;rport", "Via has the parameter rport twice"),
    ],
)
def test_each_fault_alone(scan: Scan, old: bytes, new: bytes, fault: str) -> None:
    assert MESSAGE.count(old) >= 1
    message = scan(MESSAGE.replace(old, new, 1) if old != b"<sip:bob@example.com>" else _to(new))
    assert message.faults == (fault,)
    assert message.fault_status == 400


def _to(value: bytes) -> bytes:
    return MESSAGE.replace(b"To: <sip:bob@example.com>", b"To: " + value)


@pytest.mark.parametrize(
    ("line", "faults"),
    [
        (b"MESSAGE  sip:bob@x SIP/2.0", ("Request-URI is malformed:  sip:bob@x",)),
        (b"MESSAGE <sip:bob@x> SIP/2.0", ("Request-URI is malformed: <sip:bob@x>",)),
        (b"MESSAGE bob SIP/2.0", ("Request-URI is malformed: bob",)),
        (b"MESSAGE sip:b@x; lr SIP/2.0", ("Request-URI is malformed: sip:b@x; lr",)),
        (b"MESSAGE sip:bob@x SIP/2.1x", ("start line does not end in SIP/2.0: E sip:bob@x SIP/2.1x",)),
    ],
)
def test_faults_of_the_start_line(scan: Scan, line: bytes, faults: tuple[str, ...]) -> None:
    message = scan(MESSAGE.replace(b"MESSAGE sip:bob@example.com SIP/2.0", line))
    assert message.faults == faults
    assert message.method == b"MESSAGE"
    assert message.fault_status == 400


@pytest.mark.parametrize("version", [b"SIP/2.0", b"sip/2.0", b"Sip/2.0"])
def test_the_version_is_case_insensitive(scan: Scan, version: bytes) -> None:
    """§7.1: "implementations … MUST be case-insensitive" of the SIP-Version."""
    assert scan(MESSAGE.replace(b"com SIP/2.0", b"com " + version)).faults == ()
    answer = response(MESSAGE, 200).replace(b"SIP/2.0 200", version + b" 200")
    assert (scan(answer).status, scan(answer).faults) == (200, ())


@pytest.mark.parametrize("version", [b"SIP/7.0", b"sip/1.0", b"SIP/2.1", b"SIP/20.0"])
def test_another_version_is_a_505(scan: Scan, version: bytes) -> None:
    message = scan(MESSAGE.replace(b"com SIP/2.0", b"com " + version))
    assert message.faults == (f"SIP version is not supported: {version.decode()}",)
    assert message.fault_status == 505


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\r\n\r\n",
        b"jaK\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[3:],
        b"SIP/2.0 99 Low\r\n\r\n",
        b"SIP/2.0 4294967301 better not break the receiver\r\n\r\n",
        b"SIP/2.0\r\n\r\n",
        b"SIP/3.0 200 OK\r\n\r\n",
    ],
)
def test_what_is_no_message_has_neither_method_nor_status(scan: Scan, data: bytes) -> None:
    message = scan(data)
    assert (message.method, message.status) == (b"", 0)
    assert message.faults


def test_a_status_line_may_have_an_empty_phrase(scan: Scan) -> None:
    """RFC 4475 §3.1.1.13: the space stays, the phrase does not."""
    for line in (b"SIP/2.0 100 ", b"SIP/2.0 100"):
        message = scan(response(MESSAGE, 100).replace(b"SIP/2.0 100 Trying", line))
        assert (message.status, message.reason, message.faults) == (100, b"", ())


def test_several_faults_are_told_together(scan: Scan) -> None:
    data = MESSAGE.replace(b"CSeq: 7 MESSAGE\r\n", b"").replace(b"Length: 5", b"Length: 18")
    assert scan(data).faults == ("CSeq is missing", "Content-Length is 18 but 5 bytes of body came")


@pytest.mark.parametrize(
    "end", [b"", b"\r\n", b"\r"], ids=["no line end", "no empty line", "half of one"]
)
def test_headers_that_do_not_end(scan: Scan, end: bytes) -> None:
    message = scan(MESSAGE.partition(b"\r\nContent-Length")[0] + end)
    assert "the empty line after the headers is missing" in message.faults
    assert message.method == b"MESSAGE"
    assert message.body == b""


def test_nul_in_a_quoted_pair_is_allowed(scan: Scan) -> None:
    """§25.1: quoted-pair may hold every octet up to 0x7F but CR and LF."""
    assert scan(MESSAGE.replace(b'"Alice"', b'"A\\\0"')).faults == ()


@pytest.mark.parametrize("number", [0, 2**31 - 1])
def test_cseq_numbers_up_to_the_limit(scan: Scan, number: int) -> None:
    message = scan(MESSAGE.replace(b"7 MESSAGE", b"%d MESSAGE" % number))
    assert (message.cseq, message.faults) == (number, ())


@pytest.mark.parametrize("hops", [0, 255])
def test_max_forwards_up_to_the_limit(scan: Scan, hops: int) -> None:
    message = scan(MESSAGE.replace(b": 70", b": %d" % hops))
    assert (message.max_forwards, message.faults) == (hops, ())


def test_max_forwards_may_be_missing(scan: Scan) -> None:
    message = scan(MESSAGE.replace(b"Max-Forwards: 70\r\n", b""))
    assert (message.max_forwards, message.faults) == (-1, ())


# ---- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("line", [b"X-A: b\r\n", b" folded\r\n"])
def test_header_lines_are_bounded(scan: Scan, over: int, line: bytes) -> None:
    there = MESSAGE.partition(b"\r\n\r\n")[0].count(b"\r\n")
    more = plain_scan.HEADER_LINES_MAX - there + over
    faults = scan(MESSAGE.replace(b"\r\n\r\n", b"\r\n" + line * more + b"\r\n")).faults
    if over <= 0:
        assert "more than 256 header lines" not in faults
    else:
        assert "more than 256 header lines" in faults


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_header_bytes_are_bounded(scan: Scan, over: int) -> None:
    head = MESSAGE.partition(b"\r\n\r\n")[0]
    more = plain_scan.HEADER_BYTES_MAX - len(head) + over
    faults = scan(MESSAGE.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * (more - 5) + b"\r\n\r\n")).faults
    assert faults == (() if over <= 0 else ("headers are longer than 32768 bytes",))


# ---- bare LF ---------------------------------------------------------------------------------


def test_bare_lf_is_read_where_it_is_allowed(scan: Scan) -> None:
    head = MESSAGE.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")
    bare = head + b"\n\nHello"
    assert scan(bare, bare_lf=True).raw == MESSAGE
    assert scan(bare, bare_lf=True).faults == ()
    assert scan(bare).faults


def test_with_bare_lf_allowed_a_message_with_crlf_is_the_same(scan: Scan) -> None:
    body = b"a\n\nb\nc"
    assert scan(request(body=body), bare_lf=True).body == body
    assert scan(request(body=body), bare_lf=True).raw == request(body=body)
    assert scan(b"no end", bare_lf=True).faults


def test_one_bare_lf_among_crlf(scan: Scan) -> None:
    mixed = MESSAGE.replace(b"70\r\n", b"70\n")
    assert scan(mixed, bare_lf=True).raw == MESSAGE
    assert scan(mixed).faults[0] == "a header holds CR or LF alone"


# ---- edits -----------------------------------------------------------------------------------

TOP = b"Via: SIP/2.0/UDP proxy.example.com;branch=z9hG4bK-p\r\n"


@pytest.mark.rfc("3261", "16.6")
def test_a_request_is_passed_on_with_three_edits(scan: Scan) -> None:
    data = scan(MESSAGE).forwarded(b"sip:bob@192.0.2.20", TOP, b"192.0.2.7", 5070)
    expected = MESSAGE.replace(b"MESSAGE sip:bob@example.com", b"MESSAGE sip:bob@192.0.2.20")
    expected = expected.replace(b"Via:", TOP + b"Via:")
    expected = expected.replace(b"rport\r\n", b"rport=5070;received=192.0.2.7\r\n")
    assert data == expected.replace(b": 70", b": 69")


def test_max_forwards_is_added_where_it_is_missing(scan: Scan) -> None:
    """§16.6 step 3: "If the copy does not contain a Max-Forwards header field, … SHOULD be 70"."""
    data = MESSAGE.replace(b"Max-Forwards: 70\r\n", b"")
    forwarded = scan(data).forwarded(b"sip:bob@x", TOP, b"192.0.2.9", 5062)
    assert forwarded.partition(b"\r\n")[2].startswith(TOP + b"Max-Forwards: 70\r\nVia: ")


def test_lines_may_be_cut_on_the_way(scan: Scan) -> None:
    message = scan(MESSAGE.replace(b"Content-Type", b"Route: <sip:us;lr>\r\nContent-Type"))
    (span,) = message.spans(b"route")
    (kind,) = message.spans(b"content-type")
    cuts = [(*span, b""), (*kind, b"Content-Type: a/b\r\n")]
    forwarded = message.forwarded(b"sip:bob@x", TOP, b"192.0.2.9", 5062, cuts)
    assert b"Route" not in forwarded
    assert b"CSeq: 7 MESSAGE\r\nContent-Type: a/b\r\nContent-Length" in forwarded


def test_an_unusual_via_is_stamped_and_its_list_kept(scan: Scan) -> None:
    forwarded = scan(UNUSUAL).forwarded(b"sip:bob@x", TOP, b"192.0.2.7", 5070)
    message = scan(forwarded)
    assert message.faults == ()
    assert message.values(b"via") == [
        b"SIP/2.0/UDP proxy.example.com;branch=z9hG4bK-p",
        b"SIP / 2.0 / UDP  Host5.Example.com : 5070 ; branch = z9hG4bK-2;received=192.0.2.7, "
        b"SIP/2.0/TCP old;branch=z9hG4bK-0",
    ]
    assert message.max_forwards == 67


def test_a_folded_via_alone_is_stamped_too(scan: Scan) -> None:
    data = MESSAGE.replace(b";rport", b"\r\n ;rport")
    forwarded = scan(data).forwarded(b"sip:bob@x", TOP, b"192.0.2.7", 5070)
    stamped = b"SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK-1 ;rport=5070;received=192.0.2.7"
    assert scan(forwarded).values(b"via")[1] == stamped


@pytest.mark.rfc("3261", "16.7")
@pytest.mark.parametrize("join", [b"\r\nVia: ", b", ", b" ,\r\n "])
def test_a_response_goes_up_without_our_via(scan: Scan, join: bytes) -> None:
    ours, theirs = b"SIP/2.0/UDP us;branch=z9hG4bK-p", b"SIP/2.0/UDP them;branch=z9hG4bK-1"
    data = response(request(via=b"Via: " + ours), 200, body=b"x\r\n")
    data = data.replace(ours + b";received=192.0.2.1", ours + join + theirs)
    relayed = scan(data).relayed()
    assert scan(relayed).values(b"via") == [theirs]
    assert scan(relayed).faults == ()
    assert scan(relayed).body == b"x\r\n"


def test_the_only_via_may_go(scan: Scan) -> None:
    assert not scan(scan(response(MESSAGE, 200)).relayed()).has(b"via")


def test_echoed_lines_of_an_unusual_request(scan: Scan) -> None:
    echoed = scan(UNUSUAL).echoed(b"t1", b"192.0.2.7", 5070)
    assert echoed == (
        b"Via: SIP / 2.0 / UDP  Host5.Example.com : 5070 ; branch = z9hG4bK-2"
        b";received=192.0.2.7, SIP/2.0/TCP old;branch=z9hG4bK-0\r\n"
        b"f: alice <sip:alice@example.com>\r\n ; tag = a1\r\n"
        b"t: sip:bob@example.com;tag=b1\r\n"
        b"i: 1@192.0.2.9\r\n"
        b"cseq: 0007\r\n  MESSAGE\r\n"
    )


def test_a_via_that_cannot_be_read_is_echoed_as_it_came(scan: Scan) -> None:
    """Its sender may still know its own; the answer goes to where the request came from."""
    message = scan(MESSAGE.replace(b"192.0.2.9:5062;", b"192.0.2.9;;,;,,"))
    assert message.rport == 0
    assert message.echoed(b"t1", b"192.0.2.7", 5070).startswith(
        b"Via: SIP/2.0/UDP 192.0.2.9;;,;,,branch=z9hG4bK-1;rport\r\nFrom: "
    )


def test_without_a_via_the_answer_goes_to_the_source(scan: Scan) -> None:
    message = scan(MESSAGE.replace(b"Via: ", b"X-Via: "))
    assert message.rport == 0
    assert message.echoed(b"t1", b"192.0.2.7", 5070).startswith(b"From: ")


# ---- chance ----------------------------------------------------------------------------------

PIECES = [
    MESSAGE,
    UNUSUAL,
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b'"',
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"Via: ",
    b"v:",
    b"SIP/2.0 200 OK\r\n",
    b"CSeq: 1 A\r\n",
    b"Content-Length: 3\r\n",
]


def _spliced(draw_at: int, piece: bytes, base: bytes) -> bytes:
    at = draw_at % (len(base) + 1)
    return base[:at] + piece + base[at:]


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    base=st.sampled_from([MESSAGE, UNUSUAL]),
    edits=st.lists(st.tuples(st.integers(0, 700), st.sampled_from(PIECES)), max_size=4),
    bare_lf=st.booleans(),
)
def test_scanners_never_raise_and_agree(
    base: bytes, edits: list[tuple[int, bytes]], bare_lf: bool
) -> None:
    for at, piece in edits:
        base = _spliced(at, piece, base)
    seen = {_everything(scan, base, bare_lf) for scan in implementations().values()}
    assert len(seen) == 1


def _everything(scan: Callable[..., Message], data: bytes, bare_lf: bool) -> tuple[object, ...]:
    message = scan(data, bare_lf=bare_lf)
    told: list[object] = [
        message.raw,
        message.status,
        message.method,
        message.uri,
        message.reason,
        message.branch,
        message.sent_by,
        message.sent_port,
        message.rport,
        message.key,
        message.max_forwards,
        message.cseq,
        message.call_id,
        message.from_uri,
        message.from_tag,
        message.to_uri,
        message.to_tag,
        message.content_length,
        message.faults,
        message.fault_status,
        message.body,
    ]
    names = (b"via", b"contact", b"x-else", b"content-type")
    told += [tuple(message.values(name)) for name in names]
    told += [message.value(name) for name in names]
    told += [tuple(message.spans(name)) for name in names]
    if message.method and not message.status:
        told.append(message.echoed(b"t", b"192.0.2.7", 5070))
        if not message.faults:
            told.append(message.forwarded(b"sip:x", TOP, b"192.0.2.7", 5070))
    return tuple(told)
