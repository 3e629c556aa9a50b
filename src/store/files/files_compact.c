/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_compact.c -- a thread that writes the store log anew, with one line a queue, while the
 * store is used: after a start with a large log, and whenever lines that say nothing any more have
 * piled up (store/disk/store_log.h).
 *
 * It is in no hurry: a lock is held for some queues, the disk gets a part at a time, and between
 * two parts it rests for as long as the last one took. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "crypto/crypto.h"
#include "store/files/files_priv.h"
#include "store/service_table.h"

enum {
    QUEUES_PER_STEP = 32,
    PART_LEN = 256 << 10,
    STEPS_PER_PART = 32,
    REST_MIN_MS = 1,
    RETRY_MS = 600 * 1000,
};

/* ---- the thread's sleep ---- */

/* False: it is to end. */
static bool rest(struct compactor *c, int64_t ms) {
    lock_take(&c->mtx);
    if (!c->stop) (void)lock_wait_ms(&c->cond, &c->mtx, ms); /* only a stop wakes */
    const bool goes_on = !c->stop;
    lock_give(&c->mtx);
    return goes_on;
}

static bool is_stopping(struct compactor *c) {
    lock_take(&c->mtx);
    const bool stop = c->stop;
    lock_give(&c->mtx);
    return stop;
}

/* ---- one rewrite ---- */

struct copy {
    struct files_store *store;
    uint8_t *line; /* owned, RECORD_LINE_MAX */
    enum err err;
};

/* Under the queue's lock. */
static void copy_queue(struct queue *q, void *ctx) {
    struct copy *c = ctx;
    struct bytes line;
    if (c->err != OK) return;
    c->err = files_queue_line(q, c->line, &line);
    if (c->err == OK) c->err = store_log_rewrite_put(c->store->log, line, &q->log_mark);
}

static void unmark(struct queue *q, void *ctx) {
    (void)ctx;
    q->log_mark = 0;
}

/* The lines of services stand before those of queues that name them, so they are copied at once. */
static enum err begin_locked(struct files_store *m) {
    const enum err e = store_log_rewrite_begin(m->log);
    return e == OK ? files_service_each_line(m, store_log_rewrite_put_first, m->log) : e;
}

static enum err begin(struct files_store *m) {
    struct service_table *t = queue_table_services(m->base.table);
    lock_take(&t->mtx);
    enum err e = begin_locked(m);
    lock_give(&t->mtx);
    if (e != E_LIMIT) return e;
    struct store_cursor cursor = {0};
    while (queue_table_scan(m->base.table, &cursor, QUEUES_PER_STEP, unmark, NULL)) continue;
    store_log_rewrite_renumber(m->log);
    lock_take(&t->mtx);
    e = begin_locked(m);
    lock_give(&t->mtx);
    return e;
}

/* A few steps, a write, a rest. E_STORE when the thread is to end. */
static enum err copy_part(struct copy *c, struct store_cursor *cursor, bool *ret_more) {
    const int64_t begun_ms = env_mono_ms(c->store->shared.env);
    for (unsigned i = 0; i < STEPS_PER_PART && *ret_more && c->err == OK; i++) {
        *ret_more = queue_table_scan(c->store->base.table, cursor, QUEUES_PER_STEP, copy_queue, c);
    }
    size_t n;
    if (c->err == OK) c->err = store_log_rewrite_flush(c->store->log, &n);
    const int64_t took_ms = env_mono_ms(c->store->shared.env) - begun_ms;
    if (c->err == OK && !rest(&c->store->compactor, took_ms > REST_MIN_MS ? took_ms : REST_MIN_MS))
        c->err = E_STORE;
    return c->err;
}

static enum err rewrite(struct files_store *m, bool keep_backup) {
    struct copy c = {.store = m, .line = malloc(RECORD_LINE_MAX)};
    struct store_cursor cursor = {0};
    bool more = true;
    if (c.line == NULL) return E_NO_MEMORY;
    enum err e = begin(m);
    while (e == OK && more) e = copy_part(&c, &cursor, &more);
    if (e == OK) {
        e = store_log_rewrite_end(m->log, keep_backup);
        if (e == OK) service_table_sweep(queue_table_services(m->base.table), true);
    } else {
        const int error = errno;
        store_log_rewrite_abort(m->log);
        errno = error;
    }
    crypto_wipe(c.line, RECORD_LINE_MAX);
    free(c.line);
    return e;
}

