/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* env.h -- clock and randomness, injected so that tests are deterministic.
 *
 * All functions may be called from any thread; implementations must allow that. Wall time is what
 * the protocol stamps on messages, monotonic time is what deadlines are measured with. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct env {
    int64_t (*now_s)(void *ctx);   /* wall clock, seconds since the Unix epoch */
    int64_t (*mono_us)(void *ctx); /* monotonic, microseconds since an unspecified start */
    void (*random)(
        void *ctx, void *buf,
        size_t n); /* cryptographic quality; cannot fail (aborts when the kernel refuses) */
    void *ctx;
};

extern const struct env ENV_SYSTEM; /* the kernel's clocks and getrandom(2) */

static inline int64_t env_now_s(const struct env *e) {
    return e->now_s(e->ctx);
}

static inline int64_t env_mono_us(const struct env *e) {
    return e->mono_us(e->ctx);
}

static inline int64_t env_mono_ms(const struct env *e) {
    return env_mono_us(e) / 1000;
}

static inline void env_random(const struct env *e, void *buf, size_t n) {
    e->random(e->ctx, buf, n);
}
