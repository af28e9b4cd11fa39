/* SPDX-License-Identifier: Apache-2.0
 *
 * The MD5 message digest (RFC 1321), for digest credentials only.
 */
#include "load.h"

#include <math.h>
#include <string.h>

static uint32_t sines[64]; /* the RFC's table T */

static void fill_sines(void) {
    for (int i = 0; i < 64; i++) sines[i] = (uint32_t)floor(fabs(sin(i + 1)) * 4294967296.0);
}

static inline uint32_t rotated(uint32_t x, int n) { return x << n | x >> (32 - n); }

#define STEP(mix, k, i, s)                                   \
    do {                                                     \
        uint32_t turned = rotated(a + (mix) + x[k] + sines[i], s); \
        a = d, d = c, c = b, b += turned;                    \
    } while (0)

/* RFC 1321 §3.4, Step 4: one block of 64 bytes. */
static void take_block(uint32_t state[4], const unsigned char *block) {
    static const int shifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t x[16], a = state[0], b = state[1], c = state[2], d = state[3];
    memcpy(x, block, sizeof x); /* little-endian machines only, checked in md5_hex */
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) STEP((b & c) | (~b & d), i, i, shifts[0][i & 3]);
#pragma GCC unroll 16
    for (int i = 16; i < 32; i++) STEP((b & d) | (c & ~d), (5 * i + 1) & 15, i, shifts[1][i & 3]);
#pragma GCC unroll 16
    for (int i = 32; i < 48; i++) STEP(b ^ c ^ d, (3 * i + 5) & 15, i, shifts[2][i & 3]);
#pragma GCC unroll 16
    for (int i = 48; i < 64; i++) STEP(c ^ (b | ~d), (7 * i) & 15, i, shifts[3][i & 3]);
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
}

void md5_hex(const char *text, int len, char hex[33]) {
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "this MD5 reads words as they lie in memory");
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    unsigned char tail[128] = {0};
    uint64_t bits = (uint64_t)len * 8;
    const char *at = text;

    if (!sines[0]) fill_sines();
    for (; len >= 64; len -= 64, at += 64) take_block(state, (const unsigned char *)at);
    memcpy(tail, at, len);
    tail[len] = 0x80;
    int padded = len < 56 ? 64 : 128;
    memcpy(tail + padded - 8, &bits, 8);
    for (int i = 0; i < padded; i += 64) take_block(state, tail + i);

    const unsigned char *digest = (const unsigned char *)state;
    for (int i = 0; i < 16; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[32] = 0;
}
