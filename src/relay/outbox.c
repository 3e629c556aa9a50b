/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/outbox.h"

#include <stdlib.h>

#include "crypto/crypto.h"

enum out_kind { OUT_TEXT, OUT_MSG, OUT_LINK };

struct out_item {
    struct out_item *next;
    lsn_t lsn;
    uint32_t len;        /* bytes of the transmission, for pending_bytes */
    uint8_t kind;        /* enum out_kind */
    uint8_t n_corr;      /* MSG, LNK: bytes of the correlation id, first in data */
    uint8_t n_entity;    /* LNK: bytes of the entity, second in data */
    struct queue *queue; /* MSG: counted */
    union {
        struct message *message; /* MSG: counted */
        struct {
            struct link_data *link; /* LNK: counted */
            struct id snd_id;
        };
    };
    uint8_t data[];
};

void outbox_init(struct outbox *o) {
    *o = (struct outbox){0};
}

static void item_free(struct out_item *i) {
    if (i->kind == OUT_MSG) {
        queue_unref(i->queue);
        message_unref(i->message);
    } else if (i->kind == OUT_LINK) {
        link_data_unref(i->link);
    }
    free(i);
}

static void push(struct outbox *o, struct out_lane *lane, struct out_item *owned) {
    if (lane->tail != NULL) {
        lane->tail->next = owned;
    } else {
        lane->head = owned;
    }
    lane->tail = owned;
    o->pending_bytes += owned->len + SESSION_PENDING_BASE;
}

static void drop_first(struct outbox *o, struct out_lane *lane) {
    struct out_item *i = lane->head;
    lane->head = i->next;
    if (lane->head == NULL) lane->tail = NULL;
    o->pending_bytes -= i->len + SESSION_PENDING_BASE;
    item_free(i);
}

void outbox_done(struct outbox *o) {
    while (o->answers.head != NULL) drop_first(o, &o->answers);
    while (o->messages.head != NULL) drop_first(o, &o->messages);
}

/* ---- adding ---- */

static struct out_item *item_new(enum out_kind kind, lsn_t lsn, struct bytes a, struct bytes b) {
    struct out_item *i = calloc(1, sizeof *i + a.n + b.n);
    if (i == NULL) return NULL;
    i->kind = (uint8_t)kind;
    i->lsn = lsn;
    if (a.n != 0) memcpy(i->data, a.p, a.n);
    if (b.n != 0) memcpy(i->data + a.n, b.p, b.n);
    return i;
}

enum err outbox_add_text(struct outbox *o, struct bytes transmission, lsn_t lsn) {
    struct out_item *i = item_new(OUT_TEXT, lsn, transmission, (struct bytes){0});
    if (i == NULL) return E_NO_MEMORY;
    i->len = (uint32_t)transmission.n;
    push(o, &o->answers, i);
    return OK;
}

enum err outbox_add_msg(struct outbox *o, struct bytes corr_id, struct queue *q, struct message *m,
                        bool after_answers) {
    struct out_item *i = item_new(OUT_MSG, m->lsn, corr_id, (struct bytes){0});
    if (i == NULL) return E_NO_MEMORY;
    i->n_corr = (uint8_t)corr_id.n;
    i->queue = queue_ref(q);
    i->message = message_ref(m);
    /* A message that the server starts is the store's own copy and one per subscription: only
     * answers count in full, as a client may ask for them without end. */
    i->len = corr_id.n != 0 ? SMP_BLOCK_LEN : 0;
    push(o, after_answers ? &o->messages : &o->answers, i);
    return OK;
}

enum err outbox_add_link(struct outbox *o, const struct reply_to *to, const struct id *snd_id,
                         struct link_data *link, lsn_t lsn) {
    struct out_item *i = item_new(OUT_LINK, lsn, to->corr_id, to->entity);
    if (i == NULL) return E_NO_MEMORY;
    i->n_corr = (uint8_t)to->corr_id.n;
    i->n_entity = (uint8_t)to->entity.n;
    i->link = link_data_ref(link);
    i->snd_id = *snd_id;
    i->len = (uint32_t)link->n_fixed + link->n_user;
    push(o, &o->answers, i);
    return OK;
}

