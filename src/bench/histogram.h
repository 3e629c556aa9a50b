/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* histogram.h -- how often which value came, in buckets that grow with the value.
 *
 * Values below 256 are kept exactly, larger ones within 1/128 of themselves: each power of two has
 * 128 buckets. So one size fits a microsecond and a minute, adding costs a few instructions, and
 * histograms of several threads are added up. One thread at a time; owns nothing but itself. */
#pragma once

#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 7,
    HISTOGRAM_VALUE_BITS = 40, /* in nanoseconds 18 minutes; larger values count as the largest */
    HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS,
};

/* All zero: empty. */
struct histogram {
    uint64_t n;
    uint64_t max;
    double sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, int64_t value); /* negative counts as 0 */
void histogram_merge(struct histogram *h, const struct histogram *other);
/* The value that a share of all (0 to 1) does not exceed: the upper end of its bucket, never above
 * the largest value that came. 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double share);
double histogram_mean(const struct histogram *h); /* 0 when empty */
