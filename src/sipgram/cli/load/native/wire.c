/* SPDX-License-Identifier: Apache-2.0
 *
 * SIP text, as much of it as a load needs (RFC 3261 §7, §8.2.6, §18.3; digest: RFC 2617).
 */
#define _GNU_SOURCE
#include "load.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

Writer writer_on(char *buffer, int size) { return (Writer){buffer, buffer, buffer + size, 0}; }

void put_bytes(Writer *out, const char *bytes, int len) {
    if (len > out->end - out->at) {
        out->full = 1;
        return;
    }
    memcpy(out->at, bytes, len);
    out->at += len;
}

void put(Writer *out, const char *text) { put_bytes(out, text, (int)strlen(text)); }

void put_number(Writer *out, unsigned long number) {
    char digits[24], *at = digits + sizeof digits;
    do *--at = (char)('0' + number % 10);
    while (number /= 10);
    put_bytes(out, at, (int)(digits + sizeof digits - at));
}

int written(const Writer *out) { return out->full ? 0 : (int)(out->at - out->start); }

int wire_status(const char *message, int len) {
    if (len < 12) return -1;
    if (memcmp(message, "SIP/2.0 ", 8) != 0) return isalpha((unsigned char)message[0]) ? 0 : -1;
    int status = 0;
    for (int i = 8; i < 11; i++) {
        if (!isdigit((unsigned char)message[i])) return -1;
        status = status * 10 + message[i] - '0';
    }
    return status;
}

/* The next header line after `at`, without its CRLF; at = NULL at the empty line and at the end. */
static Span next_line(const char *at, const char *end) {
    const char *eol = memmem(at, end - at, "\r\n", 2);
    if (!eol || eol == at) return (Span){NULL, 0};
    return (Span){at, (int)(eol - at)};
}

static const char *first_header(const char *message, int len) {
    const char *eol = memmem(message, len, "\r\n", 2);
    return eol ? eol + 2 : message + len;
}

/* Where the value starts when the line is the header of that name; else NULL. */
static const char *value_if(Span line, const char *name, char compact) {
    int size = (int)strlen(name);
    const char *at = line.at, *end = line.at + line.len;
    if (line.len > size && strncasecmp(at, name, size) == 0) at += size;
    else if (compact && (at[0] | 0x20) == compact) at += 1;
    else return NULL;
    while (at < end && (*at == ' ' || *at == '\t')) at++;
    if (at == end || *at != ':') return NULL;
    do at++;
    while (at < end && (*at == ' ' || *at == '\t'));
    return at;
}

Span wire_header(const char *message, int len, const char *name, char compact) {
    const char *end = message + len, *value;
    Span line = next_line(first_header(message, len), end);
    for (; line.at; line = next_line(line.at + line.len + 2, end))
        if ((value = value_if(line, name, compact))) return (Span){value, (int)(line.at + line.len - value)};
    return (Span){NULL, 0};
}

int wire_frame(const char *data, int len) {
    const char *blank = memmem(data, len, "\r\n\r\n", 4);
    if (!blank) return len < MESSAGE_BYTES_MAX ? 0 : -1;
    int head = (int)(blank - data) + 4;
    Span length = wire_header(data, head, "Content-Length", 'l');
    if (!length.at) return -1; /* §18.3: it must be there on a stream */
    long body = strtol(length.at, NULL, 10);
    if (body < 0 || head + body > MESSAGE_BYTES_MAX) return -1;
    return head + body <= len ? head + (int)body : 0;
}

/* RFC 3261 §8.2.6.2: Via in order, From, Call-ID and CSeq as they came, To with a tag. */
int wire_reply(const char *request, int len, Writer *out) {
    const char *end = request + len;
    Span line = next_line(first_header(request, len), end);
    put(out, "SIP/2.0 200 OK\r\n");
    for (; line.at; line = next_line(line.at + line.len + 2, end)) {
        int initial = line.at[0] | 0x20;
        int is_to = initial == 't' && value_if(line, "To", 't') != NULL;
        int is_copied = is_to || (initial == 'v' && value_if(line, "Via", 'v')) ||
                        (initial == 'f' && value_if(line, "From", 'f')) ||
                        ((initial == 'c' || initial == 'i') && value_if(line, "Call-ID", 'i')) ||
                        (initial == 'c' && value_if(line, "CSeq", 0));
        if (!is_copied) continue;
        put_bytes(out, line.at, line.len);
        if (is_to && !memmem(line.at, line.len, ";tag=", 5)) put(out, ";tag=load");
        put(out, "\r\n");
    }
    put(out, "Content-Length: 0\r\n\r\n");
    return written(out);
}

