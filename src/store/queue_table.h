/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* queue_table.h -- queue records in RAM, found by any of their four ids.
 *
 * Each kind of id has an index of N_STRIPES maps, each with its own mutex. The state of a queue is
 * guarded by the stripe of its recipient id (queue_lock). No function holds two stripes at once,
 * none does I/O inside. A queue is in all its indexes or on the way in or out; what decides is
 * `live`, under its lock: whoever finds a queue that is not live behaves as if it had not found it.
 * The table holds one reference while the queue is indexed by recipient id.
 *
 * A relay has up to millions of queues, so a record is made for the common one: keys of 32 bytes,
 * no link, no notifier. What is rare is in queue_extra. */
#pragma once

#include <stdatomic.h>

#include "base/env.h"
#include "base/idmap.h"
#include "store/records.h"
#include "store/subscribe.h"

/* An entry of the link or notifier index. */
struct queue_alias {
    struct idnode node;
    struct queue *queue; /* borrowed: the alias is taken out before its queue goes */
};

struct link_entry {
    struct queue_alias alias;
    struct link_data *data; /* counted */
};

/* A notification that waits; 48 bytes with the allocator's share. What is sent is made from it. */
struct ntf_entry {
    struct ntf_entry *next;
    struct id msg_id;
    uint32_t ts_s; /* Unix seconds of the message */
};

struct notifier_entry {
    struct queue_alias alias;
    struct queue_notifier rec;     /* has_service, service_id: not used, see service */
    struct service *service;       /* borrowed from the service table; NULL: none */
    struct ntf_entry *head, *tail; /* owned, oldest first */
    unsigned n_ntfs;
};

/* What most queues do not have. */
struct queue_extra {
    struct keyset *
        rcv_keys; /* counted: more than one recipient key, or one longer than 32 bytes; else NULL */
    struct pubkey *snd_key;  /* owned: a sender key longer than 32 bytes, or KEY_NONE; else NULL */
    struct link_entry *link; /* owned, or NULL */
    struct notifier_entry *notifier; /* owned, or NULL */
    struct block_info *block;        /* counted, or NULL */
    struct service *rcv_service;     /* borrowed from the service table; NULL: none */
};

/* A stored message; 64 bytes with the allocator's share. */
struct msg_entry {
    struct msg_entry *next;
    struct message *ram; /* counted: the message with its body; NULL: on disk only */
    struct id id;
    uint64_t place; /* the backend's: where it is to be found again */
    uint32_t ts_s;  /* Unix seconds; enough until 2106 */
    uint16_t body_len;
    bool is_quota, notification;
};

enum { SMALL_KEY_LEN = 32 };

struct queue {
    /* fixed after queue_table_add() */
    struct idnode rcv_node, snd_node; /* chain pointers guarded by their stripes */
    uint8_t dh_secret[X25519_LEN];    /* secret */
    uint8_t stripe;                   /* of its recipient id: whose lock guards what follows */
    /* atomic */
    _Atomic uint32_t refs;    /* relaxed to take, release/acquire to drop */
    _Atomic uint32_t version; /* release under queue_lock(), acquire by anybody */
    /* guarded by queue_lock() */
    int32_t updated_day;
    uint32_t n_messages;
    uint8_t mode;   /* enum queue_mode */
    uint8_t status; /* enum queue_status */
    bool live;
    bool refuses; /* the quota was met: nothing is accepted until the queue has been read empty */
    uint8_t rcv_key_type; /* KEY_NONE: see extra */
    uint8_t snd_key_type; /* KEY_NONE: see extra, or not secured */
    uint16_t log_mark; /* files: the rewrite of the store log that has it (store_log.h); a database:
                          was it asked for since eviction last came by? */
    uint8_t rcv_key[SMALL_KEY_LEN], snd_key[SMALL_KEY_LEN];
    struct queue_extra *extra;     /* owned, or NULL */
    struct msg_entry *head, *tail; /* owned */
};

struct queue_table;
struct service_table;

MUST_USE enum err queue_table_new(const struct env *env,
                                  struct queue_table **ret); /* E_NO_MEMORY */
/* Frees every queue that is left, with its messages. */
void queue_table_free(struct queue_table *t);

/* Has the last word on a new queue, under its lock and before it is live: nobody can change it
 * before its creation is logged. */
struct queue_admission {
    enum err (*admit)(struct queue *q, void *ctx); /* NULL: no question */
    void *ctx;
    bool is_back; /* not new but brought from where it is kept: its services count it already */
};
/* E_EXISTS, E_NO_MEMORY, what admit() returned: nothing changed. *ret_queue is a reference of the
 * caller's. */
