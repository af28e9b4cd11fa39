/* SPDX-License-Identifier: Apache-2.0
 *
 * The client transactions of a load and its receivers' answers (RFC 3261 §17.1.2, §22.2, §22.3).
 *
 * A request lives in a slot. Its branch names the slot and the serial of the attempt, so that an answer finds its
 * slot without a search and an answer to an earlier attempt is known as such. Slots are used last in, first out:
 * a small window stays in the processor's cache.
 */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define T1 0.5
#define T2 4.0
#define SCAN_INTERVAL 0.02      /* of the retransmission timers */
#define PACE_INTERVAL 0.0002    /* requests due within it leave together */
#define CHALLENGES_MAX 4        /* of one request */

typedef struct {
    uint32_t serial; /* of the attempt on its way; 0: the slot is free */
    uint32_t item;   /* which message, or whose registration */
    unsigned cseq;
    unsigned generation; /* of the nonce that it was signed with; 0: unsigned */
    int is_renewal;      /* sent unsigned to fetch a nonce for those that follow */
    int challenges;
    int line;
    int wire_bytes;
    double began;
    double resend_at; /* Timer E */
    double interval;
} Call;

typedef struct {
    Transport *transport;
    const Load *load;
    const Phase *phase;
    Figures *figures;
    Call *calls;
    char *wires;
    int *free_slots;
    int free_count;
    int top; /* slots used so far: the rest has never been touched */
    uint32_t serial;
    long started;
    long ended;
    double began;
    char marker[32]; /* starts every branch of this phase */
    char salt[16];
    char *body;
    Challenge challenge; /* of the sender, shared by its messages */
    unsigned generation;
    unsigned nc;
    int is_renewing;
    char ha1[33];
} Caller;

static Role role_of(const Caller *caller) { return caller->phase->method == REGISTER ? RECEIVER : SENDER; }

static void put_address(Writer *out, const char *user, long index, const char *domain) {
    put(out, "sip:"), put(out, user);
    if (index >= 0) put_number(out, index);
    put(out, "@"), put(out, domain);
}

static long recipient_of(const Caller *caller, uint32_t item) {
    long user = (item * 2654435761u) % (unsigned)caller->load->users; /* Knuth's multiplier spreads them evenly */
    return user + (caller->load->is_offline ? USERS_AWAY : 0);
}

static void put_message(Caller *caller, Writer *out, uint32_t item) {
    const Load *load = caller->load;
    put(out, "From: <"), put_address(out, load->sender, -1, load->domain);
    put(out, ">;tag=m"), put_number(out, item);
    put(out, "\r\nTo: <"), put_address(out, "u", recipient_of(caller, item), load->domain);
    put(out, ">\r\nContent-Type: text/plain\r\n");
}

static void put_register(Caller *caller, Writer *out, uint32_t item, const char *sent_by) {
    const Load *load = caller->load;
    put(out, "From: <"), put_address(out, "u", item, load->domain);
    put(out, ">;tag=r"), put_number(out, item);
    put(out, "\r\nTo: <"), put_address(out, "u", item, load->domain);
    put(out, ">\r\nContact: <sip:u"), put_number(out, item);
    put(out, "@"), put(out, sent_by);
    put(out, caller->transport->is_reliable ? ";transport=tcp>\r\nExpires: " : ">\r\nExpires: ");
    put_number(out, caller->phase->expires_s), put(out, "\r\n");
}

