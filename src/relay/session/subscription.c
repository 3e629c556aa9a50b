/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* subscription.c -- who gets a queue's messages.
 *
 * The store names one subscriber per queue. A session keeps its own record of each queue it uses,
 * with the message that waits for ACK; a session that serves a service has such a record only of
 * queues from which a message waits. Semantics: behaviour, "Messages". */
#include "relay/session/subscription.h"

#include <stdlib.h>

#include "relay/session/gauges.h"
#include "relay/session/news.h"
#include "relay/session/service.h"

struct sub *sub_find(struct session *s, const struct id *rcv_id) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct idnode *node = idmap_find(&s->subs, rcv_id);
    return node != NULL ? CONTAINER_OF(node, struct sub, node) : NULL;
}

/* For the gauges, and for whether the session may be closed when it is idle. */
static void count_sub(struct session *s, const struct sub *sub, int n) {
    if (sub->by_get) return;
    s->n_subscribed += (unsigned)n;
    if (sub->by_service) return;
    s->n_own_subs += (unsigned)n;
    stats_gauge_add(s->rl->stats, GAUGE_SUBS, n);
    gauges_update_subs(s);
}

enum err sub_add(struct session *s, struct queue *q, enum sub_kind kind, struct sub **ret) {
    ASSERT_ON_LOOP(s->rl->loop);
    if (s->subs.n_entries >= SESSION_SUBSCRIPTIONS_MAX) return E_QUOTA;
    struct sub *sub = calloc(1, sizeof *sub);
    if (sub == NULL) return E_NO_MEMORY;
    sub->node.id = *queue_rcv_id(q);
    sub->by_get = kind == SUB_BY_GET;
    sub->by_service = kind == SUB_BY_SERVICE;
    const enum err e = idmap_insert(&s->subs, &sub->node);
    if (e != OK) {
        free(sub);
        return e;
    }
    sub->queue = queue_ref(q);
    count_sub(s, sub, 1);
    *ret = sub;
    return OK;
}

/* ---- what waits for ACK ---- */

static uint32_t turn_s(const struct session *s) {
    return (uint32_t)(loop_turn_ms(s->rl->loop) / 1000);
}

static void count_delivered(struct session *s, int n) {
    s->n_delivered += (unsigned)n;
    stats_gauge_add(s->rl->stats, GAUGE_DELIVERED, n);
    gauge_set(s, GAUGE_DELIVERED_CLIENTS, s->n_delivered != 0);
}

void sub_clear_delivered(struct session *s, struct sub *sub) {
    ASSERT_ON_LOOP(s->rl->loop);
    if (!sub->has_delivered) return;
    sub->has_delivered = false;
    ages_end(&s->rl->delivered_ages, turn_s(s), sub->delivered_s);
    count_delivered(s, -1);
}

void sub_set_delivered(struct session *s, struct sub *sub, const struct message *m) {
    ASSERT_ON_LOOP(s->rl->loop);
    sub_clear_delivered(s, sub);
    sub->has_delivered = true;
    sub->delivered = m->id;
    sub->delivered_s = turn_s(s);
    ages_begin(&s->rl->delivered_ages, sub->delivered_s);
    count_delivered(s, 1);
}

bool sub_is_delivered(const struct sub *sub, const struct queue_view *v, struct id *ret) {
    if (sub == NULL || (!sub->has_delivered && !sub->is_due && !sub->is_asked)) return false;
    if (!sub->has_delivered && v->n_messages == 0) return false;
    *ret = sub->has_delivered ? sub->delivered : v->head.id;
    return true;
}

/* ---- the end of subscriptions ---- */

static void sub_free(struct session *s, struct sub *sub) {
    sub_clear_delivered(s, sub);
    count_sub(s, sub, -1);
    if (!sub->by_get && !sub->by_service)
        store_unsubscribe(s->rl->relay->o.store, SUB_RECIPIENT, &sub->node.id, s->self);
    queue_unref(sub->queue);
    free(sub);
}

void sub_remove(struct session *s, struct sub *owned) {
    ASSERT_ON_LOOP(s->rl->loop);
    (void)idmap_remove(&s->subs, &owned->node.id);
    sub_free(s, owned);
}

