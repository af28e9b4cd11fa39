# The one pass over a message's head. Each function says whether what it saw is of the usual form;
# every loop ends at the CR that ends the line, at the latest, or at the ``end`` it was given.

cdef bint read(NativeMessage m, const unsigned char* data, Py_ssize_t length) noexcept:
    cdef const unsigned char* end = data + length
    cdef const unsigned char* at
    cdef const unsigned char* line_end = <const unsigned char*> memchr(data, LF, length)
    cdef int kind
    if line_end == NULL or line_end == data or (line_end - 1)[0] != CR:
        return False
    if not read_start_line(m, data, line_end - 1):
        return False
    m.via_line = m.max_forwards_line = -1
    m.max_forwards = m.content_length = -1
    at = line_end + 1
    while True:
        m.starts[m.count] = <unsigned short> (at - data)
        line_end = <const unsigned char*> memchr(at, LF, end - at)
        if line_end == NULL or line_end == at:
            return False
        if <const unsigned char*> memchr(at, CR, line_end - at) != line_end - 1:
            return False
        if line_end - at == 1:
            break
        if m.count == LINES_MAX or line_end - data > HEAD_MAX:
            return False
        kind = kind_of(at)
        if kind < 0 or (KIND[kind].is_single and (m.present >> kind) & 1):
            return False
        m.kinds[m.count] = kind
        m.count += 1
        m.starts[m.count] = <unsigned short> (line_end + 1 - data)
        if not (m.present >> kind) & 1 and not read_field(m, data, kind):
            return False
        m.present |= 1ull << kind
        at = line_end + 1
    m.body_at = <int> (line_end + 1 - data)
    if memchr(data, 0, m.body_at) != NULL or m.content_length > length - m.body_at:
        return False
    return has_all(m)


cdef inline bint has_all(NativeMessage m) noexcept:
    cdef unsigned long long needed = (
        (1ull << VIA) | (1ull << FROM) | (1ull << TO) | (1ull << CALL_ID) | (1ull << CSEQ)
    )
    return m.present & needed == needed


cdef inline int kind_of(const unsigned char* at) noexcept:
    """Return the number of a line's header, 0 for an unknown one, -1 when its name is odd.

    It stops at the CR that ends the line, at the latest: that is no token.
    """
    cdef const unsigned char* colon = at
    cdef Py_ssize_t length, i
    cdef int kind
    cdef const char* name
    while CLASS[colon[0]] & IS_TOKEN:
        colon += 1
    length = colon - at
    if colon[0] != COLON or length < 2:
        return -1
    if length >= NAME_MAX or not CLASS[at[0]] & IS_ALPHA:
        return 0
    kind = FIRST_KIND[length][at[0] & 31]
    while kind:
        name = KIND[kind].name
        i = 1
        # Of the tokens only letters become a letter by that bit, and only "-" stays "-".
        while i < length and (at[i] | 32) == <unsigned char> name[i]:
            i += 1
        if i == length:
            return kind
        kind = KIND[kind].next
    return 0


cdef bint read_start_line(
    NativeMessage m, const unsigned char* at, const unsigned char* end
) noexcept:
    cdef const unsigned char* start
    cdef const unsigned char* uri
    if end - at < 11:
        return False
    if memcmp(at, b"SIP/2.0 ", 8) == 0:
        if not (49 <= at[8] <= 54 and CLASS[at[9]] & IS_DIGIT and CLASS[at[10]] & IS_DIGIT):
            return False
        m.status = (at[8] - 48) * 100 + (at[9] - 48) * 10 + at[10] - 48
        return end - at == 11 or at[11] == SPACE
    start = at
    while CLASS[at[0]] & IS_ALPHA:
        at += 1
    if at[0] != SPACE or not name_method(m, start, at - start):
        return False
    at += 1
    uri = at
    at = uri_end(at)
    if at == NULL:
        return False
    m.uri_span = Span(<int> (uri - start), <int> (at - uri))
    return end - at == 8 and memcmp(at, b" SIP/2.0", 8) == 0


