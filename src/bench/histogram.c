/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/histogram.h"

#include <math.h>
#include <stddef.h>

enum { SUB = 1 << HISTOGRAM_SUB_BITS };
static const uint64_t LARGEST = (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1;

/* Bucket 0 to SUB - 1 hold one value each; from there on each power of two has SUB of them. */
static size_t bucket_of(uint64_t value) {
    if (value < SUB) return (size_t)value;
    const unsigned top_bit = 63U - (unsigned)__builtin_clzll(value);
    const unsigned shift = top_bit - HISTOGRAM_SUB_BITS;
    return ((size_t)shift << HISTOGRAM_SUB_BITS) + (size_t)(value >> shift);
}

static uint64_t upper_end(size_t bucket) {
    if (bucket < SUB) return bucket;
    const unsigned shift = (unsigned)(bucket >> HISTOGRAM_SUB_BITS) - 1;
    const uint64_t head = (bucket & (SUB - 1)) + SUB;
    return ((head + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, int64_t value) {
    uint64_t v = value > 0 ? (uint64_t)value : 0;
    if (v > LARGEST) v = LARGEST;
    h->buckets[bucket_of(v)]++;
    h->n++;
    h->sum += (double)v;
    if (v > h->max) h->max = v;
}

void histogram_merge(struct histogram *h, const struct histogram *other) {
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) h->buckets[i] += other->buckets[i];
    h->n += other->n;
    h->sum += other->sum;
    if (other->max > h->max) h->max = other->max;
}

uint64_t histogram_quantile(const struct histogram *h, double share) {
    const double wanted = ceil(share * (double)h->n);
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen == 0 || (double)seen < wanted) continue;
        const uint64_t end = upper_end(i);
        return end < h->max ? end : h->max;
    }
    return h->max;
}

double histogram_mean(const struct histogram *h) {
    return h->n != 0 ? h->sum / (double)h->n : 0;
}
