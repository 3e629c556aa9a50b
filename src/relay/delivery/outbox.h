/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* outbox.h -- the answers that wait to be written to one session, as small items; blocks are made
 * only when the socket can take them. What the server sends of itself is in relay/session/due.
 *
 * Answers keep their order. One whose lsn is not durable yet, or whose message the store does not
 * have yet, holds back what is behind it. What a client with few subscriptions is answered waits
 * for the messages, so that SOK and MSG share a block; a message that a client sends to itself
 * comes before the OK, in a block of its own (as the reference does both). Owner loop only.
 *
 * Memory: an item holds its text, or says which queue's next message goes in its place. */
#pragma once

#include "model/limits.h"
#include "relay/delivery/pull.h"
#include "wire/block.h"
#include "wire/reply.h"

struct out_item;
struct forwarded_refusal; /* way_back.h */

struct outbox {
    struct out_item *head, *tail; /* owned */
    struct out_item *before;  /* the last answer before outbox_begin(); NULL: they are all gone */
    bool is_begun;            /* outbox_begin() without outbox_end() */
    unsigned n_wanted;        /* items that are not at leisure */
    size_t pending_bytes;     /* what the items will take on the wire, plus a base for each */
    uint64_t n_added, n_left; /* answers in their order, ever: what came and what went */
};

/* A block that is being packed. */
struct packing {
    struct wr w;     /* behind the count of transmissions */
    unsigned n;      /* transmissions */
    bool is_closed;  /* what is in it goes alone */
    lsn_t waits_for; /* the first change whose fate keeps something from going on; 0: none */
};
/* Something waits for this change; 0: for none. */
void packing_wait(struct packing *p, lsn_t lsn);

enum unsent {
    UNSENT_NOTHING, /* there was no message */
    UNSENT_FAILED,  /* it could not be read */
    UNSENT_LOST     /* the command that it answers failed, and was answered so */
};

/* What follows for the session when it is known whether an answer's change was kept. */
struct follow_up {
    struct queue *subscribed; /* counted; a new queue, subscribed to since: to be forgotten when it
                                 is lost. NULL: none */
    uint8_t n_counts;
    uint8_t counts[2]; /* enum stat_id, unless it is lost */
};

/* What packing needs to know of the session. */
struct outbox_env {
    const struct wire_params *params;
    const struct store *store;
    /* pull_try(); PULLED_NOTHING when nothing is due from this queue any more and it is no answer.
     */
    enum pulled (*pull)(void *ctx, struct pull *p, bool is_answer);
    /* What became of a message's place, when it is left: p->message was written, or why not. */
    void (*sent)(void *ctx, const struct pull *p);
    void (*unsent)(void *ctx, const struct pull *p, bool is_answer, enum unsent why);
    /* An answer leaves; once for each that has something to follow. */
    void (*settled)(void *ctx, const struct follow_up *f, bool is_lost);
    /* A command is left without an answer. why: E_CLOSED: the session is to be closed at once. */
    void (*unanswered)(void *ctx, enum err why);
    void *ctx;
};

void outbox_init(struct outbox *o);
/* The session has ended: what is not known to be lost is kept. */
void outbox_done(struct outbox *o, const struct outbox_env *env);
bool outbox_is_empty(const struct outbox *o);
/* Nothing waits but answers whose changes were made at leisure. */
bool outbox_is_at_leisure(const struct outbox *o);

/* What stands for an answer when the change that it waits for is lost. */
enum if_lost {
    IF_LOST_ERR,        /* ERR STORE to whom the answer is for */
    IF_LOST_FORWARDED,  /* ERR STORE inside the layers of RFWD */
    IF_LOST_UNANSWERED, /* nothing, and unanswered() is told */
    IF_LOST_NOTHING
};

/* Around the answers to one block, which may take several turns; none of them is packed before
 * outbox_end(). together: nor before the messages among them are there. */
void outbox_begin(struct outbox *o);
void outbox_end(struct outbox *o, bool together);

/* A ready transmission, copied, but what is owned. */
struct out_text {
    struct bytes transmission;
    lsn_t lsn;
    bool at_leisure;   /* the change was made so; see store_pace */
    size_t held_bytes; /* what the store keeps in RAM until lsn is durable: it counts as pending */
    enum if_lost if_lost;
    struct forwarded_refusal *owned_refusal; /* of IF_LOST_FORWARDED; else NULL */
    struct follow_up follow_up;              /* its parts are owned */
};
/* Ownership passes in any case. E_NO_MEMORY. */
MUST_USE enum err outbox_add_text(struct outbox *o, const struct out_text *t);

/* A place for the next message of a queue: as the answer to corr_id, or with an empty corr_id among
 * the answers to a SUB (and left out when there is none). Waits for lsn, too. Takes a reference.
 * E_NO_MEMORY. */
MUST_USE enum err outbox_add_msg(struct outbox *o, struct bytes corr_id, struct queue *q,
                                 lsn_t lsn);
/* The same ahead of the answers since outbox_begin(), in a block of its own. */
MUST_USE enum err outbox_add_ahead(struct outbox *o, struct queue *q);

/* LNK for entity (a link id). Takes a reference to link. E_NO_MEMORY. */
MUST_USE enum err outbox_add_link(struct outbox *o, const struct reply_to *to,
                                  const struct id *snd_id, struct link_data *link, lsn_t lsn);

/* Packs as many items as fit. */
void outbox_pack(struct outbox *o, const struct outbox_env *env, struct packing *p);
