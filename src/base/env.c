/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/env.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static int64_t system_now_s(void *ctx) {
    (void)ctx;
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec;
}

static int64_t system_mono_us(void *ctx) {
    (void)ctx;
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void system_random(void *ctx, void *buf, size_t n) {
    (void)ctx;
    unsigned char *p = buf;
    while (n > 0) {
        const ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) abort(); /* no relay without randomness: keys and ids would be guessable */
        p += got;
        n -= (size_t)got;
    }
}

const struct env ENV_SYSTEM = {system_now_s, system_mono_us, system_random, NULL};
