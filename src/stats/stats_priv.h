/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* stats_priv.h -- what the parts of stats/ share. */
#pragma once

#include "base/lock.h"
#include "stats/active.h"
#include "stats/keys.h"
#include "stats/report.h"

struct stats {
    /* fixed after stats_new() */
    const struct env *env;
    unsigned n_sheets;
    struct stats_sheet *sheets; /* owned */
    /* atomic; counts roll-overs: sheets that remember an earlier one forget what they have seen */
    _Atomic uint64_t period;
    struct lock mtx;
    /* guarded by mtx */
    struct calendar_time from; /* beginning of the period */
    uint64_t base[N_STATS]; /* what to add to stats_sum(), modulo 2^64, for this period's count */
    struct active_set active[N_STAT_ACTIVITIES][N_STAT_PERIODS]; /* of hashes under these: */
    struct stats_keys *keys;                                     /* owned, of secret.h */
};

/* The gauge that shows a set. Pure. */
enum stat_gauge stats_active_gauge(enum stat_activity a, enum stat_period p);
