/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A ring of slots: that of a time is its number modulo the length of the ring, and what a new
 * number displaces goes on to the coarser ring, and from there to those without a time. */
#include "relay/session/ages.h"

static uint32_t get(const _Atomic uint32_t *n) {
    return atomic_load_explicit(n, memory_order_relaxed);
}

static void add(_Atomic uint32_t *n, uint32_t more) {
    atomic_store_explicit(n, get(n) + more, memory_order_relaxed);
}

static uint32_t take(_Atomic uint32_t *n) {
    const uint32_t had = get(n);
    atomic_store_explicit(n, 0, memory_order_relaxed);
    return had;
}

/* The slot for something that began then; a->now_s is up to date. */
static _Atomic uint32_t *slot_of(struct ages *a, uint32_t since_s) {
    const uint32_t now_s = get(&a->now_s);
    const uint32_t fine = since_s / AGES_FINE_S, coarse = since_s / AGES_COARSE_S;
    if (now_s / AGES_FINE_S - fine < AGES_FINE_SLOTS) return &a->fine[fine % AGES_FINE_SLOTS];
    if (now_s / AGES_COARSE_S - coarse < AGES_COARSE_SLOTS)
        return &a->coarse[coarse % AGES_COARSE_SLOTS];
    return &a->older;
}

/* Empties the slots that times up to now_s are going to use. */
static void advance(struct ages *a, uint32_t now_s) {
    const uint32_t was_s = get(&a->now_s);
    if (now_s / AGES_FINE_S == was_s / AGES_FINE_S) return;
    atomic_store_explicit(&a->now_s, now_s, memory_order_relaxed);
    uint32_t from = was_s / AGES_COARSE_S + 1, to = now_s / AGES_COARSE_S;
    for (uint32_t i = from; i <= to && i - from < AGES_COARSE_SLOTS; i++)
        add(&a->older, take(&a->coarse[i % AGES_COARSE_SLOTS]));
    from = was_s / AGES_FINE_S + 1;
    to = now_s / AGES_FINE_S;
    for (uint32_t i = from; i <= to && i - from < AGES_FINE_SLOTS; i++) {
        const uint32_t n = take(&a->fine[i % AGES_FINE_SLOTS]);
        if (n != 0) add(slot_of(a, (i - AGES_FINE_SLOTS) * AGES_FINE_S), n);
    }
}

void ages_begin(struct ages *a, uint32_t now_s) {
    advance(a, now_s);
    add(slot_of(a, now_s), 1);
}

void ages_end(struct ages *a, uint32_t now_s, uint32_t since_s) {
    advance(a, now_s);
    _Atomic uint32_t *slot = slot_of(a, since_s);
    atomic_store_explicit(slot, get(slot) - 1, memory_order_relaxed);
}

/* ---- reading ---- */

static void count(struct ages_sum *sum, uint32_t n, uint32_t age_s) {
    static const uint32_t ENDS_S[AGES_PERIODS - 1] = {60, 300, 1200, 3600};
    unsigned i = 0;
    while (i < AGES_PERIODS - 1 && age_s >= ENDS_S[i]) i++;
    sum->n[i] += n;
    if (n != 0 && age_s > sum->oldest_s) sum->oldest_s = age_s;
}

void ages_read(const struct ages *a, uint32_t now_s, struct ages_sum *ret) {
    const uint32_t fine = get(&a->now_s) / AGES_FINE_S, coarse = get(&a->now_s) / AGES_COARSE_S;
    uint32_t begin_s = 0;
    for (uint32_t i = 0; i < AGES_FINE_SLOTS && i <= fine; i++) {
        begin_s = (fine - i) * AGES_FINE_S;
        count(ret, get(&a->fine[(fine - i) % AGES_FINE_SLOTS]),
              now_s > begin_s ? now_s - begin_s : 0);
    }
    for (uint32_t i = 0; i < AGES_COARSE_SLOTS && i <= coarse; i++) {
        begin_s = (coarse - i) * AGES_COARSE_S;
        count(ret, get(&a->coarse[(coarse - i) % AGES_COARSE_SLOTS]),
              now_s > begin_s ? now_s - begin_s : 0);
    }
    count(ret, get(&a->older), now_s > begin_s ? now_s - begin_s : 0);
}