/* ---- when ---- */

/* Services are forgotten in RAM when they are in no log. */
static bool has_forgotten(const struct files_store *m) {
    enum { MANY = SERVICES_MAX / 100 };
    return service_table_n_forgotten(queue_table_services(m->base.table)) >= MANY;
}

static bool has_waste(const struct files_store *m) {
    const uint64_t n = store_log_n_lines(m->log), needed = files_n_log_lines(m);
    return m->o.compact_waste_lines != 0 && n > needed + needed / 2 + m->o.compact_waste_lines;
}

/* A rewrite needs room for a second log; what is left then is for messages. */
static bool has_room(const struct files_store *m) {
    const uint64_t room = m->o.vfs->room(m->o.vfs->ctx, m->o.store_log);
    return room / 4 > store_log_len(m->log);
}

static enum err compact(struct files_store *m, bool keep_backup) {
    const uint64_t before = store_log_len(m->log);
    const int64_t begun_ms = env_mono_ms(m->shared.env);
    if (!has_room(m)) {
        log_line(LOG_WARN, "store-log-not-compacted", "path=%s reason=\"too little room\"",
                 m->o.store_log);
        return E_STORE;
    }
    const enum err e = rewrite(m, keep_backup);
    if (e == OK) {
        log_line(LOG_INFO, "store-log-compacted",
                 "bytes=%" PRIu64 " before=%" PRIu64 " ms=%" PRId64, store_log_len(m->log), before,
                 env_mono_ms(m->shared.env) - begun_ms);
    } else if (!is_stopping(&m->compactor)) {
        log_line(LOG_WARN, "store-log-not-compacted", "path=%s reason=\"%s\"", m->o.store_log,
                 err_reason(e));
    }
    return e;
}

static void run(void *ctx) {
    struct files_store *m = ctx;
    struct compactor *c = &m->compactor;
    int64_t not_before_ms = 0, erase_at_ms = 0;
    bool goes_on = true;
    while (goes_on) {
        const bool is_time = env_mono_ms(m->shared.env) >= not_before_ms;
        const bool must = files_must_rewrite(m);
        if (is_time && (c->is_due || must || has_waste(m) || has_forgotten(m))) {
            const bool done = compact(m, c->is_due) == OK;
            if (done) c->is_due = false;
            if (done && must) files_was_rewritten(m);
            not_before_ms = env_mono_ms(m->shared.env) + (done ? 0 : RETRY_MS);
        }
        if (m->o.erase_ms != 0 && env_mono_ms(m->shared.env) >= erase_at_ms) {
            files_erase(m);
            erase_at_ms = env_mono_ms(m->shared.env) + m->o.erase_ms;
        }
        files_look_after_copies(m);
        files_watch_room(m);
        goes_on = rest(c, m->o.compact_look_ms);
    }
}

/* ---- start and stop ---- */

enum err files_compactor_start(struct files_store *m) {
    struct compactor *c = &m->compactor;
    if (m->o.compact_look_ms == 0) return OK;
    lock_init(&c->mtx, LOCK_COMPACTOR);
    lock_cond_init(&c->cond);
    c->stop = false;
    const enum err e = thread_start(&c->thread, "compactor", run, m);
    if (e == OK) return OK;
    lock_cond_done(&c->cond);
    lock_done(&c->mtx);
    return e;
}

void files_compactor_stop(struct files_store *m) {
    struct compactor *c = &m->compactor;
    if (!c->thread.is_started) return;
    lock_take(&c->mtx);
    c->stop = true;
    lock_wake(&c->cond);
    lock_give(&c->mtx);
    thread_join(&c->thread);
    files_erase(m);
    lock_cond_done(&c->cond);
    lock_done(&c->mtx);
}
