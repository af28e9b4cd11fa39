/* SPDX-License-Identifier: Apache-2.0
 *
 * loadgen: a measured SIP load, the sender and every receiver in one process. See bench/README.md.
 *
 *   loadgen relay    --port P [--users N] [--count N] [--window N] [--digest USER PASSWORD]   MESSAGEs over UDP
 *   loadgen tcp      the same over TCP; --senders N --receivers N connections
 *   loadgen register --users N registrations, then the refresh of each
 *   loadgen rate     --rate R --seconds T: MESSAGEs over UDP at a steady pace, however the server keeps up
 *   loadgen response USER REALM PASSWORD METHOD URI NONCE NC CNONCE: prints a digest response, to check this program
 *
 * More: --host --domain --body-bytes --nonce-uses, --pid of the server to count its CPU, --limit-s to end it in any
 * case, --leave to end the bindings afterwards, --offline for recipients who are away.
 *
 * Prints one line of JSON and exits 0 when every request got its 200, 1 when not, 2 when it could not run.
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    USERS_MAX = 1000000,
    COUNT_MAX = 10000000,
    WINDOW_MAX = 65536,
    CONNECTIONS_MAX = 4096,
    RATE_MAX = 1000000,
    SECONDS_MAX = 3600,
    REGISTER_WINDOW = 64,
    EXPIRES_S = 3600,
    LEAVE_S = 10,
    PAUSE_MS = 300, /* between phases: what the one before left behind is not the next one's */
};

typedef struct {
    const char *mode;
    const char *host;
    Load load;
    int port, count, window, pid, senders, receivers, rate, seconds, limit_s, leaves;
} Options;

double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

static int number(const char *name, const char *text, int least, int most) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most)
        die("%s is not a number from %d to %d: %s", name, least, most, text);
    return (int)value;
}

static int same(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* The part of a name that needs no escaping in a URI, a header and a quoted string alike. */
static const char *plain(const char *name, const char *text, int most) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t len = strlen(text);
    if (!len || len > (size_t)most || strspn(text, allowed) != len)
        die("%s has to be 1 to %d of letters, digits, '.', '-' and '_': %s", name, most, text);
    return text;
}

static void take_option(Options *out, const char *name, const char *value, int argc, char **argv) {
    if (same(name, "host")) out->host = value;
    else if (same(name, "domain")) out->load.domain = plain(name, value, REALM_BYTES_MAX);
    else if (same(name, "port")) out->port = number(name, value, 1, 65535);
    else if (same(name, "users")) out->load.users = number(name, value, 1, USERS_MAX);
    else if (same(name, "count")) out->count = number(name, value, 1, COUNT_MAX);
    else if (same(name, "window")) out->window = number(name, value, 1, WINDOW_MAX);
    else if (same(name, "pid")) out->pid = number(name, value, 1, 1 << 30);
    else if (same(name, "body-bytes")) out->load.body_bytes = number(name, value, 0, BODY_BYTES_MAX);
    else if (same(name, "nonce-uses")) out->load.nonce_uses = number(name, value, 0, 1 << 30);
    else if (same(name, "senders")) out->senders = number(name, value, 1, CONNECTIONS_MAX);
    else if (same(name, "receivers")) out->receivers = number(name, value, 1, CONNECTIONS_MAX);
    else if (same(name, "rate")) out->rate = number(name, value, 1, RATE_MAX);
    else if (same(name, "seconds")) out->seconds = number(name, value, 1, SECONDS_MAX);
    else if (same(name, "limit-s")) out->limit_s = number(name, value, 1, SECONDS_MAX);
    else if (same(name, "leave")) out->leaves = 1;
    else if (same(name, "offline")) out->load.is_offline = 1;
    else if (same(name, "digest")) {
        if (optind >= argc) die("digest needs a user and a password");
        out->load.sender = plain(name, value, USER_BYTES_MAX - 1);
        out->load.password = plain(name, argv[optind++], 200);
    }
}

static Options options_of(int argc, char **argv) {
    static const struct option known[] = {
        {"host", 1, 0, 0},      {"domain", 1, 0, 0},    {"port", 1, 0, 0},       {"users", 1, 0, 0},
        {"count", 1, 0, 0},     {"window", 1, 0, 0},    {"pid", 1, 0, 0},        {"body-bytes", 1, 0, 0},
        {"senders", 1, 0, 0},   {"receivers", 1, 0, 0}, {"nonce-uses", 1, 0, 0}, {"rate", 1, 0, 0},
        {"seconds", 1, 0, 0},   {"limit-s", 1, 0, 0},   {"digest", 1, 0, 0},     {"leave", 0, 0, 0},
        {"offline", 0, 0, 0},
        {0, 0, 0, 0},
    };
    Options out = {
        .host = "127.0.0.1", .count = 50000, .window = 64, .senders = 8, .receivers = 8,
        .rate = 1000, .seconds = 5, .limit_s = 120,
        .load = {.domain = "example.com", .users = 1000, .body_bytes = 12, .sender = "u0", .nonce_uses = 128},
    };
    int which;
    if (argc < 2) die("which load: relay, tcp, register or rate?");
    out.mode = argv[1];
    optind = 2;
    while (getopt_long(argc, argv, "", known, &which) == 0) take_option(&out, known[which].name, optarg, argc, argv);
    if (optind != argc || optopt) die("not an option: %s", optind < argc ? argv[optind] : argv[argc - 1]);
    if (!out.port) die("port is missing");
    if (same(out.mode, "tcp") && out.load.password) die("digest is for relay and rate");
    if ((long)out.rate * out.seconds > COUNT_MAX) die("rate times seconds is over %d", COUNT_MAX);
    return out;
}

