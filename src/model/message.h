/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* message.h -- a message on its way through the server: counted, immutable but for its body's
 * arrival.
 *
 * A reference may be held by the store and by any number of waiting deliveries, on any thread. The
 * body may be absent for a backend that keeps bodies on disk, until store_msg_fetch() has brought
 * it. Bodies are end-to-end encrypted by clients; the server adds nothing. */
#pragma once

#include <stdatomic.h>

#include "base/err.h"
#include "base/id.h"

enum message_body_state {
    BODY_PRESENT,
    BODY_ABSENT,    /* on disk */
    BODY_GONE,      /* it was asked for, but the message was deleted in the meantime */
    BODY_UNREADABLE /* it was asked for and cannot be had: damaged, or no memory */
};

struct message {
    /* fixed after creation */
    uint16_t body_len; /* bytes; 0 for the quota marker */
    bool is_quota;     /* the marker that stands for messages refused by the quota */
    bool notification; /* flag T of SEND */
    struct id id;
    int64_t ts_s; /* Unix seconds, when the server received it */
    uint64_t lsn; /* set by the store when it takes the message: durable once store_durable_lsn()
                     has reached it */
    /* atomic */
    _Atomic uint32_t refs;  /* relaxed to take, release/acquire to drop: the last one out frees */
    _Atomic int body_state; /* enum message_body_state; release by who brings the body, acquire by
                               who reads it */
    /* written before body_state says so */
    uint8_t *body; /* into data, or owned */
    uint8_t data[];
};

/* A copy of body; refs = 1. E_NO_MEMORY. Any thread. */
MUST_USE enum err message_new(const struct id *id, int64_t ts_s, bool notification,
                              struct bytes body, struct message **ret);
/* A quota marker. E_NO_MEMORY. */
MUST_USE enum err message_new_quota(const struct id *id, int64_t ts_s, struct message **ret);
/* A message whose body is elsewhere. E_NO_MEMORY. */
MUST_USE enum err message_new_absent(const struct id *id, int64_t ts_s, bool notification,
                                     uint16_t body_len, struct message **ret);
/* Gives an absent body: owned, body_len bytes from malloc(). One thread at a time. */
void message_bring_body(struct message *m, uint8_t *owned);
/* No body will come: BODY_GONE or BODY_UNREADABLE. */
void message_give_up_body(struct message *m, enum message_body_state why);
struct message *message_ref(struct message *m);
void message_unref(struct message *m); /* NULL is a no-op */
enum message_body_state message_body_state(const struct message *m);
struct bytes message_body(const struct message *m); /* borrowed from m; only while BODY_PRESENT */