void sub_leave(struct session *s, struct sub *owned, const struct queue *q) {
    if (owned == NULL || owned->by_service) service_lost(s, queue_rcv_id(q));
    if (owned != NULL) sub_remove(s, owned);
}

static void free_visited(struct idnode *node, void *ctx) {
    sub_free(ctx, CONTAINER_OF(node, struct sub, node));
}

void subs_done(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    idmap_each(&s->subs, free_visited, s);
    idmap_done(&s->subs);
}

/* ---- the service has a new session ---- */

/* Sorts into those that stay and those that go. */
static void keep_or_drop(struct idnode *node, void *ctx) {
    struct session *s = ctx;
    struct sub *sub = CONTAINER_OF(node, struct sub, node);
    if (sub->by_service || idmap_insert(&s->subs, node) != OK) sub_free(s, sub);
}

void subs_drop_served(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct idmap all = s->subs;
    idmap_init(&s->subs, s->rl->relay->map_seed);
    idmap_each(&all, keep_or_drop, s);
    idmap_done(&all);
}

/* ---- subscribing ---- */

enum service_event {
    ASSOC_NEW,
    ASSOC_DUPLICATE,
    ASSOC_UPDATED,
    ASSOC_REMOVED,
    SERVICE_SUB_COUNT,
    SERVICE_SUB_QUEUES,
    N_SERVICE_EVENTS
};

static void count_of(const struct session *s, enum sub_party party, enum service_event e) {
    static const enum stat_id STATS[N_SUB_PARTIES][N_SERVICE_EVENTS] = {
        [SUB_RECIPIENT] = {STAT_RCV_ASSOC_NEW, STAT_RCV_ASSOC_DUPLICATE, STAT_RCV_ASSOC_UPDATED,
                           STAT_RCV_ASSOC_REMOVED, STAT_RCV_SUB_COUNT, STAT_RCV_SUB_QUEUES},
        [SUB_NOTIFIER] = {STAT_NTF_ASSOC_NEW, STAT_NTF_ASSOC_DUPLICATE, STAT_NTF_ASSOC_UPDATED,
                          STAT_NTF_ASSOC_REMOVED, STAT_NTF_SUB_COUNT, STAT_NTF_SUB_QUEUES},
    };
    session_count(s, STATS[party][e]);
}

/* Before service_gained(). */
static void count_association(const struct session *s, enum sub_party party, bool for_service,
                              const struct sub_moved *moved) {
    if (!for_service) {
        if (moved->was_served) count_of(s, party, ASSOC_REMOVED);
        return;
    }
    const bool is_first = s->service->subscribed.n == 0;
    if (is_first) count_of(s, party, SERVICE_SUB_COUNT);
    if (is_first || moved->associated) count_of(s, party, SERVICE_SUB_QUEUES);
    if (!moved->associated) {
        count_of(s, party, ASSOC_DUPLICATE);
    } else {
        count_of(s, party, moved->was_served ? ASSOC_UPDATED : ASSOC_NEW);
    }
}

void sub_send_moved(struct session *s, enum sub_party party, struct queue *q, const struct id *id,
                    const struct sub_moved *moved) {
    ASSERT_ON_LOOP(s->rl->loop);
    const struct news lost = {
        .kind = party == SUB_RECIPIENT ? NEWS_END : NEWS_NTF_END,
        .to = moved->prev,
        .queue = q,
        .notifier = party == SUB_RECIPIENT ? NULL : id,
    };
    if (!session_is(s, moved->prev)) news_send(s->rl, &lost);
    struct service *svc = service_of(s, party);
    count_association(s, party, svc != NULL, moved);
    if (svc == NULL) {
        if (moved->was_served && session_is(s, moved->prev)) service_lost(s, id); /* its own */
        return;
    }
    service_gained(s, id, moved->associated);
    const struct news served = {.kind = NEWS_SERVED, .to = moved->server, .service = svc};
    if (!session_is(s, moved->server)) news_send(s->rl, &served);
}

enum err sub_register(struct session *s, struct queue *q, struct sub_moved *ret) {
    ASSERT_ON_LOOP(s->rl->loop);
    const struct sub_request r = {.party = SUB_RECIPIENT,
                                  .sub = s->self,
                                  .service = service_of(s, SUB_RECIPIENT)};
    const enum err e = store_subscribe(s->rl->relay->o.store, q, &r, ret);
    if (e == OK) sub_send_moved(s, SUB_RECIPIENT, q, queue_rcv_id(q), ret);
    return e;
}

