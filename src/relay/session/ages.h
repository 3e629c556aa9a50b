/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ages.h -- how many things wait, and since when.
 *
 * Whoever waits remembers when it began; here is only how many began in each ten seconds of the
 * last hour, in each hour of the last three weeks, and before. So beginning and ending are a few
 * instructions, and ages are known to ten seconds, or to an hour.
 *
 * One thread writes, any thread reads; what it reads may be off by what changes meanwhile. Times
 * are seconds of one monotonic clock. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum {
    AGES_FINE_S = 10,
    AGES_FINE_SLOTS = 360,
    AGES_COARSE_S = 3600, /* a multiple of the fine */
    AGES_COARSE_SLOTS = 512,
    AGES_PERIODS = 5, /* of less than 1, 5, 20, 60 minutes, and beyond */
};

struct ages {
    _Atomic uint32_t now_s; /* as of the last change */
    _Atomic uint32_t fine[AGES_FINE_SLOTS], coarse[AGES_COARSE_SLOTS], older;
};

/* Begins with zeroes. since_s: what now_s was at the beginning. */
void ages_begin(struct ages *a, uint32_t now_s);
void ages_end(struct ages *a, uint32_t now_s, uint32_t since_s);

/* Adds to *ret. */
struct ages_sum {
    uint64_t n[AGES_PERIODS];
    uint32_t oldest_s; /* 0: none */
};
void ages_read(const struct ages *a, uint32_t now_s, struct ages_sum *ret);
