/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* clock.h -- the clocks that latencies and costs are measured with, in nanoseconds. Any thread. */
#pragma once

#include <stdint.h>
#include <time.h>

enum { CLOCK_NS_PER_US = 1000, CLOCK_NS_PER_S = 1000000000 };

static inline int64_t clock_read(clockid_t id) {
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * CLOCK_NS_PER_S + t.tv_nsec;
}

/* Monotonic. */
static inline int64_t clock_ns(void) {
    return clock_read(CLOCK_MONOTONIC);
}

/* What this process has spent of the processors; what this thread has. */
static inline int64_t clock_own_cpu_ns(void) {
    return clock_read(CLOCK_PROCESS_CPUTIME_ID);
}

static inline int64_t clock_thread_cpu_ns(void) {
    return clock_read(CLOCK_THREAD_CPUTIME_ID);
}
