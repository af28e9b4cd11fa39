/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP: a number of connections for senders and for receivers, framed by Content-Length (RFC 3261 §18.3).
 *
 * What a turn produces for one connection leaves in one write, and a read takes as many messages as there are.
 */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IN_BYTES = 256 * 1024,
    OUT_BYTES_MAX = 64 << 20, /* a server that lets so much pile up has stopped reading */
    EVENTS = 64,
};

typedef struct {
    int fd;
    Role role;
    int index; /* within its role */
    int is_dirty;
    int waits_for_room;
    int in_len;
    int out_len;
    int out_size;
    char *in;
    char *out;
    char sent_by[SENT_BY_BYTES_MAX];
} Line;

typedef struct {
    Transport transport;
    int epoll;
    Line *lines; /* the senders', then the receivers' */
    int *dirty;
    int dirty_count;
} Tcp;

static Line *line_of(Tcp *tcp, Role role, int index) {
    return &tcp->lines[role == RECEIVER ? tcp->transport.lines[SENDER] + index : index];
}

static void open_line(Tcp *tcp, Line *line, const struct sockaddr_in *server) {
    int on = 1;
    struct sockaddr_in own;
    socklen_t own_len = sizeof own;
    char address[INET_ADDRSTRLEN];
    line->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (line->fd < 0) die("no socket: %s", strerror(errno));
    if (connect(line->fd, (const struct sockaddr *)server, sizeof *server) < 0) die("no connection: %s", strerror(errno));
    setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    getsockname(line->fd, (struct sockaddr *)&own, &own_len);
    inet_ntop(AF_INET, &own.sin_addr, address, sizeof address);
    snprintf(line->sent_by, sizeof line->sent_by, "%s:%d", address, ntohs(own.sin_port));
    line->in = malloc(IN_BYTES);
    if (!line->in) die("out of memory");
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)(line - tcp->lines)};
    epoll_ctl(tcp->epoll, EPOLL_CTL_ADD, line->fd, &event);
}

static void watch_room(Tcp *tcp, Line *line, int waits) {
    if (line->waits_for_room == waits) return;
    struct epoll_event event = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.u32 = (uint32_t)(line - tcp->lines)};
    epoll_ctl(tcp->epoll, EPOLL_CTL_MOD, line->fd, &event);
    line->waits_for_room = waits;
}

static void write_line(Tcp *tcp, Line *line) {
    ssize_t n = send(line->fd, line->out, line->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) die("the server closed a connection: %s", strerror(errno));
    if (n > 0) {
        line->out_len -= (int)n;
        memmove(line->out, line->out + n, line->out_len);
    }
    watch_room(tcp, line, line->out_len > 0);
}

static const char *sent_by(Transport *transport, Role role, int line) {
    return line_of((Tcp *)transport, role, line)->sent_by;
}

static void flush(Transport *transport) {
    Tcp *tcp = (Tcp *)transport;
    for (int i = 0; i < tcp->dirty_count; i++) {
        Line *line = &tcp->lines[tcp->dirty[i]];
        line->is_dirty = 0;
        if (!line->waits_for_room) write_line(tcp, line);
    }
    tcp->dirty_count = 0;
}

static void send_stream(Transport *transport, Role role, int index, const char *data, int len) {
    Tcp *tcp = (Tcp *)transport;
    Line *line = line_of(tcp, role, index);
    if (line->out_len + len > line->out_size) {
        if (line->out_size >= OUT_BYTES_MAX) die("the server stopped reading a connection");
        line->out_size = line->out_size ? line->out_size * 2 : 4 * MESSAGE_BYTES_MAX;
        line->out = realloc(line->out, line->out_size);
        if (!line->out) die("out of memory");
    }
    memcpy(line->out + line->out_len, data, len);
    line->out_len += len;
    if (line->is_dirty) return;
    line->is_dirty = 1;
    tcp->dirty[tcp->dirty_count++] = (int)(line - tcp->lines);
}

static void read_line(Line *line, Arrived *arrived, void *owner) {
    ssize_t n = recv(line->fd, line->in + line->in_len, IN_BYTES - line->in_len, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) die("the server closed a connection: %s", n ? strerror(errno) : "end of stream");
    if (n < 0) return;
    int end = line->in_len + (int)n, at = 0, bytes = 0;
    while (at < end) {
        if (line->in[at] == '\r' || line->in[at] == '\n') { /* a keep-alive (RFC 5626 §3.5.1) */
            at++;
            continue;
        }
        bytes = wire_frame(line->in + at, end - at);
        if (bytes < 0) die("the server sent what is not SIP: %.60s", line->in + at);
        if (bytes == 0) break;
        arrived(owner, line->role, line->index, line->in + at, bytes);
        at += bytes;
    }
    line->in_len = end - at;
    memmove(line->in, line->in + at, line->in_len);
}

static void turn(Transport *transport, double wait_s, Arrived *arrived, void *owner) {
    Tcp *tcp = (Tcp *)transport;
    struct epoll_event events[EVENTS];
    int n = epoll_wait(tcp->epoll, events, EVENTS, wait_s < 0.001 ? 1 : (int)(wait_s * 1e3));
    for (int i = 0; i < n; i++) {
        Line *line = &tcp->lines[events[i].data.u32];
        if (events[i].events & EPOLLOUT) write_line(tcp, line);
        if (events[i].events & ~(uint32_t)EPOLLOUT) read_line(line, arrived, owner);
    }
}

Transport *tcp_open(const char *host, int port, int senders, int receivers) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    Tcp *tcp = calloc(1, sizeof *tcp);
    if (inet_pton(AF_INET, host, &server.sin_addr) != 1) die("not an IPv4 address: %s", host);
    if (!tcp) die("out of memory");
    tcp->transport = (Transport){"TCP", 1, {senders, receivers}, sent_by, send_stream, flush, turn};
    tcp->epoll = epoll_create1(EPOLL_CLOEXEC);
    tcp->lines = calloc(senders + receivers, sizeof *tcp->lines);
    tcp->dirty = calloc(senders + receivers, sizeof *tcp->dirty);
    if (!tcp->lines || !tcp->dirty) die("out of memory");
    for (int i = 0; i < senders + receivers; i++) {
        tcp->lines[i].role = i < senders ? SENDER : RECEIVER;
        tcp->lines[i].index = i < senders ? i : i - senders;
        open_line(tcp, &tcp->lines[i], &server);
    }
    return &tcp->transport;
}
