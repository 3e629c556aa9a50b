/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ram_priv.h -- the store whose records are in RAM, in its three modes.
 *
 *   nothing on disk   log, journal and commit are NULL        (enable: off)
 *   memory            log; messages in RAM, saved at an orderly stop
 *   journal           log and journal; bodies on disk, those of the last moments in RAM too
 *
 * A change is logged under its queue's lock, before it is made, so the order of lines and records
 * is the order of changes. Lock order: a queue's stripe, then commit's mutex or the cache's. */
#pragma once

#include "model/limits.h"
#include "store/disk/commit.h"
#include "store/disk/journal.h"
#include "store/disk/queue_log.h"
#include "store/queue_table.h"
#include "store/store_priv.h"
#include "store/text/record.h"

/* A body that is both in RAM and in the journal; the oldest go first. */
struct cached {
    struct cached *next;
    struct queue *queue; /* counted */
    struct id msg_id;
    lsn_t lsn; /* its body must stay in RAM until this is durable */
    size_t n_bytes;
};

struct cache {
    pthread_mutex_t mtx;
    /* guarded by mtx */
    struct cached *head, *tail; /* owned */
    size_t n_bytes;
};

/* A NEW_SERVICE line, kept word for word. */
struct service_line {
    struct service_line *next;
    size_t n;
    uint8_t text[];
};

struct ram_store {
    struct store base;
    /* fixed after open */
    struct store_opts o;
    struct queue_table *table; /* owned */
    struct commit *commit;     /* owned; NULL: nothing on disk */
    struct queue_log *log;     /* owned; NULL: nothing on disk */
    struct journal *journal;   /* owned; NULL: messages in RAM */
    bool started;
    struct service_line *services; /* owned */
    struct cache cache;
    /* atomic */
    _Atomic uint64_t n_messages; /* relaxed: a figure for reports */
};

static inline struct ram_store *ram_of(struct store *s) {
    return CONTAINER_OF(s, struct ram_store, base);
}

/* base is the first field */
static inline const struct ram_store *ram_of_const(const struct store *s) {
    return (const struct ram_store *)(const void *)s;
}

/* Locks a queue and asks whether it still is one; on E_AUTH nothing is locked. */
MUST_USE enum err ram_lock_live(struct ram_store *m, const struct queue *q);
static inline void ram_unlock(struct ram_store *m, const struct queue *q) {
    queue_unlock(m->table, q);
}
void ram_count_messages(struct ram_store *m, int64_t n);

/* Appends a line to the queue log; *ret_lsn is 0 where there is none. Under the queue's lock.
 * E_STORE, E_NO_MEMORY. */
MUST_USE enum err ram_log(struct ram_store *m, const struct record *r, lsn_t *ret_lsn);

/* ---- ram_queue.c: records ---- */
enum err ram_queue_view(struct store *s, struct queue *q, struct queue_view *ret);
enum err ram_queue_create(struct store *s, const struct queue_rec *rec, struct queue **ret_queue,
                          lsn_t *ret_lsn);
enum err ram_queue_secure(struct store *s, struct queue *q, const struct pubkey *key,
                          lsn_t *ret_lsn);
enum err ram_queue_set_keys(struct store *s, struct queue *q, struct keyset *keys, lsn_t *ret_lsn);
enum err ram_queue_suspend(struct store *s, struct queue *q, lsn_t *ret_lsn);
enum err ram_queue_touch(struct store *s, struct queue *q, int32_t day, lsn_t *ret_lsn);
enum err ram_queue_delete(struct store *s, struct queue *q, struct subscriber *ret_prev,
                          lsn_t *ret_lsn);
enum err ram_link_set(struct store *s, struct queue *q, struct link_data *link, lsn_t *ret_lsn);
enum err ram_link_get(struct store *s, struct queue *q, const struct id *link_id,
                      struct link_data **ret);
enum err ram_link_delete(struct store *s, struct queue *q, lsn_t *ret_lsn);

/* ---- ram_msg.c: messages ---- */
enum err ram_msg_write(struct store *s, struct queue *q, struct message *owned,
                       struct msg_written *ret);
enum err ram_msg_peek(struct store *s, struct queue *q, struct message **ret);
enum err ram_msg_ack(struct store *s, struct queue *q, const struct id *msg_id,
                     struct message **ret_next, lsn_t *ret_lsn);
enum err ram_msg_count(struct store *s, struct queue *q, unsigned *ret_n);
bool ram_expire_step(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                     unsigned max_queues, unsigned *ret_expired);
enum err ram_expire_queue(struct store *s, struct queue *q, int64_t before_ts_s,
                          unsigned *ret_expired);
/* A reference to an entry's message, whose body may be absent. Under the queue's lock. E_NO_MEMORY.
 */
MUST_USE enum err ram_entry_message(const struct msg_entry *entry, struct message **ret);
/* Adds a message that was stored before: from the messages log. E_AUTH: no such queue. Before the
 * store is shared. */
MUST_USE enum err ram_msg_restore(struct ram_store *m, const struct id *rcv_id,
                                  struct message *owned);

/* ---- ram_body.c: bodies between RAM and journal ---- */
bool ram_msg_fetch(struct store *s, struct queue *q, struct message *msg, struct store_waiter *w);
void ram_cache_add(struct ram_store *m, struct queue *q,
                   const struct message *msg); /* under the queue's lock */
void ram_cache_trim(struct ram_store *m);      /* not under a queue's lock */
void ram_cache_done(struct ram_store *m);
struct journal_owner ram_journal_owner(struct ram_store *m);
/* Blocks until the body is there: for export. E_NOT_FOUND: the message is gone; E_STORE: it cannot
 * be read. Never on a loop, never under a queue's lock. */
MUST_USE enum err ram_bring_body(struct ram_store *m, struct queue *q, struct message *msg);

/* ---- ram_load.c: the store log ---- */
MUST_USE enum err ram_load_log(struct ram_store *m, struct store_problem *ret_problem);
/* ---- ram_messages_log.c ---- */
MUST_USE enum err ram_restore_messages(struct ram_store *m, const char *path, uint64_t *ret_n,
                                       struct store_problem *ret_problem);
MUST_USE enum err ram_save_messages(struct ram_store *m, const char *path, uint64_t *ret_n,
                                    struct store_problem *ret_problem);
