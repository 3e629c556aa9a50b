/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* queue_table.h -- queue records in RAM, found by any of their four ids; shared by the backends
 * that keep records in RAM.
 *
 * Each kind of id has an index of N_STRIPES maps, each with its own mutex. The state of a queue is
 * guarded by the stripe of its recipient id (queue_lock). No function holds two stripes at once,
 * none does I/O inside. A queue is in all its indexes or on the way in or out; what decides is
 * `live`, under its lock: whoever finds a queue that is not live behaves as if it had not found it.
 * The table holds one reference while the queue is indexed by recipient id. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/env.h"
#include "base/idmap.h"
#include "store/store.h"

/* An entry of the link or notifier index. */
struct queue_alias {
    struct idnode node;
    struct queue *queue; /* borrowed: the alias is taken out before its queue goes */
};

struct link_entry {
    struct queue_alias alias;
    struct link_data *data; /* counted */
};

struct notifier_entry {
    struct queue_alias alias;
    struct pubkey key;
    uint8_t dh_secret[X25519_LEN]; /* secret */
};

struct queue {
    /* fixed after queue_table_add() */
    struct idnode rcv_node, snd_node; /* chain pointers guarded by their stripes */
    uint8_t dh_secret[X25519_LEN];    /* secret */
    uint8_t mode;                     /* enum queue_mode */
    /* atomic */
    _Atomic uint32_t refs; /* relaxed to take, release/acquire to drop */
    /* guarded by queue_lock() */
    uint8_t status; /* enum queue_status */
    bool live;
    bool refuses; /* the quota was met: nothing is accepted until the queue has been read empty */
    struct pubkey snd_key;
    int32_t updated_day;
    uint32_t n_messages;
    struct keyset *rcv_keys;         /* counted */
    struct link_entry *link;         /* owned, or NULL */
    struct notifier_entry *notifier; /* owned, or NULL */
    struct subscriber sub;
    struct message *head, *tail; /* owned: one reference each */
};

struct queue_table;

MUST_USE enum err queue_table_new(const struct env *env,
                                  struct queue_table **ret); /* E_NO_MEMORY */
/* Frees every queue that is left, with its messages. */
void queue_table_free(struct queue_table *t);

/* E_EXISTS, E_NO_MEMORY: nothing changed. *ret_queue is a reference of the caller's. */
MUST_USE enum err queue_table_add(struct queue_table *t, const struct queue_rec *rec,
                                  struct queue **ret_queue);
/* A reference, or NULL. */
struct queue *queue_table_find(struct queue_table *t, enum queue_id_kind kind, const struct id *id);

void queue_lock(struct queue_table *t, const struct queue *q);
void queue_unlock(struct queue_table *t, const struct queue *q);

/* Out of the indexes; the caller has cleared `live` under the lock and holds a reference. Takes the
 * table's reference back. */
void queue_table_remove(struct queue_table *t, struct queue *q);

/* Indexes a link for q, not yet shown in q->link. E_EXISTS, E_NO_MEMORY. Takes a reference to data.
 */
MUST_USE enum err queue_table_add_link(struct queue_table *t, struct queue *q,
                                       struct link_data *data, struct link_entry **ret);
void queue_table_remove_link(
    struct queue_table *t,
    struct link_entry *owned); /* out of the index, and freed; NULL is a no-op */

/* Calls visit for about max queues from the cursor on, under each one's lock. True: more to come.
 */
bool queue_table_scan(struct queue_table *t, struct store_cursor *c, unsigned max,
                      void (*visit)(struct queue *q, void *ctx), void *ctx);

uint64_t queue_table_size(const struct queue_table *t); /* queues; any thread, relaxed */
