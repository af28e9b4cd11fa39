"""What a lazy message is to everybody else: its attributes and the few edits a proxy makes.

A message keeps the bytes that came in and an index of the lines that the server acts on.
Two classes fulfil this Protocol, held equal by the same tests: ``scan.PlainMessage`` in
Python and ``_scan.NativeMessage`` in Cython. Typed values (addresses, URIs) are parsed from
``values()`` by whoever needs them.
"""

from collections.abc import Sequence
from typing import Protocol

Cut = tuple[int, int, bytes]
"""Replace ``raw[start:end]``, whole header lines, by these bytes; sorted, not overlapping."""


class Message(Protocol):
    """A request (``status`` is 0) or a response, with typed access to its routing fields."""

    raw: bytes
    "The whole message; what stood behind a datagram's body is cut off (RFC 3261 §18.3)."
    status: int
    method: bytes
    "Of a response: the method in CSeq."
    uri: bytes
    "Request-URI as it came; empty in a response."
    reason: bytes
    branch: bytes
    "Of the top Via; empty when there is none."
    sent_by: bytes
    "Host and port of the top Via as §17.2.3 compares them, the host in lower case."
    sent_port: int
    "Port of the top Via, 0 when it names none."
    rport: int
    "-1 without the parameter, 0 when it has no value (RFC 3581)."
    key: bytes
    "Names the server transaction that a request belongs to (RFC 3261 §17.2.3)."
    max_forwards: int
    "-1 when absent."
    cseq: int
    call_id: bytes
    from_uri: bytes
    from_tag: bytes
    to_uri: bytes
    to_tag: bytes
    content_length: int
    "-1 when absent."
    faults: tuple[str, ...]
    "What is wrong with it, one phrase each; a response with faults is dropped."
    fault_status: int
    "The answer that the faults call for: 400, 505."

    @property
    def body(self) -> bytes:
        """The octets behind the empty line."""

    def has(self, name: bytes) -> bool:
        """Say whether there is a header of this lower-cased full name."""

    def value(self, name: bytes) -> bytes | None:
        """Return the first line's value of a lower-cased full name, unfolded and trimmed."""

    def values(self, name: bytes) -> list[bytes]:
        """Return each line's value in order; comma lists are not split."""

    def spans(self, name: bytes) -> list[tuple[int, int]]:
        """Return where in ``raw`` each line of a header stands, CRLF included."""

    def forwarded(
        self, uri: bytes, top: bytes, host: bytes, port: int, cuts: Sequence[Cut] = ()
    ) -> bytes:
        """Return the request as a proxy passes it on (RFC 3261 §16.6).

        ``uri`` replaces the Request-URI and ``top`` (whole lines) goes before all headers.
        The Via under it is stamped with the source ``host`` and ``port``; Max-Forwards is
        decremented, or added as 70. Everything else stays as it came, octet for octet.
        """

    def relayed(self) -> bytes:
        """Return the response without its top Via value (RFC 3261 §16.7, step 3)."""

    def echoed(self, to_tag: bytes, host: bytes, port: int) -> bytes:
        """Return the header lines that each response to this request copies (RFC 3261 §8.2.6.2).

        All Via, the first stamped; From; To, with ``to_tag`` when it had no tag; Call-ID; CSeq;
        Record-Route is not among them.
        """
