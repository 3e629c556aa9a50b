/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/operations/moderate.h"

#include "relay/session/news.h"

/* A reference, or E_AUTH, E_STORE. Waits for the store: the control port has a thread of its own.
 */
static enum err find(struct relay *r, enum queue_id_kind kind, const struct id *id,
                     struct queue **ret) {
    struct store_lookup l = {.kind = kind, .id = *id};
    store_load_wait(r->o.store, &l, 1);
    const enum err e = l.ret_err;
    if (e == OK) *ret = queue_ref(l.ret_queue);
    store_lookup_done(&l);
    return e;
}

enum err relay_queue_state(struct relay *r, enum queue_id_kind kind, const struct id *id,
                           struct relay_queue_state *ret) {
    struct store_lookup l = {.kind = kind, .id = *id};
    store_load_wait(r->o.store, &l, 1);
    if (l.ret_err != OK) return l.ret_err;
    const struct queue_view *v = &l.ret_view;
    *ret = (struct relay_queue_state){
        .status = v->status,
        .block = v->block != NULL ? block_info_ref(v->block) : NULL,
        .updated_day = v->updated_day,
        .mode = v->mode,
        .is_secured = v->snd_key.type != KEY_NONE,
    };
    store_lookup_done(&l);
    return OK;
}

void relay_queue_state_done(struct relay_queue_state *s) {
    block_info_unref(s->block);
}

enum err relay_block_queue(struct relay *r, enum queue_id_kind kind, const struct id *id,
                           struct block_info *info, lsn_t *ret_lsn) {
    struct queue *q;
    struct news n = {.kind = NEWS_BLOCKED};
    enum err e = find(r, kind, id, &q);
    if (e != OK) return e;
    e = store_queue_block(r->o.store, q, info, &n.to, ret_lsn);
    n.queue = q;
    if (e == OK) news_send_from_outside(r, &n);
    queue_unref(q);
    return e;
}

enum err relay_unblock_queue(struct relay *r, enum queue_id_kind kind, const struct id *id,
                             lsn_t *ret_lsn) {
    struct queue *q;
    enum err e = find(r, kind, id, &q);
    if (e != OK) return e;
    e = store_queue_unblock(r->o.store, q, ret_lsn);
    queue_unref(q);
    return e;
}

static void send_deleted(struct relay *r, struct queue *q, const struct queue_ended *ended) {
    const struct news recipient = {.kind = NEWS_DELETED, .to = ended->recipient.sub, .queue = q};
    const struct news notifier = {.kind = NEWS_NTF_DELETED,
                                  .to = ended->notifier.sub,
                                  .queue = q,
                                  .notifier = &ended->notifier.id};
    news_send_from_outside(r, &recipient);
    news_send_from_outside(r, &notifier);
}

enum err relay_delete_queue(struct relay *r, enum queue_id_kind kind, const struct id *id,
                            unsigned *ret_n_messages, lsn_t *ret_lsn) {
    struct queue *q;
    struct queue_ended ended;
    enum err e = find(r, kind, id, &q);
    if (e != OK) return e;
    e = store_queue_delete(r->o.store, q, &ended, ret_lsn);
    *ret_n_messages = ended.n_messages;
    if (e == OK) send_deleted(r, q, &ended);
    queue_unref(q);
    return e;
}
