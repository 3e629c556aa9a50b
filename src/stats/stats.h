/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* stats.h -- what the server counts.
 *
 * Each thread that counts has a sheet of its own: it alone writes there, without a lock and without
 * sharing a cache line with another thread; whoever wants the numbers adds the sheets up. Counters
 * only grow; a period's numbers are what was added since its beginning. What is counted is listed
 * in stats.def and histograms.def, and nowhere else. */
#pragma once

#include <stdatomic.h>

#include "base/attr.h"
#include "base/env.h"
#include "base/err.h"
#include "base/id.h"

enum stat_id {
#define STAT(id, ...) STAT_##id,
#include "stats/stats.def"
#undef STAT
    N_STATS
};

enum stat_histogram {
#define HISTOGRAM(id, ...) HISTOGRAM_##id,
#include "stats/histograms.def"
#undef HISTOGRAM
    N_STAT_HISTOGRAMS
};

/* How much there is at the moment. */
enum stat_gauge {
#define GAUGE(id, ...) GAUGE_##id,
#include "stats/gauges.def"
#undef GAUGE
    N_STAT_GAUGES
};

/* What makes a queue active; distinct queues are counted for each, by day, week and month. */
enum stat_activity {
    ACTIVITY_MSG, /* a message was sent to it or acknowledged */
    ACTIVITY_NTF, /* the same, of a message with notification */
    N_STAT_ACTIVITIES
};

enum stat_period { PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH, N_STAT_PERIODS };

enum {
    STATS_BUCKETS = 24,        /* of a histogram, at most; the last takes all that is larger */
    STATS_SEEN_ENTRIES = 4096, /* queues that a sheet remembers as counted; a power of two */
};

struct stats;

/* One thread's. Written by its owner only, with relaxed stores; read by any thread. */
struct stats_sheet {
    _Alignas(64) _Atomic uint64_t counter[N_STATS];
    _Atomic uint64_t gauge[N_STAT_GAUGES]; /* those that are from SHEETS */
    struct {
        _Atomic uint64_t bucket[STATS_BUCKETS], sum;
    } histogram[N_STAT_HISTOGRAMS];
    struct stats *stats; /* borrowed */
    /* owner only: hashes of queues known to be in this period's sets */
    uint64_t seen_period;
    uint64_t seen[N_STAT_ACTIVITIES][STATS_SEEN_ENTRIES];
};

/* n_sheets: threads that count. E_NO_MEMORY. */
MUST_USE enum err stats_new(const struct env *env, unsigned n_sheets, struct stats **ret);
void stats_free(struct stats *s); /* NULL is a no-op; after the last thread that counts */
/* Sheet i of n_sheets: give it to one thread, and only that. Borrowed. */
struct stats_sheet *stats_sheet(struct stats *s, unsigned i);

/* What one thread alone writes and any may read: no locked instruction. To take one
 * away, add UINT64_MAX: unsigned numbers wrap. */
static inline void stats_counter_add(_Atomic uint64_t *c, uint64_t n) {
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Owner of the sheet. A NULL sheet counts nothing. */
static inline void stats_add(struct stats_sheet *sheet, enum stat_id id, uint64_t n) {
    if (sheet != NULL) stats_counter_add(&sheet->counter[id], n);
}
/* Owner of the sheet: n more, or fewer, of a gauge from SHEETS. A NULL sheet counts nothing. */
static inline void stats_gauge_add(struct stats_sheet *sheet, enum stat_gauge g, int n) {
    if (sheet != NULL) stats_counter_add(&sheet->gauge[g], (uint64_t)n);
}
/* Owner of the sheet: one value, in the histogram's unit. A NULL sheet counts nothing. */
void stats_observe(struct stats_sheet *sheet, enum stat_histogram h, uint64_t value);

/* Owner of the sheet: this queue was active. Takes a lock for a moment unless this sheet saw the
 * queue lately. A NULL sheet counts nothing. */
void stats_active(struct stats_sheet *sheet, enum stat_activity a, const struct id *rcv_id);

/* Any thread: the sum of all sheets, since the beginning of the process. */
uint64_t stats_sum(const struct stats *s, enum stat_id id);
