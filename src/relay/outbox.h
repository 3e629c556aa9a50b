/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* outbox.h -- what waits to be written to one session, as small items; blocks are made only when
 * the socket can take them.
 *
 * Answers keep their order. Messages that follow a large batch of subscriptions wait in a second
 * lane, so that a client which subscribes to thousands of queues sees its answers first; the lanes
 * take turns, so neither starves (spec: behaviour, "Messages"). An item whose lsn is not durable
 * yet, or whose message body is not in RAM yet, holds back its lane. What a client with few
 * subscriptions is answered waits for the bodies, so that SOK and MSG share a block; a message that
 * a client sends to itself comes before the OK, in a block of its own (as the reference does both).
 * Owner loop only.
 *
 * Memory: an item holds its text, or a counted reference to a message or link data that the store
 * holds anyway. */
#pragma once

#include "model/limits.h"
#include "store/store.h"
#include "wire/block.h"
#include "wire/reply.h"

struct out_item;
struct forwarded_refusal; /* cmd_rfwd.c */

struct out_lane {
    struct out_item *head, *tail; /* owned */
};

struct outbox {
    struct out_lane answers, messages;
    struct out_item *before; /* the last answer before outbox_begin(); NULL: they are all gone */
    bool is_begun;           /* outbox_begin() without outbox_end() */
    size_t pending_bytes;    /* what the items will take on the wire, plus a base for each */
    bool messages_turn; /* a block of answers was written since the last message of the second lane
                         */
};

/* How a packing run ended. */
enum outbox_state {
    OUTBOX_EMPTY,   /* nothing was written, nothing waits */
    OUTBOX_WRITTEN, /* one block's content was written */
    OUTBOX_HELD     /* nothing was written; the first items wait for durability or for a body */
};

/* What packing needs to know of the session. */
struct outbox_env {
    const struct wire_params *params;
    struct store *store;
    /* Does this message still belong to the session's subscription? Asked for server-initiated
     * messages only. */
    bool (*wants)(void *ctx, const struct id *rcv_id, const struct id *msg_id);
    /* Starts bringing an absent body; the session is asked to write again when it is there. False:
     * nothing has to be waited for. Asked once for a message. */
    bool (*fetch)(void *ctx, struct queue *q, struct message *m);
    /* This message will not be sent: it was deleted, was lost or cannot be read. May add another to
     * the outbox. */
    void (*dropped)(void *ctx, const struct id *rcv_id, const struct id *msg_id);
    /* The command that this message answers failed, and was answered so; the message itself is
     * there. May add it to the outbox. */
    void (*detached)(void *ctx, struct queue *q, struct message *m);
    /* A command is left without an answer. */
    void (*unanswered)(void *ctx);
    void *ctx;
};

void outbox_init(struct outbox *o);
void outbox_done(struct outbox *o);
bool outbox_is_empty(const struct outbox *o);

/* What stands for an answer when the change that it waits for is lost. */
enum if_lost {
    IF_LOST_ERR,        /* ERR STORE to whom the answer is for */
    IF_LOST_FORWARDED,  /* ERR STORE inside the layers of RFWD */
    IF_LOST_UNANSWERED, /* nothing, and unanswered() is told */
    IF_LOST_NOTHING
};

/* Around the answers to one block, which may take several turns; none of them is packed before
 * outbox_end(). together: nor before the bodies of all messages among them are there. */
void outbox_begin(struct outbox *o);
void outbox_end(struct outbox *o, bool together);

/* A ready transmission, copied, but what is owned. */
struct out_text {
    struct bytes transmission;
    lsn_t lsn;
    size_t held_bytes; /* what the store keeps in RAM until lsn is durable: it counts as pending */
    enum if_lost if_lost;
    struct forwarded_refusal *owned_refusal; /* of IF_LOST_FORWARDED; else NULL */
};
/* Ownership passes in any case. E_NO_MEMORY. */
MUST_USE enum err outbox_add_text(struct outbox *o, const struct out_text *t);

/* The same, but behind the messages that follow answers; nothing that waits. */
MUST_USE enum err outbox_add_last(struct outbox *o, struct bytes transmission);

enum out_place {
    OUT_IN_ORDER,
    OUT_AHEAD, /* of the answers since outbox_begin(), in a block of its own */
    OUT_AFTER  /* into the second lane */
};
/* MSG: as the answer to corr_id (waiting for lsn, too), or from the server when corr_id is empty
 * (then it is dropped if `wants` says no when its turn comes). Takes references. E_NO_MEMORY. */
MUST_USE enum err outbox_add_msg(struct outbox *o, struct bytes corr_id, struct queue *q,
                                 struct message *m, lsn_t lsn, enum out_place place);

/* LNK for entity (a link id). Takes a reference to link. E_NO_MEMORY. */
MUST_USE enum err outbox_add_link(struct outbox *o, const struct reply_to *to,
                                  const struct id *snd_id, struct link_data *link, lsn_t lsn);

/* Packs as many items as fit into one block's content (count byte and length-prefixed
 * transmissions). */
enum outbox_state outbox_pack(struct outbox *o, const struct outbox_env *env, struct wr *content);
