/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store.h -- the one contract of all storage backends.
 *
 * Every mutation returns an lsn, its position in the order of changes. A reply or delivery that
 * depends on it must not leave the server before store_fate() says so; on_durable is called (from
 * any thread) whenever fates were decided. Backends that promise nothing beyond the process return
 * 0, which is always durable.
 *
 * Callbacks (on_durable, store_waiter) come between store_start() and the return of store_stop(),
 * which calls those that are still due; none comes later.
 *
 * Functions never block on I/O. Four may answer later: store_load(), which finds queues,
 * store_msg_next(), whose message may have its body on disk, store_service_open() and
 * store_service_scan(). They answer before they return (true), or call the waiter that they were
 * given, once, from any thread: a store knows no loops, so whoever asks posts the answer to its
 * own. Until then what was handed in belongs to the store. The order of answers is any; who needs
 * one waits before asking again. All functions may be called from any thread, and for one queue
 * from several threads at once; each takes effect at one instant. A struct queue is counted and
 * stays valid, though perhaps deleted, while a reference is held: on a deleted queue everything
 * answers E_AUTH, as if it had never been. Other errors: E_STORE (storage failed; nothing changed),
 * E_NO_MEMORY. Semantics: SMP protocol, "SMP Queues"; spec: behaviour. */
#pragma once

#include "base/env.h"
#include "model/message.h"
#include "model/queue.h"
#include "model/service_record.h"
#include "subs/subs.h"

struct store;
struct queue;
struct vfs;
struct stats_sheet;
typedef uint64_t lsn_t;

/* What expires, and how often it is looked for. */
struct store_expiry {
    int64_t message_ttl_s, ntf_ttl_s; /* 0: never */
    int64_t interval_s;               /* between two passes */
    bool at_start;                    /* messages: the first pass at once, not after an interval */
    struct stats_sheet *stats;        /* of its thread; borrowed; may be NULL */
};

struct store_opts {
    const struct env *env;         /* borrowed */
    unsigned quota;                /* messages per queue */
    void (*on_durable)(void *ctx); /* any thread; may be NULL */
    void *ctx;
    const struct vfs *vfs; /* borrowed; NULL only without files */
    const char *store_log; /* path; NULL: nothing is written, ever. Borrowed until store_close(), as
                              all paths */
    const char *messages_log;   /* path: messages are saved there at an orderly stop; NULL: not */
    bool restore_messages;      /* read messages_log; store_start() makes it .bak */
    const char *ntfs_log;       /* path: notifications are saved there at an orderly stop, and read;
                                 * store_start() makes it .bak; NULL: not */
    const char *journal_dir;    /* backend "journal" */
    const char *journal_mark;   /* path: what an orderly stop has left of it; NULL: not kept */
    size_t journal_segment_len; /* bytes; 0: as always. Tests use small ones */
    unsigned sync_interval_ms;  /* 0: sync before anything is acknowledged */
    struct stats_sheet *commit_stats; /* of the commit thread; borrowed; may be NULL */
    struct store_expiry expiry;
    bool skip_warnings; /* go on with what is readable; what is not is set aside */
    bool compact_log;   /* write the store log anew even if there is nothing to remove */
    /* A log of at least this length is compacted after the start, while the store is used; 0: at
     * the start, however long it is. */
    uint64_t compact_later_len;
    /* While the store is used the log is compacted when it has this many lines, and half of what is
     * needed, too many; 0: never. */
    uint64_t compact_waste_lines;
    unsigned compact_look_ms; /* how often that is looked at; 0: never */
    /* When there is no room for what is saved at a stop, it is tried again for as long as this:
     * somebody may make room. 0: not. */
    unsigned save_retry_ms;
    /* Before each of these waits: store_stop() takes at least so long yet. May be NULL. */
    void (*stop_takes)(unsigned ms);
    /* Progress of a long load, for a line on a terminal; may be NULL. */
    void (*progress)(const char *what, uint64_t done_bytes, uint64_t total_bytes);
};

