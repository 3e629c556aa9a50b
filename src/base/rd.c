/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/rd.h"

/* Big-endian unsigned number of n <= 8 bytes; 0 after an error. */
static uint64_t take_be(struct rd *r, size_t n) {
    const struct bytes b = rd_take(r, n);
    uint64_t v = 0;
    for (size_t i = 0; i < b.n; i++) v = v << 8 | b.p[i];
    return v;
}

uint8_t rd_u8(struct rd *r) {
    return (uint8_t)take_be(r, 1);
}

uint16_t rd_u16(struct rd *r) {
    return (uint16_t)take_be(r, 2);
}

uint32_t rd_u32(struct rd *r) {
    return (uint32_t)take_be(r, 4);
}

int64_t rd_i64(struct rd *r) {
    return (int64_t)take_be(r, 8);
}

struct bytes rd_short(struct rd *r) {
    return rd_take(r, rd_u8(r));
}

struct bytes rd_large(struct rd *r) {
    return rd_take(r, rd_u16(r));
}

struct bytes rd_tail(struct rd *r) {
    return rd_take(r, r->err == OK ? rd_left(r) : 0);
}

/* One of two characters, as yes or no. */
static bool take_choice(struct rd *r, uint8_t yes, uint8_t no) {
    const uint8_t c = rd_u8(r);
    if (c != yes && c != no) rd_fail(r);
    return r->err == OK && c == yes;
}

bool rd_bool(struct rd *r) {
    return take_choice(r, 'T', 'F');
}

bool rd_maybe(struct rd *r) {
    return take_choice(r, '1', '0');
}

unsigned rd_list(struct rd *r) {
    const unsigned n = rd_u8(r);
    if (n == 0) rd_fail(r);
    return n;
}

void rd_lit(struct rd *r, char c) {
    const uint8_t got = rd_u8(r);
    if (got != (uint8_t)c) rd_fail(r);
}

struct bytes rd_until(struct rd *r, char c) {
    const size_t left = r->err == OK ? rd_left(r) : 0;
    const uint8_t *start = left != 0 ? r->in.p + r->at : NULL;
    const uint8_t *hit = left != 0 ? memchr(start, c, left) : NULL;
    return rd_take(r, hit != NULL ? (size_t)(hit - start) : left);
}

struct bytes rd_part(struct rd *r, char c) {
    const struct bytes part = rd_until(r, c);
    if (rd_left(r) != 0) rd_lit(r, c);
    return part;
}

enum err rd_end(const struct rd *r) {
    if (r->err != OK) return r->err;
    return rd_left(r) == 0 ? OK : E_SYNTAX;
}
