/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* bytes.h -- a borrowed view of bytes: never owns, has no terminator, dies with the buffer it
 * points into. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *p;
    size_t n;
};

/* Any thread; pure. */
static inline struct bytes bytes_of(const void *p, size_t n) {
    return (struct bytes){p, n};
}

static inline struct bytes bytes_str(const char *s) {
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

/* Like bytes_equal(), for public values only. */
static inline bool bytes_begin(struct bytes b, const char *with) {
    const size_t n = strlen(with);
    return b.n >= n && (n == 0 || memcmp(b.p, with, n) == 0);
}

/* For public values only: not constant in time. Secrets are compared by crypto_equal(). */
static inline bool bytes_equal(struct bytes a, struct bytes b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
