/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store.c -- what is asked of backends alone, and what all of them share. */
#include "store/messages.h"
#include "store/records.h"
#include "store/subscribe.h"

#include "store/queue_table.h"
#include "store/service_table.h"
#include "store/store_priv.h"

/* ---- threads that wait ---- */

static void blocking_ready(struct store_waiter *w) {
    struct store_blocking *b = CONTAINER_OF(w, struct store_blocking, waiter);
    lock_take(&b->mtx);
    b->done = true;
    lock_wake(&b->cond);
    lock_give(&b->mtx);
}

void store__blocking_init(struct store_blocking *b) {
    b->waiter = (struct store_waiter){blocking_ready};
    b->done = false;
    lock_init(&b->mtx, LOCK_STORE_WAIT);
    lock_cond_init(&b->cond);
}

void store__wait(struct store_blocking *b) {
    lock_take(&b->mtx);
    while (!b->done) lock_wait(&b->cond, &b->mtx);
    lock_give(&b->mtx);
}

void store__blocking_done(struct store_blocking *b) {
    lock_cond_done(&b->cond);
    lock_done(&b->mtx);
}

/* ---- what a backend answers ---- */

enum err store_start(struct store *s) {
    const enum err e = s->ops->start(s);
    return e == OK ? expiry_start(s) : e;
}

enum err store_stop(struct store *s, struct store_problem *ret_problem) {
    expiry_stop(s);
    return s->ops->stop(s, ret_problem);
}

void store_close(struct store *s) {
    if (s == NULL) return;
    expiry_stop(s);
    s->ops->close(s);
}

enum err store_save(struct store *s, struct store_problem *ret_problem) {
    return s->ops->save(s, ret_problem);
}

enum err store_fate(const struct store *s, lsn_t lsn) {
    return lsn == 0 ? OK : s->ops->fate(s, lsn);
}

bool store_is_held(const struct store *s, lsn_t lsn) {
    return lsn != 0 && s->ops->is_held != NULL && s->ops->is_held(s, lsn);
}

unsigned store_leisure_ms(struct store *s) {
    return s->ops->leisure_ms != NULL ? s->ops->leisure_ms(s) : 0;
}

void store_hurry(struct store *s, lsn_t lsn, bool in_vain) {
    if (lsn != 0 && s->ops->hurry != NULL) s->ops->hurry(s, lsn, in_vain);
}

bool store_load(struct store *s, struct store_lookup *lookups, size_t n, struct store_waiter *w) {
    return s->ops->load(s, lookups, n, w);
}

void store_lookup_done(struct store_lookup *l) {
    if (l->ret_queue != NULL && l->want != WANT_FREE) queue_view_done(&l->ret_view);
    queue_unref(l->ret_queue);
    l->ret_queue = NULL;
}

void store_load_wait(struct store *s, struct store_lookup *lookups, size_t n) {
    struct store_blocking b;
    store__blocking_init(&b);
    if (!store_load(s, lookups, n, &b.waiter)) store__wait(&b);
    store__blocking_done(&b);
}

bool store_service_open(struct store *s, struct store_service_open *o, struct store_waiter *w) {
    return s->ops->service_open(s, o, w);
}

bool store_service_scan(struct store *s, struct store_scan *scan, struct store_waiter *w) {
    return s->ops->service_scan(s, scan, w);
}

bool store_msg_next(struct store *s, struct store_next *n, struct store_waiter *w) {
    return s->ops->msg_next(s, n, w);
}

/* ---- what all of them share ---- */

enum err store__init(struct store *s, const struct store_ops *ops, const struct store_opts *o) {
    s->ops = ops;
    s->quota = o->quota;
    s->table = NULL;
    s->subs = NULL;
    atomic_init(&s->n_messages, 0);
    atomic_init(&s->n_ntfs, 0);
    expiry_init(&s->expiry, o);
    const enum err e = queue_table_new(o->env, &s->table);
    return e == OK ? subs_new(o->env, &s->subs) : e;
}

void store__done(struct store *s) {
    queue_table_free(s->table);
    subs_free(s->subs);
    expiry_done(&s->expiry);
}

enum err store__lock_live(struct store *s, const struct queue *q) {
    queue_lock(s->table, q);
    if (q->live) return OK;
    queue_unlock(s->table, q);
    return E_AUTH;
}

enum err store__record(struct store *s, struct queue *q, const struct record *r, lsn_t *ret_lsn) {
    const enum err e = s->ops->record(s, q, r, ret_lsn);
    if (e == OK) queue_changed(q);
    return e;
}

void store__unlock(struct store *s, const struct queue *q) {
    queue_unlock(s->table, q);
}

static void find_one(struct store *s, struct store_lookup *l) {
    struct queue *q = l->want == WANT_FREE ? queue_table_find(s->table, l->kind, &l->id)
                                           : queue_table_find_locked(s->table, l->kind, &l->id);
    l->ret_queue = q;
    l->ret_err = q != NULL || l->want == WANT_FREE ? OK : E_AUTH;
    if (q == NULL || l->want == WANT_FREE) return;
    store__view(q, l->want, &l->ret_view);
    queue_unlock(s->table, q);
}

void store__find(struct store *s, struct store_lookup *lookups, size_t n) {
    for (size_t i = 0; i < n; i++) find_one(s, &lookups[i]);
}

/* ---- where all is loaded ---- */

bool store__load_at_once(struct store *s, struct store_lookup *lookups, size_t n,
                         struct store_waiter *w) {
    (void)w;
    store__find(s, lookups, n);
    return true;
}

bool store__next_at_once(struct store *s, struct store_next *n, struct store_waiter *w) {
    (void)w;
    return store__next_in_ram(s, n);
}

bool store__service_open_at_once(struct store *s, struct store_service_open *o,
                                 struct store_waiter *w) {
    (void)w;
    store__service_open(s, o);
    return true;
}

bool store__service_scan_at_once(struct store *s, struct store_scan *scan, struct store_waiter *w) {
    (void)w;
    store__service_scan(s, scan);
    return true;
}

/* ---- figures ---- */

bool store_admits(const struct store *s) {
    return s->ops->admits == NULL || s->ops->admits(s);
}

struct store_counts store_counts(struct store *s) {
    struct store_counts c = {
        .n_queues = queue_table_size(s->table),
        .n_messages = atomic_load_explicit(&s->n_messages, memory_order_relaxed),
        .n_notifiers = queue_table_n_notifiers(s->table),
        .n_ntfs = atomic_load_explicit(&s->n_ntfs, memory_order_relaxed),
        .state = s->ops->state(s),
    };
    service_table_counts(queue_table_services(s->table), c.n_services, c.n_service_queues);
    if (s->ops->counts != NULL) s->ops->counts(s, &c);
    return c;
}
