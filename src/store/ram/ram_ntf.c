/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ram_ntf.c -- notifiers of queues, and the notifications that wait for them (spec: behaviour,
 * "Notifications"). A notification is kept as what it tells, in RAM; it is encrypted when it is
 * sent or saved. */
#include <assert.h>
#include <stdlib.h>

#include "store/ram/ram_priv.h"

void ram_count_ntfs(struct ram_store *m, int64_t n) {
    atomic_fetch_add_explicit(&m->n_ntfs, (uint64_t)n, memory_order_relaxed);
}

/* ---- notifiers ---- */

/* Out of the queue, under its lock; NULL when there is none. */
static struct notifier_entry *detach(struct ram_store *m, struct queue *q,
                                     struct sub_ended *ret_ended) {
    struct notifier_entry *n = queue_notifier_of(q);
    if (n == NULL) return NULL;
    *ret_ended = (struct sub_ended){ram_ntf_subscriber(n), n->rec.id};
    ram_count_ntfs(m, -(int64_t)n->n_ntfs);
    q->extra->notifier = NULL;
    return n;
}

/* entry is indexed already, and stays the caller's unless OK. */
static enum err show_notifier(struct ram_store *m, struct queue *q, struct notifier_entry *entry,
                              struct sub_ended *ret_ended, struct notifier_entry **ret_old,
                              lsn_t *ret_lsn) {
    enum err e = ram_lock_live(m, q);
    if (e != OK) return e;
    const struct record r = {.tag = RECORD_NOTIFIER,
                             .rcv_id = *queue_rcv_id(q),
                             .has_notifier = true,
                             .notifier = entry->rec};
    e = queue_need_extra(q);
    if (e == OK) e = ram_log(m, q, &r, ret_lsn);
    if (e == OK) {
        *ret_old = detach(m, q, ret_ended);
        q->extra->notifier = entry;
    }
    ram_unlock(m, q);
    return e;
}

enum err ram_notifier_set(struct store *s, struct queue *q, const struct queue_notifier *n,
                          struct sub_ended *ret_ended, lsn_t *ret_lsn) {
    struct ram_store *m = ram_of(s);
    *ret_lsn = 0;
    *ret_ended = (struct sub_ended){0};
    struct notifier_entry *entry, *old = NULL;
    enum err e = queue_table_add_notifier(m->table, q, n, &entry);
    if (e != OK) return e;
    e = show_notifier(m, q, entry, ret_ended, &old, ret_lsn);
    queue_table_remove_notifier(m->table, e == OK ? old : entry);
    return e;
}

enum err ram_notifier_delete(struct store *s, struct queue *q, struct sub_ended *ret_ended,
                             lsn_t *ret_lsn) {
    struct ram_store *m = ram_of(s);
    *ret_lsn = 0;
    *ret_ended = (struct sub_ended){0};
    struct notifier_entry *old = NULL;
    enum err e = ram_lock_live(m, q);
    if (e != OK) return e;
    if (queue_notifier_of(q) != NULL) {
        const struct record r = {.tag = RECORD_NDELETE, .rcv_id = *queue_rcv_id(q)};
        e = ram_log(m, q, &r, ret_lsn);
        if (e == OK) old = detach(m, q, ret_ended);
    }
    ram_unlock(m, q);
    queue_table_remove_notifier(m->table, old);
    return e;
}

/* ---- notifications ---- */

/* The oldest; there must be one. */
static struct ntf_entry *pop(struct ram_store *m, struct notifier_entry *n) {
    struct ntf_entry *ntf = n->head;
    assert(ntf != NULL);
    n->head = ntf->next;
    if (n->head == NULL) n->tail = NULL;
    n->n_ntfs--;
    ram_count_ntfs(m, -1);
    return ntf;
}

enum err ram_ntf_push(struct ram_store *m, struct notifier_entry *n, const struct id *msg_id,
                      int64_t ts_s) {
    struct ntf_entry *ntf = n->n_ntfs < NTFS_PER_NOTIFIER_MAX ? malloc(sizeof *ntf) : pop(m, n);
    if (ntf == NULL) return E_NO_MEMORY;
    *ntf = (struct ntf_entry){.msg_id = *msg_id, .ts_s = (uint32_t)ts_s};
    if (n->tail != NULL) {
        n->tail->next = ntf;
    } else {
        n->head = ntf;
    }
    n->tail = ntf;
    n->n_ntfs++;
    ram_count_ntfs(m, 1);
    return OK;
}

enum err ram_ntf_add(struct store *s, struct queue *q, const struct id *msg_id, int64_t ts_s,
                     struct ntf_added *ret) {
    struct ram_store *m = ram_of(s);
    enum err e = ram_lock_live(m, q);
    if (e != OK) return e;
    struct notifier_entry *n = queue_notifier_of(q);
    if (n == NULL) {
        e = E_NOT_FOUND;
    } else {
        *ret = (struct ntf_added){.was_empty = n->head == NULL,
                                  .dropped_one = n->n_ntfs == NTFS_PER_NOTIFIER_MAX,
                                  .sub = ram_ntf_subscriber(n),
                                  .notifier_id = n->rec.id};
        e = ram_ntf_push(m, n, msg_id, ts_s);
    }
    ram_unlock(m, q);
    return e;
}

static void take_locked(struct ram_store *m, struct notifier_entry *n, unsigned max,
                        struct ntf_batch *ret) {
    ret->n = 0;
    memcpy(ret->dh_secret, n->rec.dh_secret, sizeof ret->dh_secret);
    while (n->head != NULL && ret->n < max && ret->n < NTF_BATCH_MAX) {
        struct ntf_entry *ntf = pop(m, n);
        ret->items[ret->n].msg_id = ntf->msg_id;
        ret->items[ret->n].ts_s = ntf->ts_s;
        ret->n++;
        free(ntf);
    }
    ret->more = n->head != NULL;
}

enum err ram_ntf_take(struct store *s, struct queue *q, const struct id *notifier_id,
                      struct subscriber sub, unsigned max, struct ntf_batch *ret) {
    struct ram_store *m = ram_of(s);
    enum err e = ram_lock_live(m, q);
    if (e != OK) return e;
    struct notifier_entry *n = queue_notifier_of(q);
    if (n == NULL || !id_equal(&n->rec.id, notifier_id) ||
        !subscriber_equal(ram_ntf_subscriber(n), sub)) {
        e = E_AUTH;
    } else {
        take_locked(m, n, max, ret);
    }
    ram_unlock(m, q);
    return e;
}

/* ---- expiry ---- */

struct ntf_expiry {
    struct ram_store *store;
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

bool ram_ntf_expire_step(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                         unsigned max_queues, unsigned *ret_expired) {
    struct ntf_expiry x = {.store = ram_of(s), .before_ts_s = before_ts_s};
    const bool more = queue_table_scan(ram_of(s)->table, c, max_queues, expire_locked, &x);
    *ret_expired = x.n;
    return more;
}
