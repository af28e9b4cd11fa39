# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, binding=False, always_allow_keywords=False
"""The native scanner: a message of the usual form to offsets in one pass (RFC 3261 §7, §25).

It never decides what is wrong: whatever is not of the usual, clean form goes to the plain twin
``scan.py``, so that both give the same on every input. Nothing is malloc'ed per message.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

from sipgram.sip.message.headers import KINDS
from sipgram.sip.message.scan import BRANCH_COOKIE, HEADER_BYTES_MAX
from sipgram.sip.message.scan import scan as scan_plain

cdef enum:
    LINES_MAX = 64
    PARAMS_MAX = 16
    EDITS_MAX = 16
    KINDS_MAX = 64
    NAME_MAX = 24
    METHODS_MAX = 16
    CR = 13
    LF = 10
    SPACE = 32
    TAB = 9
    QUOTE = 34
    LESS = 60
    GREATER = 62
    COLON = 58
    SEMICOLON = 59
    EQUALS = 61

cdef enum:
    IS_TOKEN = 1
    IS_URI = 2
    IS_HOST = 4
    IS_PARAM_NAME = 8
    IS_PARAM_VALUE = 16
    IS_DISPLAY = 32
    IS_DIGIT = 64
    IS_V6 = 128

cdef struct Kind:
    const char* name
    int length
    int is_single
    int next

cdef struct Method:
    const char* text
    int length

cdef struct Edit:
    Py_ssize_t start
    Py_ssize_t end
    const char* text
    Py_ssize_t length

cdef unsigned char CLASS[256]
cdef Kind KIND[KINDS_MAX]
cdef unsigned char FIRST_KIND[NAME_MAX][32]
cdef Method METHOD[METHODS_MAX]
cdef int methods_count = 0

# The bytes that the tables point into stay alive through these.
cdef tuple METHODS = (
    b"MESSAGE", b"REGISTER", b"SUBSCRIBE", b"NOTIFY", b"PUBLISH", b"OPTIONS", b"INVITE", b"ACK",
    b"BYE", b"CANCEL", b"PRACK", b"UPDATE", b"INFO", b"REFER",
)
cdef list names = []
cdef dict NUMBERS = {}

cdef int VIA, MAX_FORWARDS, FROM, TO, CALL_ID, CSEQ, CONTENT_LENGTH, TIMESTAMP
cdef bytes COOKIE = BRANCH_COOKIE
cdef Py_ssize_t HEAD_MAX = min(HEADER_BYTES_MAX, 60_000)


cdef void mark(bytes octets, int bit):
    cdef unsigned char octet
    for octet in octets:
        CLASS[octet] |= bit


cdef build_tables():
    """Fill the tables from those of the plain twin: numbers of headers start at 1."""
    global methods_count, VIA, MAX_FORWARDS, FROM, TO, CALL_ID, CSEQ, CONTENT_LENGTH, TIMESTAMP
    cdef int number, column
    cdef bytes name
    lower = b"abcdefghijklmnopqrstuvwxyz"
    digits = b"0123456789"
    alnum = lower + lower.upper() + digits
    mark(alnum + b"-.!%*_+`'~", IS_TOKEN | IS_PARAM_VALUE)
    mark(lower + digits + b"-", IS_PARAM_NAME)
    mark(lower + digits + b"-.", IS_HOST)
    mark(b"abcdef" + digits + b":.", IS_V6)
    mark(alnum + b"-.", IS_DISPLAY)
    mark(digits, IS_DIGIT)
    mark(bytes(set(range(33, 256)) - set(b'<>"\x7f')), IS_URI)
    for number, kind in enumerate(KINDS, 1):
        name = kind.name.lower()
        names.append(name)
        NUMBERS[name] = number
        column = name[0] & 31
        KIND[number].name = PyBytes_AS_STRING(name)
        KIND[number].length = <int> PyBytes_GET_SIZE(name)
        KIND[number].is_single = kind.is_single
        KIND[number].next = FIRST_KIND[KIND[number].length][column]
        FIRST_KIND[KIND[number].length][column] = number
    for name in METHODS:
        METHOD[methods_count].text = PyBytes_AS_STRING(name)
        METHOD[methods_count].length = <int> PyBytes_GET_SIZE(name)
        methods_count += 1
    VIA, MAX_FORWARDS = NUMBERS[b"via"], NUMBERS[b"max-forwards"]
    FROM, TO = NUMBERS[b"from"], NUMBERS[b"to"]
    CALL_ID, CSEQ = NUMBERS[b"call-id"], NUMBERS[b"cseq"]
    CONTENT_LENGTH, TIMESTAMP = NUMBERS[b"content-length"], NUMBERS[b"timestamp"]


if len(KINDS) >= KINDS_MAX or max(len(kind.name) for kind in KINDS) >= NAME_MAX:
    raise ImportError("headers.KINDS has outgrown the tables of the native scanner")
build_tables()


cdef struct Span:
    int at
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
    cdef int lines_count
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
    # Where each header line starts, and behind them where the last one ends.
    cdef unsigned short starts[LINES_MAX + 1]
    cdef unsigned char kinds[LINES_MAX]

    @property
    def uri(self):
        return self.part(self.uri_span)

    @property
    def reason(self):
        # "SIP/2.0 200 " goes before it, and its CRLF before the first header line.
        cdef int end = self.starts[0] - 2
        if not self.status or end <= 12:
            return b""
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.raw) + 12, end - 12)

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
        cdef const char* text = PyBytes_AS_STRING(self.raw)
        return PyBytes_FromStringAndSize(
            text + self.body_at, PyBytes_GET_SIZE(self.raw) - self.body_at
        )

    def has(self, bytes name not None):
        return self.line_of(name, 0) >= 0

    def value(self, bytes name not None):
        cdef int line = self.line_of(name, 0)
        if line < 0:
            return None
        return self.part(self.value_span(line))

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
        cdef Edit edits[EDITS_MAX + 2]
        cdef const char* raw = PyBytes_AS_STRING(self.raw)
        cdef Py_ssize_t raw_length = PyBytes_GET_SIZE(self.raw)
        cdef char stamped[STAMP_MAX]
        cdef char hops[32]
        cdef Py_ssize_t stamped_length = 0
        cdef Py_ssize_t size, at
        cdef Py_ssize_t method_length = PyBytes_GET_SIZE(self.method)
        cdef int count = 0
        cdef int i
        cdef bytes text, result
        cdef char* out
        if (
            self.status
            or len(cuts) > EDITS_MAX
            or PyBytes_GET_SIZE(host) > HOST_MAX
            or not 0 <= port <= 65535
        ):
            return scan_plain(self.raw).forwarded(uri, top, host, port, cuts)
        # Of the Via line only what changes is an edit: a port behind rport, and its end.
        count = self.stamp_edits(edits, stamped, host, port)
        if self.max_forwards_line >= 0:
            edits[count].start = self.starts[self.max_forwards_line]
            edits[count].end = self.starts[self.max_forwards_line + 1]
            edits[count].text = hops
            edits[count].length = put_hops(hops, self.max_forwards - 1)
            count += 1
        else:
            top = top + b"Max-Forwards: 70\r\n"
        for start, end, text in cuts:
            if not self.starts[0] <= start <= end <= raw_length:
                return scan_plain(self.raw).forwarded(uri, top, host, port, cuts)
            edits[count].start = start
            edits[count].end = end
            edits[count].text = PyBytes_AS_STRING(text)
            edits[count].length = PyBytes_GET_SIZE(text)
            count += 1
        return None