MUST_USE enum err queue_table_add(struct queue_table *t, const struct queue_rec *rec,
                                  struct queue_admission admission, struct queue **ret_queue);
/* A reference, or NULL. */
struct queue *queue_table_find(struct queue_table *t, enum queue_id_kind kind, const struct id *id);
/* The same, live and under queue_lock(), or NULL. */
struct queue *queue_table_find_locked(struct queue_table *t, enum queue_id_kind kind,
                                      const struct id *id);

void queue_lock(struct queue_table *t, const struct queue *q);
void queue_unlock(struct queue_table *t, const struct queue *q);

/* Out of the indexes; the caller has cleared `live` under the lock and holds a reference. Takes the
 * table's reference back. */
void queue_table_remove(struct queue_table *t, struct queue *q);
/* The same of a queue that stays where it is kept: its services go on counting it. */
void queue_table_evict(struct queue_table *t, struct queue *q);
/* Does nobody but the table hold it? Who finds it by another id than the recipient's may take a
 * reference at any time, and then sees whether it is live. Under its lock. */
bool queue_is_idle(const struct queue *q);

/* Indexes a link or notifier for q, not yet shown in q->extra. E_EXISTS, E_NO_MEMORY. */
MUST_USE enum err queue_table_add_link(struct queue_table *t, struct queue *q,
                                       struct link_data *data,
                                       struct link_entry **ret); /* takes a reference */
MUST_USE enum err queue_table_add_notifier(struct queue_table *t, struct queue *q,
                                           const struct queue_notifier *rec,
                                           struct notifier_entry **ret);
/* Out of the index, and freed; NULL is a no-op. */
void queue_table_remove_link(struct queue_table *t, struct link_entry *owned);
void queue_table_remove_notifier(struct queue_table *t, struct notifier_entry *owned);

/* Calls visit for about max queues from the cursor on, under each one's lock. True: more to come.
 */
bool queue_table_scan(struct queue_table *t, struct store_cursor *c, unsigned max,
                      void (*visit)(struct queue *q, void *ctx), void *ctx);

uint64_t queue_table_size(const struct queue_table *t);            /* queues; any thread, relaxed */
uint64_t queue_table_n_notifiers(const struct queue_table *t);     /* likewise */
struct service_table *queue_table_services(struct queue_table *t); /* borrowed */

/* ---- one queue; under its lock, or before it is shared ---- */

/* What of it was looked at before is old: a change is about to be made. */
static inline void queue_changed(struct queue *q) {
    const uint32_t now = atomic_load_explicit(&q->version, memory_order_relaxed);
    atomic_store_explicit(&q->version, now + 1, memory_order_release);
}
MUST_USE enum err queue_need_extra(struct queue *q); /* q->extra is there afterwards; E_NO_MEMORY */
struct link_entry *queue_link(const struct queue *q);            /* NULL: none */
struct notifier_entry *queue_notifier_of(const struct queue *q); /* NULL: none */
struct pubkey queue_snd_key(const struct queue *q);              /* KEY_NONE: not secured */
/* Allocates what the set of the same key needs: that cannot fail any more. E_NO_MEMORY. */
MUST_USE enum err queue_reserve_snd_key(struct queue *q, const struct pubkey *k);
MUST_USE enum err queue_set_snd_key(struct queue *q, const struct pubkey *k); /* E_NO_MEMORY */
struct pubkey queue_small_rcv_key(
    const struct queue *q); /* KEY_NONE: they are in extra->rcv_keys */
MUST_USE enum err queue_reserve_rcv_keys(struct queue *q,
                                         const struct keyset *keys); /* as above; E_NO_MEMORY */
MUST_USE enum err queue_set_rcv_keys(
    struct queue *q, struct keyset *keys); /* takes a reference when it keeps it; E_NO_MEMORY */
struct service *queue_rcv_service(const struct queue *q); /* NULL: none */
void queue_push(struct queue *q, struct msg_entry *owned);
struct msg_entry *queue_pop(
    struct queue *q); /* the oldest, owned by the caller; the queue must not be empty */
struct msg_entry *queue_find_msg(const struct queue *q, const struct id *msg_id); /* NULL: none */
void queue_unlink(struct queue *q, struct msg_entry *m); /* takes it out, wherever it is */
void msg_entry_free(struct msg_entry *m);                /* NULL is a no-op */
