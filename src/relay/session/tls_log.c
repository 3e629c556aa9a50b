/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/session/tls_log.h"

#include <inttypes.h>

#include "base/lock.h"
#include "base/log.h"

void tls_log_init(struct tls_log *t, const struct env *env, bool is_on) {
    *t = (struct tls_log){.env = env};
    atomic_init(&t->is_on, is_on);
    lock_init(&t->mtx, LOCK_TLS_LOG);
}

void tls_log_done(struct tls_log *t) {
    lock_done(&t->mtx);
}

void tls_log_switch(struct tls_log *t, bool is_on) {
    atomic_store_explicit(&t->is_on, is_on, memory_order_relaxed);
}

/* Whether a line may be written now; *ret_left_out were not, since the last one. */
static bool take_line(struct tls_log *t, uint64_t *ret_left_out) {
    const int64_t now_ms = env_mono_ms(t->env);
    lock_take(&t->mtx);
    if (t->n_lines == 0 || now_ms - t->window_ms >= TLS_LOG_WINDOW_MS) {
        t->window_ms = now_ms;
        t->n_lines = 0;
    }
    const bool may = t->n_lines < TLS_LOG_LINES_MAX;
    if (may) {
        t->n_lines++;
        *ret_left_out = t->n_left_out;
        t->n_left_out = 0;
    } else {
        t->n_left_out++;
    }
    lock_give(&t->mtx);
    return may;
}

void tls_log_line(struct tls_log *t, const char *reason) {
    uint64_t left_out = 0;
    if (!atomic_load_explicit(&t->is_on, memory_order_relaxed) || !take_line(t, &left_out)) return;
    if (left_out == 0) {
        log_line(LOG_INFO, "tls_error", "reason=\"%s\"", reason);
    } else {
        log_line(LOG_INFO, "tls_error", "reason=\"%s\" left_out=%" PRIu64, reason, left_out);
    }
}
