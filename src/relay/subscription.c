/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* subscription.c -- who gets a queue's messages, and how the news travels to the loop that serves
 * them.
 *
 * The store names one subscriber per queue. A session keeps its own record of each queue it uses,
 * with the message that waits for ACK. News carries no message: the receiving session looks at the
 * queue itself, so a note that arrives late, twice, or after the subscription moved does no harm.
 * Semantics: behaviour, "Messages". */
#include <stdlib.h>

#include "relay/relay_priv.h"

struct sub *sub_find(struct session *s, const struct id *rcv_id) {
    struct idnode *node = idmap_find(&s->subs, rcv_id);
    return node != NULL ? CONTAINER_OF(node, struct sub, node) : NULL;
}

enum err sub_add(struct session *s, struct queue *q, bool by_get, struct sub **ret) {
    if (s->subs.n_entries >= SESSION_SUBSCRIPTIONS_MAX) return E_QUOTA;
    struct sub *sub = calloc(1, sizeof *sub);
    if (sub == NULL) return E_NO_MEMORY;
    sub->node.id = *queue_rcv_id(q);
    sub->by_get = by_get;
    const enum err e = idmap_insert(&s->subs, &sub->node);
    if (e != OK) {
        free(sub);
        return e;
    }
    sub->queue = queue_ref(q);
    if (!by_get) s->n_subscribed++;
    *ret = sub;
    return OK;
}

static void sub_free(struct session *s, struct sub *sub) {
    if (!sub->by_get) {
        s->n_subscribed--;
        store_unsubscribe(s->rl->relay->o.store, sub->queue, s->self);
    }
    queue_unref(sub->queue);
    free(sub);
}

void sub_remove(struct session *s, struct sub *owned) {
    (void)idmap_remove(&s->subs, &owned->node.id);
    sub_free(s, owned);
}

static void free_visited(struct idnode *node, void *ctx) {
    sub_free(ctx, CONTAINER_OF(node, struct sub, node));
}

void subs_done(struct session *s) {
    idmap_each(&s->subs, free_visited, s);
    idmap_done(&s->subs);
}

static bool is_self(const struct session *s, struct subscriber who) {
    return who.node == s->self.node && who.loop == s->self.loop && who.slot == s->self.slot &&
           who.generation == s->self.generation;
}

enum err sub_register(struct session *s, struct queue *q) {
    struct subscriber prev;
    const enum err e = store_subscribe(s->rl->relay->o.store, q, s->self, &prev);
    if (e == OK && !is_self(s, prev)) notify(s->rl, NOTE_END, prev, q);
    return e;
}

enum err sub_subscribe(struct session *s, struct queue *q) {
    struct sub *sub;
    enum err e = sub_add(s, q, false, &sub);
    if (e != OK) return e;
    e = sub_register(s, q);
    if (e != OK) sub_remove(s, sub);
    return e;
}

void sub_deliver(struct session *s, struct sub *sub, bool after_answers) {
    if (sub->has_delivered) return;
    struct message *m = NULL;
    if (store_msg_peek(s->rl->relay->o.store, sub->queue, &m) != OK || m == NULL) return;
    sub->has_delivered = true;
    sub->delivered = m->id;
    session_add_msg(s, (struct bytes){0}, sub->queue, m, 0, after_answers);
    message_unref(m);
}

/* ---- notes ---- */

struct note {
    struct loop_msg msg; /* first: loop_msg.run gets it */
    enum note_kind kind;
    struct relay_loop *rl; /* the receiver's */
    struct subscriber to;
    struct queue *queue; /* counted */
};

static void tell_end(struct session *s, struct sub *sub, enum note_kind kind) {
    const struct reply_to to = {.entity = id_bytes(queue_rcv_id(sub->queue))};
    struct wr w = wr_init(s->rl->scratch, sizeof s->rl->scratch);
    if (kind == NOTE_END) {
        reply_end(&w, &s->params, &to);
    } else {
        reply_deld(&w, &s->params, &to);
    }
    session_add_text(s, wr_bytes(&w), 0, 0);
    sub_remove(s, sub);
}

/* On the receiver's loop. */
static void take_note(struct relay_loop *rl, enum note_kind kind, struct subscriber to,
                      struct queue *q) {
    struct session *s = session_find(rl, to);
    struct sub *sub = s != NULL ? sub_find(s, queue_rcv_id(q)) : NULL;
    if (sub == NULL || sub->by_get) return;
    switch (kind) {
    case NOTE_MESSAGE:
        sub_deliver(s, sub, false);
        break;
    case NOTE_END: /* unless the session has subscribed again in the meantime */
        if (!store_is_subscribed(rl->relay->o.store, q, to)) tell_end(s, sub, kind);
        break;
    case NOTE_DELETED:
        tell_end(s, sub, kind);
        break;
    }
}

static void note_run(struct loop_msg *msg) {
    struct note *n = CONTAINER_OF(msg, struct note, msg);
    take_note(n->rl, n->kind, n->to, n->queue);
    queue_unref(n->queue);
    free(n);
}

void notify(struct relay_loop *from, enum note_kind kind, struct subscriber to, struct queue *q) {
    if (to.generation == 0) return;
    if (to.loop == from->index) {
        take_note(from, kind, to, q);
        return;
    }
    struct note *n = malloc(sizeof *n);
    if (n == NULL)
        return; /* out of memory: the receiver sees the queue's state when it subscribes again */
    *n = (struct note){.msg = {.run = note_run}, .kind = kind, .to = to, .queue = queue_ref(q)};
    n->rl = &from->relay->loops[to.loop];
    loop_post(n->rl->loop, &n->msg);
}
