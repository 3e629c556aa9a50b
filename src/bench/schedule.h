/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* schedule.h -- when operations are due at a fixed rate.
 *
 * Each operation has an intended start, which does not move however late things run: latencies are
 * measured from it, so that the time an operation had to wait because the server (or we) stood
 * still is counted, and not left out together with the operations that were not started meanwhile
 * ("coordinated omission"). Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct schedule {
    int64_t start_ns;
    double interval_ns;
    uint64_t n_taken;
};

/* per_second > 0. */
void schedule_init(struct schedule *s, int64_t start_ns, double per_second);
int64_t schedule_next_ns(const struct schedule *s); /* intended start of the next one */
/* Takes the next one if it is due. */
bool schedule_take(struct schedule *s, int64_t now_ns, int64_t *ret_intended_ns);
