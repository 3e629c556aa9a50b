/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* expiry.c -- messages and notifications do not wait for ever, nor are services known for ever: a
 * thread of the store's goes over all queues that are loaded, a few at a time, again and again. */
#include "base/log.h"
#include "model/limits.h"
#include "stats/stats.h"
#include "store/queue_table.h"
#include "store/service_table.h"
#include "store/store_priv.h"

enum { BRING_QUEUES = 128 };

/* What expires, in the words of the log. */
static const struct kind {
    bool (*step)(struct store *s, struct store_cursor *c, int64_t before_ts_s, unsigned max_queues,
                 unsigned *ret_expired);
    enum stat_id counted;
    const char *expired;
} MESSAGES = {store__expire_step, STAT_MSG_EXPIRED, "messages-expired"},
  NTFS = {store__ntf_expire_step, STAT_MSG_NTF_EXPIRED, "notifications-expired"};

static bool is_stopping(struct expiry_thread *x) {
    lock_take(&x->mtx);
    const bool is = x->stop;
    lock_give(&x->mtx);
    return is;
}

static uint64_t pass(struct store *s, const struct kind *k, int64_t before_ts_s) {
    struct expiry_thread *x = &s->expiry;
    struct store_cursor c = {0};
    uint64_t n = 0;
    for (bool more = true; more && !is_stopping(x);) {
        unsigned step_n = 0;
        more = k->step(s, &c, before_ts_s, EXPIRY_QUEUES_PER_STEP, &step_n);
        n += step_n;
        if (x->opts.stats != NULL) stats_add(x->opts.stats, k->counted, step_n);
    }
    if (n > 0) log_line(LOG_INFO, k->expired, "count=%llu", (unsigned long long)n);
    return n;
}

/* Queues that are not loaded are brought, and expire as the others. */
static unsigned expire_brought(struct store *s, const struct id *ids, unsigned n,
                               int64_t before_ts_s) {
    struct store_lookup lookups[BRING_QUEUES] = {0};
    unsigned n_expired = 0;
    for (unsigned i = 0; i < n; i++)
        lookups[i] = (struct store_lookup){.kind = ID_RECIPIENT, .id = ids[i]};
    store_load_wait(s, lookups, n);
    for (unsigned i = 0; i < n; i++) {
        unsigned n_here = 0;
        if (lookups[i].ret_queue != NULL &&
            store_expire_queue(s, lookups[i].ret_queue, before_ts_s, &n_here) == OK)
            n_expired += n_here;
        store_lookup_done(&lookups[i]);
    }
    return n_expired;
}

static uint64_t pass_not_loaded(struct store *s, int64_t before_ts_s) {
    struct expiry_thread *x = &s->expiry;
    struct id ids[BRING_QUEUES], after = {{0}};
    uint64_t n = 0;
    for (bool more = s->ops->old_queues != NULL; more && !is_stopping(x);) {
        unsigned n_ids = 0;
        more = s->ops->old_queues(s, before_ts_s, &after, ids, BRING_QUEUES, &n_ids);
        const unsigned n_here = expire_brought(s, ids, n_ids, before_ts_s);
        n += n_here;
        if (x->opts.stats != NULL) stats_add(x->opts.stats, MESSAGES.counted, n_here);
    }
    if (n > 0) log_line(LOG_INFO, MESSAGES.expired, "count=%llu", (unsigned long long)n);
    return n;
}

uint64_t expiry_pass_messages(struct store *s, int64_t before_ts_s) {
    const uint64_t n = pass(s, &MESSAGES, before_ts_s);
    return n + pass_not_loaded(s, before_ts_s);
}

uint64_t expiry_pass_ntfs(struct store *s, int64_t before_ts_s) {
    return pass(s, &NTFS, before_ts_s);
}

/* Those that are in a log go when it is written anew. */
static void pass_services(struct store *s, int64_t before_s) {
    struct service_table *t = queue_table_services(s->table);
    service_table_forget(t, before_s);
    service_table_sweep(t, false);
}

/* ---- the thread ---- */

/* False: it is over. */
static bool rest(struct expiry_thread *x) {
    const int64_t until_ms = env_mono_ms(x->env) + x->opts.interval_s * 1000;
    lock_take(&x->mtx);
    while (!x->stop && lock_wait_ms(&x->cond, &x->mtx, until_ms - env_mono_ms(x->env))) continue;
    const bool goes_on = !x->stop;
    lock_give(&x->mtx);
    return goes_on;
}

static void run(void *ctx) {
    struct store *s = ctx;
    struct expiry_thread *x = &s->expiry;
    const struct store_expiry *o = &x->opts;
    bool is_first = true;
    do {
        const int64_t now_s = env_now_s(x->env);
        if (o->message_ttl_s != 0 && (o->at_start || !is_first))
            (void)expiry_pass_messages(s, now_s - o->message_ttl_s);
        if (o->ntf_ttl_s != 0) (void)expiry_pass_ntfs(s, now_s - o->ntf_ttl_s);
        if (o->service_ttl_s != 0) pass_services(s, now_s - o->service_ttl_s);
        is_first = false;
    } while (rest(x));
}

void expiry_init(struct expiry_thread *x, const struct store_opts *o) {
    *x = (struct expiry_thread){.env = o->env, .opts = o->expiry};
    lock_init(&x->mtx, LOCK_EXPIRY);
    lock_cond_init(&x->cond);
}

void expiry_done(struct expiry_thread *x) {
    lock_cond_done(&x->cond);
    lock_done(&x->mtx);
}

enum err expiry_start(struct store *s) {
    struct expiry_thread *x = &s->expiry;
    const struct store_expiry *o = &x->opts;
    if (o->message_ttl_s == 0 && o->ntf_ttl_s == 0 && o->service_ttl_s == 0) return OK;
    return thread_start(&x->thread, "expiry", run, s);
}

void expiry_stop(struct store *s) {
    struct expiry_thread *x = &s->expiry;
    lock_take(&x->mtx);
    x->stop = true;
    lock_wake(&x->cond);
    lock_give(&x->mtx);
    thread_join(&x->thread);
}