/* What kept a store from starting or stopping, in words for the operator: what, where, what to do.
 * Always terminated. */
struct store_problem {
    char text[600];
};

struct store_backend {
    const char *name; /* as in the ini: "memory", "journal" */
    enum err (*open)(const struct store_opts *o, struct store **ret,
                     struct store_problem *ret_problem);
};
extern const struct store_backend STORE_BACKENDS[];
extern const size_t N_STORE_BACKENDS;

/* Reads what is on disk. E_NOT_FOUND for an unknown backend; else E_STORE (damage), E_SYS,
 * E_NO_MEMORY with *ret_problem filled in. *ret is closed by store_close(). */
MUST_USE enum err store_open(const char *backend, const struct store_opts *o, struct store **ret,
                             struct store_problem *ret_problem);
/* Its threads, before anything is changed; and the logs of a stop, which were read, are set aside:
 * until then a start that failed can be repeated. E_SYS, E_NO_MEMORY. */
MUST_USE enum err store_start(struct store *s);
/* Orderly: makes everything durable, saves what is saved at a stop. Nothing may be changed any
 * more. On an error the rest was done. Nothing without a store_start() that was OK. */
MUST_USE enum err store_stop(struct store *s, struct store_problem *ret_problem);
/* Writes what is saved at a stop, while the store is used: what changes meanwhile may be in it or
 * not. What a store writes as it happens, it does not write here. Blocks; any thread, one at a
 * time. E_SYS, E_STORE, E_NO_MEMORY. */
MUST_USE enum err store_save(struct store *s, struct store_problem *ret_problem);
/* Every struct queue reference must have been given back. NULL is a no-op. */
void store_close(struct store *s);

/* What has become of the change with this lsn. OK: it is durable. E_PENDING: not known yet. Any
 * other error is its answer: it could not be made durable (E_STORE) and was undone, or the storage
 * has refused it. Undone are messages and new queues; any other change of a queue stays, and is
 * written as soon as that can be done. */
enum err store_fate(const struct store *s, lsn_t lsn);

/* ---- finding queues ---- */

enum queue_id_kind { ID_RECIPIENT, ID_SENDER, ID_LINK, ID_NOTIFIER };

/* A consistent copy of what commands look at; counted parts are released by queue_view_done(). */
struct queue_view {
    uint32_t version;        /* of the queue: queue_view_is_current() */
    struct pubkey rcv_key;   /* the one recipient key, or KEY_NONE: */
    struct keyset *rcv_keys; /* counted; NULL when rcv_key is set */
    struct pubkey snd_key;
    enum queue_mode mode;
    enum queue_status status;
    struct block_info *block; /* counted; of a blocked queue, else NULL */
    int32_t updated_day;
    bool has_link, has_notifier;
    struct id ntf_id;       /* when has_notifier */
    struct pubkey ntf_key;  /* when has_notifier */
    unsigned n_messages;    /* WANT_MESSAGES */
    struct msg_head head;   /* WANT_MESSAGES: the oldest, when there are any */
    struct link_data *link; /* WANT_LINK: counted; NULL: none */
};

struct store_lookup {
    enum queue_id_kind kind;
    enum queue_want want;
    struct id id;
    struct queue *ret_queue;    /* counted; NULL when there is none: queue_unref() */
    struct queue_view ret_view; /* of a queue that was found, unless WANT_FREE: queue_view_done() */
    enum err ret_err;           /* OK, E_AUTH (no such queue; not with WANT_FREE), E_STORE */
};
void store_lookup_done(struct store_lookup *l); /* gives back what it brought */
/* How an answer comes that is not there at once; embed it in what waits. ready() is called once, by
 * any thread, which holds no lock of the store. */
struct store_waiter {
    void (*ready)(struct store_waiter *w);
};

