"""What is answered to requests that are not as they should be."""

from dataclasses import dataclass

from sipgram.client.events import EventQueue
from sipgram.client.inbox import SEEN_MAX, Inbox
from sipgram.identity import SystemEntropy
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse

WIRE = (
    "{method} sip:alice@192.0.2.1 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n"
    "From: <sip:bob@example.com>;tag=1\r\n"
    "To: <sip:alice@example.com>\r\n"
    "Call-ID: {call_id}\r\n"
    "CSeq: 1 {method}\r\n"
    "Content-Length: {length}\r\n\r\nhi"
)


@dataclass
class Source:
    """Where the requests come from."""

    host: bytes = b"192.0.2.9"
    port: int = 5060
    is_reliable: bool = False
    via_line: bytes = b""

    def send(self, data: bytes) -> bool:
        raise AssertionError(data)

    def reply_flow(self, request: Message) -> "Source":
        return self


def inbox() -> Inbox:
    queue = EventQueue(waiting_max=10 * SEEN_MAX, messages_max=None)
    made = Inbox(queue, entropy=SystemEntropy())
    made.is_open = True
    return made


def request(method: str = "MESSAGE", *, length: int = 2, call_id: str = "c1") -> Message:
    return parse(WIRE.format(method=method, length=length, call_id=call_id).encode())


def status_line(answer: bytes | None) -> bytes:
    assert answer is not None
    return answer.partition(b"\r\n")[0]


def test_faulty_request_is_told_its_faults() -> None:
    answer = inbox().answer(request(length=20), Source())

    assert status_line(answer) == (b"SIP/2.0 400 Content-Length is 20 but 2 bytes of body came")


def test_ack_and_what_is_no_request_are_not_answered() -> None:
    assert inbox().answer(request("ACK"), Source()) is None
    assert inbox().answer(parse(b"\x00\x01\x02\x03\x04"), Source()) is None


def test_client_that_takes_nothing_sends_messages_back() -> None:
    closed = inbox()
    closed.is_open = False

    assert status_line(closed.answer(request(), Source())).startswith(b"SIP/2.0 480")


def test_messages_are_remembered_up_to_a_bound() -> None:
    """One below, at and above ``SEEN_MAX`` other messages, the first comes again."""
    box = inbox()
    box.answer(request(call_id="first"), Source())
    for number in range(SEEN_MAX - 1):
        box.answer(request(call_id=f"c{number}"), Source())

    box.is_open = False
    assert status_line(box.answer(request(call_id="first"), Source())) == b"SIP/2.0 200 OK"
    box.is_open = True
    box.answer(request(call_id="one more"), Source())
    box.is_open = False
    assert status_line(box.answer(request(call_id="first"), Source())).startswith(b"SIP/2.0 480")
