/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_priv.h -- what a backend owes, and what the parts of the store share.
 *
 * The rules of queues, messages, notifications, services and subscriptions exist once, outside of
 * any backend, as do the records that are loaded (queue_table.h). A backend says where changes go
 * and what comes back. It is told of a change under the lock of what changes and before it is made:
 * what it refuses is not made. So the order in which it is told is the order of changes.
 * nothing.c shows on one screen all that it owes. */
#pragma once

#include <stdatomic.h>

#include "base/lock.h"
#include "base/thread.h"
#include "store/messages.h"
#include "store/ntfs.h"
#include "store/records.h"
#include "store/subscribe.h"

struct record;
struct msg_entry;

struct store_ops {
    enum err (*start)(struct store *s);
    enum err (*stop)(struct store *s, struct store_problem *ret_problem);
    enum err (*save)(struct store *s, struct store_problem *ret_problem);
    void (*close)(struct store *s); /* frees it, with store__done() */

    /* A change of a queue's record, as a line of the store log has it. RECORD_DELETE: of its
     * messages too. E_STORE, E_NO_MEMORY. */
    enum err (*record)(struct store *s, struct queue *q, const struct record *r, lsn_t *ret_lsn);
    /* A service that is to be kept, unless it is already; svc->lsn is set. Under the mutex of the
     * table of services. E_STORE, E_NO_MEMORY. */
    enum err (*service)(struct store *s, struct service *svc, const struct service_rec *rec);
    /* A new message, the last of its queue; m->lsn is set, and in e what the backend needs to find
     * it again. E_STORE, E_NO_MEMORY. */
    enum err (*message)(struct store *s, struct queue *q, struct message *m, struct msg_entry *e);
    /* A new message whose recipient listens; as message(), but it is not kept for now: its fate is
     * open until it is deleted or kept. False: it is to be kept at once. May be NULL. */
    bool (*hold)(struct store *s, struct queue *q, struct message *m, struct msg_entry *e);
    /* Is it such a message, and its fate open? May be NULL. */
    bool (*is_held)(const struct store *s, lsn_t lsn);
    /* The oldest message of a queue is deleted. E_STORE, E_NO_MEMORY. */
    enum err (*forget)(struct store *s, struct queue *q, const struct msg_entry *e,
                       enum store_pace pace, lsn_t *ret_lsn);
    enum err (*fate)(const struct store *s, lsn_t lsn); /* of a change; lsn is not 0 */
    /* As the functions of store.h. Both NULL: nothing is done at leisure. */
    unsigned (*leisure_ms)(struct store *s);
    void (*hurry)(struct store *s, lsn_t lsn, bool in_vain);

    bool (*load)(struct store *s, struct store_lookup *lookups, size_t n, struct store_waiter *w);
    bool (*msg_next)(struct store *s, struct store_next *n, struct store_waiter *w);
    bool (*service_open)(struct store *s, struct store_service_open *o, struct store_waiter *w);
    bool (*service_scan)(struct store *s, struct store_scan *scan, struct store_waiter *w);
    unsigned (*state)(const struct store *s); /* as in struct store_counts */
    bool (*admits)(const struct store *s);    /* as store_admits(); NULL: it always does */
    /* Makes of the figures of what is loaded those of all; NULL: that is all. */
    void (*counts)(const struct store *s, struct store_counts *io);
    /* Recipient ids of queues with messages received before before_ts_s, in the order of ids,
     * behind *io_after, which moves on; true: there are more. Of the thread that looks for what has
     * expired, which may wait. NULL: all queues are loaded. */
    bool (*old_queues)(struct store *s, int64_t before_ts_s, struct id *io_after,
                       struct id *ret_ids, unsigned max, unsigned *ret_n);
    /* The shard that an id of a sender, link or notifier tells; NULL: ids tell nothing. */
    uint8_t (*shard_of)(const struct store *s, enum queue_id_kind kind, const struct id *id);
};

/* The thread that looks for what has expired: expiry.c. */
struct expiry_thread {
    /* fixed while it runs */
    const struct env *env;
    struct store_expiry opts;
    struct thread thread;
    struct lock mtx;
    struct lock_cond cond;
    /* guarded by mtx */
    bool stop;
};

/* First field of each backend's struct. */
struct store {
    const struct store_ops *ops;
    /* fixed after open */
    unsigned quota;
    struct queue_table *table; /* owned */
    struct subs *subs;         /* owned */
    struct expiry_thread expiry;
    /* atomic */
    _Atomic uint64_t n_messages, n_ntfs; /* relaxed: figures for reports */
};

MUST_USE enum err store__init(struct store *s, const struct store_ops *ops,
                              const struct store_opts *o); /* E_NO_MEMORY */
void store__done(struct store *s);                         /* also when store__init() failed */