/* Writes the slot's next attempt; with credentials when there is a challenge to answer. */
static void build(Caller *caller, int slot, const Challenge *challenge, const Credentials *who) {
    Call *call = &caller->calls[slot];
    const Load *load = caller->load;
    const char *method = caller->phase->method == REGISTER ? "REGISTER" : "MESSAGE";
    const char *sent_by = caller->transport->sent_by(caller->transport, role_of(caller), call->line);
    char uri[512];
    Writer target = writer_on(uri, sizeof uri - 1);
    if (caller->phase->method == REGISTER) put(&target, "sip:"), put(&target, load->domain);
    else put_address(&target, "u", recipient_of(caller, call->item), load->domain);
    *target.at = 0;

    call->serial = ++caller->serial;
    Writer out = writer_on(caller->wires + (size_t)slot * MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
    put(&out, method), put(&out, " "), put(&out, uri);
    put(&out, " SIP/2.0\r\nVia: SIP/2.0/"), put(&out, caller->transport->name), put(&out, " "), put(&out, sent_by);
    put(&out, ";branch="), put(&out, caller->marker), put_number(&out, slot), put(&out, "."), put_number(&out, call->serial);
    put(&out, ";rport\r\nMax-Forwards: 70\r\n");
    if (caller->phase->method == REGISTER) put_register(caller, &out, call->item, sent_by);
    else put_message(caller, &out, call->item);
    put(&out, "Call-ID: "), put(&out, method), put(&out, "-"), put(&out, caller->salt), put(&out, "-");
    put_number(&out, call->item);
    put(&out, "\r\nCSeq: "), put_number(&out, call->cseq), put(&out, " "), put(&out, method), put(&out, "\r\n");
    if (challenge) put_credentials(&out, challenge, who, method, uri);
    int body_bytes = caller->phase->method == MESSAGE ? load->body_bytes : 0;
    put(&out, "Content-Length: "), put_number(&out, body_bytes), put(&out, "\r\n\r\n");
    put_bytes(&out, caller->body, body_bytes);
    if (target.full || out.full) die("a request is over %d bytes", MESSAGE_BYTES_MAX);
    call->wire_bytes = written(&out);
}

static void transmit(Caller *caller, int slot) {
    Call *call = &caller->calls[slot];
    const char *wire = caller->wires + (size_t)slot * MESSAGE_BYTES_MAX;
    caller->transport->send(caller->transport, role_of(caller), call->line, wire, call->wire_bytes);
}

static void arm(Call *call, double now) {
    call->interval = T1;
    call->resend_at = now + T1;
}

static void sign_message(Caller *caller, int slot) {
    Credentials who = {caller->load->sender, caller->ha1, caller->salt, ++caller->nc};
    caller->calls[slot].generation = caller->generation;
    build(caller, slot, &caller->challenge, &who);
}

static void start(Caller *caller, double began, double now) {
    const Load *load = caller->load;
    int slot = caller->free_slots[--caller->free_count];
    Call *call = &caller->calls[slot];
    if (slot >= caller->top) caller->top = slot + 1;
    int is_message = caller->phase->method == MESSAGE;
    uint32_t item = (uint32_t)caller->started++;
    int lines = caller->transport->lines[role_of(caller)];
    *call = (Call){.item = item, .cseq = caller->phase->cseq, .line = (int)(item % (unsigned)lines), .began = began};
    int is_worn = load->nonce_uses && caller->nc >= (unsigned)load->nonce_uses && !caller->is_renewing;
    if (is_message && load->password && caller->generation && !is_worn) {
        sign_message(caller, slot);
    } else {
        if (is_message && load->password) call->is_renewal = caller->is_renewing = 1;
        build(caller, slot, NULL, NULL);
    }
    arm(call, now);
    transmit(caller, slot);
}

/* Until the first nonce is there, one message goes alone to fetch it. */
static int may_start(const Caller *caller) {
    if (caller->started >= caller->phase->count || caller->free_count == 0) return 0;
    int waits_for_nonce = caller->load->password && caller->phase->method == MESSAGE && !caller->generation;
    return !waits_for_nonce || !caller->is_renewing;
}

static void start_due(Caller *caller, double now) {
    double rate = caller->phase->rate;
    while (may_start(caller)) {
        /* An open loop counts from when the message was due, or a stalled server would look quick. */
        double due = rate > 0 ? caller->began + (double)caller->started / rate : now;
        if (due > now) return;
        start(caller, due, now);
    }
}

static void end(Caller *caller, int slot) {
    Call *call = &caller->calls[slot];
    if (call->is_renewal) caller->is_renewing = 0;
    call->serial = 0;
    caller->free_slots[caller->free_count++] = slot;
    caller->ended++;
}

/* RFC 3261 §22.2, §22.3: the same request again with a higher CSeq, a new branch and credentials. 0 = gives up. */
static int answer_challenge(Caller *caller, int slot, const char *data, int len, double now) {
    Call *call = &caller->calls[slot];
    Challenge challenge;
    const char *password = caller->load->password;
    caller->figures->challenges++;
    if (!password || ++call->challenges > CHALLENGES_MAX || !wire_challenge(data, len, &challenge)) return 0;
    call->cseq++;
    if (caller->phase->method == REGISTER) {
        char user[USER_BYTES_MAX], ha1[33];
        snprintf(user, sizeof user, "u%u", call->item);
        digest_ha1(user, challenge.realm, password, ha1);
        build(caller, slot, &challenge, &(Credentials){user, ha1, caller->salt, 1});
    } else {
        /* Another message may have brought a newer nonce meanwhile; then that one is used. */
        if (call->is_renewal || call->generation == caller->generation) {
            digest_ha1(caller->load->sender, challenge.realm, password, caller->ha1);
            caller->challenge = challenge;
            caller->generation++;
            caller->nc = 0;
        }
        if (call->is_renewal) call->is_renewal = caller->is_renewing = 0;
        sign_message(caller, slot);
    }
    arm(call, now);
    transmit(caller, slot);
    return 1;
}

/* The slot that a response answers, by the branch of its topmost Via; -1 when it answers nothing on its way. */
static int slot_of(const Caller *caller, const char *data, int len) {
    int marker_len = (int)strlen(caller->marker);
    const char *at = memmem(data, len, caller->marker, marker_len), *end = data + len;
    if (!at) return -1;
    long numbers[2] = {0, 0};
    at += marker_len;
    for (int i = 0; i < 2; i++, at++)
        for (; at < end && *at >= '0' && *at <= '9' && numbers[i] < 1L << 40; at++)
            numbers[i] = numbers[i] * 10 + *at - '0';
    int is_known = numbers[0] < caller->phase->window && numbers[1] > 0 && caller->calls[numbers[0]].serial == numbers[1];
    return is_known ? (int)numbers[0] : -1;
}

static void take_response(Caller *caller, int status, const char *data, int len) {
    int slot = slot_of(caller, data, len);
    Figures *figures = caller->figures;
    double now = now_s();
    if (slot < 0) return;
    Call *call = &caller->calls[slot];
    if (status < 200) {
        call->interval = T2; /* §17.1.2.2: in Proceeding, Timer E is T2 */
        return;
    }
    if ((status == 401 || status == 407) && answer_challenge(caller, slot, data, len, now)) return;
    if (status < 300) {
        figures->latency_ms[figures->latencies++] = (float)((now - call->began) * 1e3);
        if (status == 200) figures->ok++;
        else figures->accepted++;
    } else {
        figures->refused++;
        figures->status = status;
    }
    end(caller, slot);
}

static void arrived(void *owner, Role role, int line, const char *data, int len) {
    Caller *caller = owner;
    int status = wire_status(data, len);
    char reply[MESSAGE_BYTES_MAX];
    if (status > 0) take_response(caller, status, data, len);
    if (status != 0 || role != RECEIVER) return;
    Writer out = writer_on(reply, sizeof reply);
    caller->figures->received++;
    int bytes = wire_reply(data, len, &out);
    if (bytes) caller->transport->send(caller->transport, RECEIVER, line, reply, bytes);
}

/* Timers E and F (§17.1.2.2). A stream does not retransmit. */
static void fire_timers(Caller *caller, double now) {
    for (int slot = 0; slot < caller->top; slot++) {
        Call *call = &caller->calls[slot];
        if (!call->serial || call->resend_at > now) continue;
        if (now - call->began >= 64 * T1) {
            caller->figures->lost++;
            end(caller, slot);
            continue;
        }
        call->interval = call->interval * 2 < T2 ? call->interval * 2 : T2;
        call->resend_at = now + call->interval;
        if (caller->transport->is_reliable) continue;
        caller->figures->retransmits++;
        transmit(caller, slot);
    }
}

static double wait_of(const Caller *caller, double now) {
    if (caller->phase->rate <= 0 || !may_start(caller)) return SCAN_INTERVAL;
    double wait = caller->began + (double)caller->started / caller->phase->rate - now;
    return wait < PACE_INTERVAL ? PACE_INTERVAL : wait > SCAN_INTERVAL ? SCAN_INTERVAL : wait;
}

static void *allocated(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) die("out of memory: %zu bytes", count * size);
    return memory;
}

