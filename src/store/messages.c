/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* messages.c -- the messages of a queue (spec: behaviour, "Messages"): quota, order, deletion,
 * expiry.
 *
 * The list of entries is the truth; every change of it is the backend's to keep. */
#include <stdlib.h>

#include "store/queue_table.h"
#include "store/store_priv.h"

void store__count_messages(struct store *s, int64_t n) {
    atomic_fetch_add_explicit(&s->n_messages, (uint64_t)n, memory_order_relaxed);
}

/* ---- writing ---- */

static enum err entry_new(struct message *msg, struct msg_entry **ret) {
    struct msg_entry *e = calloc(1, sizeof *e);
    if (e == NULL) return E_NO_MEMORY;
    e->ram = message_ref(msg);
    e->id = msg->id;
    e->ts_s = (uint32_t)msg->ts_s;
    e->body_len = msg->body_len;
    e->is_quota = msg->is_quota;
    e->notification = msg->notification;
    *ret = e;
    return OK;
}

/* Appends a message that nobody else sees yet. Under the queue's lock. */
static enum err store_message(struct store *s, struct queue *q, struct message *msg,
                              bool may_hold) {
    struct msg_entry *entry;
    enum err e = entry_new(msg, &entry);
    if (e != OK) return e;
    const bool is_held = may_hold && s->ops->hold != NULL && s->ops->hold(s, q, msg, entry);
    if (!is_held) e = s->ops->message(s, q, msg, entry);
    if (e != OK) {
        msg_entry_free(entry);
        return e;
    }
    queue_push(q, entry);
    store__count_messages(s, 1);
    return OK;
}

/* Stores the quota marker in the place of a message. Under the queue's lock. E_QUOTA when that
 * worked. */
static enum err store_marker(struct store *s, struct queue *q, const struct message *msg,
                             lsn_t *ret_lsn) {
    struct message *marker;
    enum err e = message_new_quota(&msg->id, msg->ts_s, &marker);
    if (e != OK) return e;
    e = store_message(s, q, marker, false);
    *ret_lsn = marker->lsn;
    message_unref(marker);
    return e == OK ? E_QUOTA : e;
}

/* Messages are kept in their order: only the first ones of a queue are held. */
static bool may_hold(const struct store *s, const struct queue *q, const struct message *msg) {
    if (!msg->may_hold || s->ops->hold == NULL) return false;
    return q->tail == NULL || (q->tail->ram != NULL && store_is_held(s, q->tail->ram->lsn));
}

/* Under the queue's lock: the message, a marker in its place, or nothing. */
static enum err write_locked(struct store *s, struct queue *q, struct message *msg,
                             struct msg_written *ret) {
    if (q->refuses && q->n_messages != 0) return E_QUOTA;
    const bool over = q->n_messages >= s->quota;
    const bool was_empty = q->n_messages == 0;
    lsn_t lsn = 0;
    const bool holds = may_hold(s, q, msg);
    const struct subscriber sub =
        was_empty || holds ? store__subscriber(s, q) : (struct subscriber){0};
    const enum err e = over ? store_marker(s, q, msg, &lsn)
                            : store_message(s, q, msg, holds && sub.generation != 0);
    if (e != OK && e != E_QUOTA) return e;
    q->refuses = over;
    *ret = (struct msg_written){.was_empty = was_empty, .lsn = over ? lsn : msg->lsn};
    if (was_empty) ret->sub = sub;
    return e;
}

enum err store_msg_write(struct store *s, struct queue *q, struct message *owned,
                         struct msg_written *ret) {

    *ret = (struct msg_written){0};
    enum err e = store__lock_live(s, q);
    if (e == OK) {
        e = write_locked(s, q, owned, ret);
        store__unlock(s, q);
    }
    message_unref(owned);
    return e;
}

