/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* pair.h -- a queue with both of its ends: a sender who stamps what it sends, and a recipient who
 * checks and acknowledges whatever comes. All on the worker's loop. */
#pragma once

#include "bench/link.h"
#include "client/smp_queue.h"
#include "net/loop.h"

struct pair;

/* What the owner is told; any may be NULL. */
struct pair_events {
    void (*created)(struct pair *p);
    void (*subscribed)(struct pair *p);
    void (*sent)(struct pair *p, struct call *c, bool is_accepted); /* SEND was answered */
    void (*acked)(struct pair *p); /* a message was received, found good, and acknowledged */
    void (*deleted)(struct pair *p);
};

struct pair {
    struct idnode node; /* on rcv->queues since it was created */
    /* fixed after pair_init() */
    struct worker *w;       /* borrowed, as all below */
    struct link *rcv, *snd; /* snd: NULL when nothing is sent */
    const struct pair_events *on;
    void *owner;
    uint32_t number; /* of the queue in the run */
    /* the rest */
    struct smp_queue queue;
    struct checker checker;
    uint64_t n_sent, n_refused, n_received, n_acked;
    struct call command; /* of the recipient: NEW, KEY, SUB, DEL */
    struct call ack;
    struct loop_timer ack_timer; /* runs while an ACK is delayed */
    bool is_ack_delayed;
    struct id ack_id;
    bool is_good; /* the message that is being acknowledged is one that was awaited */
    /* a message that came before the ACK of the last one was answered */
    bool has_next, next_is_good;
    struct id next_id;
};

void pair_init(struct pair *p, struct worker *w, struct link *rcv, struct link *snd,
               uint32_t number, const struct pair_events *on, void *owner);
void pair_done(struct pair *p);

/* NEW, and KEY when something is to be sent; links are up. */
void pair_create(struct pair *p, bool subscribe);
void pair_subscribe(struct pair *p);
/* due_ns: when it was to be sent; 0: now. c is given back by sent(). */
void pair_send(struct pair *p, struct call *c, int64_t due_ns);
void pair_delete(struct pair *p);
uint64_t pair_under_way(const struct pair *p); /* messages sent and not received */
/* Counts what was lost. */
void pair_check(struct pair *p);