static void open_caller(Caller *caller) {
    static char salt[16]; /* one a run: a refresh keeps the Call-ID of the registration before it */
    int window = caller->phase->window;
    if (!salt[0]) snprintf(salt, sizeof salt, "%08x", (unsigned)(now_s() * 1e6) ^ (unsigned)getpid() << 12);
    memcpy(caller->salt, salt, sizeof salt);
    snprintf(caller->marker, sizeof caller->marker, "z9hG4bK%s%c", salt, caller->phase->letter);
    caller->calls = allocated(window, sizeof *caller->calls);
    caller->wires = allocated(window, MESSAGE_BYTES_MAX);
    caller->free_slots = allocated(window, sizeof *caller->free_slots);
    caller->body = allocated(caller->load->body_bytes + 1, 1);
    memset(caller->body, 'x', caller->load->body_bytes);
    caller->figures->latency_ms = allocated(caller->phase->count, sizeof(float));
    for (int slot = window - 1; slot >= 0; slot--) caller->free_slots[caller->free_count++] = slot;
}

void run_phase(Transport *transport, const Load *load, const Phase *phase, double deadline, Figures *out) {
    Caller caller = {.transport = transport, .load = load, .phase = phase, .figures = out};
    open_caller(&caller);
    double now = now_s(), scan_at = now + SCAN_INTERVAL;
    caller.began = now;
    while (caller.ended < phase->count && now < deadline) {
        start_due(&caller, now);
        transport->flush(transport);
        transport->turn(transport, wait_of(&caller, now), arrived, &caller);
        now = now_s();
        if (now < scan_at) continue;
        fire_timers(&caller, now);
        scan_at = now + SCAN_INTERVAL;
    }
    transport->flush(transport);
    out->lost += phase->count - caller.ended; /* cut off by the deadline */
    out->seconds = now - caller.began;
    free(caller.calls), free(caller.wires), free(caller.free_slots), free(caller.body);
}
