/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* subscription.h -- the queues that a session uses, and the message of each that waits for ACK.
 * Owner loop only. */
#pragma once

#include "relay/session/session.h"
#include "store/records.h"
#include "store/subscribe.h"

struct sub {
    struct idnode node;  /* recipient id */
    struct queue *queue; /* counted */
    bool by_get : 1;     /* GET was used: it is no subscription, and SUB is prohibited */
    bool by_service : 1; /* of the service that this session serves; only while a message waits */
    bool is_due : 1;     /* its next message has a place in the outbox, or is due */
    bool is_asked : 1;   /* it has one as the answer to GET or ACK; an older one stays empty */
    bool has_news : 1;   /* a message came while it was due or asked for */
    bool has_delivered : 1;
    uint32_t delivered_s; /* when, by loop_turn_ms() */
    struct id delivered;  /* the message that waits for ACK */
};

struct sub *sub_find(struct session *s, const struct id *rcv_id);
enum sub_kind { SUB_OWN, SUB_BY_GET, SUB_BY_SERVICE };
/* E_QUOTA at the session's limit, E_NO_MEMORY. */
MUST_USE enum err sub_add(struct session *s, struct queue *q, enum sub_kind kind, struct sub **ret);
/* A message went out and waits for ACK; it does no longer. */
void sub_set_delivered(struct session *s, struct sub *sub, const struct message *m);
void sub_clear_delivered(struct session *s, struct sub *sub);
/* The message that an ACK may name: what waits for one or, from the command on that makes it due
 * and not only when it is written, the queue's oldest. sub may be NULL; v: with messages. */
bool sub_is_delivered(const struct sub *sub, const struct queue_view *v, struct id *ret);
void sub_remove(struct session *s, struct sub *owned); /* tells the store unless by_get */
/* The session serves q no more: `owned` was its place; NULL: its service serves it. */
void sub_leave(struct session *s, struct sub *owned, const struct queue *q);
void subs_done(struct session *s); /* all of them */
/* Makes the session the queue's subscriber; whoever was is told END. */
MUST_USE enum err sub_register(struct session *s, struct queue *q, struct sub_moved *ret);
/* Both of the above, or neither. */
MUST_USE enum err sub_subscribe(struct session *s, struct queue *q, struct sub_moved *ret);
enum due_place {
    DUE_AHEAD,   /* of the answers to this block, in a block of its own */
    DUE_AMONG,   /* the answers to this block */
    DUE_BEHIND,  /* all answers, in blocks of their own */
    DUE_AT_LEAST /* once, wherever it has a place already */
};
/* The queue's next message is due, unless one waits for ACK, to the session when it or its service
 * is subscribed to the queue. True: it is. */
bool sub_due(struct session *s, struct queue *q, enum due_place place);
/* For who packs: the queue, borrowed, if its next message is due; else NULL. */
struct queue *sub_due_queue(struct session *s, const struct id *rcv_id);
/* pull_try(), again when news came meanwhile; nothing for what is not due, but answers. */
enum pulled sub_pull(struct session *s, struct pull *p, bool is_answer);
/* The place of the queue's next message is left: p->message waits for ACK now, or why not. */
void sub_sent(struct session *s, const struct pull *p);
void sub_unsent(struct session *s, const struct pull *p, bool is_answer, enum unsent why);
/* After store_subscribe(): tells those who lost the queue or the service, and counts. id: of the
 * queue or the notifier. */
void sub_send_moved(struct session *s, enum sub_party party, struct queue *q, const struct id *id,
                    const struct sub_moved *moved);
void subs_drop_served(struct session *s); /* those of the service, which another session serves */
