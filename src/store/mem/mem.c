/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* mem.c -- the backend that keeps everything in RAM and writes nothing, by the operator's choice
 * (`enable: off`).
 *
 * Records live in a queue_table, messages in a list of each queue. Nothing here can fail but for
 * want of memory, everything is durable as far as it ever will be (lsn 0), and loads finish at
 * once. */
#include <assert.h>
#include <stdlib.h>

#include "store/queue_table.h"
#include "store/store_priv.h"

struct mem_store {
    struct store base;
    /* fixed after open */
    struct queue_table *table; /* owned */
    unsigned quota;
    /* atomic */
    _Atomic uint64_t n_messages; /* relaxed: a figure for reports */
};

static struct mem_store *mem(struct store *s) {
    return CONTAINER_OF(s, struct mem_store, base);
}

static lsn_t mem_durable_lsn(const struct store *s) {
    (void)s;
    return 0;
}

static void mem_close(struct store *s) {
    struct mem_store *m = mem(s);
    queue_table_free(m->table);
    free(m);
}

/* Locks a queue and asks whether it still is one; on E_AUTH nothing is locked. */
static enum err lock_live(struct mem_store *m, const struct queue *q) {
    queue_lock(m->table, q);
    if (q->live) return OK;
    queue_unlock(m->table, q);
    return E_AUTH;
}

/* ---- records ---- */

static void mem_load(struct store *s, struct store_lookup *lookups, size_t n, store_load_done *done,
                     void *ctx) {
    for (size_t i = 0; i < n; i++) {
        lookups[i].ret_queue = queue_table_find(mem(s)->table, lookups[i].kind, &lookups[i].id);
        lookups[i].ret_err = lookups[i].ret_queue != NULL ? OK : E_AUTH;
    }
    done(ctx);
}

static enum err mem_queue_view(struct store *s, struct queue *q, struct queue_view *ret) {
    const enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    *ret = (struct queue_view){
        .rcv_keys = keyset_ref(q->rcv_keys),
        .snd_key = q->snd_key,
        .mode = (enum queue_mode)q->mode,
        .status = (enum queue_status)q->status,
        .updated_day = q->updated_day,
        .has_link = q->link != NULL,
        .has_notifier = q->notifier != NULL,
    };
    queue_unlock(mem(s)->table, q);
    return OK;
}

static enum err mem_queue_create(struct store *s, const struct queue_rec *rec,
                                 struct queue **ret_queue, lsn_t *ret_lsn) {
    *ret_lsn = 0;
    return queue_table_add(mem(s)->table, rec, ret_queue);
}

static enum err mem_queue_secure(struct store *s, struct queue *q, const struct pubkey *key,
                                 lsn_t *ret_lsn) {
    *ret_lsn = 0;
    enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    if (q->snd_key.type == KEY_NONE) {
        q->snd_key = *key;
    } else if (!pubkey_equal(&q->snd_key, key)) {
        e = E_AUTH;
    }
    queue_unlock(mem(s)->table, q);
    return e;
}

static enum err mem_queue_set_keys(struct store *s, struct queue *q, struct keyset *keys,
                                   lsn_t *ret_lsn) {
    *ret_lsn = 0;
    const enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    struct keyset *old = q->rcv_keys;
    q->rcv_keys = keyset_ref(keys);
    queue_unlock(mem(s)->table, q);
    keyset_unref(old);
    return OK;
}

static enum err mem_queue_suspend(struct store *s, struct queue *q, lsn_t *ret_lsn) {
    *ret_lsn = 0;
    const enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    q->status = STATUS_OFF;
    queue_unlock(mem(s)->table, q);
    return OK;
}

static enum err mem_queue_touch(struct store *s, struct queue *q, int32_t day, lsn_t *ret_lsn) {
    *ret_lsn = 0;
    const enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    q->updated_day = day;
    queue_unlock(mem(s)->table, q);
    return OK;
}

/* ---- links ---- */

/* May this link stand in this queue? (behaviour, "LSET") */
static enum err check_link(const struct queue *q, const struct link_data *link) {
    if (queue_is_secured_messaging((enum queue_mode)q->mode, &q->snd_key)) return E_AUTH;
    if (q->link == NULL) return OK;
    const struct link_data *old = q->link->data;
    const bool same = id_equal(&old->link_id, &link->link_id) &&
                      bytes_equal(link_data_fixed(old), link_data_fixed(link));
    return same ? OK : E_AUTH;
}

/* Replaces the user data of a link that the queue has already; *ret_done says whether there was
 * one. */
static enum err replace_link(struct mem_store *m, struct queue *q, struct link_data *link,
                             bool *ret_done) {
    enum err e = lock_live(m, q);
    if (e != OK) return e;
    struct link_data *old = NULL;
    e = check_link(q, link);
    *ret_done = q->link != NULL;
    if (e == OK && q->link != NULL) {
        old = q->link->data;
        q->link->data = link_data_ref(link);
    }
    queue_unlock(m->table, q);
    link_data_unref(old);
    return e;
}

