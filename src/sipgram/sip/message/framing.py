"""Messages out of a byte stream, and its keep-alives (RFC 3261 §18.3, RFC 5626 §4.4.1)."""

import re
from typing import Final

from sipgram.errors import ParseError, PeerError, TooLarge
from sipgram.sip.message.grammar import shown

BODY_BYTES_MAX: Final = 65_535
"""A longer body on a stream ends the connection with 513."""
HEAD_BYTES_MAX: Final = 65_535
"""A header block that has not ended after this many bytes ends the connection."""

_LENGTH_RE = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t\r\n]*([^\r\n]*)", re.IGNORECASE)

PING: Final = b"\r\n\r\n"
PONG: Final = b"\r\n"
CR: Final = 0x0D


class StreamFramer:
    """Cuts a stream into messages; pure, fed with what was read.

    ``bare_lf`` accepts LF line ends (loopback only, for netcat).
    """

    def __init__(self, *, bare_lf: bool = False) -> None:
        self._buffer = bytearray()
        self._need = 0
        self._bare_lf = bare_lf
        self.pings = 0
        "Keep-alive pings (double CRLF) seen since the last look; the driver answers and resets."

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read and return each whole message in order.

        Raises:
            PeerError: the stream cannot be followed any further; ``remainder`` holds the
                message it fell over. Whole messages before that one are returned first: call
                again, with nothing, after taking some.
        """
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        while len(buffer) >= self._need:
            if not self._need:
                self._skip_line_ends()
                try:
                    self._need = self._next_length()
                except PeerError:
                    if messages:
                        break  # Those before it first; the next call raises.
                    raise
                if not self._need:
                    break
                continue
            messages.append(bytes(buffer[: self._need]))
            del buffer[: self._need]
            self._need = 0
        return messages

    @property
    def has_partial(self) -> bool:
        """Whether a message has begun that is not complete."""
        return bool(self._buffer.strip(b"\r\n"))

    @property
    def remainder(self) -> bytes:
        """What is there of the message that has begun."""
        return bytes(self._buffer)

    def _skip_line_ends(self) -> None:
        """Take CRLFs off the front: §7.5 allows them, RFC 5626 gives a pair the meaning ping."""
        buffer = self._buffer
        at = 0
        while at < len(buffer) and buffer[at] in (0x0D, 0x0A):
            at += 1
        if not at:
            return
        *pings, rest = bytes(buffer[:at]).split(PING)
        self.pings += len(pings)
        if at == len(buffer) and PING.startswith(rest):
            buffer[:] = rest  # The other octets of a ping may still be on their way.
        else:
            del buffer[:at]

    def _next_length(self) -> int:
        """Return the length of the message at the front, 0 while its head is not complete."""
        buffer = self._buffer
        head_end = buffer.find(b"\r\n\r\n")
        blank = 4
        if self._bare_lf:
            head_end, blank = self._bare_head_end(head_end)
        if head_end < 0:
            if len(buffer) > HEAD_BYTES_MAX:
                raise TooLarge(f"headers are longer than {HEAD_BYTES_MAX} bytes")
            return 0
        lengths = _LENGTH_RE.findall(buffer, 0, head_end)
        if not lengths:
            # §18.3: "The Content-Length header field MUST be used with stream oriented transports."
            raise ParseError("Content-Length is missing, which a stream needs")
        value = bytes(lengths[0]).strip()
        if len(set(lengths)) > 1:
            raise ParseError("Content-Length stands more than once")
        if not value.isdigit() or len(value) > 9:
            raise ParseError(f"Content-Length is not a length: {shown(value)}")
        if int(value) > BODY_BYTES_MAX:
            raise TooLarge(f"Content-Length is over {BODY_BYTES_MAX}: {int(value)}")
        return head_end + blank + int(value)

    def _bare_head_end(self, head_end: int) -> tuple[int, int]:
        """Return where the first empty line of either sort begins, and its length.

        ``head_end`` is where one of CRLF stands: it may be one of a later message.
        """
        buffer = self._buffer
        limit = len(buffer) if head_end < 0 else head_end + 2
        at, after = buffer.find(b"\n\n", 0, limit), 2
        mixed = buffer.find(b"\n\r\n", 0, limit if at < 0 else at + 1)
        if mixed >= 0:
            at, after = mixed, 3
        if at < 0:
            return head_end, 4
        start = at - 1 if at and buffer[at - 1] == CR else at
        return start, at + after - start