enum err store__msg_restore(struct store *s, const struct id *rcv_id, struct message *owned) {
    struct queue *q = queue_table_find(s->table, ID_RECIPIENT, rcv_id);
    enum err e = q != NULL ? store__lock_live(s, q) : E_AUTH;
    if (e == OK) {
        e = store_message(s, q, owned, false);
        if (e == OK && owned->is_quota) q->refuses = true;
        store__unlock(s, q);
    }
    queue_unref(q);
    message_unref(owned);
    return e;
}

/* ---- reading ---- */

enum err store__entry_message(const struct msg_entry *entry, struct message **ret) {
    if (entry->ram != NULL) {
        *ret = message_ref(entry->ram);
        return OK;
    }
    if (entry->is_quota) return message_new_quota(&entry->id, entry->ts_s, ret);
    return message_new_absent(&entry->id, entry->ts_s, entry->notification, entry->body_len, ret);
}

enum err store__msg_peek(struct store *s, struct queue *q, struct message **ret) {
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    *ret = NULL;
    if (q->head != NULL) e = store__entry_message(q->head, ret);
    store__unlock(s, q);
    return e;
}

bool store__next_in_ram(struct store *s, struct store_next *n) {
    struct message *m = NULL;
    n->ret_message = NULL;
    n->ret_err = store__msg_peek(s, n->queue, &m);
    if (n->ret_err != OK || m == NULL || message_has_body(m)) {
        n->ret_message = m;
        return true;
    }
    message_unref(m);
    return false;
}

/* ---- deleting ---- */

/* Deletes the oldest message; the entry is the caller's to free. Under the queue's lock. */
static enum err delete_head(struct store *s, struct queue *q, enum store_pace pace,
                            struct msg_entry **ret_gone, lsn_t *ret_lsn) {
    const enum err e = s->ops->forget(s, q, q->head, pace, ret_lsn);
    if (e != OK) return e;
    *ret_gone = queue_pop(q);
    store__count_messages(s, -1);
    return OK;
}

enum err store_msg_ack(struct store *s, struct queue *q, const struct id *msg_id,
                       enum store_pace pace, struct msg_acked *ret) {

    *ret = (struct msg_acked){0};
    struct msg_entry *gone = NULL;
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    const bool is_head = msg_id != NULL && q->head != NULL && id_equal(&q->head->id, msg_id);
    if (is_head) e = delete_head(s, q, pace, &gone, &ret->lsn);
    ret->has_next = q->head != NULL;
    store__unlock(s, q);
    if (gone != NULL && !gone->is_quota) {
        ret->was_deleted = true;
        ret->notification = gone->notification;
    }
    msg_entry_free(gone);
    return e;
}

/* ---- expiry ---- */

struct expiry {
    struct store *store;
    int64_t before_ts_s;
    unsigned n;
    enum err err;
};

/* Messages are in the order of their times, so the oldest decide. Under the queue's lock. */
static void expire_locked(struct queue *q, void *ctx) {
    struct expiry *x = ctx;
    while (x->err == OK && q->head != NULL && (int64_t)q->head->ts_s < x->before_ts_s) {
        struct msg_entry *gone = NULL;
        lsn_t lsn;
        x->err = delete_head(x->store, q, PACE_AT_ONCE, &gone, &lsn);
        msg_entry_free(gone);
        if (x->err == OK) x->n++;
    }
}

bool store__expire_step(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                        unsigned max_queues, unsigned *ret_expired) {
    struct expiry x = {.store = s, .before_ts_s = before_ts_s};
    const bool more = queue_table_scan(s->table, c, max_queues, expire_locked, &x);
    *ret_expired = x.n;
    return more && x.err == OK; /* a store that refuses changes is asked again in the next pass */
}

enum err store_expire_queue(struct store *s, struct queue *q, int64_t before_ts_s,
                            unsigned *ret_expired) {

    const enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    struct expiry x = {.store = s, .before_ts_s = before_ts_s};
    expire_locked(q, &x);
    store__unlock(s, q);
    *ret_expired = x.n;
    return x.err;
}
