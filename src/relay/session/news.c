/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* news.c -- how the news travels to the loop that serves a queue.
 *
 * News carries no message: the receiving session looks at the queue itself, so news that arrives
 * late, twice, or after the subscription moved does no harm. */
#include "relay/session/news.h"

#include <stdlib.h>

#include "relay/session/ntf.h"
#include "relay/session/service.h"
#include "relay/session/session.h"
#include "relay/session/subscription.h"

struct news_msg {
    struct loop_msg msg;   /* first: loop_msg.run gets it */
    struct relay_loop *rl; /* the receiver's */
    struct news news;      /* queue counted, notifier is that below */
    struct id notifier;
};

static void add_end(struct session *s, struct queue *q, enum news_kind kind) {
    const struct reply_to to = {.entity = id_bytes(queue_rcv_id(q))};
    struct wr w = wr_init(s->rl->scratch, sizeof s->rl->scratch);
    if (kind == NEWS_END) {
        reply_end(&w, &s->params, &to);
    } else {
        reply_deld(&w, &s->params, &to);
    }
    session_add_end(s, wr_bytes(&w));
}

static void end_sub(struct session *s, struct sub *sub, struct queue *q, enum news_kind kind) {
    add_end(s, q, kind);
    sub_leave(s, sub, q);
}

static void add_blocked(struct session *s, struct queue *q) {
    struct queue_view v;
    if (store_queue_view(s->rl->relay->o.store, q, WANT_RECORD, &v) != OK) return;
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
    case NEWS_MESSAGE:
        (void)sub_due(s, q, DUE_AT_LEAST);
        break;
    case NEWS_END: /* unless the session has subscribed again in the meantime */
        if (!store_is_subscribed(s->rl->relay->o.store, q, SUB_RECIPIENT, s->self))
            end_sub(s, sub, q, n->kind);
        break;
    case NEWS_DELETED:
        end_sub(s, sub, q, n->kind);
        break;
    case NEWS_BLOCKED:
        add_blocked(s, q);
        break;
    case NEWS_NTF:
    case NEWS_NTF_END:
    case NEWS_NTF_DELETED:
    case NEWS_SERVED:
        break;
    }
}

/* On the receiver's loop. */
static void take_news(struct relay_loop *rl, const struct news *n) {
    struct session *s = session_find(rl, n->to);
    if (s == NULL) return;
    if (n->kind == NEWS_SERVED) {
        service_take_news(s, n);
    } else if (n->notifier != NULL) {
        ntf_take_news(s, n);
    } else {
        take_queue_news(s, n);
    }
}

static void arrived(struct loop_msg *msg) {
    struct news_msg *n = CONTAINER_OF(msg, struct news_msg, msg);
    take_news(n->rl, &n->news);
    queue_unref(n->news.queue);
    free(n);
}

/* NULL: nobody, or out of memory: then the receiver sees the queue's state when it subscribes
 * again.
 */
static struct news_msg *news_msg_new(struct relay *r, const struct news *n) {
    struct news_msg *m = n->to.generation != 0 ? malloc(sizeof *m) : NULL;
    if (m == NULL) return NULL;
    *m = (struct news_msg){.msg = {.run = arrived}, .rl = &r->loops[n->to.loop], .news = *n};
    if (n->queue != NULL) (void)queue_ref(n->queue);
    if (n->notifier != NULL) {
        m->notifier = *n->notifier;
        m->news.notifier = &m->notifier;
    }
    return m;
}

void news_send_from_outside(struct relay *r, const struct news *n) {
    struct news_msg *m = news_msg_new(r, n);
    if (m != NULL) loop_post(m->rl->loop, &m->msg);
}

void news_send(struct relay_loop *from, const struct news *n) {
    ASSERT_ON_LOOP(from->loop);
    if (n->to.generation != 0 && n->to.loop == from->index) {
        take_news(from, n);
    } else {
        news_send_from_outside(from->relay, n);
    }
}

void news_about(struct relay_loop *from, enum news_kind kind, struct subscriber to,
                struct queue *q) {
    const struct news n = {.kind = kind, .to = to, .queue = q};
    news_send(from, &n);
}

void news_of_message(struct relay_loop *from, struct subscriber to, struct queue *q, lsn_t lsn) {
    ASSERT_ON_LOOP(from->loop);
    const struct news n = {.kind = NEWS_MESSAGE, .to = to, .queue = q};
    if (lsn == 0 || to.generation == 0 || to.loop == from->index ||
        store_is_held(from->relay->o.store, lsn)) {
        news_send(from, &n);
        return;
    }
    struct news_msg *m = news_msg_new(from->relay, &n);
    if (m != NULL) fate_leave(&m->rl->desk, lsn, &m->msg);
}
