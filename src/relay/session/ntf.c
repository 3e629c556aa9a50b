/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ntf.c -- notifications: who is subscribed to a notifier, and how they go out in batches (spec:
 * behaviour, "Notifications").
 *
 * The store keeps a notification until the notifier's subscriber takes it. The first one that waits
 * is due to its session (relay/session/due), and puts the session on its loop's list; the loop's
 * timer runs only while somebody is there, and after one tick what came in the interval is pulled,
 * in shared blocks and as the client reads. Owner loop only. */
#include "relay/session/ntf.h"

#include <stdlib.h>

#include "relay/session/gauges.h"
#include "relay/session/service.h"
#include "relay/session/subscription.h"
#include "store/ntfs.h"
#include "store/subscribe.h"

static const struct relay_opts *opts_of(const struct session *s) {
    return &s->rl->relay->o;
}

/* ---- a session's notifiers ---- */

static struct nsub *nsub_find(struct session *s, const struct id *notifier_id) {
    struct idnode *node = idmap_find(&s->nsubs, notifier_id);
    return node != NULL ? CONTAINER_OF(node, struct nsub, node) : NULL;
}

static void count_own(struct session *s, int n) {
    s->n_own_nsubs += (unsigned)n;
    stats_gauge_add(s->rl->stats, GAUGE_NTF_SUBS, n);
    gauges_update_subs(s);
}

static enum err nsub_add(struct session *s, struct queue *q, const struct id *notifier_id,
                         bool by_service, struct nsub **ret) {
    if (s->nsubs.n_entries >= SESSION_SUBSCRIPTIONS_MAX) return E_QUOTA;
    struct nsub *n = calloc(1, sizeof *n);
    if (n == NULL) return E_NO_MEMORY;
    n->node.id = *notifier_id;
    n->by_service = by_service;
    const enum err e = idmap_insert(&s->nsubs, &n->node);
    if (e != OK) {
        free(n);
        return e;
    }
    n->queue = queue_ref(q);
    if (!by_service) count_own(s, 1);
    *ret = n;
    return OK;
}

static void nsub_free(struct session *s, struct nsub *n) {
    if (!n->by_service) {
        count_own(s, -1);
        store_unsubscribe(opts_of(s)->store, SUB_NOTIFIER, &n->node.id, s->self);
    }
    queue_unref(n->queue);
    free(n);
}

static void nsub_remove(struct session *s, struct nsub *owned) {
    (void)idmap_remove(&s->nsubs, &owned->node.id);
    nsub_free(s, owned);
}

static void free_visited(struct idnode *node, void *ctx) {
    nsub_free(ctx, CONTAINER_OF(node, struct nsub, node));
}

void ntf_done(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    list_remove(&s->in_ntf);
    idmap_each(&s->nsubs, free_visited, s);
    idmap_done(&s->nsubs);
}

/* A session that serves a service has no notifiers but those that are due. */
void ntf_drop_served(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    ntf_done(s);
    idmap_init(&s->nsubs, s->rl->relay->map_seed);
}

/* ---- sending ---- */

static void tick(void *ctx) {
    struct relay_loop *rl = ctx;
    rl->ntf_ticking = false;
    for (struct list *l; (l = list_first(&rl->ntf_waiting)) != NULL;) {
        struct session *s = CONTAINER_OF(l, struct session, in_ntf);
        list_remove(l);
        due_tick(&s->due);
        conn_want_write(s->conn);
    }
}

static void want_tick(struct session *s) {
    struct relay_loop *rl = s->rl;
    if (list_is_empty(&s->in_ntf)) list_push_back(&rl->ntf_waiting, &s->in_ntf);
    if (rl->ntf_ticking) return;
    const uint64_t ms = (uint64_t)opts_of(s)->settings.ntf_interval_ms;
    rl->ntf_ticking = loop_timer_start(rl->loop, &rl->ntf_timer, ms, 0, tick, rl) == OK;
}

void ntf_due(struct session *s, struct queue *q, const struct id *notifier_id) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct nsub *n = nsub_find(s, notifier_id);
    if (n == NULL && (s->service == NULL || nsub_add(s, q, notifier_id, true, &n) != OK)) return;
    if (n->is_due) return;
    n->is_due = true;
    session_add_due(s, DUE_NOTIFICATIONS, notifier_id, false);
    want_tick(s);
}

static void write_batch(struct session *s, const struct nsub *n, const struct ntf_batch *batch,
                        struct packing *p) {
    const struct reply_to to = {.entity = id_bytes(&n->node.id)};
    for (unsigned i = 0; i < batch->n; i++) {
        uint8_t nonce[BOX_NONCE_LEN];
        env_random(opts_of(s)->env, nonce, sizeof nonce);
        const struct reply_ntf ntf = {
            .msg_id = &batch->items[i].msg_id,
            .ts_s = batch->items[i].ts_s,
            .dh_secret = batch->dh_secret,
            .nonce = nonce,
        };
        const size_t mark = wr_mark_u16(&p->w);
        reply_nmsg(&p->w, &s->params, &to, &ntf);
        wr_close_u16(&p->w, mark);
    }
    p->n += batch->n;
    s->n_ntfs += batch->n;
}

