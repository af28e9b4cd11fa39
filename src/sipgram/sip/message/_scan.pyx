# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, binding=False, always_allow_keywords=False
"""The native scanner: a message of the usual form to offsets in one pass (RFC 3261 §7, §25).

It never decides what is wrong: whatever is not of the usual, clean form goes to the plain twin
``scan.py``, so that both give the same on every input. Nothing is malloc'ed per message.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.string cimport memchr, memcmp, memcpy

from sipgram.sip.message.digest import Credentials
from sipgram.sip.message.digest import parse_credentials as credentials_plain
from sipgram.sip.message.headers import KINDS
from sipgram.sip.message.scan import BRANCH_COOKIE, CSEQ_MAX, HEADER_BYTES_MAX
from sipgram.sip.message.scan import scan as scan_plain

include "_scan_tables.pxi"


cdef struct Span:
    int at
    int length


cdef struct Edit:
    Py_ssize_t start
    Py_ssize_t end
    const char* text
    Py_ssize_t length


cdef struct Stamp:
    # What goes behind ";rport" and, after that, behind the whole top Via.
    char text[HOST_MAX + 24]
    int port_length
    int length


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class NativeMessage:
    """A clean message and where its parts stand; the attributes are told in ``message.Message``."""

    cdef readonly bytes raw
    cdef readonly bytes method
    cdef readonly bytes key
    cdef public tuple faults
    cdef public int fault_status
    cdef readonly int status
    cdef readonly int cseq
    cdef readonly int sent_port
    cdef readonly int rport
    cdef readonly int max_forwards
    cdef readonly int content_length
    cdef int body_at
    cdef int count
    cdef int via_line
    cdef int max_forwards_line
    cdef int rport_ends
    cdef Span uri_span
    cdef Span branch_span
    cdef Span host_span
    cdef Span sent_by_span
    cdef Span call_id_span
    cdef Span from_uri_span
    cdef Span from_tag_span
    cdef Span to_uri_span
    cdef Span to_tag_span
    # One bit for each kind of header that is there, bit 0 for all unknown ones.
    cdef unsigned long long present
    # Where each header line starts, and after the last one where that ends.
    cdef unsigned short starts[LINES_MAX + 1]
    cdef unsigned char kinds[LINES_MAX]

    def __init__(self):
        raise TypeError("NativeMessage comes from scan()")

    @property
    def uri(self):
        return self.part(self.uri_span)

    @property
    def reason(self):
        # "SIP/2.0 200 " goes before it, CRLF behind it.
        cdef Span span = Span(12, self.starts[0] - 14)
        return self.part(span) if self.status and span.length > 0 else b""

    @property
    def branch(self):
        return self.part(self.branch_span)

    @property
    def sent_by(self):
        return self.part(self.sent_by_span)

    @property
    def call_id(self):
        return self.part(self.call_id_span)

    @property
    def from_uri(self):
        return self.part(self.from_uri_span)

    @property
    def from_tag(self):
        return self.part(self.from_tag_span)

    @property
    def to_uri(self):
        return self.part(self.to_uri_span)

    @property
    def to_tag(self):
        return self.part(self.to_tag_span)

    @property
    def body(self):
        cdef Span span = Span(self.body_at, <int> PyBytes_GET_SIZE(self.raw) - self.body_at)
        return self.part(span)

    def has(self, bytes name not None):
        return self.line_of(name, 0) >= 0

    def value(self, bytes name not None):
        cdef int line = self.line_of(name, 0)
        return self.part(self.value_span(line)) if line >= 0 else None

    def values(self, bytes name not None):
        cdef list found = []
        cdef int line = self.line_of(name, 0)
        while line >= 0:
            found.append(self.part(self.value_span(line)))
            line = self.line_of(name, line + 1)
        return found

    def spans(self, bytes name not None):
        cdef list found = []
        cdef int line = self.line_of(name, 0)
        while line >= 0:
            found.append((self.starts[line], self.starts[line + 1]))
            line = self.line_of(name, line + 1)
        return found

    def forwarded(
        self, bytes uri not None, bytes top not None, bytes host not None, int port, cuts=()
    ):
        cdef Edit edits[EDITS_MAX + 3]
        cdef Stamp stamp
        cdef char hops[32]
        cdef int count = 0
        cdef int via = self.via_line
        cdef Py_ssize_t start, end
        cdef bytes text
        cdef list held
        if self.status or self.make_stamp(&stamp, host, port) < 0:
            return self.forwarded_plainly(uri, top, host, port, cuts)
        start, end = self.rport_ends, self.starts[via + 1] - 2
        if stamp.port_length and start < end:
            count = add(edits, count, start, start, stamp.text, stamp.port_length)
            count = add(
                edits, count, end, end,
                stamp.text + stamp.port_length, stamp.length - stamp.port_length,
            )
        elif stamp.length:
            count = add(edits, count, end, end, stamp.text, stamp.length)
        if self.max_forwards_line >= 0:
            start, end = self.starts[self.max_forwards_line], self.starts[self.max_forwards_line + 1]
            count = add(edits, count, start, end, hops, put_hops(hops, self.max_forwards - 1))
        if cuts:
            held = list(cuts)
            if len(held) > EDITS_MAX:
                return self.forwarded_plainly(uri, top, host, port, cuts)
            for start, end, text in held:
                if start < self.starts[via + 1] and end > self.starts[via]:
                    return self.forwarded_plainly(uri, top, host, port, cuts)
                count = add(edits, count, start, end, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        result = self.spliced(uri, top, edits, count)
        return self.forwarded_plainly(uri, top, host, port, cuts) if result is None else result

    def relayed(self):
        cdef const char* raw = PyBytes_AS_STRING(self.raw)
        cdef Py_ssize_t start = self.starts[self.via_line]
        cdef Py_ssize_t end = self.starts[self.via_line + 1]
        cdef Py_ssize_t rest = PyBytes_GET_SIZE(self.raw) - end
        cdef bytes result = PyBytes_FromStringAndSize(NULL, start + rest)
        cdef char* out = PyBytes_AS_STRING(result)
        memcpy(out, raw, start)
        memcpy(out + start, raw + end, rest)
        return result

    def echoed(self, bytes to_tag not None, bytes host not None, int port):
        cdef Stamp stamp
        cdef const char* raw = PyBytes_AS_STRING(self.raw)
        cdef bint tagged = PyBytes_GET_SIZE(to_tag) > 0 and not self.to_tag_span.length
        cdef Py_ssize_t size = 0
        cdef Span span
        cdef int line, kind
        cdef bytes result
        cdef char* out
        if self.status or self.make_stamp(&stamp, host, port) < 0:
            return scan_plain(self.raw).echoed(to_tag, host, port)
        size = stamp.length
        for line in range(self.count):
            kind = self.kinds[line]
            if kind == TO and tagged:
                # "To: ", ";tag=" and CRLF.
                size += 11 + self.value_span(line).length + PyBytes_GET_SIZE(to_tag)
            elif is_echoed(kind):
                size += self.starts[line + 1] - self.starts[line]
        result = PyBytes_FromStringAndSize(NULL, size)
        out = PyBytes_AS_STRING(result)
        for line in range(self.count):
            kind = self.kinds[line]
            if line == self.via_line:
                out = self.put_stamped(out, &stamp)
            elif kind == TO and tagged:
                span = self.value_span(line)
                out = put(out, b"To: ", 4)
                out = put(out, raw + span.at, span.length)
                out = put(out, b";tag=", 5)
                out = put(out, PyBytes_AS_STRING(to_tag), PyBytes_GET_SIZE(to_tag))
                out = put(out, b"\r\n", 2)
            elif is_echoed(kind):
                out = put(out, raw + self.starts[line], self.starts[line + 1] - self.starts[line])
        return result

    cdef forwarded_plainly(self, bytes uri, bytes top, bytes host, port, cuts):
        """Do it as the plain twin does: for what is too odd to be spliced here."""
        return scan_plain(self.raw).forwarded(uri, top, host, port, cuts)

    cdef bytes spliced(self, bytes uri, bytes top, Edit* edits, int count):
        """Return the request with the edits done; None when they overlap or lie outside."""
        cdef const char* raw = PyBytes_AS_STRING(self.raw)
        cdef Py_ssize_t raw_length = PyBytes_GET_SIZE(self.raw)
        cdef Py_ssize_t at = self.starts[0]
        cdef Py_ssize_t size = raw_length - at
        cdef int i
        cdef bytes result
        cdef char* out
        for i in range(count):
            if not at <= edits[i].start <= edits[i].end <= raw_length:
                return None
            if i and edits[i].start == edits[i - 1].start:
                return None  # Which goes first?
            size += edits[i].length - (edits[i].end - edits[i].start)
            at = edits[i].end
        # Two spaces, SIP/2.0 and CRLF.
        size += PyBytes_GET_SIZE(self.method) + PyBytes_GET_SIZE(uri) + 11 + PyBytes_GET_SIZE(top)
        if self.max_forwards_line < 0:
            size += 18
        result = PyBytes_FromStringAndSize(NULL, size)
        out = PyBytes_AS_STRING(result)
        out = put(out, PyBytes_AS_STRING(self.method), PyBytes_GET_SIZE(self.method))
        out = put(out, b" ", 1)
        out = put(out, PyBytes_AS_STRING(uri), PyBytes_GET_SIZE(uri))
        out = put(out, b" SIP/2.0\r\n", 10)
        out = put(out, PyBytes_AS_STRING(top), PyBytes_GET_SIZE(top))
        if self.max_forwards_line < 0:
            out = put(out, b"Max-Forwards: 70\r\n", 18)
        at = self.starts[0]
        for i in range(count):
            out = put(out, raw + at, edits[i].start - at)
            out = put(out, edits[i].text, edits[i].length)
            at = edits[i].end
        put(out, raw + at, raw_length - at)
        return result

    cdef int make_stamp(self, Stamp* stamp, bytes host, int port) except -2:
        """Prepare what ``via.stamp`` writes into the top Via; -1 when only it can tell."""
        cdef Py_ssize_t length = PyBytes_GET_SIZE(host)
        cdef const char* sent = PyBytes_AS_STRING(self.raw) + self.host_span.at
        cdef int sent_length = self.host_span.length
        stamp.port_length = 0
        stamp.length = 0
        if length > HOST_MAX or not 0 <= port <= 65535:
            return -1
        if self.rport >= 0:
            stamp.text[0] = EQUALS
            stamp.port_length = 1 + put_number(stamp.text + 1, port)
        else:
            if sent[0] == 91:  # An IPv6 reference is compared without its brackets.
                sent += 1
                sent_length -= 2
            if sent_length == length and memcmp(sent, PyBytes_AS_STRING(host), length) == 0:
                return 0
        memcpy(stamp.text + stamp.port_length, b";received=", 10)
        memcpy(stamp.text + stamp.port_length + 10, PyBytes_AS_STRING(host), length)
        stamp.length = stamp.port_length + 10 + <int> length
        return 0

    cdef char* put_stamped(self, char* out, Stamp* stamp) noexcept:
        """Write the top Via line."""
        cdef const char* raw = PyBytes_AS_STRING(self.raw)
        cdef int at = self.starts[self.via_line]
        cdef int end = self.starts[self.via_line + 1] - 2
        if stamp.port_length:
            out = put(out, raw + at, self.rport_ends - at)
            out = put(out, stamp.text, stamp.port_length)
            at = self.rport_ends
        out = put(out, raw + at, end - at)
        out = put(out, stamp.text + stamp.port_length, stamp.length - stamp.port_length)
        return put(out, b"\r\n", 2)

    cdef inline bytes part(self, Span span):
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.raw) + span.at, span.length)

    cdef int line_of(self, bytes name, int line) except -2:
        """Return the next line of a header from ``line`` on, -1 when there is none."""
        cdef object known = NUMBERS.get(name)
        cdef int number = 0 if known is None else known
        if not (self.present >> number) & 1:
            return -1
        while line < self.count:
            if self.kinds[line] == number and (number or self.is_named(line, name)):
                return line
            line += 1
        return -1

    cdef bint is_named(self, int line, bytes name) noexcept:
        """Say whether a line of an unknown header has this lower-cased name."""
        cdef const unsigned char* text = <const unsigned char*> PyBytes_AS_STRING(self.raw)
        cdef const unsigned char* asked = <const unsigned char*> PyBytes_AS_STRING(name)
        cdef Py_ssize_t length = PyBytes_GET_SIZE(name)
        cdef Py_ssize_t i
        text += self.starts[line]
        if length >= self.starts[line + 1] - self.starts[line] or text[length] != COLON:
            return False
        for i in range(length):
            if asked[i] != (text[i] | 32 if 65 <= text[i] <= 90 else text[i]):
                return False
        return True

    cdef Span value_span(self, int line) noexcept:
        """Return where a line's value stands, without the blanks around it."""
        cdef const char* raw = PyBytes_AS_STRING(self.raw)
        cdef int at = self.starts[line]
        cdef int end = self.starts[line + 1] - 2
        cdef int kind = self.kinds[line]
        if kind:
            at += KIND[kind].length + 1
        else:
            at = <int> (<const char*> memchr(raw + at, COLON, end - at) - raw) + 1
        while at < end and (raw[at] == SPACE or raw[at] == TAB):
            at += 1
        while end > at and (raw[end - 1] == SPACE or raw[end - 1] == TAB):
            end -= 1
        return Span(at, end - at)


