/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* pull.h -- a queue's next message, asked of the store when there is room for it.
 *
 * The store is asked when a block is packed: it has the message, body and all, or there is none, or
 * it answers later and the session is woken. Who asks again gets the same message, until it is
 * pull_done(). Owner loop only. */
#pragma once

#include "net/loop.h"
#include "store/messages.h"
#include "wire/reply.h"

/* For all sessions of a loop; fixed before the first question, and it outlives the last answer. */
struct pull_home {
    struct store *store; /* borrowed */
    struct loop *loop;   /* borrowed */
    /* On the loop: what somebody waits for has come. */
    void (*came)(void *ctx, struct subscriber who);
    void *ctx;
};

struct asked;

struct pull {
    struct queue *queue;     /* counted */
    struct message *message; /* counted; NULL: not there (yet) */
    struct asked *asked;     /* while the store has the question; freed when it has answered */
};

enum pulled {
    PULLED_MESSAGE, /* p->message, durable, with its body */
    PULLED_LATER,   /* the store has not answered, or it is not durable: pull_waits_for() */
    PULLED_NOTHING, /* the queue is empty, or gone */
    PULLED_FAILED,  /* it cannot be read now, or there is no memory */
    PULLED_CLOSED   /* nobody knows, and nobody should wait any longer: store_fate() */
};

void pull_init(struct pull *p, struct queue *q); /* takes a reference */
void pull_done(struct pull *p);                  /* also before the store has answered */
/* After anything but PULLED_MESSAGE and PULLED_LATER the store is asked anew next time. */
enum pulled pull_try(struct pull *p, const struct pull_home *home, struct subscriber who);
/* After PULLED_LATER: the change whose fate is waited for (fate.h); 0: the store, which wakes. */
lsn_t pull_waits_for(const struct pull *p);
/* The MSG of a PULLED_MESSAGE as a transmission. */
void pull_write(const struct pull *p, const struct wire_params *params, struct bytes corr_id,
                struct wr *w);
