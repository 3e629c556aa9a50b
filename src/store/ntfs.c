/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ntfs.c -- notifiers of queues, and the notifications that wait for them (spec: behaviour,
 * "Notifications"). A notification is kept as what it tells, in RAM; it is encrypted when it is
 * sent or saved. */
#include <assert.h>
#include <stdlib.h>

#include "model/limits.h"
#include "store/queue_table.h"
#include "store/store_priv.h"
#include "store/text/record.h"

void store__count_ntfs(struct store *s, int64_t n) {
    atomic_fetch_add_explicit(&s->n_ntfs, (uint64_t)n, memory_order_relaxed);
}

/* ---- notifiers ---- */

/* Out of the queue, under its lock; NULL when there is none. */
static struct notifier_entry *detach(struct store *s, struct queue *q,
                                     struct sub_ended *ret_ended) {
    struct notifier_entry *n = queue_notifier_of(q);
    if (n == NULL) return NULL;
    *ret_ended = (struct sub_ended){store__end_ntf_sub(s, n), n->rec.id};
    store__count_ntfs(s, -(int64_t)n->n_ntfs);
    q->extra->notifier = NULL;
    return n;
}

/* entry is indexed already, and stays the caller's unless OK. */
static enum err show_notifier(struct store *s, struct queue *q, struct notifier_entry *entry,
                              struct sub_ended *ret_ended, struct notifier_entry **ret_old,
                              lsn_t *ret_lsn) {
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    const struct record r = {.tag = RECORD_NOTIFIER,
                             .rcv_id = *queue_rcv_id(q),
                             .has_notifier = true,
                             .notifier = entry->rec};
    e = queue_need_extra(q);
    if (e == OK) e = store__record(s, q, &r, ret_lsn);
    if (e == OK) {
        *ret_old = detach(s, q, ret_ended);
        q->extra->notifier = entry;
    }
    store__unlock(s, q);
    return e;
}

enum err store_notifier_set(struct store *s, struct queue *q, const struct queue_notifier *n,
                            struct sub_ended *ret_ended, lsn_t *ret_lsn) {

    *ret_lsn = 0;
    *ret_ended = (struct sub_ended){0};
    struct notifier_entry *entry, *old = NULL;
    enum err e = queue_table_add_notifier(s->table, q, n, &entry);
    if (e != OK) return e;
    e = show_notifier(s, q, entry, ret_ended, &old, ret_lsn);
    queue_table_remove_notifier(s->table, e == OK ? old : entry);
    return e;
}

enum err store_notifier_delete(struct store *s, struct queue *q, struct sub_ended *ret_ended,
                               lsn_t *ret_lsn) {

    *ret_lsn = 0;
    *ret_ended = (struct sub_ended){0};
    struct notifier_entry *old = NULL;
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    if (queue_notifier_of(q) != NULL) {
        const struct record r = {.tag = RECORD_NDELETE, .rcv_id = *queue_rcv_id(q)};
        e = store__record(s, q, &r, ret_lsn);
        if (e == OK) old = detach(s, q, ret_ended);
    }
    store__unlock(s, q);
    queue_table_remove_notifier(s->table, old);
    return e;
}

/* ---- notifications ---- */

/* The oldest; there must be one. */
static struct ntf_entry *pop(struct store *s, struct notifier_entry *n) {
    struct ntf_entry *ntf = n->head;
    assert(ntf != NULL);
    n->head = ntf->next;
    if (n->head == NULL) n->tail = NULL;
    n->n_ntfs--;
    store__count_ntfs(s, -1);
    return ntf;
}

enum err store__ntf_push(struct store *s, struct notifier_entry *n, const struct id *msg_id,
                         int64_t ts_s) {
    struct ntf_entry *ntf = n->n_ntfs < NTFS_PER_NOTIFIER_MAX ? malloc(sizeof *ntf) : pop(s, n);
    if (ntf == NULL) return E_NO_MEMORY;
    *ntf = (struct ntf_entry){.msg_id = *msg_id, .ts_s = (uint32_t)ts_s};
    if (n->tail != NULL) {
        n->tail->next = ntf;
    } else {
        n->head = ntf;
    }
    n->tail = ntf;
    n->n_ntfs++;
    store__count_ntfs(s, 1);
    return OK;
}

enum err store_ntf_add(struct store *s, struct queue *q, const struct id *msg_id, int64_t ts_s,
                       struct ntf_added *ret) {

    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    struct notifier_entry *n = queue_notifier_of(q);
    if (n == NULL) {
        e = E_NOT_FOUND;
    } else {
        *ret = (struct ntf_added){.was_empty = n->head == NULL,
                                  .dropped_one = n->n_ntfs == NTFS_PER_NOTIFIER_MAX,
                                  .notifier_id = n->rec.id};
        if (ret->was_empty) ret->sub = store__ntf_subscriber(s, n);
        e = store__ntf_push(s, n, msg_id, ts_s);
    }
    store__unlock(s, q);
    return e;
}

static void take_locked(struct store *s, struct notifier_entry *n, unsigned max,
                        struct ntf_batch *ret) {
    ret->n = 0;
    memcpy(ret->dh_secret, n->rec.dh_secret, sizeof ret->dh_secret);
    while (n->head != NULL && ret->n < max && ret->n < NTF_BATCH_MAX) {
        struct ntf_entry *ntf = pop(s, n);
        ret->items[ret->n].msg_id = ntf->msg_id;
        ret->items[ret->n].ts_s = ntf->ts_s;
        ret->n++;
        free(ntf);
    }
    ret->more = n->head != NULL;
}

enum err store_ntf_take(struct store *s, struct queue *q, const struct id *notifier_id,
                        struct subscriber sub, unsigned max, struct ntf_batch *ret) {

    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    struct notifier_entry *n = queue_notifier_of(q);
    if (n == NULL || !id_equal(&n->rec.id, notifier_id) ||
        !subscriber_equal(store__ntf_subscriber(s, n), sub)) {
        e = E_AUTH;
    } else {
        take_locked(s, n, max, ret);
    }
    store__unlock(s, q);
    return e;
}

/* ---- expiry ---- */

struct ntf_expiry {
    struct store *store;
    int64_t before_ts_s;
    unsigned n;
};

/* They are in the order of their times. Under the queue's lock. */
static void expire_locked(struct queue *q, void *ctx) {
    struct ntf_expiry *x = ctx;
    struct notifier_entry *n = queue_notifier_of(q);
    while (n != NULL && n->head != NULL && (int64_t)n->head->ts_s < x->before_ts_s) {
        free(pop(x->store, n));
        x->n++;
    }
}

bool store__ntf_expire_step(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                            unsigned max_queues, unsigned *ret_expired) {
    struct ntf_expiry x = {.store = s, .before_ts_s = before_ts_s};
    const bool more = queue_table_scan(s->table, c, max_queues, expire_locked, &x);
    *ret_expired = x.n;
    return more;
}
