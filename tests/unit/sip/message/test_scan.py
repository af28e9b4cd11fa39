"""One message's bytes to its index and faults, by either scanner (RFC 3261 §7, §8.1.1, §25)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgram.sip.message import scan as plain_scan
from sipgram.sip.message.parser import Parse
from sipgram.testing.messages import request, response

from .scanners import MESSAGE, UNUSUAL, implementations


@pytest.fixture(params=implementations())
def scan(request: pytest.FixtureRequest) -> Parse:
    return implementations()[request.param]


# ---- attributes ------------------------------------------------------------------------------


def test_every_attribute_of_a_request(scan: Parse) -> None:
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


def test_every_attribute_of_a_response(scan: Parse) -> None:
    message = scan(response(MESSAGE, 202, body=b"x", headers=(b"Content-Type: a/b",)))
    assert message.faults == ()
    assert (message.status, message.reason, message.method) == (202, b"Accepted", b"MESSAGE")
    assert message.uri == b""
    assert message.branch == b"z9hG4bK-1"
    assert message.rport == 5060
    assert (message.to_tag, message.cseq, message.body) == (b"b1", 7, b"x")


def test_a_request_in_unusual_spelling(scan: Parse) -> None:
    message = scan(UNUSUAL)
    assert message.faults == ()
    assert (message.branch, message.sent_by) == (b"z9hG4bK-2", b"host5.example.com:5070")
    assert (message.sent_port, message.rport) == (5070, -1)
    assert (message.max_forwards, message.cseq, message.content_length) == (68, 7, 0)
    assert (message.from_uri, message.from_tag) == (b"sip:alice@example.com", b"a1")
    assert (message.to_uri, message.to_tag) == (b"sip:bob@example.com", b"b1")


def test_lines_by_name(scan: Parse) -> None:
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


def test_the_first_line_of_a_name_stays_the_first(scan: Parse) -> None:
    data = MESSAGE.replace(b"Content-Type", b"Allow: 5\r\nAllow: 5\r\n 6\r\nContent-Type")
    message = scan(data)
    assert message.value(b"allow") == b"5"
    assert message.values(b"allow") == [b"5", b"5 6"]


@pytest.mark.parametrize(
    ("via", "rport"),
    [(b"", -1), (b";rport", 0), (b";rport=5071", 5071), (b";rport=x", 0), (b";rport=123456", 0)],
)
def test_rport(scan: Parse, via: bytes, rport: int) -> None:
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
def test_sent_by(scan: Parse, via: bytes, sent_by: bytes, port: int) -> None:
    message = scan(MESSAGE.replace(b"SIP/2.0/UDP 192.0.2.9:5062", via))
    assert message.faults == ()
    assert (message.sent_by, message.sent_port) == (sent_by, port)


@pytest.mark.rfc("3261", "17.2.3")
def test_an_ack_belongs_to_its_invite_and_a_cancel_does_not(scan: Parse) -> None:
    keys = [scan(request(method)).key for method in (b"INVITE", b"ACK", b"CANCEL")]
    assert keys[0] == keys[1] == b"z9hG4bK-1 192.0.2.9:5060 INVITE"
    assert keys[2] == b"z9hG4bK-1 192.0.2.9:5060 CANCEL"


@pytest.mark.rfc("3261", "17.2.3")
@pytest.mark.parametrize("branch", [b"", b";branch=1", b";branch=z9hG4bK"])
def test_without_the_cookie_more_than_the_branch_counts(scan: Parse, branch: bytes) -> None:
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
def test_octets_behind_the_body_are_discarded(scan: Parse) -> None:
    """§18.3: "If there are additional bytes …, they MUST be discarded"."""
    message = scan(MESSAGE + b"\r\nmore")
    assert message.faults == ()
    assert message.raw == MESSAGE


def test_without_content_length_the_body_is_the_rest(scan: Parse) -> None:
    message = scan(MESSAGE.replace(b"Content-Length: 5\r\n", b"") + b"\r\n\r\nmore")
    assert message.faults == ()
    assert message.content_length == -1
    assert message.body == b"Hello\r\n\r\nmore"


@pytest.mark.parametrize("body", [b"", b"\r\n\r\n", bytes(range(256)), b"\0" * 100])
def test_a_body_is_kept_to_the_octet(scan: Parse, body: bytes) -> None:
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
def test_each_fault_alone(scan: Parse, old: bytes, new: bytes, fault: str) -> None:
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
        (
            b"MESSAGE sip:bob@x SIP/2.1x",
            ("start line does not end in SIP/2.0: E sip:bob@x SIP/2.1x",),
        ),
    ],
)
def test_faults_of_the_start_line(scan: Parse, line: bytes, faults: tuple[str, ...]) -> None:
    message = scan(MESSAGE.replace(b"MESSAGE sip:bob@example.com SIP/2.0", line))
    assert message.faults == faults
    assert message.method == b"MESSAGE"
    assert message.fault_status == 400


@pytest.mark.parametrize("version", [b"SIP/2.0", b"sip/2.0", b"Sip/2.0"])
def test_the_version_is_case_insensitive(scan: Parse, version: bytes) -> None:
    """§7.1: "implementations … MUST be case-insensitive" of the SIP-Version."""
    assert scan(MESSAGE.replace(b"com SIP/2.0", b"com " + version)).faults == ()
    answer = response(MESSAGE, 200).replace(b"SIP/2.0 200", version + b" 200")
    assert (scan(answer).status, scan(answer).faults) == (200, ())


@pytest.mark.parametrize("version", [b"SIP/7.0", b"sip/1.0", b"SIP/2.1", b"SIP/20.0"])
def test_another_version_is_a_505(scan: Parse, version: bytes) -> None:
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
def test_what_is_no_message_has_neither_method_nor_status(scan: Parse, data: bytes) -> None:
    message = scan(data)
    assert (message.method, message.status) == (b"", 0)
    assert message.faults


def test_a_status_line_may_have_an_empty_phrase(scan: Parse) -> None:
    """RFC 4475 §3.1.1.13: the space stays, the phrase does not."""
    for line in (b"SIP/2.0 100 ", b"SIP/2.0 100"):
        message = scan(response(MESSAGE, 100).replace(b"SIP/2.0 100 Trying", line))
        assert (message.status, message.reason, message.faults) == (100, b"", ())


def test_several_faults_are_told_together(scan: Parse) -> None:
    data = MESSAGE.replace(b"CSeq: 7 MESSAGE\r\n", b"").replace(b"Length: 5", b"Length: 18")
    assert scan(data).faults == ("CSeq is missing", "Content-Length is 18 but 5 bytes of body came")


@pytest.mark.parametrize(
    "end", [b"", b"\r\n", b"\r"], ids=["no line end", "no empty line", "half of one"]
)
def test_headers_that_do_not_end(scan: Parse, end: bytes) -> None:
    message = scan(MESSAGE.partition(b"\r\nContent-Length")[0] + end)
    assert "the empty line after the headers is missing" in message.faults
    assert message.method == b"MESSAGE"
    assert message.body == b""


def test_nul_in_a_quoted_pair_is_allowed(scan: Parse) -> None:
    """§25.1: quoted-pair may hold every octet up to 0x7F but CR and LF."""
    assert scan(MESSAGE.replace(b'"Alice"', b'"A\\\0"')).faults == ()


@pytest.mark.parametrize("number", [0, 2**31 - 1])
def test_cseq_numbers_up_to_the_limit(scan: Parse, number: int) -> None:
    message = scan(MESSAGE.replace(b"7 MESSAGE", b"%d MESSAGE" % number))
    assert (message.cseq, message.faults) == (number, ())


@pytest.mark.parametrize("hops", [0, 255])
def test_max_forwards_up_to_the_limit(scan: Parse, hops: int) -> None:
    message = scan(MESSAGE.replace(b": 70", b": %d" % hops))
    assert (message.max_forwards, message.faults) == (hops, ())


def test_max_forwards_may_be_missing(scan: Parse) -> None:
    message = scan(MESSAGE.replace(b"Max-Forwards: 70\r\n", b""))
    assert (message.max_forwards, message.faults) == (-1, ())


# ---- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("line", [b"X-A: b\r\n", b" folded\r\n"])
def test_header_lines_are_bounded(scan: Parse, over: int, line: bytes) -> None:
    there = MESSAGE.partition(b"\r\n\r\n")[0].count(b"\r\n")
    more = plain_scan.HEADER_LINES_MAX - there + over
    faults = scan(MESSAGE.replace(b"\r\n\r\n", b"\r\n" + line * more + b"\r\n")).faults
    if over <= 0:
        assert "more than 256 header lines" not in faults
    else:
        assert "more than 256 header lines" in faults


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_header_bytes_are_bounded(scan: Parse, over: int) -> None:
    head = MESSAGE.partition(b"\r\n\r\n")[0]
    more = plain_scan.HEADER_BYTES_MAX - len(head) + over
    faults = scan(MESSAGE.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * (more - 5) + b"\r\n\r\n")).faults
    assert faults == (() if over <= 0 else ("headers are longer than 32768 bytes",))


# ---- bare LF ---------------------------------------------------------------------------------


def test_bare_lf_is_read_where_it_is_allowed(scan: Parse) -> None:
    head = MESSAGE.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")
    bare = head + b"\n\nHello"
    assert scan(bare, bare_lf=True).raw == MESSAGE
    assert scan(bare, bare_lf=True).faults == ()
    assert scan(bare).faults


def test_with_bare_lf_allowed_a_message_with_crlf_is_the_same(scan: Parse) -> None:
    body = b"a\n\nb\nc"
    assert scan(request(body=body), bare_lf=True).body == body
    assert scan(request(body=body), bare_lf=True).raw == request(body=body)
    assert scan(b"no end", bare_lf=True).faults


def test_one_bare_lf_among_crlf(scan: Parse) -> None:
    mixed = MESSAGE.replace(b"70\r\n", b"70\n")
    assert scan(mixed, bare_lf=True).raw == MESSAGE
    assert scan(mixed).faults[0] == "a header holds CR or LF alone"


# ---- chance ----------------------------------------------------------------------------------

PIECES = (
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b" ",
    b"\0",
    b'"',
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"Via: ",
    b"l: 3\r\n",
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    base=st.sampled_from([MESSAGE, UNUSUAL]),
    edits=st.lists(st.tuples(st.integers(0, 400), st.sampled_from(PIECES)), max_size=4),
    bare_lf=st.booleans(),
)
def test_whatever_comes_is_indexed_and_can_be_answered(
    base: bytes, edits: list[tuple[int, bytes]], bare_lf: bool
) -> None:
    for at, piece in edits:
        base = base[:at] + piece + base[at:]
    for scan in implementations().values():
        message = scan(base, bare_lf=bare_lf)
        if message.method and not message.status:
            echoed = message.echoed(b"t", b"192.0.2.7", 5070)
            assert echoed == b"" or echoed.endswith(b"\r\n")