enum err sub_subscribe(struct session *s, struct queue *q, struct sub_moved *ret) {
    ASSERT_ON_LOOP(s->rl->loop);
    if (service_of(s, SUB_RECIPIENT) != NULL) return sub_register(s, q, ret);
    struct sub *sub;
    enum err e = sub_add(s, q, SUB_OWN, &sub);
    if (e != OK) return e;
    e = sub_register(s, q, ret);
    if (e != OK) sub_remove(s, sub);
    return e;
}

/* ---- the next message ---- */

/* The record of a queue from which the service's session is sent a message. */
static struct sub *add_served(struct session *s, struct queue *q) {
    struct sub *sub = NULL;
    if (s->service == NULL ||
        !store_is_subscribed(s->rl->relay->o.store, q, SUB_RECIPIENT, s->self) ||
        sub_add(s, q, SUB_BY_SERVICE, &sub) != OK) {
        return NULL;
    }
    return sub;
}

bool sub_due(struct session *s, struct queue *q, enum due_place place) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct sub *sub = sub_find(s, queue_rcv_id(q));
    if (sub != NULL && sub->by_get) return false;
    if (sub == NULL) sub = add_served(s, q);
    if (sub == NULL || sub->has_delivered) return false;
    const bool was_due = sub->is_due || sub->is_asked;
    if (place == DUE_AMONG || place == DUE_BEHIND || !was_due) sub->is_due = true;
    sub->has_news = was_due; /* what it is due for may be an empty queue by now */
    if (place == DUE_AMONG) {
        session_add_msg(s, (struct bytes){0}, q, 0);
    } else if (place == DUE_AHEAD && !was_due) {
        session_add_ahead(s, q);
    } else if (place == DUE_BEHIND || !was_due) {
        session_add_due(s, DUE_MESSAGE, queue_rcv_id(q), place == DUE_BEHIND);
    }
    return true;
}

struct queue *sub_due_queue(struct session *s, const struct id *rcv_id) {
    ASSERT_ON_LOOP(s->rl->loop);
    const struct sub *sub = sub_find(s, rcv_id);
    return sub != NULL && sub->is_due ? sub->queue : NULL;
}

enum pulled sub_pull(struct session *s, struct pull *p, bool is_answer) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct sub *sub = sub_find(s, queue_rcv_id(p->queue));
    if (!is_answer && (sub == NULL || !sub->is_due)) return PULLED_NOTHING;
    enum pulled r = pull_try(p, &s->rl->pulls, s->self);
    while (r == PULLED_NOTHING && sub != NULL && sub->has_news) {
        sub->has_news = false;
        r = pull_try(p, &s->rl->pulls, s->self);
    }
    return r;
}

void sub_sent(struct session *s, const struct pull *p) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct sub *sub = sub_find(s, queue_rcv_id(p->queue));
    if (sub == NULL) return;
    sub->is_due = sub->is_asked = sub->has_news = false;
    sub_set_delivered(s, sub, p->message);
}

void sub_unsent(struct session *s, const struct pull *p, bool is_answer, enum unsent why) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct sub *sub = sub_find(s, queue_rcv_id(p->queue));
    if (sub == NULL || !(is_answer ? sub->is_asked : sub->is_due)) return;
    if (is_answer) sub->is_asked = false;
    sub->is_due = !sub->by_get && (why != UNSENT_NOTHING || (is_answer && sub->is_due));
    if (sub->by_get) return; /* it may ask again */
    switch (why) {
    case UNSENT_NOTHING:
        if (sub->by_service && !sub->has_delivered && !sub->is_due && !sub->is_asked)
            sub_remove(s, sub);
        break;
    case UNSENT_FAILED:
        if (due_add_failed(s, queue_rcv_id(p->queue)) != OK) conn_close(s->conn);
        break;
    case UNSENT_LOST: /* delivered as if nobody had asked for it */
        session_add_due(s, DUE_MESSAGE, queue_rcv_id(p->queue), false);
        break;
    }
}
