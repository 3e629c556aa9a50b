/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* records.h -- queues: finding them, their records, their links. What holds for all functions is in
 * store.h. */
#pragma once

#include "model/message.h"
#include "model/queue.h"
#include "store/store.h"
#include "subs/subs.h"

/* ---- finding ---- */

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
    enum err ret_err; /* OK; E_AUTH: no such queue, or with WANT_FREE that the id was one's
                         and stays taken; E_STORE; E_CLOSED: as store_fate() */
};
void store_lookup_done(struct store_lookup *l); /* gives back what it brought */
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

/* ---- ids ----
 *
 * A backend that several nodes may share knows of each id of a queue in which shard the queue is:
 * it is the first byte of the recipient id. Ids that were drawn at random are changed in their last
 * bytes (a recipient id in its first) until they tell so. For any other backend they are left as
 * they are. */
void store_fit_recipient(const struct store *s, const struct id *snd_id, struct id *io_rcv_id);
void store_fit_id(const struct store *s, enum queue_id_kind kind, const struct id *rcv_id,
                  struct id *io_id); /* of a sender, link or notifier */

/* ---- changing ---- */

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