cdef inline const unsigned char* uri_end(const unsigned char* at) noexcept:
    """Return where a URI ends, NULL when there is none; the line's CR stops it at the latest."""
    if not CLASS[at[0]] & IS_ALPHA:
        return NULL
    while CLASS[at[0]] & IS_SCHEME:
        at += 1
    if at[0] != COLON or not CLASS[at[1]] & IS_URI:
        return NULL
    at += 1
    while CLASS[at[0]] & IS_URI:
        at += 1
    return at


cdef bint name_method(NativeMessage m, const unsigned char* at, Py_ssize_t length) noexcept:
    cdef int i
    for i in range(methods_count):
        if METHOD[i].length == length and memcmp(METHOD[i].text, at, length) == 0:
            m.method = <bytes> METHODS[i]
            return True
    return False


cdef bint read_field(NativeMessage m, const unsigned char* data, int kind) noexcept:
    """Read the first line of a header that the server acts on."""
    cdef int line = m.count - 1
    cdef Span span
    cdef const unsigned char* at
    cdef const unsigned char* end
    cdef int number
    if kind > CONTENT_LENGTH or not kind:
        return True
    span = m.value_span(line)
    at = data + span.at
    end = at + span.length
    if kind == VIA:
        m.via_line = line
        # The stamp goes to the end of the line: blanks there are odd enough for the plain twin.
        return end[0] == CR and read_via(m, data, at, end)
    if kind == FROM:
        return read_party(data, at, end, &m.from_uri_span, &m.from_tag_span)
    if kind == TO:
        return read_party(data, at, end, &m.to_uri_span, &m.to_tag_span)
    if kind == CALL_ID:
        m.call_id_span = span
        return span.length > 0
    if kind == CSEQ:
        return read_cseq(m, at, end)
    if kind == MAX_FORWARDS:
        number = read_number(at, end)
        m.max_forwards = number
        m.max_forwards_line = line
        return 0 <= number <= 255 and span.length < 8
    if kind == CONTENT_LENGTH:
        m.content_length = read_number(at, end)
        return m.content_length >= 0
    return True


cdef int read_number(const unsigned char* at, const unsigned char* end) noexcept:
    """Return a number of one to nine digits, -1 when it is none."""
    cdef int number = 0
    if at == end or end - at > 9:
        return -1
    while at < end:
        if not CLASS[at[0]] & IS_DIGIT:
            return -1
        number = number * 10 + at[0] - 48
        at += 1
    return number


cdef bint read_cseq(
    NativeMessage m, const unsigned char* at, const unsigned char* end
) noexcept:
    cdef const unsigned char* start = at
    cdef long long number = 0
    while at < end and at - start <= 10 and CLASS[at[0]] & IS_DIGIT:
        number = number * 10 + at[0] - 48
        at += 1
    if not 1 <= at - start <= 10 or number > NUMBER_MAX:
        return False
    m.cseq = <int> number
    if at == end or (at[0] != SPACE and at[0] != TAB):
        return False
    while at < end and (at[0] == SPACE or at[0] == TAB):
        at += 1
    if m.status:
        return name_method(m, at, end - at)
    return (
        end - at == PyBytes_GET_SIZE(m.method)
        and memcmp(at, PyBytes_AS_STRING(m.method), end - at) == 0
    )


