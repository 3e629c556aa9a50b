/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* stats_priv.h -- what the parts of stats/ share. */
#pragma once

#include <pthread.h>

#include "stats/active.h"
#include "stats/stats.h"

struct stats {
    /* fixed after stats_new() */
    const struct env *env;
    unsigned n_sheets;
    struct stats_sheet *sheets; /* owned */
    /* atomic; counts roll-overs: sheets that remember an earlier one forget what they have seen */
    _Atomic uint64_t period;
    pthread_mutex_t mtx;
    /* guarded by mtx */
    struct active_set active[N_STAT_ACTIVITIES][N_STAT_PERIODS];
};