static enum err mem_link_set(struct store *s, struct queue *q, struct link_data *link,
                             lsn_t *ret_lsn) {
    *ret_lsn = 0;
    struct mem_store *m = mem(s);
    bool done = false;
    enum err e = replace_link(m, q, link, &done);
    if (e != OK || done) return e;
    struct link_entry *entry; /* indexed before it is shown: the lock of the queue and of the index
                                 are never held together */
    e = queue_table_add_link(m->table, q, link, &entry);
    if (e != OK) return e;
    e = lock_live(m, q);
    if (e == OK) {
        e = q->link == NULL ? check_link(q, link) : E_AUTH; /* another LSET was faster */
        if (e == OK) q->link = STEAL(entry);
        queue_unlock(m->table, q);
    }
    queue_table_remove_link(m->table, entry);
    return e;
}

static enum err mem_link_get(struct store *s, struct queue *q, const struct id *link_id,
                             struct link_data **ret) {
    enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    if (q->link != NULL && id_equal(&q->link->data->link_id, link_id)) {
        *ret = link_data_ref(q->link->data);
    } else {
        e = E_AUTH;
    }
    queue_unlock(mem(s)->table, q);
    return e;
}

static enum err mem_link_delete(struct store *s, struct queue *q, lsn_t *ret_lsn) {
    *ret_lsn = 0;
    const enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    struct link_entry *entry = STEAL(q->link);
    queue_unlock(mem(s)->table, q);
    queue_table_remove_link(mem(s)->table, entry);
    return OK;
}

/* ---- subscriptions ---- */

static bool same_subscriber(struct subscriber a, struct subscriber b) {
    return a.node == b.node && a.loop == b.loop && a.slot == b.slot && a.generation == b.generation;
}

static enum err mem_subscribe(struct store *s, struct queue *q, struct subscriber sub,
                              struct subscriber *ret_prev) {
    const enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    *ret_prev = q->sub;
    q->sub = sub;
    queue_unlock(mem(s)->table, q);
    return OK;
}

static bool mem_is_subscribed(struct store *s, struct queue *q, struct subscriber sub) {
    queue_lock(mem(s)->table, q);
    const bool is = q->live && same_subscriber(q->sub, sub);
    queue_unlock(mem(s)->table, q);
    return is;
}

static void mem_unsubscribe(struct store *s, struct queue *q, struct subscriber sub) {
    queue_lock(mem(s)->table, q);
    if (same_subscriber(q->sub, sub)) q->sub = (struct subscriber){0};
    queue_unlock(mem(s)->table, q);
}

/* ---- messages ---- */

static void push(struct queue *q, struct message *owned) {
    owned->next = NULL;
    if (q->tail != NULL) {
        q->tail->next = owned;
    } else {
        q->head = owned;
    }
    q->tail = owned;
    q->n_messages++;
}

/* The oldest message, with its reference; the queue must not be empty. */
static struct message *pop(struct queue *q) {
    struct message *m = q->head;
    q->head = m->next;
    if (q->head == NULL) q->tail = NULL;
    q->n_messages--;
    return m;
}

static void count_messages(struct mem_store *m, int64_t n) {
    atomic_fetch_add_explicit(&m->n_messages, (uint64_t)n, memory_order_relaxed);
}

static enum err mem_queue_delete(struct store *s, struct queue *q, struct subscriber *ret_prev,
                                 lsn_t *ret_lsn) {
    *ret_lsn = 0;
    struct mem_store *m = mem(s);
    const enum err e = lock_live(m, q);
    if (e != OK) return e;
    q->live = false;
    *ret_prev = q->sub;
    q->sub = (struct subscriber){0};
    struct message *messages = q->head;
    count_messages(m, -(int64_t)q->n_messages);
    q->head = q->tail = NULL;
    q->n_messages = 0;
    queue_unlock(m->table, q);
    queue_table_remove(m->table, q);
    for (struct message *next; messages != NULL; messages = next) {
        next = messages->next;
        message_unref(messages);
    }
    return OK;
}

/* What the quota makes of a message (behaviour, "Messages"): itself, a marker in its place, or
 * nothing. */
static enum err apply_quota(struct mem_store *m, struct queue *q, struct message *msg,
                            struct message **ret) {
    if (q->refuses && q->n_messages != 0) {
        *ret = NULL;
        return E_QUOTA;
    }
    q->refuses = q->n_messages >= m->quota;
    if (!q->refuses) {
        *ret = message_ref(msg);
        return OK;
    }
    const enum err e = message_new_quota(&msg->id, msg->ts_s, ret);
    if (e != OK) q->refuses = false;
    return e == OK ? E_QUOTA : e;
}

