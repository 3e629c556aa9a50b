/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ram_body.c -- bodies between RAM and journal.
 *
 * What was just written is likely to be delivered at once, so the bodies of the last
 * MESSAGE_CACHE_BYTES stay in RAM; older ones are on disk only and are read back for delivery by
 * the journal. The journal may move a record at any time: a read that fails looks whether
 * the message is elsewhere now, or gone. */
#include <stdlib.h>

#include "base/log.h"
#include "store/ram/ram_priv.h"

/* ---- the cache of recent bodies ---- */

void ram_cache_add(struct ram_store *m, struct queue *q, const struct message *msg) {
    struct cached *c = malloc(sizeof *c);
    if (c == NULL) return; /* this body stays in RAM until its message goes */
    *c = (struct cached){.queue = queue_ref(q), .msg_id = msg->id, .lsn = msg->lsn};
    c->n_bytes = sizeof *msg + msg->body_len;
    pthread_mutex_lock(&m->cache.mtx);
    if (m->cache.tail != NULL) {
        m->cache.tail->next = c;
    } else {
        m->cache.head = c;
    }
    m->cache.tail = c;
    m->cache.n_bytes += c->n_bytes;
    pthread_mutex_unlock(&m->cache.mtx);
}

/* The oldest, if it is over the limit and safe on disk; else NULL. */
static struct cached *cache_take(struct ram_store *m, size_t limit, lsn_t durable) {
    pthread_mutex_lock(&m->cache.mtx);
    struct cached *c = m->cache.head;
    if (c != NULL && (m->cache.n_bytes <= limit || c->lsn > durable)) c = NULL;
    if (c != NULL) {
        m->cache.head = c->next;
        if (m->cache.head == NULL) m->cache.tail = NULL;
        m->cache.n_bytes -= c->n_bytes;
    }
    pthread_mutex_unlock(&m->cache.mtx);
    return c;
}

static void cached_free(struct cached *c) {
    queue_unref(c->queue);
    free(c);
}

void ram_cache_trim(struct ram_store *m) {
    const lsn_t durable = commit_durable_lsn(m->commit);
    for (struct cached *c; (c = cache_take(m, MESSAGE_CACHE_BYTES, durable)) != NULL;
         cached_free(c)) {
        struct message *body = NULL;
        queue_lock(m->table, c->queue);
        struct msg_entry *entry = queue_find_msg(c->queue, &c->msg_id);
        if (entry != NULL && !entry->is_quota) body = STEAL(entry->ram);
        ram_unlock(m, c->queue);
        message_unref(body);
    }
}

void ram_cache_done(struct ram_store *m) {
    for (struct cached *c; (c = cache_take(m, 0, UINT64_MAX)) != NULL;) cached_free(c);
}

/* ---- reading back ---- */

static struct journal_msg journal_msg_of(const struct id *rcv_id, const struct msg_entry *e) {
    return (struct journal_msg){
        .queue = *rcv_id,
        .msg = e->id,
        .ts_s = e->ts_s,
        .notification = e->notification,
        .is_quota = e->is_quota,
        .body_len = e->body_len,
        .loc = e->loc,
    };
}

struct fetch {
    struct ram_store *store;
    struct queue *queue;     /* counted */
    struct message *message; /* counted */
    struct store_waiter *waiter;
    struct journal_msg where;
    uint8_t *body; /* owned until the message has it */
};

/* Where the message is now. False: it is gone. */
static bool find_again(struct ram_store *m, struct queue *q, const struct id *msg_id,
                       struct journal_msg *ret) {
    queue_lock(m->table, q);
    const struct msg_entry *entry = q->live ? queue_find_msg(q, msg_id) : NULL;
    if (entry != NULL) *ret = journal_msg_of(queue_rcv_id(q), entry);
    ram_unlock(m, q);
    return entry != NULL;
}

static bool same_place(struct journal_loc a, struct journal_loc b) {
    return a.segment == b.segment && a.offset_8 == b.offset_8;
}

static void fetch_end(struct fetch *f) {
    struct store_waiter *w = f->waiter;
    queue_unref(f->queue);
    message_unref(f->message);
    free(f->body);
    free(f);
    w->ready(w);
}

/* On one of the journal's threads. */
static void fetch_done(void *arg, enum err e) {
    struct fetch *f = arg;
    if (e == OK) {
        message_bring_body(f->message, STEAL(f->body));
        fetch_end(f);
        return;
    }
    enum message_body_state why = BODY_UNREADABLE;
    const struct journal_loc tried = f->where.loc;
    if (!find_again(f->store, f->queue, &f->message->id, &f->where)) {
        why = BODY_GONE;
    } else if (!same_place(tried, f->where.loc)) {
        e = journal_read(f->store->journal, &f->where, f->body, fetch_done, f);
        if (e == OK) return; /* moved in the meantime: once more */
    } else if (e != E_CLOSED) {
        log_line(LOG_ERROR, "message-unreadable", "segment=%u offset=%llu", tried.segment,
                 (unsigned long long)tried.offset_8 * 8);
    }
    message_give_up_body(f->message, why);
    fetch_end(f);
}

