# The parameters of Digest credentials (RFC 3261 §25.1). What is not of the usual form, and all
# that is wrong, goes to the plain twin.

cdef enum:
    FIELDS = 10
    REQUIRED_FIELDS = 31  # The bits of the first five.
    QOP = 6
    NC = 7
    CNONCE = 8

# In the order of ``digest.Credentials``.
cdef tuple FIELD_NAMES = (
    b"username", b"realm", b"nonce", b"uri", b"response", b"algorithm", b"qop", b"nc", b"cnonce",
    b"opaque",
)
cdef tuple ABSENT = ("", "", "", "", "", "MD5", "", "", "", "")
cdef object new_tuple = tuple.__new__


def parse_credentials(bytes value not None):
    """Parse what follows ``Authorization:``; see ``digest.parse_credentials``."""
    cdef Span spans[FIELDS]
    cdef const char* text = PyBytes_AS_STRING(value)
    cdef int seen = read_credentials(<const unsigned char*> text, PyBytes_GET_SIZE(value), spans)
    cdef list fields
    cdef int i
    if seen < 0:
        return credentials_plain(value)
    fields = [
        PyUnicode_DecodeASCII(text + spans[i].at, spans[i].length, NULL)
        if (seen >> i) & 1 else ABSENT[i]
        for i in range(FIELDS)
    ]
    fields[5] = fields[5].upper()
    return new_tuple(Credentials, fields)


cdef int read_credentials(
    const unsigned char* start, Py_ssize_t length, Span* spans
) noexcept:
    """Return a bit for each parameter that is there, -1 for what the plain twin must see."""
    cdef const unsigned char* at = start + 7
    cdef const unsigned char* end = start + length
    cdef const unsigned char* name
    cdef const unsigned char* value
    cdef int seen = 0
    cdef int field
    if length < 8 or length > HEAD_MAX or memcmp(start, b"Digest ", 7) != 0:
        return -1
    while at < end:
        name = at
        while at < end and CLASS[at[0]] & IS_TOKEN:
            at += 1
        field = field_of(name, at - name)
        if field < 0 or (seen >> field) & 1 or at == end or at[0] != EQUALS:
            return -1
        at += 1
        value = at
        if at < end and at[0] == QUOTE:
            value += 1
            at += 1
            while at < end and SPACE <= at[0] < 127 and at[0] != QUOTE and at[0] != BACKSLASH:
                at += 1
            if at == end or at[0] != QUOTE:
                return -1
            spans[field] = Span(<int> (value - start), <int> (at - value))
            at += 1
        else:
            while at < end and SPACE < at[0] < 127 and at[0] != QUOTE and at[0] != COMMA:
                if at[0] == BACKSLASH:
                    return -1
                at += 1
            if at == value:
                return -1
            spans[field] = Span(<int> (value - start), <int> (at - value))
        seen |= 1 << field
        while at < end and at[0] == SPACE:
            at += 1
        if at < end and at[0] != COMMA:
            return -1
        while at < end and (at[0] == SPACE or at[0] == COMMA):
            at += 1
    if seen & REQUIRED_FIELDS != REQUIRED_FIELDS:
        return -1
    if (seen >> QOP) & 1 and not has_count(start, seen, spans):
        return -1
    return seen


cdef inline int field_of(const unsigned char* name, Py_ssize_t length) noexcept:
    cdef int field
    for field in range(FIELDS):
        if FIELD[field].length == length and memcmp(FIELD[field].text, name, length) == 0:
            return field
    return -1


cdef bint has_count(const unsigned char* start, int seen, Span* spans) noexcept:
    """Say whether nc and cnonce are there and in order."""
    cdef int i
    cdef unsigned char octet
    if not (seen >> NC) & (seen >> CNONCE) & 1 or not spans[CNONCE].length:
        return False
    if not 1 <= spans[NC].length <= 8:
        return False
    for i in range(spans[NC].length):
        octet = start[spans[NC].at + i]
        if not (CLASS[octet] & IS_DIGIT or 97 <= octet | 32 <= 102):
            return False
    return True


cdef Method FIELD[FIELDS]


cdef build_fields():
    cdef int field
    cdef bytes name
    for field in range(FIELDS):
        name = FIELD_NAMES[field]
        FIELD[field].text = PyBytes_AS_STRING(name)
        FIELD[field].length = <int> PyBytes_GET_SIZE(name)


build_fields()
if Credentials._fields != tuple(name.decode() for name in FIELD_NAMES):
    raise ImportError("digest.Credentials has other fields than the native scanner")