/* Locks a queue and asks whether it still is one; on E_AUTH nothing is locked. */
MUST_USE enum err store__lock_live(struct store *s, const struct queue *q);
void store__unlock(struct store *s, const struct queue *q);
/* Tells the backend of a change, which must be made then: views of the queue are old from here on.
 * Under its lock. E_STORE, E_NO_MEMORY. */
MUST_USE enum err store__record(struct store *s, struct queue *q, const struct record *r,
                                lsn_t *ret_lsn);
/* Under the queue's lock. */
void store__view(const struct queue *q, enum queue_want want, struct queue_view *ret);
void store__count_messages(struct store *s, int64_t n);
void store__count_ntfs(struct store *s, int64_t n);

/* What is loaded: all lookups are filled in. */
void store__find(struct store *s, struct store_lookup *lookups, size_t n);
/* True: n is filled in. False: there is a message, but its body is not in RAM. */
bool store__next_in_ram(struct store *s, struct store_next *n);

/* For the struct store_ops of a backend that has all its queues loaded: these never answer later.
 * The second one is for those that have all bodies in RAM too. */
bool store__load_at_once(struct store *s, struct store_lookup *lookups, size_t n,
                         struct store_waiter *w);
bool store__next_at_once(struct store *s, struct store_next *n, struct store_waiter *w);
bool store__service_open_at_once(struct store *s, struct store_service_open *o,
                                 struct store_waiter *w);
bool store__service_scan_at_once(struct store *s, struct store_scan *scan, struct store_waiter *w);

/* ---- queues.c ---- */
/* Its creation could not be made durable: deletes it, and nobody is told. record() is called as
 * that of store_ops; what it refuses is not made. */
typedef enum err store_record_fn(struct store *s, struct queue *q, const struct record *r,
                                 lsn_t *ret_lsn);
void store__queue_undo(struct store *s, struct queue *q, store_record_fn *record);

/* What is loaded: they are filled in. */
void store__service_open(struct store *s, struct store_service_open *o);
void store__service_scan(struct store *s, struct store_scan *scan);

/* ---- expiry.c ---- */
void expiry_init(struct expiry_thread *x, const struct store_opts *o);
void expiry_done(struct expiry_thread *x);       /* it does not run */
MUST_USE enum err expiry_start(struct store *s); /* E_SYS; nothing when nothing expires */
void expiry_stop(struct store *s);               /* also when it was not started */
/* One pass over all queues: what was received before this is deleted; how many that were. It ends
 * early at a stop, and when the storage refuses changes. */
uint64_t expiry_pass_messages(struct store *s, int64_t before_ts_s);
uint64_t expiry_pass_ntfs(struct store *s, int64_t before_ts_s);

/* ---- messages.c ---- */
/* Deletes messages received before before_ts_s in about max_queues queues and moves on. True: more
 * to look at. */
bool store__expire_step(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                        unsigned max_queues, unsigned *ret_expired);
/* A reference to an entry's message, whose body may be absent. Under the queue's lock. E_NO_MEMORY.
 */
MUST_USE enum err store__entry_message(const struct msg_entry *entry, struct message **ret);
/* The same of the oldest message of a queue, or NULL. E_AUTH, E_NO_MEMORY. */
MUST_USE enum err store__msg_peek(struct store *s, struct queue *q, struct message **ret);
/* Adds a message that was stored before: from the messages log. E_AUTH: no such queue. Before the
 * store is shared. */
MUST_USE enum err store__msg_restore(struct store *s, const struct id *rcv_id,
                                     struct message *owned);

/* ---- subscribe.c ---- */
struct notifier_entry;
/* Who gets what comes to a queue, or to its notifier. Under the queue's lock. */
struct subscriber store__subscriber(const struct store *s, const struct queue *q);
struct subscriber store__ntf_subscriber(const struct store *s, const struct notifier_entry *n);
/* The same, of a queue or notifier that is gone: nobody listens to it any more. */
struct subscriber store__end_sub(const struct store *s, const struct queue *q);
struct subscriber store__end_ntf_sub(const struct store *s, const struct notifier_entry *n);

/* ---- ntfs.c ---- */
/* As store__expire_step(), notifications of such messages. */
bool store__ntf_expire_step(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                            unsigned max_queues, unsigned *ret_expired);
/* Under the queue's lock, or before it is shared. E_NO_MEMORY. */
MUST_USE enum err store__ntf_push(struct store *s, struct notifier_entry *n,
                                  const struct id *msg_id, int64_t ts_s);

/* A thread that waits: pass &b->waiter, and when the answer is not there at once, call
 * store__wait(). store.c */
struct store_blocking {
    struct store_waiter waiter;
    struct lock mtx;
    struct lock_cond cond;
    /* guarded by mtx */
    bool done;
};
void store__blocking_init(struct store_blocking *b);
void store__wait(struct store_blocking *b);
void store__blocking_done(struct store_blocking *b);
