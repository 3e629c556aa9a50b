/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/outbox.h"

#include <stdlib.h>

#include "crypto/crypto.h"
#include "relay/forwarded.h"

enum out_kind { OUT_TEXT, OUT_MSG, OUT_LINK };

struct out_item {
    struct out_item *next;
    lsn_t lsn;
    uint32_t len;        /* TEXT: bytes of the transmission */
    uint32_t cost;       /* bytes, for pending_bytes */
    uint8_t kind;        /* enum out_kind */
    uint8_t n_corr;      /* MSG, LNK: bytes of the correlation id, first in data */
    uint8_t n_entity;    /* LNK: bytes of the entity, second in data */
    bool fetching;       /* MSG: its body was asked for */
    bool alone;          /* nothing else is in its block */
    bool joined;         /* goes together with the next item */
    bool is_told;        /* dropped() or detached() has been called */
    uint8_t if_lost;     /* TEXT: enum if_lost */
    struct queue *queue; /* MSG: counted */
    union {
        struct forwarded_refusal *refusal; /* TEXT: owned; of IF_LOST_FORWARDED */
        struct message *message;           /* MSG: counted */
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
    } else {
        forwarded_refusal_free(i->refusal);
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
    o->pending_bytes += owned->cost + SESSION_PENDING_BASE;
}

/* Behind the last answer of the blocks before. */
static void push_ahead(struct outbox *o, struct out_item *owned) {
    struct out_item **at = o->before != NULL ? &o->before->next : &o->answers.head;
    owned->next = *at;
    *at = owned;
    if (owned->next == NULL) o->answers.tail = owned;
    o->before = owned;
    o->pending_bytes += owned->cost + SESSION_PENDING_BASE;
}

static void drop_first(struct outbox *o, struct out_lane *lane) {
    struct out_item *i = lane->head;
    lane->head = i->next;
    if (lane->head == NULL) lane->tail = NULL;
    if (o->before == i) o->before = NULL;
    o->pending_bytes -= i->cost + SESSION_PENDING_BASE;
    item_free(i);
}

void outbox_done(struct outbox *o) {
    while (o->answers.head != NULL) drop_first(o, &o->answers);
    while (o->messages.head != NULL) drop_first(o, &o->messages);
}

bool outbox_is_empty(const struct outbox *o) {
    return o->answers.head == NULL && o->messages.head == NULL;
}

void outbox_begin(struct outbox *o) {
    o->before = o->answers.tail;
    o->is_begun = true;
}

void outbox_end(struct outbox *o, bool together) {
    struct out_item *i = o->before != NULL ? o->before->next : o->answers.head;
    for (; together && i != NULL; i = i->next) i->joined = i->next != NULL;
    o->before = NULL;
    o->is_begun = false;
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

enum err outbox_add_text(struct outbox *o, const struct out_text *t) {
    struct out_item *i = item_new(OUT_TEXT, t->lsn, t->transmission, (struct bytes){0});
    if (i == NULL) {
        forwarded_refusal_free(t->owned_refusal);
        return E_NO_MEMORY;
    }
    i->if_lost = (uint8_t)t->if_lost;
    i->refusal = t->owned_refusal;
    i->len = (uint32_t)t->transmission.n;
    i->cost = (uint32_t)(t->transmission.n + t->held_bytes);
    push(o, &o->answers, i);
    return OK;
}

enum err outbox_add_last(struct outbox *o, struct bytes transmission) {
    struct out_item *i = item_new(OUT_TEXT, 0, transmission, (struct bytes){0});
    if (i == NULL) return E_NO_MEMORY;
    i->len = (uint32_t)transmission.n;
    i->cost = (uint32_t)transmission.n;
    push(o, &o->messages, i);
    return OK;
}

enum err outbox_add_msg(struct outbox *o, struct bytes corr_id, struct queue *q, struct message *m,
                        lsn_t lsn, enum out_place place) {
    const lsn_t after = lsn > m->lsn ? lsn : m->lsn;
    struct out_item *i = item_new(OUT_MSG, after, corr_id, (struct bytes){0});
    if (i == NULL) return E_NO_MEMORY;
    i->n_corr = (uint8_t)corr_id.n;
    i->queue = queue_ref(q);
    i->message = message_ref(m);
    /* A message that the server starts is one per subscription: only answers count in full, as a
     * client may ask for them without end. */
    i->cost = corr_id.n != 0 ? SMP_BLOCK_LEN : 0;
    if (place == OUT_AHEAD) {
        i->alone = true;
        push_ahead(o, i);
        return OK;
    }
    if (place == OUT_AFTER && o->messages.head == NULL)
        o->messages_turn = false; /* answers first */
    push(o, place == OUT_AFTER ? &o->messages : &o->answers, i);
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
    i->cost = (uint32_t)link->n_fixed + link->n_user;
    push(o, &o->answers, i);
    return OK;
}

/* ---- packing ---- */

/* To whom an item goes; a text is asked for its head. */
static struct reply_to item_to(const struct out_item *i, const struct wire_params *p) {
    if (i->kind == OUT_TEXT) return reply_addressee(bytes_of(i->data, i->len), p);
    struct reply_to to = {.corr_id = bytes_of(i->data, i->n_corr)};
    to.entity = i->kind == OUT_MSG ? id_bytes(queue_rcv_id(i->queue))
                                   : bytes_of(i->data + i->n_corr, i->n_entity);
    return to;
}

static void item_write(const struct out_item *i, const struct wire_params *p, struct wr *w) {
    const size_t mark = wr_mark_u16(w);
    const struct reply_to to = item_to(i, p);
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

/* What is said in the place of an item: OK, or an error. */
static void status_write(const struct out_item *i, const struct wire_params *p, enum err e,
                         struct wr *w) {
    const size_t mark = wr_mark_u16(w);
    const struct reply_to to = item_to(i, p);
    if (i->kind == OUT_TEXT && i->refusal != NULL) {
        forwarded_refusal_write(i->refusal, p, w);
    } else if (e == OK) {
        reply_ok(w, p, &to);
    } else {
        reply_err(w, p, &to, e);
    }
    wr_close_u16(w, mark);
}

/* What becomes of the first item of a lane now. */
enum verdict { SEND_IT, HOLD_IT, DROP_IT, REFUSE_IT, SEND_OK };

static bool is_wanted(const struct out_item *i, const struct outbox_env *env) {
    return i->n_corr != 0 || env->wants(env->ctx, queue_rcv_id(i->queue), &i->message->id);
}

static bool waits_for_body(struct out_item *i, const struct outbox_env *env) {
    if (message_body_state(i->message) != BODY_ABSENT) return false;
    if (!i->fetching) i->fetching = env->fetch(env->ctx, i->queue, i->message);
    return i->fetching;
}

/* Does one of those that go together with this one wait for its body? All of them are asked for. */
static bool company_waits(struct out_item *i, const struct outbox_env *env) {
    bool waits = false;
    for (bool more = i->joined; more; more = i->joined) {
        i = i->next;
        if (i->kind == OUT_MSG && is_wanted(i, env) && waits_for_body(i, env)) waits = true;
    }
    return waits;
}

static enum verdict judge_msg(struct out_item *i, const struct outbox_env *env) {
    const bool is_answer = i->n_corr != 0;
    const struct id *rcv_id = queue_rcv_id(i->queue), *msg_id = &i->message->id;
    if (!is_wanted(i, env)) return DROP_IT;
    if (waits_for_body(i, env)) return HOLD_IT;
    const enum message_body_state body = message_body_state(i->message);
    if (body == BODY_PRESENT) return SEND_IT;
    env->dropped(env->ctx, rcv_id, msg_id);
    if (!is_answer) return DROP_IT;
    return body == BODY_GONE ? SEND_OK : REFUSE_IT; /* gone: as if the queue had been empty */
}

/* A message that is lost, or that answers what is lost. */
static enum verdict judge_lost_msg(struct out_item *i, const struct outbox_env *env) {
    const bool is_gone = store_is_lost(env->store, i->message->lsn);
    const bool is_told = i->is_told;
    i->is_told = true; /* it is judged again when there is no room for the error */
    if (!is_told && is_gone) env->dropped(env->ctx, queue_rcv_id(i->queue), &i->message->id);
    if (!is_told && !is_gone) env->detached(env->ctx, i->queue, i->message);
    return i->n_corr != 0 ? REFUSE_IT : DROP_IT;
}

static enum verdict judge_lost(struct out_item *i, const struct outbox_env *env) {
    if (i->kind == OUT_MSG) return judge_lost_msg(i, env);
    if (i->kind == OUT_LINK) return REFUSE_IT;
    if (i->if_lost == IF_LOST_UNANSWERED) env->unanswered(env->ctx);
    return i->if_lost == IF_LOST_UNANSWERED || i->if_lost == IF_LOST_NOTHING ? DROP_IT : REFUSE_IT;
}

static enum verdict judge(struct out_item *i, const struct outbox_env *env) {
    /* In this order: once the disk has room again, durability passes over what was lost. */
    const lsn_t durable = store_durable_lsn(env->store);
    if (store_is_lost(env->store, i->lsn)) return judge_lost(i, env);
    if (i->lsn > durable || company_waits(i, env)) return HOLD_IT;
    return i->kind == OUT_MSG ? judge_msg(i, env) : SEND_IT;
}

/* Writes the item, or the error that stands for it. first: nothing else is in the block, so what
 * does not fit now never will: a correlation id may be so long that a message does not fit beside
 * it. */
static enum err item_pack(const struct out_item *i, enum verdict v, const struct outbox_env *env,
                          bool first, struct wr *w) {
    struct wr attempt = *w;
    if (v == REFUSE_IT || v == SEND_OK) {
        status_write(i, env->params, v == SEND_OK ? OK : E_STORE, &attempt);
    } else {
        item_write(i, env->params, &attempt);
    }
    if (wr_err(&attempt) != OK && first) {
        attempt = *w;
        status_write(i, env->params, E_LARGE_MSG, &attempt);
    }
    if (wr_err(&attempt) == OK) *w = attempt;
    return wr_err(&attempt);
}

/* What came since outbox_begin() has to wait, and the messages that follow it. */
static bool has_next(const struct outbox *o, const struct out_lane *lane) {
    const bool is_held = o->is_begun && (lane == &o->messages || o->before == NULL);
    return lane->head != NULL && !is_held;
}

/* Packs from the front of a lane; returns how many transmissions went in. *ret_held: the lane
 * stopped at one that must wait. */
static unsigned pack_lane(struct outbox *o, struct out_lane *lane, const struct outbox_env *env,
                          unsigned max, struct wr *w, bool *ret_held) {
    unsigned n = 0;
    for (bool alone = false; n < max && has_next(o, lane) && !alone;) {
        alone = lane->head->alone;
        if (alone && n != 0) break;
        const enum verdict v = judge(lane->head, env);
        *ret_held = v == HOLD_IT;
        if (v == HOLD_IT) break;
        if (v != DROP_IT) {
            if (item_pack(lane->head, v, env, n == 0, w) != OK) break;
            n++;
        }
        alone = alone && v != DROP_IT;
        drop_first(o, lane);
    }
    return n;
}

enum outbox_state outbox_pack(struct outbox *o, const struct outbox_env *env, struct wr *content) {
    struct wr w = *content;
    uint8_t *count = wr_skip(&w, 1);
    bool held = false;
    unsigned n = 0;
    if (o->messages_turn) n = pack_lane(o, &o->messages, env, 1, &w, &held);
    o->messages_turn = false;
    if (n == 0) {
        n = pack_lane(o, &o->answers, env, SMP_BATCH_MAX, &w, &held);
        o->messages_turn = n != 0;
    }
    if (n == 0) n = pack_lane(o, &o->messages, env, 1, &w, &held);
    if (n == 0) return held ? OUTBOX_HELD : OUTBOX_EMPTY;
    *count = (uint8_t)n;
    *content = w;
    return OUTBOX_WRITTEN;
}
