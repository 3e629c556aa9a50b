/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* rd.h -- the read cursor: the only way in which the server looks at bytes from outside.
 *
 * The error is sticky: after the first failure every further read returns an empty view or zero, so
 * that a parser reads like the grammar and is checked once, by rd_end() or rd_err(). Loops must
 * still test r->err. Nothing is copied: views point into the input. Pure; any thread. Primitive
 * encodings: SMP protocol, "SMP encoding" (spec: wire, section 2). */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

struct rd {
    struct bytes in;
    size_t at; /* invariant: at <= in.n */
    enum err err;
};

static inline struct rd rd_init(struct bytes in) {
    return (struct rd){in, 0, OK};
}

static inline size_t rd_left(const struct rd *r) {
    return r->in.n - r->at;
}

static inline void rd_fail(struct rd *r) {
    r->err = r->err != OK ? r->err : E_SYNTAX;
}

/* The single bounds check of the server. */
static inline struct bytes rd_take(struct rd *r, size_t n) {
    if (r->err != OK || n > rd_left(r)) { /* subtract from what we own; never compute at + n */
        rd_fail(r);
        return (struct bytes){0};
    }
    const struct bytes b = {n != 0 ? r->in.p + r->at : NULL, n};
    r->at += n;
    return b;
}

uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);               /* big endian */
uint32_t rd_u32(struct rd *r);               /* big endian */
int64_t rd_i64(struct rd *r);                /* big endian, two's complement */
struct bytes rd_short(struct rd *r);         /* 1 length byte + bytes */
struct bytes rd_large(struct rd *r);         /* word16 length + bytes */
struct bytes rd_tail(struct rd *r);          /* all that is left; empty is fine */
bool rd_bool(struct rd *r);                  /* 'T' or 'F' */
bool rd_maybe(struct rd *r);                 /* '0' -> false, '1' -> true: the value follows */
unsigned rd_list(struct rd *r);              /* count byte of a non-empty list; 0 is an error */
void rd_lit(struct rd *r, char c);           /* exactly this character */
struct bytes rd_until(struct rd *r, char c); /* up to c or the end, c not consumed */
struct bytes rd_part(struct rd *r, char c);  /* the same, c consumed: of a list that c parts */

/* The first error, without asking that the input is used up. */
static inline enum err rd_err(const struct rd *r) {
    return r->err;
}

/* The first error, or E_SYNTAX when bytes are left over. */
MUST_USE enum err rd_end(const struct rd *r);
