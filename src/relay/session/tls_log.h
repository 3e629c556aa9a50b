/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* tls_log.h -- why TLS handshakes fail, in the log, when the operator wants to know.
 *
 * Whoever connects can cause these lines: there are at most TLS_LOG_LINES_MAX in TLS_LOG_WINDOW_MS,
 * and the next line says how many were left out. Any thread. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/lock.h"

enum { TLS_LOG_LINES_MAX = 10, TLS_LOG_WINDOW_MS = 1000 };

struct tls_log {
    const struct env *env; /* borrowed; fixed */
    _Atomic bool is_on;    /* relaxed: a flag that guards no other data */
    struct lock mtx;
    /* guarded by mtx */
    int64_t window_ms; /* when it began */
    unsigned n_lines;  /* in it */
    uint64_t n_left_out;
};

void tls_log_init(struct tls_log *t, const struct env *env, bool is_on);
void tls_log_done(struct tls_log *t);
void tls_log_switch(struct tls_log *t, bool is_on);
void tls_log_line(struct tls_log *t, const char *reason);
