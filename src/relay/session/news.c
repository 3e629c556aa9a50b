/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* news.c -- how the news travels to the loop that serves a queue.
 *
 * News carries no message: the receiving session looks at the queue itself, so a note that arrives
 * late, twice, or after the subscription moved does no harm. */
#include "relay/session/news.h"

#include <stdlib.h>

#include "relay/session/ntf.h"
#include "relay/session/service.h"
#include "relay/session/session.h"
#include "relay/session/subscription.h"

struct note {
    struct loop_msg msg;   /* first: loop_msg.run gets it */
    struct relay_loop *rl; /* the receiver's */
    struct news news;      /* queue counted, notifier is that below */
    struct id notifier;
};

static void tell_end(struct session *s, struct queue *q, enum note_kind kind) {
    const struct reply_to to = {.entity = id_bytes(queue_rcv_id(q))};
    struct wr w = wr_init(s->rl->scratch, sizeof s->rl->scratch);
    if (kind == NOTE_END) {
        reply_end(&w, &s->params, &to);
    } else {
        reply_deld(&w, &s->params, &to);
    }
    session_add_end(s, wr_bytes(&w));
}

static void end_sub(struct session *s, struct sub *sub, struct queue *q, enum note_kind kind) {
    tell_end(s, q, kind);
    if (sub == NULL || sub->by_service) service_lost(s, queue_rcv_id(q));
    if (sub != NULL) sub_remove(s, sub);
}

static void tell_blocked(struct session *s, struct queue *q) {
    struct queue_view v;
    if (store_queue_view(s->rl->relay->o.store, q, &v) != OK) return;
    if (v.block != NULL) {
        const struct reply_to to = {.entity = id_bytes(queue_rcv_id(q))};
        struct wr w = wr_init(s->rl->scratch, sizeof s->rl->scratch);
        reply_blocked(&w, &s->params, &to, v.block);
        session_add_text(s, wr_bytes(&w));
    }
    queue_view_done(&v);
}

static void take_queue_news(struct session *s, const struct news *n) {
    struct queue *q = n->queue;
    struct sub *sub = sub_find(s, queue_rcv_id(q));
    if (sub != NULL ? sub->by_get : s->service == NULL) return;
    switch (n->kind) {
    case NOTE_MESSAGE:
        (void)sub_due(s, q, DUE_AT_LEAST);
        break;
    case NOTE_END: /* unless the session has subscribed again in the meantime */
        if (!store_is_subscribed(s->rl->relay->o.store, q, SUB_RECIPIENT, s->self))
            end_sub(s, sub, q, n->kind);
        break;
    case NOTE_DELETED:
        end_sub(s, sub, q, n->kind);
        break;
    case NOTE_BLOCKED:
        tell_blocked(s, q);
        break;
    case NOTE_NTF:
    case NOTE_NTF_END:
    case NOTE_NTF_DELETED:
    case NOTE_SERVED:
        break;
    }
}

/* On the receiver's loop. */
static void take_news(struct relay_loop *rl, const struct news *n) {
    struct session *s = session_find(rl, n->to);
    if (s == NULL) return;
    if (n->kind == NOTE_SERVED) {
        service_take_news(s, n);
    } else if (n->notifier != NULL) {
        ntf_take_news(s, n);
    } else {
        take_queue_news(s, n);
    }
}

static void note_run(struct loop_msg *msg) {
    struct note *n = CONTAINER_OF(msg, struct note, msg);
    take_news(n->rl, &n->news);
    queue_unref(n->news.queue);
    free(n);
}

void tell_from_outside(struct relay *r, const struct news *n) {
    if (n->to.generation == 0) return;
    struct note *note = malloc(sizeof *note);
    if (note == NULL)
        return; /* out of memory: the receiver sees the queue's state when it subscribes again */
    *note = (struct note){.msg = {.run = note_run}, .rl = &r->loops[n->to.loop], .news = *n};
    if (n->queue != NULL) (void)queue_ref(n->queue);
    if (n->notifier != NULL) {
        note->notifier = *n->notifier;
        note->news.notifier = &note->notifier;
    }
    loop_post(note->rl->loop, &note->msg);
}

void tell(struct relay_loop *from, const struct news *n) {
    ASSERT_ON_LOOP(from->loop);
    if (n->to.generation != 0 && n->to.loop == from->index) {
        take_news(from, n);
    } else {
        tell_from_outside(from->relay, n);
    }
}

void notify(struct relay_loop *from, enum note_kind kind, struct subscriber to, struct queue *q) {
    const struct news n = {.kind = kind, .to = to, .queue = q};
    tell(from, &n);
}