/* Fills in all n lookups. True: they are. False: w->ready(w) will be called when they are; lookups
 * and w must live until then, and must not be touched. A queue that is found may be changed or
 * deleted before it is looked at, as at any time; one that is created meanwhile is found or not.
 * Whoever has an id that should be free is seen by a store_queue_create() while the look-up is
 * held. One call is one round trip for a backend that has any. */
MUST_USE bool store_load(struct store *s, struct store_lookup *lookups, size_t n,
                         struct store_waiter *w);
/* The same for a thread that may wait: no loop of sessions, and not during store_stop(). */
void store_load_wait(struct store *s, struct store_lookup *lookups, size_t n);

struct queue *queue_ref(struct queue *q);
void queue_unref(struct queue *q);                    /* NULL is a no-op */
const struct id *queue_rcv_id(const struct queue *q); /* borrowed; never changes */
const struct id *queue_snd_id(const struct queue *q); /* borrowed; never changes */
const uint8_t *queue_dh_secret(
    const struct queue *q); /* X25519_LEN bytes; borrowed; never changes; secret */

/* The recipient keys, wherever they are; borrowed from v. */
const struct pubkey *queue_view_rcv_keys(const struct queue_view *v, size_t *ret_n);
/* Has nothing of the queue changed since? Without a lock. */
bool queue_view_is_current(const struct queue *q, const struct queue_view *v);
/* What the queue is now, for who has it longer than a look-up. */
MUST_USE enum err store_queue_view(struct store *s, struct queue *q, enum queue_want want,
                                   struct queue_view *ret);
void queue_view_done(struct queue_view *v);

/* ---- queue records ---- */

/* *ret_queue is a new reference. E_EXISTS when one of the ids is taken in its namespace: nothing
 * changed. */
MUST_USE enum err store_queue_create(struct store *s, const struct queue_rec *rec,
                                     struct queue **ret_queue, lsn_t *ret_lsn);
/* The same key again is OK, another one E_AUTH. *ret_link, unless that is NULL: a reference to the
 * link data of that instant, or NULL. */
MUST_USE enum err store_queue_secure(struct store *s, struct queue *q, const struct pubkey *key,
                                     struct link_data **ret_link, lsn_t *ret_lsn);
MUST_USE enum err store_queue_set_keys(struct store *s, struct queue *q, struct keyset *keys,
                                       lsn_t *ret_lsn); /* takes a reference */
/* E_AUTH when the queue is a secured messaging queue, has another link id or other fixed data;
 * E_EXISTS when the id is another queue's. Takes a reference. */
MUST_USE enum err store_link_set(struct store *s, struct queue *q, struct link_data *link,
                                 lsn_t *ret_lsn);
MUST_USE enum err store_link_delete(struct store *s, struct queue *q,
                                    lsn_t *ret_lsn); /* OK when there is none */
MUST_USE enum err store_queue_suspend(struct store *s, struct queue *q, lsn_t *ret_lsn);
MUST_USE enum err store_queue_touch(struct store *s, struct queue *q, int32_t day, lsn_t *ret_lsn);

/* For good, with a reason: recipient and sender are told so from then on. Takes a reference.
 * *ret_sub is who has to be told at once. */
MUST_USE enum err store_queue_block(struct store *s, struct queue *q, struct block_info *info,
                                    struct subscriber *ret_sub, lsn_t *ret_lsn);
MUST_USE enum err store_queue_unblock(struct store *s, struct queue *q, lsn_t *ret_lsn);

/* ---- subscriptions ----
 *
 * A queue has one subscriber for its messages and one for its notifications. Each is a session, or
 * a service that the queue is associated with; then it is whatever session serves that service.
 * Associations are part of the record; which session it is, a registry of this process says
 * (subs/subs.h), in which a store looks and writes under its queue's lock. */

enum sub_party { SUB_RECIPIENT, SUB_NOTIFIER, N_SUB_PARTIES };

struct service; /* lives as long as the store */

