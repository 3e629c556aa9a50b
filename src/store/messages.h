/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* messages.h -- the messages of queues. What holds for all functions is in store.h. */
#pragma once

#include "model/message.h"
#include "store/store.h"
#include "subs/subs.h"

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
    bool notification; /* it was one of those that ask for one */
    bool has_next;     /* the queue is not empty now */
    lsn_t lsn;
};
/* Deletes the oldest message if msg_id is its id; NULL deletes nothing. */
MUST_USE enum err store_msg_ack(struct store *s, struct queue *q, const struct id *msg_id,
                                enum store_pace pace, struct msg_acked *ret);

/* The oldest message of a queue with its body, for delivery. */
struct store_next {
    struct queue *queue;         /* borrowed until it is answered */
    struct message *ret_message; /* counted; NULL: the queue is empty */
    enum err ret_err;            /* OK; E_AUTH; E_STORE: it cannot be read now; E_NO_MEMORY;
                                    E_CLOSED: as store_fate() */
};
/* Fills in n. True: it is. False: w->ready(w) will be called when it is; n and w must live until
 * then, and must not be touched. A message that is written or deleted meanwhile is seen or not.
 * With w NULL false only tells that the answer would come later. */
MUST_USE bool store_msg_next(struct store *s, struct store_next *n, struct store_waiter *w);

/* Messages and notifications do not wait for ever: a thread of the store's goes over all queues,
 * again and again, as struct store_expiry says. This is for one queue, at once. */
MUST_USE enum err store_expire_queue(struct store *s, struct queue *q, int64_t before_ts_s,
                                     unsigned *ret_expired);
