/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "stats/stats.h"

#include <assert.h>
#include <stdlib.h>

struct stats {
    /* fixed after stats_new() */
    const struct env *env;
    unsigned n_sheets;
    struct stats_sheet *sheets; /* owned */
};

enum err stats_new(const struct env *env, unsigned n_sheets, struct stats **ret) {
    struct stats *s = calloc(1, sizeof *s);
    if (s == NULL) return E_NO_MEMORY;
    s->env = env;
    s->n_sheets = n_sheets;
    s->sheets = aligned_alloc(_Alignof(struct stats_sheet), n_sheets * sizeof *s->sheets);
    if (s->sheets == NULL) {
        free(s);
        return E_NO_MEMORY;
    }
    for (unsigned i = 0; i < n_sheets; i++) s->sheets[i] = (struct stats_sheet){.stats = s};
    *ret = s;
    return OK;
}

void stats_free(struct stats *s) {
    if (s == NULL) return;
    free(s->sheets);
    free(s);
}

struct stats_sheet *stats_sheet(struct stats *s, unsigned i) {
    assert(i < s->n_sheets);
    return &s->sheets[i];
}

static void add(_Atomic uint64_t *c, uint64_t n) {
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Buckets double: the first takes 0 and 1, bucket i all up to 2^i. */
void stats_observe(struct stats_sheet *sheet, enum stat_histogram h, uint64_t value) {
    if (sheet == NULL) return;
    unsigned i = 0;
    while (i < STATS_BUCKETS - 1 && value > (uint64_t)1 << i) i++;
    add(&sheet->histogram[h].bucket[i], 1);
    add(&sheet->histogram[h].sum, value);
}

uint64_t stats_sum(const struct stats *s, enum stat id) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->n_sheets; i++) {
        sum += atomic_load_explicit(&s->sheets[i].counter[id], memory_order_relaxed);
    }
    return sum;
}
