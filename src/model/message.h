/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* message.h -- a stored message: counted and, once stored, immutable.
 *
 * A reference may be held by the store and by any number of waiting deliveries, on any thread. The
 * body may be absent in RAM for a backend that keeps bodies on disk: see store_msg_fetch(). Bodies
 * are end-to-end encrypted by clients; the server adds nothing. */
#pragma once

#include <stdatomic.h>

#include "base/err.h"
#include "base/id.h"

struct message {
    _Atomic uint32_t refs; /* relaxed to take, release/acquire to drop: the last one out frees */
    uint16_t body_len;     /* bytes; 0 for the quota marker */
    bool is_quota;         /* the marker that stands for messages refused by the quota */
    bool notification;     /* flag T of SEND */
    struct id id;
    int64_t ts_s; /* Unix seconds, when the server received it */
    uint64_t
        lsn; /* set by the store: the message is durable once store_durable_lsn() has reached it */
    struct message *next; /* guarded by the store: the next message of the queue */
    uint8_t body[];
};

/* A copy of body; refs = 1. E_NO_MEMORY. Any thread. */
MUST_USE enum err message_new(const struct id *id, int64_t ts_s, bool notification,
                              struct bytes body, struct message **ret);
/* A quota marker. E_NO_MEMORY. */
MUST_USE enum err message_new_quota(const struct id *id, int64_t ts_s, struct message **ret);
struct message *message_ref(struct message *m);
void message_unref(struct message *m);              /* NULL is a no-op */
struct bytes message_body(const struct message *m); /* borrowed from m */