cdef inline char* put(char* out, const char* text, Py_ssize_t length) noexcept:
    memcpy(out, text, length)
    return out + length


cdef inline bint is_echoed(int kind) noexcept:
    return (
        kind == VIA or kind == FROM or kind == TO or kind == CALL_ID or kind == CSEQ
        or kind == TIMESTAMP
    )


cdef int add(
    Edit* edits, int count, Py_ssize_t start, Py_ssize_t end, const char* text, Py_ssize_t length
) noexcept:
    """Insert one edit by its start; return how many there are now."""
    cdef int at = count
    while at and edits[at - 1].start > start:
        edits[at] = edits[at - 1]
        at -= 1
    edits[at] = Edit(start, end, text, length)
    return count + 1


cdef int put_number(char* out, int number) noexcept:
    """Write a number from 0 to 65535; return its length."""
    cdef int length = 1
    cdef int left = number
    cdef int i
    while left >= 10:
        left //= 10
        length += 1
    for i in range(length - 1, -1, -1):
        out[i] = 48 + number % 10
        number //= 10
    return length


cdef int put_hops(char* out, int hops) noexcept:
    """Write the whole Max-Forwards line; the plain twin writes -1 for a request with 0, too."""
    cdef int length = 14
    memcpy(out, b"Max-Forwards: ", 14)
    if hops < 0:
        out[length] = 45
        length += 1
        hops = -hops
    length += put_number(out + length, hops)
    out[length] = CR
    out[length + 1] = LF
    return length + 2


