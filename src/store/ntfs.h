/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ntfs.h -- notifiers of queues, and the notifications that wait for them. What holds for all
 * functions is in store.h. */
#pragma once

#include "store/records.h"

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
