/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "stats/stats_priv.h"
#include "base/lock.h"
#include "crypto/secret.h"
#include "stats/tables.h"

#include <assert.h>
#include <stdlib.h>

enum err stats_new(const struct env *env, unsigned n_sheets, struct stats **ret) {
    struct stats *s = calloc(1, sizeof *s);
    if (s == NULL) return E_NO_MEMORY;
    s->env = env;
    s->n_sheets = n_sheets;
    s->from.s = env_now_s(env);
    s->sheets = aligned_alloc(_Alignof(struct stats_sheet), n_sheets * sizeof *s->sheets);
    s->keys = secret_new(sizeof *s->keys);
    if (s->sheets == NULL || s->keys == NULL) {
        secret_free(s->keys, sizeof *s->keys);
        free(s->sheets);
        free(s);
        return E_NO_MEMORY;
    }
    memset(s->sheets, 0, n_sheets * sizeof *s->sheets);
    for (unsigned i = 0; i < n_sheets; i++) s->sheets[i].stats = s;
    for (enum stat_period p = 0; p < N_STAT_PERIODS; p++) stats_keys_renew(s->keys, p, env);
    lock_init(&s->mtx, LOCK_STATS);
    *ret = s;
    return OK;
}

void stats_free(struct stats *s) {
    if (s == NULL) return;
    for (int a = 0; a < N_STAT_ACTIVITIES; a++) {
        for (enum stat_period p = 0; p < N_STAT_PERIODS; p++) active_set_clear(&s->active[a][p]);
    }
    lock_done(&s->mtx);
    secret_free(s->keys, sizeof *s->keys);
    free(s->sheets);
    free(s);
}

struct stats_sheet *stats_sheet(struct stats *s, unsigned i) {
    assert(i < s->n_sheets);
    return &s->sheets[i];
}

void stats_observe(struct stats_sheet *sheet, enum stat_histogram h, uint64_t value) {
    if (sheet == NULL) return;
    const struct histogram_row *row = &HISTOGRAM_ROWS[h];
    unsigned i = 0;
    while (i < row->n_bounds && value > row->bound[i]) i++;
    stats_counter_add(&sheet->histogram[h].bucket[i], 1);
    stats_counter_add(&sheet->histogram[h].sum, value);
}

void stats_active(struct stats_sheet *sheet, enum stat_activity a, const struct id *rcv_id) {
    if (sheet == NULL) return;
    struct stats *s = sheet->stats;
    const uint64_t hash = active_hash(id_bytes(rcv_id));
    /* Read before the sets are: a roll-over between the two makes the sheet forget this one. */
    const uint64_t period = atomic_load_explicit(&s->period, memory_order_acquire);
    if (sheet->seen_period != period) {
        memset(sheet->seen, 0, sizeof sheet->seen);
        sheet->seen_period = period;
    }
    uint64_t *seen = &sheet->seen[a][(hash ^ hash >> 32) % STATS_SEEN_ENTRIES];
    if (*seen == hash) return;
    lock_take(&s->mtx);
    for (enum stat_period p = 0; p < N_STAT_PERIODS; p++)
        active_set_add(&s->active[a][p], stats_keyed(s->keys, p, hash));
    lock_give(&s->mtx);
    *seen = hash;
}

uint64_t stats_sum(const struct stats *s, enum stat_id id) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->n_sheets; i++) {
        sum += atomic_load_explicit(&s->sheets[i].counter[id], memory_order_relaxed);
    }
    return sum;
}
