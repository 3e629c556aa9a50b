/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/delivery/outbox.h"

#include <stdlib.h>

#include "relay/delivery/way_back.h"
#include "store/records.h"

enum out_kind { OUT_TEXT, OUT_MSG, OUT_LINK };

struct out_item {
    struct out_item *next;
    lsn_t lsn;
    uint32_t len;     /* TEXT: bytes of the transmission */
    uint32_t cost;    /* bytes, for pending_bytes */
    uint8_t kind;     /* enum out_kind */
    uint8_t n_corr;   /* MSG, LNK: bytes of the correlation id, first in data */
    uint8_t n_entity; /* LNK: bytes of the entity, second in data */
    bool alone;       /* nothing else is in its block */
    bool joined;      /* goes together with the next item */
    bool at_leisure;  /* TEXT */
    uint8_t if_lost;  /* TEXT: enum if_lost */
    union {
        struct {                               /* TEXT */
            struct forwarded_refusal *refusal; /* owned; of IF_LOST_FORWARDED */
            struct follow_up follow_up;        /* owned */
        };
        struct pull pull; /* MSG */
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

static void follow_up_done(struct follow_up *f) {
    queue_unref(f->subscribed);
}

static void item_free(struct out_item *i) {
    if (i->kind == OUT_MSG) {
        pull_done(&i->pull);
    } else if (i->kind == OUT_LINK) {
        link_data_unref(i->link);
    } else {
        forwarded_refusal_free(i->refusal);
        follow_up_done(&i->follow_up);
    }
    free(i);
}

/* Behind `before`; NULL: as the first. */
static void insert(struct outbox *o, struct out_item *before, struct out_item *owned) {
    struct out_item **at = before != NULL ? &before->next : &o->head;
    owned->next = *at;
    *at = owned;
    if (owned->next == NULL) o->tail = owned;
    if (!owned->at_leisure) o->n_wanted++;
    o->pending_bytes += owned->cost + SESSION_PENDING_BASE;
    if (!owned->alone) o->n_added++; /* what comes ahead has no place in the order */
}

static void push(struct outbox *o, struct out_item *owned) {
    insert(o, o->tail, owned);
}

static void drop_first(struct outbox *o) {
    struct out_item *i = o->head;
    o->head = i->next;
    if (o->head == NULL) o->tail = NULL;
    if (o->before == i) o->before = NULL;
    o->pending_bytes -= i->cost + SESSION_PENDING_BASE;
    if (!i->at_leisure) o->n_wanted--;
    if (!i->alone) o->n_left++;
    item_free(i);
}

static void settle(const struct out_item *i, bool is_lost, const struct outbox_env *env) {
    if (i->kind == OUT_TEXT && (i->follow_up.n_counts != 0 || i->follow_up.subscribed != NULL))
        env->settled(env->ctx, &i->follow_up, is_lost);
}

void outbox_done(struct outbox *o, const struct outbox_env *env) {
    while (o->head != NULL) {
        const enum err fate = store_fate(env->store, o->head->lsn);
        settle(o->head, fate != OK && fate != E_PENDING, env);
        drop_first(o);
    }
}

bool outbox_is_empty(const struct outbox *o) {
    return o->head == NULL;
}

bool outbox_is_at_leisure(const struct outbox *o) {
    return o->n_wanted == 0;
}

void outbox_begin(struct outbox *o) {
    o->before = o->tail;
    o->is_begun = true;
}

void outbox_end(struct outbox *o, bool together) {
    struct out_item *i = o->before != NULL ? o->before->next : o->head;
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
        queue_unref(t->follow_up.subscribed);
        return E_NO_MEMORY;
    }
    i->if_lost = (uint8_t)t->if_lost;
    i->at_leisure = t->at_leisure;
    i->refusal = t->owned_refusal;
    i->follow_up = t->follow_up;
    i->len = (uint32_t)t->transmission.n;
    i->cost = (uint32_t)(t->transmission.n + t->held_bytes);
    push(o, i);
    return OK;
}

static struct out_item *msg_new(struct bytes corr_id, struct queue *q, lsn_t lsn) {
    struct out_item *i = item_new(OUT_MSG, lsn, corr_id, (struct bytes){0});
    if (i == NULL) return NULL;
    i->n_corr = (uint8_t)corr_id.n;
    pull_init(&i->pull, q);
    /* A message that the server starts is one per subscription: only answers count in full, as a
     * client may ask for them without end. */
    i->cost = corr_id.n != 0 ? SMP_BLOCK_LEN : 0;
    return i;
}

enum err outbox_add_msg(struct outbox *o, struct bytes corr_id, struct queue *q, lsn_t lsn) {
    struct out_item *i = msg_new(corr_id, q, lsn);
    if (i == NULL) return E_NO_MEMORY;
    push(o, i);
    return OK;
}

enum err outbox_add_ahead(struct outbox *o, struct queue *q) {
    struct out_item *i = msg_new((struct bytes){0}, q, 0);
    if (i == NULL) return E_NO_MEMORY;
    i->alone = true;
    insert(o, o->before, i); /* behind the last answer of the blocks before */
    o->before = i;
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
    push(o, i);
    return OK;
}

/* ---- packing ---- */

void packing_wait(struct packing *p, lsn_t lsn) {
    if (lsn != 0 && (p->waits_for == 0 || lsn < p->waits_for)) p->waits_for = lsn;
}

/* To whom an item goes; a text is asked for its head. */
static struct reply_to item_to(const struct out_item *i, const struct wire_params *p) {
    if (i->kind == OUT_TEXT) return reply_addressee(bytes_of(i->data, i->len), p);
    struct reply_to to = {.corr_id = bytes_of(i->data, i->n_corr)};
    to.entity = i->kind == OUT_MSG ? id_bytes(queue_rcv_id(i->pull.queue))
                                   : bytes_of(i->data + i->n_corr, i->n_entity);
    return to;
}

static void item_write(const struct out_item *i, const struct wire_params *p, struct wr *w) {
    const struct reply_to to = item_to(i, p);
    switch ((enum out_kind)i->kind) {
    case OUT_TEXT:
        wr_bytes_raw(w, bytes_of(i->data, i->len));
        break;
    case OUT_MSG:
        pull_write(&i->pull, p, to.corr_id, w);
        break;
    case OUT_LINK:
        reply_lnk(w, p, &to, &i->snd_id, i->link);
        break;
    }
}

/* What is said in the place of an item: OK, or an error. */
static void status_write(const struct out_item *i, const struct wire_params *p, enum err e,
                         struct wr *w) {
    const struct reply_to to = item_to(i, p);
    if (i->kind == OUT_TEXT && i->refusal != NULL) {
        forwarded_refusal_write(i->refusal, p, w);
    } else if (e == OK) {
        reply_ok(w, p, &to);
    } else {
        reply_err(w, p, &to, e);
    }
}

/* What becomes of the first item now. */
enum verdict { SEND_IT, HOLD_IT, DROP_IT, SAY_IT };
struct judged {
    enum verdict verdict;
    enum err status; /* with SAY_IT */
    enum unsent why; /* of a message, but with SEND_IT and HOLD_IT */
    bool is_lost;    /* what it answers */
};

static bool is_answer(const struct out_item *i) {
    return i->n_corr != 0;
}

enum { PULLED_AHEAD = 8 }; /* answers whose messages a session has read at the same time */

/* While one waits for the store those behind it need not wait for their turn to be asked for. */
static void pull_ahead(const struct outbox *o, const struct outbox_env *env) {
    unsigned n = 0;
    for (struct out_item *i = o->head; i != NULL && n < PULLED_AHEAD; i = i->next) {
        if (i->kind != OUT_MSG) continue;
        (void)env->pull(env->ctx, &i->pull, is_answer(i));
        n++;
    }
}

/* Has one of those that go together with this one to wait? All of them are asked for. */
static bool company_waits(struct out_item *i, const struct outbox_env *env, struct packing *p) {
    bool waits = false;
    for (bool more = i->joined; more; more = i->joined) {
        i = i->next;
        if (i->kind != OUT_MSG || env->pull(env->ctx, &i->pull, is_answer(i)) != PULLED_LATER)
            continue;
        packing_wait(p, pull_waits_for(&i->pull));
        waits = true;
    }
    return waits;
}

/* Nobody knows, and nobody should wait any longer. */
static struct judged judge_closed(const struct outbox_env *env) {
    env->unanswered(env->ctx, E_CLOSED);
    return (struct judged){DROP_IT, E_CLOSED, UNSENT_LOST, true};
}

static struct judged judge_msg(struct out_item *i, const struct outbox_env *env,
                               struct packing *p) {
    switch (env->pull(env->ctx, &i->pull, is_answer(i))) {
    case PULLED_MESSAGE:
        return (struct judged){.verdict = SEND_IT};
    case PULLED_LATER:
        packing_wait(p, pull_waits_for(&i->pull));
        return (struct judged){.verdict = HOLD_IT};
    case PULLED_NOTHING:
        return (struct judged){is_answer(i) ? SAY_IT : DROP_IT, OK, UNSENT_NOTHING, false};
    case PULLED_CLOSED:
        return judge_closed(env);
    case PULLED_FAILED:
        break;
    }
    return (struct judged){is_answer(i) ? SAY_IT : DROP_IT, E_STORE, UNSENT_FAILED, false};
}

static struct judged judge_lost(struct out_item *i, const struct outbox_env *env, enum err why) {
    if (why == E_CLOSED) return judge_closed(env);
    if (i->kind != OUT_TEXT) return (struct judged){SAY_IT, why, UNSENT_LOST, true};
    const enum if_lost rule = why == E_STORE ? i->if_lost : IF_LOST_ERR;
    if (rule == IF_LOST_UNANSWERED) env->unanswered(env->ctx, why);
    const bool silent = rule == IF_LOST_UNANSWERED || rule == IF_LOST_NOTHING;
    return (struct judged){silent ? DROP_IT : SAY_IT, why, UNSENT_NOTHING, true};
}

static struct judged judge(struct out_item *i, const struct outbox_env *env, struct packing *p) {
    const enum err fate = store_fate(env->store, i->lsn);
    if (fate == E_PENDING) {
        packing_wait(p, i->lsn);
        return (struct judged){.verdict = HOLD_IT};
    }
    if (fate != OK) return judge_lost(i, env, fate);
    if (company_waits(i, env, p)) return (struct judged){.verdict = HOLD_IT};
    return i->kind == OUT_MSG ? judge_msg(i, env, p) : (struct judged){.verdict = SEND_IT};
}

/* Writes the item, or what stands for it. In an empty block what does not fit now never will: a
 * correlation id may be so long that a message does not fit beside it. */
static enum err item_pack(const struct out_item *i, struct judged j, const struct outbox_env *env,
                          struct packing *p) {
    struct wr attempt = p->w;
    const size_t mark = wr_mark_u16(&attempt);
    if (j.verdict == SAY_IT) {
        status_write(i, env->params, j.status, &attempt);
    } else {
        item_write(i, env->params, &attempt);
    }
    if (wr_err(&attempt) != OK && p->n == 0) {
        attempt = p->w;
        (void)wr_mark_u16(&attempt);
        status_write(i, env->params, E_LARGE_MSG, &attempt);
    }
    wr_close_u16(&attempt, mark);
    if (wr_err(&attempt) != OK) return wr_err(&attempt);
    p->w = attempt;
    p->n++;
    p->is_closed = i->alone;
    return OK;
}

/* Is there room for it, if it is a message? Else the store is not asked yet. */
static bool has_room(const struct out_item *i, const struct outbox_env *env,
                     const struct packing *p) {
    if (p->n == 0 || i->kind != OUT_MSG) return true;
    const struct reply_to to = item_to(i, env->params);
    return 2 + reply_msg_len(env->params, &to) <= wr_left(&p->w);
}

static void leave(struct outbox *o, struct judged j, const struct outbox_env *env) {
    const struct out_item *i = o->head;
    if (i->kind == OUT_MSG && j.verdict == SEND_IT) {
        env->sent(env->ctx, &i->pull);
    } else if (i->kind == OUT_MSG) {
        env->unsent(env->ctx, &i->pull, is_answer(i), j.why);
    }
    settle(i, j.is_lost, env);
    drop_first(o);
}

/* What came since outbox_begin() has to wait. */
static bool has_next(const struct outbox *o) {
    return o->head != NULL && !(o->is_begun && o->before == NULL);
}

void outbox_pack(struct outbox *o, const struct outbox_env *env, struct packing *p) {
    while (has_next(o) && p->n < SMP_BATCH_MAX && !p->is_closed) {
        struct out_item *i = o->head;
        if ((i->alone && p->n != 0) || !has_room(i, env, p)) return;
        const struct judged j = judge(i, env, p);
        if (j.verdict == HOLD_IT) {
            pull_ahead(o, env);
            return;
        }
        if (j.verdict != DROP_IT && item_pack(i, j, env, p) != OK) return;
        leave(o, j, env);
    }
}