static int rising(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_latency(Figures *figures, const char *name, double share) {
    long n = figures->latencies;
    if (n == 0) printf(",\"%s\":null", name);
    else printf(",\"%s\":%.3f", name, figures->latency_ms[(long)((double)(n - 1) * share)]);
}

static void print_phase(const char *name, Figures *f, long count, int has_server) {
    long good = f->ok + f->accepted;
    qsort(f->latency_ms, f->latencies, sizeof(float), rising);
    printf(",\"%s\":{\"count\":%ld,\"ok\":%ld,\"accepted\":%ld,\"fail\":%ld,\"status\":%d,\"retransmits\":%ld,"
           "\"challenges\":%ld,\"received\":%ld,\"seconds\":%.3f,\"per_s\":%.1f",
           name, count, f->ok, f->accepted, f->refused + f->lost, f->status, f->retransmits, f->challenges, f->received,
           f->seconds, f->seconds > 0 ? (double)good / f->seconds : 0);
    print_latency(f, "p50_ms", 0.50);
    print_latency(f, "p99_ms", 0.99);
    print_latency(f, "max_ms", 1.0);
    if (has_server) printf(",\"server_cpu_us\":%.3f", f->server_cpu_s / (double)count * 1e6);
    else printf(",\"server_cpu_us\":null");
    printf(",\"own_cpu_us\":%.3f}", f->own_cpu_s / (double)count * 1e6);
}

/* Runs a phase, prints its figures; 1 when a request failed. */
static int measure(const Options *options, Transport *transport, Phase phase, const char *name, double deadline) {
    Figures figures = {0};
    struct timespec pause = {0, PAUSE_MS * 1000000L};
    nanosleep(&pause, NULL);
    double server_before = meter_tree(options->pid).cpu_s, own_before = meter_own_cpu_s();
    run_phase(transport, &options->load, &phase, deadline, &figures);
    figures.own_cpu_s = meter_own_cpu_s() - own_before;
    figures.server_cpu_s = meter_tree(options->pid).cpu_s - server_before;
    print_phase(name, &figures, phase.count, options->pid > 0);
    free(figures.latency_ms);
    return figures.ok + figures.accepted < phase.count;
}

/* Ends the bindings: the next run on this server must not fork to sockets that are closed by then. */
static void leave(const Options *options, Transport *transport, double deadline) {
    Figures unused = {0};
    Phase phase = {REGISTER, 'x', 30, 0, options->load.users, REGISTER_WINDOW, 0};
    double soon = now_s() + LEAVE_S;
    run_phase(transport, &options->load, &phase, soon < deadline ? soon : deadline, &unused);
    free(unused.latency_ms);
}

static int print_response(int argc, char **argv) {
    char ha1[33], response[33];
    if (argc != 10) die("response needs USER REALM PASSWORD METHOD URI NONCE NC CNONCE");
    digest_ha1(argv[2], argv[3], argv[4], ha1);
    Credentials who = {argv[2], ha1, argv[9], (unsigned)number("nc", argv[8], 1, 1 << 30)};
    digest_response(&who, argv[7], argv[5], argv[6], response);
    puts(response);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && same(argv[1], "response")) return print_response(argc, argv);
    Options options = options_of(argc, argv);
    int is_rate = same(options.mode, "rate"), is_register = same(options.mode, "register"), failed = 0;
    if (!is_rate && !is_register && !same(options.mode, "relay") && !same(options.mode, "tcp"))
        die("not a load: %s", options.mode);
    alarm((unsigned)options.limit_s + 10); /* whatever happens, it ends */
    double deadline = now_s() + options.limit_s;
    Transport *transport = same(options.mode, "tcp")
                               ? tcp_open(options.host, options.port, options.senders, options.receivers)
                               : udp_open(options.host, options.port);

    int users = options.load.users, enrol_window = is_register ? options.window : REGISTER_WINDOW;
    Phase enrol = {REGISTER, 'n', 10, EXPIRES_S, users, enrol_window, 0};
    Phase refresh = {REGISTER, 'f', 20, EXPIRES_S, users, options.window, 0};
    Phase relay = {MESSAGE, 'm', 1, 0, is_rate ? (long)options.rate * options.seconds : options.count,
                   is_rate ? WINDOW_MAX : options.window, is_rate ? options.rate : 0};
    printf("{\"mode\":\"%s\",\"users\":%d,\"window\":%d", options.mode, options.load.users, options.window);
    failed |= measure(&options, transport, enrol, "new", deadline);
    if (is_register) failed |= measure(&options, transport, refresh, "refresh", deadline);
    else if (!failed) failed |= measure(&options, transport, relay, "message", deadline);
    Meter end = meter_tree(options.pid);
    if (options.pid) printf(",\"rss_mb\":%.1f,\"processes\":%d}\n", end.rss_mb, end.processes);
    else printf(",\"rss_mb\":null,\"processes\":null}\n");
    fflush(stdout);
    if (options.leaves) leave(&options, transport, deadline);
    return failed;
}