/* As large as the reference makes its batches. */
enum { NTFS_PER_BATCH = 80 };

static void count_ntfs(struct session *s) {
    if (s->n_ntfs == 0) return;
    stats_add(s->rl->stats, STAT_MSG_NTFS, s->n_ntfs);
    stats_add(s->rl->stats, STAT_MSG_NTFS_B, s->n_ntfs / NTFS_PER_BATCH + 1);
    s->n_ntfs = 0;
}

/* How many notifications the block has room for. */
static unsigned room_for(const struct session *s, const struct id *notifier_id,
                         const struct packing *p) {
    const struct reply_to to = {.entity = id_bytes(notifier_id)};
    const size_t fit = wr_left(&p->w) / (2 + reply_nmsg_len(&s->params, &to));
    return fit < SMP_BATCH_MAX - p->n ? (unsigned)fit : SMP_BATCH_MAX - p->n;
}

/* False: the block is full, and there are more. */
static bool take_all(struct session *s, struct nsub *n, struct packing *p) {
    for (bool more = true; more;) {
        struct ntf_batch batch;
        const unsigned max = room_for(s, &n->node.id, p);
        if (max == 0) return false;
        if (store_ntf_take(opts_of(s)->store, n->queue, &n->node.id, s->self, max, &batch) != OK)
            break; /* deleted, or another's by now */
        write_batch(s, n, &batch, p);
        crypto_wipe(batch.dh_secret, sizeof batch.dh_secret);
        more = batch.more;
    }
    n->is_due = false;
    if (n->by_service) nsub_remove(s, n);
    return true;
}

bool ntf_pack(struct session *s, const struct id *notifier_id, struct packing *p) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct nsub *n = nsub_find(s, notifier_id);
    if (n != NULL && n->is_due && !take_all(s, n, p)) return false;
    if (s->due.n_pulled[DUE_NOTIFICATIONS] == 1) count_ntfs(s); /* the last one */
    return true;
}

void ntf_sent(struct session *s, struct queue *q, const struct id *msg_id, int64_t ts_s) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct ntf_added added;
    const enum err e = store_ntf_add(opts_of(s)->store, q, msg_id, ts_s, &added);
    if (e == E_NO_MEMORY || (e == OK && added.dropped_one)) session_count(s, STAT_MSG_NTF_LOST);
    if (e != OK || !added.was_empty) return; /* a message without its notification is still sent */
    const struct news n = {.kind = NEWS_NTF,
                           .to = added.sub,
                           .queue = q,
                           .notifier = &added.notifier_id};
    news_send(s->rl, &n);
}

/* ---- subscribing ---- */

enum err ntf_subscribe(struct session *s, struct queue *q, const struct id *notifier_id,
                       lsn_t *ret_lsn) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct service *svc = service_of(s, SUB_NOTIFIER);
    struct nsub *own = nsub_find(s, notifier_id);
    const bool is_new = own == NULL && svc == NULL;
    enum err e = is_new ? nsub_add(s, q, notifier_id, false, &own) : OK;
    if (e != OK) return e;
    const struct sub_request r = {SUB_NOTIFIER, *notifier_id, s->self, svc};
    struct sub_moved moved;
    e = store_subscribe(opts_of(s)->store, q, &r, &moved);
    if (e != OK) {
        if (is_new) nsub_remove(s, own);
        return e;
    }
    if (svc == NULL) session_count(s, is_new ? STAT_NTF_SUB : STAT_NTF_SUB_DUPLICATE);
    sub_send_moved(s, SUB_NOTIFIER, q, notifier_id, &moved);
    if (moved.has_due) ntf_due(s, q, notifier_id);
    *ret_lsn = moved.lsn;
    return OK;
}

static void end_nsub(struct session *s, const struct news *n, struct nsub *own) {
    const struct reply_to to = {.entity = id_bytes(n->notifier)};
    struct wr w = wr_init(s->rl->scratch, sizeof s->rl->scratch);
    if (n->kind == NEWS_NTF_END) {
        reply_end(&w, &s->params, &to);
    } else {
        reply_deld(&w, &s->params, &to);
    }
    session_add_end(s, wr_bytes(&w));
    if (own == NULL || own->by_service) service_lost(s, n->notifier);
    if (own != NULL) nsub_remove(s, own);
}

void ntf_take_news(struct session *s, const struct news *n) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct nsub *own = nsub_find(s, n->notifier);
    if (own == NULL && s->service == NULL) return;
    if (n->kind == NEWS_NTF) {
        ntf_due(s, n->queue, n->notifier);
    } else if (n->kind == NEWS_NTF_DELETED ||
               !store_is_subscribed(opts_of(s)->store, n->queue, SUB_NOTIFIER, s->self)) {
        end_nsub(s, n, own); /* unless the session has subscribed again in the meantime */
    }
}

void ntf_stop(struct relay_loop *rl) {
    loop_timer_stop(&rl->ntf_timer);
}
