/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_body.c -- bodies between RAM and journal.
 *
 * What was just written is likely to be delivered at once, so the bodies of the last
 * MESSAGE_CACHE_BYTES stay in RAM (body_cache.h); older ones are on disk only and are read back for
 * delivery by the journal. The journal may move a record at any time: a read that fails looks
 * whether the message is elsewhere now, or gone. */
#include <stdlib.h>

#include "base/log.h"
#include "store/files/files_priv.h"

/* ---- reading back ---- */

static struct journal_msg journal_msg_of(const struct id *rcv_id, const struct msg_entry *e) {
    return (struct journal_msg){
        .queue = *rcv_id,
        .msg = e->id,
        .ts_s = e->ts_s,
        .notification = e->notification,
        .is_quota = e->is_quota,
        .body_len = e->body_len,
        .loc = files_loc(e),
    };
}

/* A body on its way from disk. */
struct fetch {
    struct files_store *store;
    struct queue *queue;     /* counted */
    struct message *message; /* counted; nobody else looks at it yet */
    struct journal_msg where;
    uint8_t *body; /* owned until the message has it */
    /* On one of the journal's threads. OK: the message has its body; E_NOT_FOUND: it is gone;
     * E_STORE: it cannot be read. */
    void (*done)(void *ctx, enum err e);
    void *ctx;
};

/* Where the message is now. False: it is gone. */
static bool find_again(struct files_store *m, struct queue *q, const struct id *msg_id,
                       struct journal_msg *ret) {
    queue_lock(m->base.table, q);
    const struct msg_entry *entry = q->live ? queue_find_msg(q, msg_id) : NULL;
    if (entry != NULL) *ret = journal_msg_of(queue_rcv_id(q), entry);
    store__unlock(&m->base, q);
    return entry != NULL;
}

static bool same_place(struct journal_loc a, struct journal_loc b) {
    return a.segment == b.segment && a.offset_8 == b.offset_8;
}

static void fetch_free(struct fetch *f) {
    queue_unref(f->queue);
    message_unref(f->message);
    free(f->body);
    free(f);
}

static void fetch_done(void *arg, enum err e) {
    struct fetch *f = arg;
    const struct journal_loc tried = f->where.loc;
    if (e == OK) {
        message_set_body(f->message, STEAL(f->body));
    } else if (!find_again(f->store, f->queue, &f->message->id, &f->where)) {
        e = E_NOT_FOUND;
    } else if (!same_place(tried, f->where.loc)) {
        e = journal_read(f->store->journal, &f->where, f->body, fetch_done, f);
        if (e == OK) return; /* moved in the meantime: once more */
        e = E_STORE;
    } else {
        if (e != E_CLOSED) {
            log_line(LOG_ERROR, "message-unreadable", "segment=%u offset=%llu", tried.segment,
                     (unsigned long long)tried.offset_8 * 8);
        }
        e = E_STORE;
    }
    void (*done)(void *ctx, enum err e) = f->done;
    void *ctx = f->ctx;
    fetch_free(f);
    done(ctx, e);
}

/* OK: done(ctx) will be called. E_NOT_FOUND: the message is gone; E_NO_MEMORY, E_STORE. */
static enum err fetch_start(struct files_store *m, struct queue *q, struct message *msg,
                            void (*done)(void *ctx, enum err e), void *ctx) {
    struct journal_msg where;
    if (!find_again(m, q, &msg->id, &where)) return E_NOT_FOUND;
    struct fetch *f = calloc(1, sizeof *f);
    if (f == NULL) return E_NO_MEMORY;
    *f = (struct fetch){m, queue_ref(q), message_ref(msg), where, NULL, done, ctx};
    f->body = malloc((size_t)msg->body_len + 1); /* + 1: never a request for nothing */
    enum err e = f->body != NULL ? OK : E_NO_MEMORY;
    if (e == OK && journal_read(m->journal, &f->where, f->body, fetch_done, f) != OK) e = E_STORE;
    if (e != OK) fetch_free(f);
    return e;
}

/* ---- the next message ---- */

struct next_read {
    struct files_store *store;
    struct store_next *next;     /* borrowed from who asked */
    struct store_waiter *waiter; /* likewise */
    struct message *message;     /* counted; its body is being read */
};

static void next_read_done(void *ctx, enum err e);

/* True: n is filled in; r is not used then. Again when the oldest message was deleted while it was
 * being read. */
static bool next_start(struct next_read *r) {
    struct store_next *n = r->next;
    enum err e;
    do {
        r->message = NULL;
        n->ret_message = NULL;
        n->ret_err = store__msg_peek(&r->store->base, n->queue, &r->message);
        if (n->ret_err != OK || r->message == NULL) return true;
        if (message_has_body(r->message)) {
            n->ret_message = r->message;
            return true;
        }
        e = fetch_start(r->store, n->queue, r->message, next_read_done, r);
        if (e == OK) return false; /* from here on n and r are the reader's */
        message_unref(r->message);
    } while (e == E_NOT_FOUND);
    n->ret_err = e;
    return true;
}

