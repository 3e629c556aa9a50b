/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/schedule.h"

#include <assert.h>

#include "bench/clock.h"

void schedule_init(struct schedule *s, int64_t start_ns, double per_second) {
    assert(per_second > 0);
    *s = (struct schedule){.start_ns = start_ns, .interval_ns = CLOCK_NS_PER_S / per_second};
}

/* A product, not a sum: rounding must not add up. */
int64_t schedule_next_ns(const struct schedule *s) {
    return s->start_ns + (int64_t)((double)s->n_taken * s->interval_ns);
}

bool schedule_take(struct schedule *s, int64_t now_ns, int64_t *ret_intended_ns) {
    const int64_t next = schedule_next_ns(s);
    if (next > now_ns) return false;
    s->n_taken++;
    *ret_intended_ns = next;
    return true;
}