static enum err mem_msg_write(struct store *s, struct queue *q, struct message *owned,
                              struct msg_written *ret) {
    struct mem_store *m = mem(s);
    *ret = (struct msg_written){0};
    enum err e = lock_live(m, q);
    if (e == OK) {
        struct message *stored = NULL;
        e = apply_quota(m, q, owned, &stored);
        if (stored != NULL) {
            ret->was_empty = q->n_messages == 0;
            ret->sub = q->sub;
            push(q, stored);
            count_messages(m, 1);
        }
        queue_unlock(m->table, q);
    }
    message_unref(owned);
    return e;
}

static enum err mem_msg_peek(struct store *s, struct queue *q, struct message **ret) {
    const enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    *ret = q->head != NULL ? message_ref(q->head) : NULL;
    queue_unlock(mem(s)->table, q);
    return OK;
}

static enum err mem_msg_ack(struct store *s, struct queue *q, const struct id *msg_id,
                            struct message **ret_next, lsn_t *ret_lsn) {
    *ret_lsn = 0;
    const enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    struct message *gone = NULL;
    if (q->head != NULL && id_equal(&q->head->id, msg_id)) {
        gone = pop(q);
        count_messages(mem(s), -1);
    }
    if (ret_next != NULL) *ret_next = q->head != NULL ? message_ref(q->head) : NULL;
    queue_unlock(mem(s)->table, q);
    message_unref(gone);
    return OK;
}

static enum err mem_msg_count(struct store *s, struct queue *q, unsigned *ret_n) {
    const enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    *ret_n = q->n_messages;
    queue_unlock(mem(s)->table, q);
    return OK;
}

static bool mem_msg_fetch(struct store *s, struct message *m, struct store_waiter *w) {
    (void)s;
    (void)m;
    (void)w;
    return true; /* bodies never leave RAM */
}

/* ---- expiry ---- */

struct expiry {
    int64_t before_ts_s;
    unsigned n;
};

/* Messages are in the order of their times, so the oldest decide. Under the queue's lock. */
static void expire_locked(struct queue *q, void *ctx) {
    struct expiry *x = ctx;
    while (q->head != NULL && q->head->ts_s < x->before_ts_s) {
        message_unref(pop(q));
        x->n++;
    }
}

static bool mem_expire_step(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                            unsigned max_queues, unsigned *ret_expired) {
    struct expiry x = {before_ts_s, 0};
    const bool more = queue_table_scan(mem(s)->table, c, max_queues, expire_locked, &x);
    count_messages(mem(s), -(int64_t)x.n);
    *ret_expired = x.n;
    return more;
}

static enum err mem_expire_queue(struct store *s, struct queue *q, int64_t before_ts_s,
                                 unsigned *ret_expired) {
    const enum err e = lock_live(mem(s), q);
    if (e != OK) return e;
    struct expiry x = {before_ts_s, 0};
    expire_locked(q, &x);
    queue_unlock(mem(s)->table, q);
    count_messages(mem(s), -(int64_t)x.n);
    *ret_expired = x.n;
    return OK;
}

static struct store_counts mem_counts(struct store *s) {
    return (struct store_counts){
        .n_queues = queue_table_size(mem(s)->table),
        .n_messages = atomic_load_explicit(&mem(s)->n_messages, memory_order_relaxed),
    };
}

/* ---- the backend ---- */

static const struct store_ops MEM_OPS = {
    .close = mem_close,
    .durable_lsn = mem_durable_lsn,
    .load = mem_load,
    .queue_view = mem_queue_view,
    .queue_create = mem_queue_create,
    .queue_secure = mem_queue_secure,
    .queue_set_keys = mem_queue_set_keys,
    .link_set = mem_link_set,
    .link_get = mem_link_get,
    .link_delete = mem_link_delete,
    .queue_suspend = mem_queue_suspend,
    .queue_touch = mem_queue_touch,
    .subscribe = mem_subscribe,
    .is_subscribed = mem_is_subscribed,
    .unsubscribe = mem_unsubscribe,
    .queue_delete = mem_queue_delete,
    .msg_write = mem_msg_write,
    .msg_peek = mem_msg_peek,
    .msg_ack = mem_msg_ack,
    .msg_count = mem_msg_count,
    .msg_fetch = mem_msg_fetch,
    .expire_step = mem_expire_step,
    .expire_queue = mem_expire_queue,
    .counts = mem_counts,
};

enum err store_mem_open(const struct store_opts *o, struct store **ret) {
    struct mem_store *m = calloc(1, sizeof *m);
    if (m == NULL) return E_NO_MEMORY;
    const enum err e = queue_table_new(o->env, &m->table);
    if (e != OK) {
        free(m);
        return e;
    }
    m->base.ops = &MEM_OPS;
    m->quota = o->quota;
    atomic_init(&m->n_messages, 0);
    *ret = &m->base;
    return OK;
}
