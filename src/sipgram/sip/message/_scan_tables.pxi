# Limits, classes of octets, and the numbers of headers, filled from the tables of the plain twin.

cdef enum:
    LINES_MAX = 64
    PARAMS_MAX = 16
    EDITS_MAX = 16
    KINDS_MAX = 64
    NAME_MAX = 24
    METHODS_MAX = 16
    HOST_MAX = 64
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
    COMMA = 44
    BACKSLASH = 92

cdef enum:
    IS_TOKEN = 1
    IS_URI = 2
    IS_HOST = 4
    IS_PARAM_NAME = 8
    IS_PARAM_VALUE = 16
    IS_DISPLAY = 32
    IS_DIGIT = 64
    IS_V6 = 128
    IS_SCHEME = 256
    IS_ALPHA = 512

cdef struct Kind:
    const char* name
    int length
    int is_single
    int next

cdef struct Method:
    const char* text
    int length

cdef unsigned short CLASS[256]
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
cdef long long NUMBER_MAX = CSEQ_MAX
cdef Py_ssize_t HEAD_MAX = min(HEADER_BYTES_MAX, 60_000)  # Lines start at offsets of 16 bits.


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
    mark(lower + lower.upper(), IS_ALPHA)
    mark(alnum + b"+.-", IS_SCHEME)
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
if max(VIA, MAX_FORWARDS, FROM, TO, CALL_ID, CSEQ) > CONTENT_LENGTH:
    raise ImportError("headers.KINDS names Content-Length before a header that is read earlier")