def scan(bytes data not None, *, bint bare_lf=False):
    """Index one message, a whole datagram or what a stream's framing cut out; see ``scan.scan``."""
    cdef NativeMessage message = NativeMessage.__new__(NativeMessage)
    cdef Py_ssize_t size
    cdef Span branch, sent_by
    cdef bytes method
    cdef const char* text
    cdef char* out
    message.raw = data
    if not read(message, <const unsigned char*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)):
        return scan_plain(data, bare_lf=bare_lf)
    message.faults = ()
    message.fault_status = 400
    if message.content_length >= 0:
        size = message.body_at + message.content_length
        if size < PyBytes_GET_SIZE(data):
            message.raw = data = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), size)
    if message.status:
        message.key = b""
        return message
    text = PyBytes_AS_STRING(data)
    branch, sent_by = message.branch_span, message.sent_by_span
    method = b"INVITE" if message.method == b"ACK" else message.method
    size = branch.length + sent_by.length + PyBytes_GET_SIZE(method) + 2
    message.key = PyBytes_FromStringAndSize(NULL, size)
    out = put(PyBytes_AS_STRING(message.key), text + branch.at, branch.length)
    out = put(out, b" ", 1)
    out = put(out, text + sent_by.at, sent_by.length)
    out = put(out, b" ", 1)
    put(out, PyBytes_AS_STRING(method), PyBytes_GET_SIZE(method))
    return message


include "_scan_read.pxi"
include "_scan_digest.pxi"
