/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ram_priv.h -- the store whose records are in RAM, in its three modes.
 *
 *   nothing on disk   log, journal and commit are NULL        (enable: off)
 *   memory            log; messages in RAM, saved at an orderly stop
 *   journal           log and journal; bodies on disk, those of the last moments in RAM too
 *
 * A change is logged under its queue's lock, before it is made, so the order of lines and records
 * is the order of changes. */
#pragma once

#include "base/lock.h"
#include "base/new_file.h"
#include "base/thread.h"
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
    struct lock mtx;
    /* guarded by mtx */
    struct cached *head, *tail; /* owned */
    size_t n_bytes;
};

/* A log of an orderly stop. */
struct saved_log {
    const char *path;              /* borrowed */
    const char *lost;              /* what is gone when its end is missing, in words */
    char aside[NEW_FILE_PATH_MAX]; /* what it becomes when it has done its duty; empty: not read */
};

/* Writes the store log anew while the store is used. */
struct compactor {
    /* fixed while it runs */
    struct thread thread;
    /* its thread's, and before it runs */
    bool is_due;   /* since the start, so the old log is kept */
    bool is_short; /* of room for the messages: has been said */
    struct lock mtx;
    struct lock_cond cond;
    /* guarded by mtx */
    bool stop;
};

/* A directory of the store's, and which it was when it was opened. */
struct place {
    char path[NEW_FILE_PATH_MAX]; /* "": none */
    struct vfs_identity id;
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
    bool was_started; /* the saved logs have been set aside, so they have to be written again */
    struct cache cache;
    struct compactor compactor;
    struct saved_log saved_messages, saved_ntfs;
    struct place state_place, journal_place;
    /* atomic */
    _Atomic uint64_t n_messages, n_ntfs; /* relaxed: figures for reports */
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
MUST_USE enum err ram_log(struct ram_store *m, struct queue *q, const struct record *r,
                          lsn_t *ret_lsn);

/* The same for a line that is ready; the log must be there. */
MUST_USE enum err ram_log_line(struct ram_store *m, const struct queue_log_of *of,
                               struct bytes line, lsn_t *ret_lsn);

/* ---- ram_queue.c: records ---- */
enum err ram_queue_view(struct store *s, struct queue *q, struct queue_view *ret);
enum err ram_queue_create(struct store *s, const struct queue_rec *rec, struct queue **ret_queue,
                          lsn_t *ret_lsn);
enum err ram_queue_secure(struct store *s, struct queue *q, const struct pubkey *key,
                          lsn_t *ret_lsn);
enum err ram_queue_set_keys(struct store *s, struct queue *q, struct keyset *keys, lsn_t *ret_lsn);
enum err ram_queue_suspend(struct store *s, struct queue *q, lsn_t *ret_lsn);
enum err ram_queue_touch(struct store *s, struct queue *q, int32_t day, lsn_t *ret_lsn);
enum err ram_queue_delete(struct store *s, struct queue *q, struct queue_ended *ret,
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
                     struct msg_acked *ret);
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
bool ram_msg_next(struct store *s, struct store_next *n, struct store_waiter *w);
void ram_cache_add(struct ram_store *m, struct queue *q,
                   const struct message *msg); /* under the queue's lock */
void ram_cache_trim(struct ram_store *m);      /* not under a queue's lock */
void ram_cache_done(struct ram_store *m);
struct journal_owner ram_journal_owner(struct ram_store *m);
/* Blocks until the body is there: for export. E_NOT_FOUND: the message is gone; E_STORE: it cannot
 * be read. Never on a loop, never under a queue's lock. */
MUST_USE enum err ram_bring_body(struct ram_store *m, struct queue *q, struct message *msg);

/* ---- ram_sub.c: subscribers, blocking ---- */
struct subscriber ram_subscriber(const struct queue *q);              /* under the queue's lock */
struct subscriber ram_ntf_subscriber(const struct notifier_entry *n); /* likewise */
enum err ram_subscribe(struct store *s, struct queue *q, const struct sub_request *r,
                       struct sub_moved *ret);
bool ram_is_subscribed(struct store *s, struct queue *q, enum sub_party party,
                       struct subscriber sub);
void ram_unsubscribe(struct store *s, struct queue *q, enum sub_party party, struct subscriber sub);
enum err ram_queue_block(struct store *s, struct queue *q, struct block_info *info,
                         struct subscriber *ret_sub, lsn_t *ret_lsn);
enum err ram_queue_unblock(struct store *s, struct queue *q, lsn_t *ret_lsn);

/* ---- ram_service.c: service clients ---- */
enum err ram_service_open(struct store *s, const struct service_rec *rec, bool may_create,
                          struct service **ret, lsn_t *ret_lsn);
void ram_service_subscribe(struct store *s, struct service *svc, enum sub_party party,
                           struct subscriber sub, struct subscriber *ret_prev,
                           struct ids_sum *ret_sum);
bool ram_service_is_subscribed(struct store *s, struct service *svc, struct subscriber sub);
void ram_service_unsubscribe(struct store *s, struct service *svc, struct subscriber sub);
bool ram_service_scan(struct store *s, struct service *svc, enum sub_party party,
                      struct store_cursor *c, unsigned max_queues,
                      void (*found)(struct queue *q, void *ctx), void *ctx);
/* A NEW_SERVICE line of the log. E_EXISTS, E_SYNTAX, E_NO_MEMORY. */
MUST_USE enum err ram_service_load(struct ram_store *m, const struct record *r, struct bytes line);
/* The service that a record names, or NULL when it names none. E_NO_MEMORY. */
MUST_USE enum err ram_service_find(struct ram_store *m, const struct record *r,
                                   struct service **ret);
/* Their lines, in their order. The table's mutex is held, or nobody else is there yet. */
MUST_USE enum err ram_service_each_line(struct ram_store *m,
                                        enum err (*line)(void *ctx, struct bytes text), void *ctx);

/* ---- ram_ntf.c: notifiers and notifications ---- */
enum err ram_notifier_set(struct store *s, struct queue *q, const struct queue_notifier *n,
                          struct sub_ended *ret_ended, lsn_t *ret_lsn);
enum err ram_notifier_delete(struct store *s, struct queue *q, struct sub_ended *ret_ended,
                             lsn_t *ret_lsn);
enum err ram_ntf_add(struct store *s, struct queue *q, const struct id *msg_id, int64_t ts_s,
                     struct ntf_added *ret);
enum err ram_ntf_take(struct store *s, struct queue *q, const struct id *notifier_id,
                      struct subscriber sub, unsigned max, struct ntf_batch *ret);
bool ram_ntf_expire_step(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                         unsigned max_queues, unsigned *ret_expired);
void ram_count_ntfs(struct ram_store *m, int64_t n);
/* Under the queue's lock, or before it is shared. E_NO_MEMORY. */
MUST_USE enum err ram_ntf_push(struct ram_store *m, struct notifier_entry *n,
                               const struct id *msg_id, int64_t ts_s);

/* ---- ram_ntf_log.c: notifications at start and stop ---- */
MUST_USE enum err ram_restore_ntfs(struct ram_store *m, struct saved_log *l,
                                   struct store_problem *ret_problem);
MUST_USE enum err ram_save_ntfs(struct ram_store *m, const char *path,
                                struct store_problem *ret_problem);

/* ---- ram_saved_log.c: what is written at an orderly stop, read ---- */
/* Reads l->path; says what is wrong with it. E_STORE, E_SYS, E_NO_MEMORY, what line() returned. */
MUST_USE enum err ram_read_saved(struct ram_store *m, struct saved_log *l,
                                 enum err (*line)(void *ctx, struct bytes text), void *ctx,
                                 struct store_problem *ret_problem);
/* What the messages in memory need on disk when they are saved, at most. */
uint64_t ram_messages_len(const struct ram_store *m);
/* Says once when there would be too little room to save the messages, and when there is again. */
void ram_watch_room(struct ram_store *m);
/* A log that was read is kept once, as `<path>.bak`; one that was not whole for good, as
 * `<path>.damaged-<Unix seconds>`. Durable. None is fine. E_SYS: logged. */
MUST_USE enum err ram_set_aside(struct ram_store *m, struct saved_log *l);

/* ---- ram_compact.c: the store log written anew while it is used ---- */
MUST_USE enum err ram_compactor_start(struct ram_store *m); /* E_SYS, E_NO_MEMORY */
void ram_compactor_stop(
    struct ram_store *m); /* before commit_stop(); a no-op when it is not there */

/* ---- ram_place.c ---- */
MUST_USE enum err ram_note_places(
    struct ram_store *m);           /* at a start; E_NOT_FOUND, E_SYS, E_LIMIT */
const char *ram_missing(void *ctx); /* commit_opts.missing; ctx is the store */
/* ---- ram_load.c: the store log ---- */
uint64_t ram_n_log_lines(const struct ram_store *m); /* that a compact log has */
/* All that the log says of a queue, in a buffer of RECORD_LINE_MAX bytes. Under its lock. */
MUST_USE enum err ram_queue_line(const struct queue *q, uint8_t *buf, struct bytes *ret);
MUST_USE enum err ram_load_log(struct ram_store *m, struct store_problem *ret_problem);
/* ---- ram_messages_log.c ---- */
/* Of l, path is set; it is left where it is. */
MUST_USE enum err ram_restore_messages(struct ram_store *m, struct saved_log *l, uint64_t *ret_n,
                                       struct store_problem *ret_problem);
MUST_USE enum err ram_save_messages(struct ram_store *m, const char *path, uint64_t *ret_n,
                                    struct store_problem *ret_problem);
struct msg_line;
/* One message, behind those that its queue has. E_AUTH: there is no such queue; E_NO_MEMORY. */
MUST_USE enum err ram_restore_message(struct ram_store *m, const struct msg_line *line);

/* ---- ram_reference.c ---- */
MUST_USE enum err ram_import_reference(struct store *s, const char *dir, uint64_t *ret_n,
                                       struct store_problem *ret_problem);

/* Commits a log, or discards it when what was to be written failed. */
MUST_USE enum err ram_end_log(struct new_file *owned, enum err so_far);