/* False: it was not started, and the message knows why. */
static bool fetch_start(struct ram_store *m, struct queue *q, struct message *msg,
                        struct store_waiter *w) {
    struct journal_msg where;
    if (!find_again(m, q, &msg->id, &where)) {
        message_give_up_body(msg, BODY_GONE);
        return false;
    }
    struct fetch *f = calloc(1, sizeof *f);
    uint8_t *body = malloc((size_t)msg->body_len + 1); /* + 1: never a request for nothing */
    if (f != NULL && body != NULL) {
        *f = (struct fetch){m, queue_ref(q), message_ref(msg), w, where, body};
        if (journal_read(m->journal, &f->where, f->body, fetch_done, f) == OK) return true;
        queue_unref(f->queue);
        message_unref(f->message);
    }
    free(body);
    free(f);
    message_give_up_body(msg, BODY_UNREADABLE);
    return false;
}

bool ram_msg_fetch(struct store *s, struct queue *q, struct message *msg, struct store_waiter *w) {
    if (message_body_state(msg) != BODY_ABSENT) return true;
    return w != NULL && !fetch_start(ram_of(s), q, msg, w);
}

/* ---- the journal's questions ---- */

static enum err recovered(void *ctx, const struct journal_msg *jm) {
    struct ram_store *m = ctx;
    struct queue *q = queue_table_find(m->table, ID_RECIPIENT, &jm->queue);
    if (q == NULL) return E_NOT_FOUND;
    struct msg_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        queue_unref(q);
        return E_NO_MEMORY;
    }
    entry->id = jm->msg;
    entry->loc = jm->loc;
    entry->ts_s = (uint32_t)jm->ts_s;
    entry->body_len = jm->body_len;
    entry->is_quota = jm->is_quota;
    entry->notification = jm->notification;
    queue_lock(m->table, q);
    queue_push(q, entry);
    q->refuses = entry->is_quota;
    ram_unlock(m, q);
    ram_count_messages(m, 1);
    queue_unref(q);
    return OK;
}

static bool has_queue(void *ctx, const struct id *rcv_id) {
    struct ram_store *m = ctx;
    struct queue *q = queue_table_find(m->table, ID_RECIPIENT, rcv_id);
    queue_unref(q);
    return q != NULL;
}

/* The entry of a message that lies at loc, with its queue locked and referenced; NULL: nothing is.
 */
static struct msg_entry *lock_entry(struct ram_store *m, const struct journal_msg *jm,
                                    struct journal_loc loc, struct queue **ret_queue) {
    struct queue *q = queue_table_find(m->table, ID_RECIPIENT, &jm->queue);
    if (q == NULL) return NULL;
    queue_lock(m->table, q);
    struct msg_entry *entry = q->live ? queue_find_msg(q, &jm->msg) : NULL;
    if (entry != NULL && same_place(entry->loc, loc)) {
        *ret_queue = q;
        return entry;
    }
    ram_unlock(m, q);
    queue_unref(q);
    return NULL;
}

static void relocate(void *ctx, const struct journal_msg *jm, struct bytes body) {
    struct ram_store *m = ctx;
    struct queue *q;
    if (lock_entry(m, jm, jm->loc, &q) == NULL) return;
    lsn_t lsn;
    if (commit_begin(m->commit, &lsn) == OK) {
        const enum err e = journal_copy(m->journal, jm, body);
        commit_end(m->commit);
        if (e != OK) log_line(LOG_WARN, "message-not-moved", "error=%s", err_name(e));
    }
    ram_unlock(m, q);
    queue_unref(q);
}

static bool moved(void *ctx, const struct journal_msg *jm, struct journal_loc from) {
    struct ram_store *m = ctx;
    struct queue *q;
    struct msg_entry *entry = lock_entry(m, jm, from, &q);
    if (entry == NULL) return false;
    entry->loc = jm->loc;
    ram_unlock(m, q);
    queue_unref(q);
    return true;
}

static void lost(void *ctx, const struct id *rcv_id, const struct id *msg_id) {
    struct ram_store *m = ctx;
    struct queue *q = queue_table_find(m->table, ID_RECIPIENT, rcv_id);
    if (q == NULL) return;
    queue_lock(m->table, q);
    struct msg_entry *entry = queue_find_msg(q, msg_id);
    if (entry != NULL) {
        queue_unlink(q, entry);
        ram_count_messages(m, -1);
        if (entry->is_quota) q->refuses = false; /* the next one too many leaves the marker */
    }
    ram_unlock(m, q);
    msg_entry_free(entry);
    queue_unref(q);
}

struct journal_owner ram_journal_owner(struct ram_store *m) {
    return (struct journal_owner){
        .recovered = recovered,
        .has_queue = has_queue,
        .relocate = relocate,
        .moved = moved,
        .lost = lost,
        .ctx = m,
    };
}

/* ---- waiting for a body, for export ---- */

enum err ram_bring_body(struct ram_store *m, struct queue *q, struct message *msg) {
    struct store_blocking b;
    store__blocking_init(&b);
    if (!ram_msg_fetch(&m->base, q, msg, &b.waiter)) store__wait(&b);
    store__blocking_done(&b);
    if (message_body_state(msg) == BODY_PRESENT) return OK;
    struct journal_msg where;
    return find_again(m, q, &msg->id, &where) ? E_STORE : E_NOT_FOUND;
}
