/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the load generator know of each other.
 *
 *   loadgen.c   arguments, the phases of a run, the JSON line
 *   caller.c    client transactions: building, retransmitting, answering challenges (RFC 3261 §17.1.2, §22)
 *   wire.c      SIP text: headers, replies, framing, challenges (RFC 3261 §7, §8.2.6, §18.3, RFC 2617)
 *   udp.c tcp.c the two transports, both in batches
 *   meter.c     CPU and memory of a tree of processes
 *   md5.c       RFC 1321
 *
 * Times are seconds of CLOCK_MONOTONIC in a double.
 */
#ifndef SIPGRAM_LOAD_H
#define SIPGRAM_LOAD_H

#include <stdint.h>

enum {
    MESSAGE_BYTES_MAX = 8192, /* one SIP message, with everything that a proxy adds */
    BODY_BYTES_MAX = 4000,    /* leaves the rest of a message to headers */
    USER_BYTES_MAX = 64,
    REALM_BYTES_MAX = 128,
    NONCE_BYTES_MAX = 256,
    SENT_BY_BYTES_MAX = 64,
    USERS_AWAY = 1000000, /* from here on nobody registers */
};

double now_s(void);
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* md5.c */
void md5_hex(const char *text, int len, char hex[33]);

/* meter.c: figures of a process and all its descendants. */
typedef struct {
    double cpu_s; /* time on a CPU, threads of all processes together */
    double rss_mb;
    int processes;
} Meter;
Meter meter_tree(int pid);
double meter_own_cpu_s(void);

/* wire.c */
typedef struct {
    const char *at;
    int len;
} Span;

/* Appends to a buffer of a fixed size; sets `full` where it would run over. */
typedef struct {
    char *start;
    char *at;
    char *end;
    int full;
} Writer;

Writer writer_on(char *buffer, int size);
void put_bytes(Writer *out, const char *bytes, int len);
void put(Writer *out, const char *text);
void put_number(Writer *out, unsigned long number);
int written(const Writer *out); /* bytes, or 0 when they did not fit */

typedef struct {
    int is_proxy; /* 407: answered in Proxy-Authorization */
    int is_stale;
    char realm[REALM_BYTES_MAX];
    char nonce[NONCE_BYTES_MAX];
    char opaque[NONCE_BYTES_MAX];
} Challenge;

typedef struct {
    const char *user;
    const char *ha1; /* hex, RFC 2617 §3.2.2.2 */
    const char *cnonce;
    unsigned nc;
} Credentials;

int wire_status(const char *message, int len);                     /* 0 for a request, -1 for neither */
Span wire_header(const char *message, int len, const char *name, char compact); /* value; at = NULL without */
int wire_frame(const char *data, int len);                         /* bytes of the first message, 0 = more, -1 = broken */
int wire_reply(const char *request, int len, Writer *out);         /* 200 of a UAS; 0 when the request is broken */
int wire_challenge(const char *response, int len, Challenge *out); /* 0 when there is none for MD5 */
void digest_ha1(const char *user, const char *realm, const char *password, char hex[33]);
void digest_response(const Credentials *who, const char *nonce, const char *method, const char *uri, char hex[33]);
void put_credentials(Writer *out, const Challenge *challenge, const Credentials *who, const char *method, const char *uri);

/* udp.c, tcp.c: a transport has lines (sockets); UDP has one line each for sender and receivers. */
typedef enum { SENDER, RECEIVER } Role;
typedef void Arrived(void *owner, Role role, int line, const char *data, int len);

typedef struct Transport Transport;
struct Transport {
    const char *name; /* as in Via */
    int is_reliable;
    int lines[2]; /* per role */
    const char *(*sent_by)(Transport *, Role, int line);
    void (*send)(Transport *, Role, int line, const char *data, int len); /* copies; goes out at flush */
    void (*flush)(Transport *);
    void (*turn)(Transport *, double wait_s, Arrived *, void *owner); /* waits, then hands over what came */
};

Transport *udp_open(const char *host, int port);
Transport *tcp_open(const char *host, int port, int senders, int receivers);

/* caller.c */
typedef struct {
    const char *domain;
    int users;
    int body_bytes;
    int is_offline;       /* messages go to users who never registered */
    const char *sender;   /* user part of the account that sends */
    const char *password; /* NULL: no digest */
    int nonce_uses;       /* a new nonce is fetched after so many; 0: never */
} Load;

typedef struct {
    long ok;          /* 200 */
    long accepted;    /* another 2xx: stored, not delivered */
    long refused;     /* another final answer */
    long lost;        /* Timer F, or never sent before the run's end */
    long retransmits; /* Timer E */
    long challenges;
    long received; /* requests that reached a receiver */
    int status;    /* the last refusal's */
    double seconds;
    double server_cpu_s;
    double own_cpu_s;
    float *latency_ms; /* of the 2xx */
    long latencies;
} Figures;

typedef enum { REGISTER, MESSAGE } Method;

typedef struct {
    Method method;
    char letter;   /* sets this phase's branches apart */
    unsigned cseq; /* of the first attempt */
    unsigned expires_s; /* of a REGISTER; 0 ends the binding */
    long count;
    int window;  /* requests outstanding at most */
    double rate; /* requests a second, 0: as fast as answers come */
} Phase;

void run_phase(Transport *transport, const Load *load, const Phase *phase, double deadline, Figures *out);

#endif
