/* SPDX-License-Identifier: Apache-2.0
 *
 * UDP in batches: one socket for the sender, one for all receivers, both connected to the server.
 */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    BATCH = 64,
    BATCHES_A_TURN = 4, /* so that neither socket starves the other */
    SOCKET_BUFFER_BYTES = 4 << 20,
};

typedef struct {
    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    char bytes[BATCH][MESSAGE_BYTES_MAX];
} Batch;

typedef struct {
    int fd;
    int queued;
    char sent_by[SENT_BY_BYTES_MAX];
    Batch in;
    Batch out;
} Socket;

typedef struct {
    Transport transport;
    Socket sockets[2];
} Udp;

static void prepare(Batch *batch) {
    for (int i = 0; i < BATCH; i++) {
        batch->vectors[i] = (struct iovec){batch->bytes[i], MESSAGE_BYTES_MAX};
        batch->headers[i].msg_hdr = (struct msghdr){.msg_iov = &batch->vectors[i], .msg_iovlen = 1};
    }
}

static void open_socket(Socket *socket_, const struct sockaddr_in *server) {
    int buffer_bytes = SOCKET_BUFFER_BYTES;
    struct sockaddr_in own;
    socklen_t own_len = sizeof own;
    char address[INET_ADDRSTRLEN];
    socket_->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_->fd < 0) die("no socket: %s", strerror(errno));
    setsockopt(socket_->fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    setsockopt(socket_->fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
    if (connect(socket_->fd, (const struct sockaddr *)server, sizeof *server) < 0) die("no route: %s", strerror(errno));
    getsockname(socket_->fd, (struct sockaddr *)&own, &own_len);
    inet_ntop(AF_INET, &own.sin_addr, address, sizeof address);
    snprintf(socket_->sent_by, sizeof socket_->sent_by, "%s:%d", address, ntohs(own.sin_port));
    prepare(&socket_->in);
    prepare(&socket_->out);
}

static const char *sent_by(Transport *transport, Role role, int line) {
    (void)line;
    return ((Udp *)transport)->sockets[role].sent_by;
}

/* A datagram that the kernel refuses is lost, as on any network: Timer E repeats it. */
static void flush_socket(Socket *socket_) {
    int sent = 0;
    while (sent < socket_->queued) {
        int n = sendmmsg(socket_->fd, socket_->out.headers + sent, socket_->queued - sent, 0);
        if (n > 0) {
            sent += n;
        } else if (errno == EAGAIN) {
            struct pollfd writable = {socket_->fd, POLLOUT, 0};
            if (poll(&writable, 1, 100) <= 0) break;
        } else {
            sent++;
        }
    }
    socket_->queued = 0;
}

static void flush(Transport *transport) {
    for (int role = SENDER; role <= RECEIVER; role++) flush_socket(&((Udp *)transport)->sockets[role]);
}

static void send_datagram(Transport *transport, Role role, int line, const char *data, int len) {
    Socket *socket_ = &((Udp *)transport)->sockets[role];
    (void)line;
    memcpy(socket_->out.bytes[socket_->queued], data, len);
    socket_->out.vectors[socket_->queued++].iov_len = len;
    if (socket_->queued == BATCH) flush_socket(socket_);
}

static void drain(Socket *socket_, Role role, Arrived *arrived, void *owner) {
    for (int batch = 0; batch < BATCHES_A_TURN; batch++) {
        int n = recvmmsg(socket_->fd, socket_->in.headers, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < n; i++) arrived(owner, role, 0, socket_->in.bytes[i], (int)socket_->in.headers[i].msg_len);
        if (n < BATCH) return;
    }
}

static void turn(Transport *transport, double wait_s, Arrived *arrived, void *owner) {
    Udp *udp = (Udp *)transport;
    struct pollfd readable[2] = {{udp->sockets[SENDER].fd, POLLIN, 0}, {udp->sockets[RECEIVER].fd, POLLIN, 0}};
    struct timespec wait = {(time_t)wait_s, (long)((wait_s - (double)(time_t)wait_s) * 1e9)};
    if (ppoll(readable, 2, &wait, NULL) <= 0) return;
    if (readable[RECEIVER].revents) drain(&udp->sockets[RECEIVER], RECEIVER, arrived, owner);
    if (readable[SENDER].revents) drain(&udp->sockets[SENDER], SENDER, arrived, owner);
}

Transport *udp_open(const char *host, int port) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    Udp *udp = calloc(1, sizeof *udp);
    if (!udp) die("out of memory");
    if (inet_pton(AF_INET, host, &server.sin_addr) != 1) die("not an IPv4 address: %s", host);
    open_socket(&udp->sockets[SENDER], &server);
    open_socket(&udp->sockets[RECEIVER], &server);
    udp->transport = (Transport){"UDP", 0, {1, 1}, sent_by, send_datagram, flush, turn};
    return &udp->transport;
}