struct sub_request {
    enum sub_party party;
    struct id notifier_id; /* SUB_NOTIFIER: E_AUTH when the queue has another one by now */
    struct subscriber sub;
    struct service *service; /* the queue becomes associated with it, and `sub` serves it from now
                              * on; NULL: `sub` itself, and the queue with no service */
};
struct sub_moved {
    struct subscriber prev;   /* who had the queue, itself or for another service */
    struct subscriber server; /* who served `service` before */
    bool was_served;          /* prev had it for another service: that association ended */
    bool associated;          /* newly with `service` */
    bool has_due; /* messages, or for SUB_NOTIFIER notifications, are there for the subscriber */
    lsn_t lsn;
};
MUST_USE enum err store_subscribe(struct store *s, struct queue *q, const struct sub_request *r,
                                  struct sub_moved *ret);
/* Is `sub` the subscriber now? False for a deleted queue. */
bool store_is_subscribed(struct store *s, struct queue *q, enum sub_party party,
                         struct subscriber sub);
/* Takes `sub` out, if it is the subscriber itself. */
void store_unsubscribe(struct store *s, struct queue *q, enum sub_party party,
                       struct subscriber sub);

/* Who lost a subscription because what it was to is gone. */
struct sub_ended {
    struct subscriber sub; /* nobody: nobody has to be told */
    struct id id;          /* of a notifier */
};
struct queue_ended {
    struct sub_ended recipient, notifier;
    unsigned n_messages; /* that were deleted with it */
};
/* Deletes record, messages, notifications and subscriptions. */
MUST_USE enum err store_queue_delete(struct store *s, struct queue *q, struct queue_ended *ret,
                                     lsn_t *ret_lsn);

/* ---- notifications ---- */

/* Sets the queue's notifier or replaces it. E_EXISTS when its id is taken: nothing changed. */
MUST_USE enum err store_notifier_set(struct store *s, struct queue *q,
                                     const struct queue_notifier *n, struct sub_ended *ret_ended,
                                     lsn_t *ret_lsn);
MUST_USE enum err store_notifier_delete(struct store *s, struct queue *q,
                                        struct sub_ended *ret_ended,
                                        lsn_t *ret_lsn); /* OK when there is none */

struct ntf_added {
    bool was_empty;        /* the subscriber, if any, waits for this one */
    bool dropped_one;      /* there were too many */
    struct subscriber sub; /* when was_empty */
    struct id notifier_id;
};
/* Keeps a notification of a message until it is taken; of more than NTFS_PER_NOTIFIER_MAX the
 * oldest is dropped. E_NOT_FOUND when the queue has no notifier. */
MUST_USE enum err store_ntf_add(struct store *s, struct queue *q, const struct id *msg_id,
                                int64_t ts_s, struct ntf_added *ret);

enum { NTF_BATCH_MAX = 16 };
struct ntf_batch {
    uint8_t dh_secret[X25519_LEN]; /* secret: wipe */
    unsigned n;
    struct {
        struct id msg_id;
        int64_t ts_s;
    } items[NTF_BATCH_MAX]; /* oldest first */
    bool more;
};
/* Takes up to max notifications out, for `sub` to send. E_AUTH when that is not the subscriber of
 * this notifier. */
MUST_USE enum err store_ntf_take(struct store *s, struct queue *q, const struct id *notifier_id,
                                 struct subscriber sub, unsigned max, struct ntf_batch *ret);

/* ---- services ---- */

struct store_service_open {
    struct service_rec rec;      /* what it points to is borrowed until it is answered */
    bool may_create;             /* false: only a service that is known */
    struct service *ret_service; /* when OK */
    lsn_t ret_lsn;               /* what depends on it waits for this */
    enum err ret_err; /* OK; E_NOT_FOUND: unknown; E_SERVICE: known in another role; E_LIMIT: there
                         are too many; E_STORE, E_NO_MEMORY */
};
/* The service known by rec.cert_hash, or a new one of this record. As store_load(). */
MUST_USE bool store_service_open(struct store *s, struct store_service_open *o,
                                 struct store_waiter *w);