static void next_read_done(void *ctx, enum err e) {
    struct next_read *r = ctx;
    struct store_waiter *w = r->waiter;
    if (e == OK) {
        r->next->ret_message = r->message;
        r->next->ret_err = OK;
    } else {
        message_unref(r->message);
        r->next->ret_err = e;
        if (e == E_NOT_FOUND && !next_start(r)) return;
    }
    free(r);
    w->ready(w);
}

bool files_journal_next(struct store *s, struct store_next *n, struct store_waiter *w) {
    if (store__next_in_ram(s, n)) return true;
    if (w == NULL) return false;
    struct next_read *r = malloc(sizeof *r);
    if (r == NULL) {
        n->ret_err = E_NO_MEMORY;
        return true;
    }
    *r = (struct next_read){files_of(s), n, w, NULL};
    const bool is_here = next_start(r);
    if (is_here) free(r);
    return is_here;
}

/* ---- the journal's questions ---- */

static enum err recovered(void *ctx, const struct journal_msg *jm) {
    struct files_store *m = ctx;
    struct queue *q = queue_table_find(m->base.table, ID_RECIPIENT, &jm->queue);
    if (q == NULL) return E_NOT_FOUND;
    struct msg_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        queue_unref(q);
        return E_NO_MEMORY;
    }
    entry->id = jm->msg;
    entry->place = files_place_of(jm->loc);
    entry->ts_s = (uint32_t)jm->ts_s;
    entry->body_len = jm->body_len;
    entry->is_quota = jm->is_quota;
    entry->notification = jm->notification;
    queue_lock(m->base.table, q);
    queue_push(q, entry);
    q->refuses = entry->is_quota;
    store__unlock(&m->base, q);
    store__count_messages(&m->base, 1);
    queue_unref(q);
    return OK;
}

static bool has_queue(void *ctx, const struct id *rcv_id) {
    struct files_store *m = ctx;
    struct queue *q = queue_table_find(m->base.table, ID_RECIPIENT, rcv_id);
    queue_unref(q);
    return q != NULL;
}

/* The entry of a message that lies at loc, with its queue locked and referenced; NULL: nothing is.
 */
static struct msg_entry *lock_entry(struct files_store *m, const struct journal_msg *jm,
                                    struct journal_loc loc, struct queue **ret_queue) {
    struct queue *q = queue_table_find(m->base.table, ID_RECIPIENT, &jm->queue);
    if (q == NULL) return NULL;
    queue_lock(m->base.table, q);
    struct msg_entry *entry = q->live ? queue_find_msg(q, &jm->msg) : NULL;
    if (entry != NULL && same_place(files_loc(entry), loc)) {
        *ret_queue = q;
        return entry;
    }
    store__unlock(&m->base, q);
    queue_unref(q);
    return NULL;
}

static void relocate(void *ctx, const struct journal_msg *jm, struct bytes body) {
    struct files_store *m = ctx;
    struct queue *q;
    if (lock_entry(m, jm, jm->loc, &q) == NULL) return;
    lsn_t lsn;
    if (commit_begin(m->commit, &lsn) == OK) {
        const enum err e = journal_copy(m->journal, jm, body);
        commit_end(m->commit);
        if (e != OK) log_line(LOG_WARN, "message-not-moved", "error=%s", err_name(e));
    }
    store__unlock(&m->base, q);
    queue_unref(q);
}

static bool moved(void *ctx, const struct journal_msg *jm, struct journal_loc from) {
    struct files_store *m = ctx;
    struct queue *q;
    struct msg_entry *entry = lock_entry(m, jm, from, &q);
    if (entry == NULL) return false;
    entry->place = files_place_of(jm->loc);
    store__unlock(&m->base, q);
    queue_unref(q);
    return true;
}

static void lost(void *ctx, const struct id *rcv_id, const struct id *msg_id) {
    struct files_store *m = ctx;
    struct queue *q = queue_table_find(m->base.table, ID_RECIPIENT, rcv_id);
    if (q == NULL) return;
    queue_lock(m->base.table, q);
    struct msg_entry *entry = queue_find_msg(q, msg_id);
    if (entry != NULL) {
        files_hold_lost(&m->hold, entry);
        queue_unlink(q, entry);
        store__count_messages(&m->base, -1);
        if (entry->is_quota) q->refuses = false; /* the next one too many leaves the marker */
    }
    store__unlock(&m->base, q);
    msg_entry_free(entry);
    queue_unref(q);
}

struct journal_owner files_journal_owner(struct files_store *m) {
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

struct brought {
    struct store_blocking wait;
    enum err err;
};

static void brought(void *ctx, enum err e) {
    struct brought *b = ctx;
    b->err = e;
    b->wait.waiter.ready(&b->wait.waiter);
}

enum err files_bring_body(struct files_store *m, struct queue *q, struct message *msg) {
    if (message_has_body(msg)) return OK;
    struct brought b = {.err = OK};
    store__blocking_init(&b.wait);
    const enum err e = fetch_start(m, q, msg, brought, &b);
    if (e == OK) store__wait(&b.wait);
    store__blocking_done(&b.wait);
    return e != OK ? e : b.err;
}
