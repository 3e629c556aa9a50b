/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* wr.h -- the write cursor over a fixed buffer: mirror of rd.h.
 *
 * The error is sticky: once something did not fit, nothing more is written and wr_err() says
 * E_LIMIT. The cursor never owns its buffer. Pure; any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

struct wr {
    uint8_t *p; /* borrowed */
    size_t cap;
    size_t at; /* invariant: at <= cap */
    enum err err;
};

static inline struct wr wr_init(void *p, size_t cap) {
    return (struct wr){p, cap, 0, OK};
}

static inline size_t wr_left(const struct wr *w) {
    return w->cap - w->at;
}

static inline enum err wr_err(const struct wr *w) {
    return w->err;
}

/* What was written so far; empty after an error. */
static inline struct bytes wr_bytes(const struct wr *w) {
    return w->err == OK ? bytes_of(w->p, w->at) : (struct bytes){0};
}

/* Room for n bytes that the caller fills at once; NULL when they do not fit: as in rd.h, the single
 * bounds check, and inline. */
static inline uint8_t *wr_skip(struct wr *w, size_t n) {
    if (w->err != OK || n > wr_left(w)) {
        w->err = E_LIMIT;
        return NULL;
    }
    uint8_t *at = w->p + w->at;
    w->at += n;
    return at;
}

void wr_u8(struct wr *w, uint8_t v);
void wr_u16(struct wr *w, uint16_t v);
void wr_u32(struct wr *w, uint32_t v);
void wr_i64(struct wr *w, int64_t v);
void wr_bytes_raw(struct wr *w, struct bytes b);
void wr_str(struct wr *w, const char *s);    /* the characters alone, no length, no terminator */
void wr_dec(struct wr *w, uint64_t v);       /* as decimal digits */
void wr_short(struct wr *w, struct bytes b); /* fails when b is longer than 255 */
void wr_large(struct wr *w, struct bytes b); /* fails when b is longer than 65535 */
void wr_bool(struct wr *w, bool v);          /* 'T' or 'F' */
void wr_maybe(struct wr *w, bool present);   /* '1' or '0'; the caller writes the value after '1' */
size_t wr_mark_u16(
    struct wr *w); /* opens a word16-prefixed part; hand the result to wr_close_u16 */
void wr_close_u16(struct wr *w,
                  size_t mark); /* back-fills the length of all written since the mark */