/* A parameter of a challenge, without its quotes; 0 when it is missing or does not fit. */
static int take_parameter(Span from, const char *name, char *out, int size) {
    int name_len = (int)strlen(name), n = 0;
    const char *end = from.at + from.len;
    for (const char *at = from.at; at + name_len < end; at++) {
        int is_start = at == from.at || at[-1] == ' ' || at[-1] == ',';
        if (!is_start || at[name_len] != '=' || strncasecmp(at, name, name_len) != 0) continue;
        at += name_len + 1;
        int is_quoted = at < end && *at == '"';
        for (at += is_quoted; at < end && n < size - 1; out[n++] = *at++)
            if (is_quoted ? *at == '"' : (*at == ',' || *at == ' ')) break;
        out[n] = 0;
        return n < size - 1;
    }
    out[0] = 0;
    return 0;
}

int wire_challenge(const char *response, int len, Challenge *out) {
    char algorithm[32], stale[8];
    int is_proxy = wire_status(response, len) == 407;
    Span value = wire_header(response, len, is_proxy ? "Proxy-Authenticate" : "WWW-Authenticate", 0);
    if (!value.at || value.len < 8 || strncasecmp(value.at, "Digest ", 7) != 0) return 0;
    value.at += 7, value.len -= 7;
    if (take_parameter(value, "algorithm", algorithm, sizeof algorithm) && strcasecmp(algorithm, "MD5") != 0) return 0;
    out->is_proxy = is_proxy;
    out->is_stale = take_parameter(value, "stale", stale, sizeof stale) && strcasecmp(stale, "true") == 0;
    take_parameter(value, "opaque", out->opaque, sizeof out->opaque);
    return take_parameter(value, "realm", out->realm, sizeof out->realm) &&
           take_parameter(value, "nonce", out->nonce, sizeof out->nonce);
}

void digest_ha1(const char *user, const char *realm, const char *password, char hex[33]) {
    char text[1024];
    int len = snprintf(text, sizeof text, "%s:%s:%s", user, realm, password);
    if (len >= (int)sizeof text) die("user, realm and password are over %zu bytes together", sizeof text);
    md5_hex(text, len, hex);
}

static void put_nc(Writer *out, unsigned nc) {
    char digits[8];
    for (int i = 7; i >= 0; i--, nc >>= 4) digits[i] = "0123456789abcdef"[nc & 15];
    put_bytes(out, digits, 8);
}

/* RFC 2617 §3.2.2.1 with qop=auth. */
void digest_response(const Credentials *who, const char *nonce, const char *method, const char *uri, char hex[33]) {
    char text[1024], ha2[33];
    Writer out = writer_on(text, sizeof text);
    put(&out, method), put(&out, ":"), put(&out, uri);
    md5_hex(text, written(&out), ha2);

    out = writer_on(text, sizeof text);
    put_bytes(&out, who->ha1, 32), put(&out, ":"), put(&out, nonce), put(&out, ":"), put_nc(&out, who->nc);
    put(&out, ":"), put(&out, who->cnonce), put(&out, ":auth:"), put_bytes(&out, ha2, 32);
    if (out.full) die("nonce is too long: %s", nonce);
    md5_hex(text, written(&out), hex);
}

void put_credentials(Writer *out, const Challenge *challenge, const Credentials *who, const char *method, const char *uri) {
    char response[33];
    digest_response(who, challenge->nonce, method, uri, response);
    put(out, challenge->is_proxy ? "Proxy-Authorization: Digest username=\"" : "Authorization: Digest username=\"");
    put(out, who->user);
    put(out, "\", realm=\""), put(out, challenge->realm);
    put(out, "\", nonce=\""), put(out, challenge->nonce);
    put(out, "\", uri=\""), put(out, uri);
    put(out, "\", response=\""), put_bytes(out, response, 32);
    put(out, "\", algorithm=MD5, cnonce=\""), put(out, who->cnonce);
    put(out, "\", qop=auth, nc="), put_nc(out, who->nc);
    if (challenge->opaque[0]) put(out, ", opaque=\""), put(out, challenge->opaque), put(out, "\"");
    put(out, "\r\n");
}
