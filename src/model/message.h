/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* message.h -- a message on its way through the server: counted, immutable.
 *
 * A reference may be held by the store and by any number of waiting deliveries, on any thread. One
 * without its body tells what is known of a message whose body is on disk. Bodies are end-to-end
 * encrypted by clients; the server adds nothing. */
#pragma once

#include <stdatomic.h>

#include "base/err.h"
#include "base/id.h"

struct message {
    /* fixed after creation */
    uint16_t body_len; /* bytes; 0 for the quota marker */
    bool is_quota;     /* the marker that stands for messages refused by the quota */
    bool notification; /* flag T of SEND */
    bool may_hold;     /* its sender may be answered when its recipient has acknowledged it */
    struct id id;
    int64_t ts_s; /* Unix seconds, when the server received it */
    uint64_t lsn; /* set by the store when it takes the message: see store_fate() */
    /* atomic */
    _Atomic uint32_t refs; /* relaxed to take, release/acquire to drop: the last one out frees */
    /* fixed before it is shared */
    uint8_t *body; /* into data, or owned; NULL: it is not here */
    uint8_t data[];
};

/* What is known of a message without having it. */
struct msg_head {
    struct id id;
    int64_t ts_s; /* as above */
    uint16_t body_len;
    bool is_quota, notification;
};

/* A copy of body; refs = 1. E_NO_MEMORY. Any thread. */
MUST_USE enum err message_new(const struct id *id, int64_t ts_s, bool notification,
                              struct bytes body, struct message **ret);
/* A quota marker. E_NO_MEMORY. */
MUST_USE enum err message_new_quota(const struct id *id, int64_t ts_s, struct message **ret);
/* A message without its body. E_NO_MEMORY. */
MUST_USE enum err message_new_absent(const struct id *id, int64_t ts_s, bool notification,
                                     uint16_t body_len, struct message **ret);
/* Gives it the body, body_len bytes from malloc(). Only while nobody else has the message. */
void message_set_body(struct message *m, uint8_t *owned);
struct message *message_ref(struct message *m);
void message_unref(struct message *m); /* NULL is a no-op */
bool message_has_body(const struct message *m);
struct bytes message_body(const struct message *m); /* borrowed from m, which has it */