/* ---- packing ---- */

static struct reply_to item_to(const struct out_item *i) {
    struct reply_to to = {.corr_id = bytes_of(i->data, i->n_corr)};
    to.entity = i->kind == OUT_MSG ? id_bytes(queue_rcv_id(i->queue))
                                   : bytes_of(i->data + i->n_corr, i->n_entity);
    return to;
}

static void item_write(const struct out_item *i, const struct wire_params *p, struct wr *w) {
    const size_t mark = wr_mark_u16(w);
    const struct reply_to to = item_to(i);
    switch ((enum out_kind)i->kind) {
    case OUT_TEXT:
        wr_bytes_raw(w, bytes_of(i->data, i->len));
        break;
    case OUT_MSG: {
        struct box_key key = box_key_from_secret(queue_dh_secret(i->queue));
        reply_msg(w, p, &to, i->message, &key);
        crypto_wipe(&key, sizeof key);
        break;
    }
    case OUT_LINK:
        reply_lnk(w, p, &to, &i->snd_id, i->link);
        break;
    }
    wr_close_u16(w, mark);
}

static bool is_stale(const struct out_item *i, const struct outbox_env *env) {
    return i->kind == OUT_MSG && i->n_corr == 0 &&
           !env->wants(env->ctx, queue_rcv_id(i->queue), &i->message->id);
}

static bool is_held(const struct out_item *i, const struct outbox_env *env) {
    if (i->lsn > store_durable_lsn(env->store)) return true;
    return i->kind == OUT_MSG && env->must_fetch(env->ctx, i->message);
}

/* Writes the item, or ERR LARGE_MSG in its place when it would not fit an empty block: a
 * correlation id may be so long that a message does not fit beside it. */
static enum err item_pack(const struct out_item *i, const struct outbox_env *env, bool alone,
                          struct wr *w) {
    struct wr attempt = *w;
    item_write(i, env->params, &attempt);
    if (wr_err(&attempt) != OK && alone) {
        const struct reply_to to = item_to(i);
        attempt = *w;
        const size_t mark = wr_mark_u16(&attempt);
        reply_err(&attempt, env->params, &to, E_LARGE_MSG);
        wr_close_u16(&attempt, mark);
    }
    if (wr_err(&attempt) == OK) *w = attempt;
    return wr_err(&attempt);
}

/* Packs from the front of a lane; returns how many transmissions went in. *ret_held: the lane
 * stopped at one that must wait. */
static unsigned pack_lane(struct outbox *o, struct out_lane *lane, const struct outbox_env *env,
                          unsigned max, struct wr *w, bool *ret_held) {
    unsigned n = 0;
    while (n < max && lane->head != NULL) {
        const struct out_item *i = lane->head;
        if (is_stale(i, env)) {
            drop_first(o, lane);
            continue;
        }
        *ret_held = is_held(i, env);
        if (*ret_held || item_pack(i, env, n == 0, w) != OK) break;
        drop_first(o, lane);
        n++;
    }
    return n;
}

enum outbox_state outbox_pack(struct outbox *o, const struct outbox_env *env, struct wr *content) {
    struct wr w = *content;
    uint8_t *count = wr_skip(&w, 1);
    bool held = false;
    unsigned n = 0;
    const bool messages_first = o->messages_turn;
    o->messages_turn = !messages_first;
    if (messages_first) n = pack_lane(o, &o->messages, env, 1, &w, &held);
    if (n == 0) n = pack_lane(o, &o->answers, env, SMP_BATCH_MAX, &w, &held);
    if (n == 0 && !messages_first) n = pack_lane(o, &o->messages, env, 1, &w, &held);
    if (n == 0) return held ? OUTBOX_HELD : OUTBOX_EMPTY;
    *count = (uint8_t)n;
    *content = w;
    return OUTBOX_WRITTEN;
}
