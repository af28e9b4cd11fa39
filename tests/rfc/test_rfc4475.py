"""The torture messages of RFC 4475: what the scanner says of each, and what the server answers.

The files are the RFC's, octet for octet. A response goes to the port in the top Via where there
is no rport (RFC 3261 §18.2.2), and those Vias name hosts of others: for the server, each test
writes the port of its own socket into the top Via and changes nothing else.
"""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipgram.sip.message.message import Message
from sipgram.sip.message.scan import scan
from sipgram.testing.messages import request

from .conftest import ServedAddresses

FILES = sorted((Path(__file__).parents[1] / "data" / "rfc4475").glob("*.dat"))

FAULTS: dict[str, tuple[str, ...]] = {
    # §3.1.2: "Invalid Messages", and the last three of the valid ones' neighbours.
    "badinv01": ("Via has a malformed parameter",),
    "clerr": ("Content-Length is 9999 but 154 bytes of body came",),
    "ncl": ("Content-Length is not a length: -999",),
    "scalar02": ("CSeq number is 2**31 or more", "Max-Forwards is not a number from 0 to 255: 300"),
    "ltgtruri": ("Request-URI is malformed: <sip:user@example.com>",),
    "lwsruri": ("Request-URI is malformed: sip:user@example.com; lr",),
    "trws": ("start line does not end in SIP/2.0", "Request-URI is malformed"),
    "baddn": (
        "the empty line after the headers is missing",
        "From has a display name that needs quotes",
        "To has a display name that needs quotes",
    ),
    "badvers": ("SIP version is not supported: SIP/7.0",),
    "mismatch01": ("CSeq method is INVITE but the request is OPTIONS",),
    # §3.3: "Application-Layer Semantics".
    "insuf": ("From is missing", "To is missing", "Call-ID is missing"),
    "mcl01": ("Content-Length stands more than once",),
}
"""Beginnings of the faults; a file that is not here has none.

baddate, regbadct, unkscm, novelsc, bext01 and zeromf are well-formed for an element that does
not look at Date, Contact, scheme, extensions or hops; the server does where it must.
"""

NO_ANSWER = 0
NOBODY_THERE = 480
EXPECTED = {
    # §3.1.1, valid messages: processed like any other.
    "wsinv": 403,  # Its Route leads on to a host that is none of ours (D2).
    "intmeth": NOBODY_THERE,  # An unknown method is passed on.
    "esc01": 403,  # An INVITE to a domain that is none of ours.
    "esc02": 403,  # "RE%47IST%45R" is not REGISTER, and the domain none of ours.
    "lwsdisp": NOBODY_THERE,
    "dblreq": 200,  # The REGISTER; what follows in the datagram is ignored.
    "transports": NOBODY_THERE,
    "mpart01": 403,  # Its Route leads on to a host that is none of ours (D2).
    "unreason": NO_ANSWER,  # A response that nobody waits for.
    # §3.1.2, invalid messages.
    "badinv01": 400,
    "clerr": 400,
    "ncl": 400,
    "scalar02": 400,
    "ltgtruri": 400,
    "lwsruri": 400,
    "trws": 400,
    "baddate": NOBODY_THERE,  # A proxy does not look at Date, which may then pass.
    "regbadct": 400,
    "baddn": 400,
    "badvers": 505,
    "mismatch01": 400,
    # §3.2, transaction layer.
    "badbranch": NOBODY_THERE,
    # §3.3, application layer.
    "insuf": 400,
    "unkscm": 416,
    "novelsc": 416,
    "bext01": 420,
    "invut": NOBODY_THERE,  # 415 is for the phone to say, as is 488 in sdp01.
    "regaut01": 200,  # Without digest nobody looks at the scheme.
    "mcl01": 400,
    "cparam01": 200,
    "sdp01": NOBODY_THERE,
    "zeromf": 483,
}


