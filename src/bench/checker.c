/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/checker.h"

#include <assert.h>

#include "base/rd.h"
#include "base/wr.h"

enum { WORD = sizeof(uint64_t) };

/* ---- stamps ---- */

/* The first word of the pattern, spread so that neighbours differ in all their bytes. */
static uint64_t pattern_seed(const struct stamp *s) {
    uint64_t x = s->run ^ ((uint64_t)s->queue << 32) ^ s->number ^ (uint64_t)s->sent_ns;
    x ^= x >> 31;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ (x >> 29);
}

static const uint64_t PATTERN_STEP = UINT64_C(0xd1342543de82ef95);

void stamp_write(const struct stamp *s, uint8_t *body, size_t n) {
    assert(n >= STAMP_LEN);
    struct wr w = wr_init(body, STAMP_LEN);
    wr_i64(&w, (int64_t)s->run);
    wr_u32(&w, s->queue);
    wr_i64(&w, (int64_t)s->number);
    wr_i64(&w, s->sent_ns);
    uint64_t x = pattern_seed(s);
    size_t at = STAMP_LEN;
    for (; n - at >= WORD; at += WORD, x += PATTERN_STEP) memcpy(body + at, &x, WORD);
    memcpy(body + at, &x, n - at);
}

bool stamp_read(struct bytes body, struct stamp *ret) {
    struct rd r = rd_init(body);
    struct stamp s = {.run = (uint64_t)rd_i64(&r)};
    s.queue = rd_u32(&r);
    s.number = (uint64_t)rd_i64(&r);
    s.sent_ns = rd_i64(&r);
    if (rd_err(&r) != OK) return false;
    uint64_t x = pattern_seed(&s);
    uint64_t differs = 0;
    size_t at = STAMP_LEN;
    for (; body.n - at >= WORD; at += WORD, x += PATTERN_STEP) {
        uint64_t found;
        memcpy(&found, body.p + at, WORD);
        differs |= found ^ x;
    }
    if (differs != 0 || memcmp(body.p + at, &x, body.n - at) != 0) return false;
    *ret = s;
    return true;
}

/* ---- order ---- */

static uint64_t *word_of(struct checker *c, uint64_t number) {
    return &c->seen[number % CHECKER_WINDOW / 64];
}

static uint64_t bit_of(uint64_t number) {
    return UINT64_C(1) << (number % 64);
}

/* All from next to number: number was seen, what lies between is missing. */
static void advance(struct checker *c, uint64_t number) {
    c->missing += number - c->next;
    if (number - c->next >= CHECKER_WINDOW) {
        memset(c->seen, 0, sizeof c->seen);
        c->next = number;
    }
    for (; c->next < number; c->next++) *word_of(c, c->next) &= ~bit_of(c->next);
    *word_of(c, number) |= bit_of(number);
    c->next = number + 1;
}

static enum checker_verdict take_late(struct checker *c, uint64_t number) {
    const bool is_forgotten = c->next - number > CHECKER_WINDOW;
    if (is_forgotten || (*word_of(c, number) & bit_of(number)) != 0) return CHECK_DUPLICATE;
    *word_of(c, number) |= bit_of(number);
    c->missing--;
    return CHECK_DISORDERED;
}

enum checker_verdict checker_take(struct checker *c, uint64_t run, uint32_t queue,
                                  struct bytes body, struct stamp *ret_stamp) {
    struct stamp s;
    if (!stamp_read(body, &s) || s.run != run || s.queue != queue) return CHECK_DAMAGED;
    *ret_stamp = s;
    if (s.number < c->next) return take_late(c, s.number);
    advance(c, s.number);
    return CHECK_GOOD;
}

uint64_t checker_lost(const struct checker *c, uint64_t n_sent) {
    return c->missing + (n_sent > c->next ? n_sent - c->next : 0);
}