const struct id *service_id(const struct service *svc); /* borrowed; never changes */
/* Makes `sub` the session that serves all queues of this party; *ret_prev is who was, *ret_sum what
 * they are. E_NO_MEMORY. */
MUST_USE enum err store_service_subscribe(struct store *s, struct service *svc,
                                          enum sub_party party, struct subscriber sub,
                                          struct subscriber *ret_prev, struct ids_sum *ret_sum);
bool store_service_is_subscribed(struct store *s, struct service *svc, struct subscriber sub);
void store_service_unsubscribe(struct store *s, struct service *svc, struct subscriber sub);

struct store_cursor {
    uint64_t at[4]; /* private to the backend; start with zeroes */
};
/* A queue that is associated with a service and has something to deliver to it. */
struct store_found {
    struct store_found *next;
    struct queue *queue;   /* counted */
    struct id notifier_id; /* SUB_NOTIFIER */
};
struct store_scan {
    struct service *service;
    enum sub_party party;
    struct store_cursor cursor; /* moves on */
    unsigned max_queues;        /* about so many are looked at */
    struct store_found *ret_found;
    bool ret_more;    /* there are queues yet to be looked at */
    enum err ret_err; /* OK, E_STORE, E_NO_MEMORY: some may be missing */
};
/* Finds some of a service's queues. As store_load(). */
MUST_USE bool store_service_scan(struct store *s, struct store_scan *scan, struct store_waiter *w);
void store_scan_done(struct store_scan *scan); /* gives back what was found */

/* ---- messages ---- */

struct msg_written {
    bool was_empty;        /* the subscriber, if any, waits for this message */
    struct subscriber sub; /* when was_empty */
    lsn_t lsn;
};
/* Appends; ownership passes in any case. E_QUOTA when the queue is full or has not been read empty
 * since it was: then a quota marker may have been stored in its place (ret is filled in as for a
 * message). */
MUST_USE enum err store_msg_write(struct store *s, struct queue *q, struct message *owned,
                                  struct msg_written *ret);
struct msg_acked {
    bool was_deleted;  /* a message, and not the quota marker */
    bool notification; /* it was one of those that notify */
    bool has_next;     /* the queue is not empty now */
    lsn_t lsn;
};
/* Deletes the oldest message if msg_id is its id; NULL deletes nothing. */
MUST_USE enum err store_msg_ack(struct store *s, struct queue *q, const struct id *msg_id,
                                struct msg_acked *ret);

/* The oldest message of a queue with its body, for delivery. */
struct store_next {
    struct queue *queue;         /* borrowed until it is answered */
    struct message *ret_message; /* counted; NULL: the queue is empty */
    enum err ret_err;            /* OK; E_AUTH; E_STORE: it cannot be read now; E_NO_MEMORY */
};
/* Fills in n. True: it is. False: w->ready(w) will be called when it is; n and w must live until
 * then, and must not be touched. A message that is written or deleted meanwhile is seen or not.
 * With w NULL false only tells that the answer would come later. */
MUST_USE bool store_msg_next(struct store *s, struct store_next *n, struct store_waiter *w);

/* ---- expiry ---- */

/* Messages and notifications do not wait for ever: a thread of the store's goes over all queues,
 * again and again, as struct store_expiry says. This is for one queue, at once. */
MUST_USE enum err store_expire_queue(struct store *s, struct queue *q, int64_t before_ts_s,
                                     unsigned *ret_expired);

struct store_counts {
    uint64_t n_queues, n_messages;
    uint64_t n_notifiers, n_ntfs; /* queues with a notifier; notifications that wait */
    uint64_t n_services[N_SUB_PARTIES], n_service_queues[N_SUB_PARTIES];
    unsigned state; /* 0: changes are taken; 1: refused for want of room; 2: for good */
};
struct store_counts store_counts(struct store *s);