@pytest.fixture(params=FILES, ids=[path.stem for path in FILES])
def torture(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


# ---- the scanner -------------------------------------------------------------------------------


def test_every_file_is_looked_at() -> None:
    assert {path.stem for path in FILES} == set(EXPECTED)
    assert set(FAULTS) <= set(EXPECTED)


@pytest.mark.rfc("4475", "3")
def test_the_scanner_finds_the_faults_of_each_and_no_others(torture: Path) -> None:
    message = scan(torture.read_bytes())
    expected = FAULTS.get(torture.stem, ())
    assert len(message.faults) == len(expected), message.faults
    for fault, beginning in zip(message.faults, expected, strict=True):
        assert fault.startswith(beginning)
    assert message.fault_status == (505 if torture.stem == "badvers" else 400)


@pytest.mark.rfc("4475", "3.1.1")
def test_a_valid_request_passes_a_proxy_and_stays_valid(torture: Path) -> None:
    message = scan(torture.read_bytes())
    if message.status or message.faults or message.max_forwards == 0:
        return
    top = b"Via: SIP/2.0/UDP proxy.example.com;branch=z9hG4bK-proxy\r\n"
    passed = scan(message.forwarded(message.uri, top, b"127.0.0.1", 5060))
    assert passed.faults == ()
    assert passed.max_forwards == message.max_forwards - 1
    assert passed.body == message.body
    for name in (b"from", b"to", b"call-id", b"cseq", b"contact", b"newfangledheader"):
        assert passed.values(name) == message.values(name)


@pytest.mark.rfc("4475", "3.1.1.1")
def test_wsinv_in_full() -> None:
    message = scan((FILES[0].parent / "wsinv.dat").read_bytes())
    assert message.method == b"INVITE"
    assert message.uri == b"sip:vivekg@chair-dnrc.example.com;unknownparam"
    assert (message.to_uri, message.to_tag) == (
        b"sip:vivekg@chair-dnrc.example.com",
        b"1918181833n",
    )
    assert (message.from_uri, message.from_tag) == (b"sip:jdrosen@example.com", b"98asjd8")
    assert (message.max_forwards, message.cseq, message.content_length) == (68, 9, 150)
    assert (message.branch, message.sent_by) == (b"390skdjuw", b"192.0.2.2")
    assert message.value(b"subject") == b""
    assert message.value(b"newfangledheader") == b"newfangled value continued newfangled value"
    assert len(message.values(b"via")) == 2
    assert len(message.body) == 150


@pytest.mark.rfc("4475", "3.1.1.2")
def test_intmeth_in_full() -> None:
    message = scan((FILES[0].parent / "intmeth.dat").read_bytes())
    assert message.method == b"!interesting-Method0123456789_*+`.%indeed'~"
    assert (message.cseq, message.max_forwards) == (139122385, 255)
    assert message.call_id == b"intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert (message.from_uri, message.from_tag) == (b"sip:mundane@example.com", b"_token~1'+`*%!-.")


@pytest.mark.rfc("4475", "3.1.1.10")
def test_transports_in_full() -> None:
    message = scan((FILES[0].parent / "transports.dat").read_bytes())
    assert message.branch == b"z9hG4bKkdjuw"
    assert [via.split()[0] for via in message.values(b"via")] == [
        b"SIP/2.0/UDP",
        b"SIP/2.0/SCTP",
        b"SIP/2.0/TLS",
        b"SIP/2.0/UNKNOWN",
        b"SIP/2.0/TCP",
    ]


# ---- the server --------------------------------------------------------------------------------


class Peer:
    """A UDP socket that writes itself into the top Via."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(5.0)
        self._server = server
        self.port: int = self._socket.getsockname()[1]

    def send(self, data: bytes) -> None:
        self._socket.sendto(self._with_port(data), self._server)

    def receive(self) -> Message:
        return scan(self._socket.recv(65_535))

    def close(self) -> None:
        self._socket.close()

    def _with_port(self, data: bytes) -> bytes:
        message = scan(data)
        if not message.sent_by:  # A Via that cannot be read is answered at the source.
            return data
        host = re.escape(message.sent_by.rpartition(b":")[0] or message.sent_by)
        start, end = message.spans(b"via")[0]
        line, count = re.subn(
            rb"(?i)(" + host + rb")(?:[ \t]*:[ \t]*[0-9]+)?",
            rb"\1:%d" % self.port,
            data[start:end],
            count=1,
        )
        assert count == 1
        return data[:start] + line + data[end:]


@pytest.fixture
def peer(server: ServedAddresses) -> Iterator[Peer]:
    peer = Peer(server.udp)
    yield peer
    peer.close()


@pytest.mark.rfc("4475", "3")
def test_the_server_answers_each_as_the_rfc_says(torture: Path, peer: Peer) -> None:
    sent = scan(torture.read_bytes())
    probe = request(b"OPTIONS", b"sip:example.com", call_id=b"probe")
    peer.send(torture.read_bytes())
    if EXPECTED[torture.stem] != NO_ANSWER:
        answer = peer.receive()
        assert answer.status == EXPECTED[torture.stem], answer.reason
        assert answer.call_id == sent.call_id

    # The server takes datagrams in order, so that this answer comes after any other.
    peer.send(probe)
    answer = peer.receive()
    assert (answer.call_id, answer.status) == (b"probe", 200)


@pytest.mark.rfc("4475", "3.3.4")
def test_bext01_is_told_what_is_not_supported(peer: Peer) -> None:
    peer.send((FILES[0].parent / "bext01.dat").read_bytes())
    unsupported = peer.receive().value(b"unsupported")
    assert unsupported == b"noProxiesSupportThis, norDoAnyProxiesSupportThis"