cdef bint read_party(
    const unsigned char* data, const unsigned char* at, const unsigned char* end,
    Span* uri, Span* tag,
) noexcept:
    cdef const unsigned char* start
    if at < end and at[0] == QUOTE:
        at += 1
        while at < end and at[0] != QUOTE:
            if at[0] == BACKSLASH:
                return False
            at += 1
        if at == end:
            return False
        at += 1
    else:
        while at < end and CLASS[at[0]] & IS_DISPLAY:
            at += 1
    if at < end and at[0] == SPACE:
        at += 1
    if at == end or at[0] != LESS:
        return False
    start = at + 1
    at = uri_end(start)
    if at == NULL or at[0] != GREATER:
        return False
    uri[0] = Span(<int> (start - data), <int> (at - start))
    at += 1
    tag[0] = Span(0, 0)
    if at == end:
        return True
    if end - at < 6 or memcmp(at, b";tag=", 5) != 0:
        return False
    at += 5
    start = at
    while at < end and CLASS[at[0]] & IS_TOKEN:
        at += 1
    tag[0] = Span(<int> (start - data), <int> (at - start))
    return at == end


cdef bint read_via(
    NativeMessage m, const unsigned char* data, const unsigned char* at, const unsigned char* end
) noexcept:
    cdef const unsigned char* start = at
    if end - at < 12 or memcmp(at, b"SIP/2.0/", 8) != 0:
        return False
    at += 8
    while at < end and 65 <= at[0] <= 90:
        at += 1
    if not 10 <= at - start <= 12 or at == end or at[0] != SPACE:
        return False
    at += 1
    start = at
    if at < end and at[0] == 91:
        at += 1
        while at < end and CLASS[at[0]] & IS_V6:
            at += 1
        if at == end or at[0] != 93 or at - start < 2:
            return False
        at += 1
    else:
        while at < end and CLASS[at[0]] & IS_HOST:
            at += 1
        # Letters and digits alone may begin and end a host.
        if at == start or start[0] < 48 or (at - 1)[0] < 48:
            return False
    m.host_span = Span(<int> (start - data), <int> (at - start))
    m.sent_port = 0
    if at < end and at[0] == COLON:
        at += 1
        start = at
        while at < end and CLASS[at[0]] & IS_DIGIT:
            at += 1
        m.sent_port = read_number(start, at)
        if start[0] == 48 or not 0 < m.sent_port < 65536:
            return False
    m.sent_by_span = Span(m.host_span.at, <int> (at - data) - m.host_span.at)
    return read_via_parameters(m, data, at, end)


cdef bint read_via_parameters(
    NativeMessage m, const unsigned char* data, const unsigned char* at, const unsigned char* end
) noexcept:
    cdef const unsigned char* names[PARAMS_MAX]
    cdef Py_ssize_t lengths[PARAMS_MAX]
    cdef const unsigned char* name
    cdef const unsigned char* value
    cdef Py_ssize_t length
    cdef int count = 0
    cdef int i
    m.rport = -1
    m.branch_span = Span(0, 0)
    while at < end:
        if at[0] != SEMICOLON or count == PARAMS_MAX:
            return False
        at += 1
        name = at
        while at < end and CLASS[at[0]] & IS_PARAM_NAME:
            at += 1
        length = at - name
        if not length or name[0] < 97:  # It begins with a letter.
            return False
        for i in range(count):
            if lengths[i] == length and memcmp(names[i], name, length) == 0:
                return False
        names[count] = name
        lengths[count] = length
        count += 1
        value = at
        if at < end and at[0] == EQUALS:
            at += 1
            value = at
            while at < end and CLASS[at[0]] & IS_PARAM_VALUE:
                at += 1
            if at == value:
                return False
        if length == 6 and memcmp(name, b"branch", 6) == 0:
            m.branch_span = Span(<int> (value - data), <int> (at - value))
        elif length == 5 and memcmp(name, b"rport", 5) == 0:
            m.rport = 0
            m.rport_ends = <int> (at - data)
            if at != value:
                m.rport = read_number(value, at)
                if not m.status or m.rport < 0 or at - value > 5:
                    return False
        elif length == 8 and memcmp(name, b"received", 8) == 0 and not m.status:
            return False
    length = m.branch_span.length
    return m.status != 0 or (
        length > 7 and memcmp(data + m.branch_span.at, PyBytes_AS_STRING(COOKIE), 7) == 0
    )
