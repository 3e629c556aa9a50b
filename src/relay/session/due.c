/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/session/due.h"

#include <assert.h>
#include <stdlib.h>

#include "relay/session/ntf.h"
#include "relay/session/service.h"
#include "relay/session/session.h"
#include "relay/session/subscription.h"

enum {
    PULLED_AT_ONCE = 8,   /* messages that a session has read at the same time */
    RETRY_MS = 60000,     /* how often it is looked at what could not be read */
    RETRY_TICKS_MAX = 64, /* the longest pause, in those */
};

struct due_item {
    struct due_item *next;
    uint64_t after; /* answers that were made before, and are written before */
    struct id id;
    uint8_t kind; /* enum due_kind */
    bool alone;
    uint8_t pause, ticks_left; /* failed: in ticks */
    struct pull pull;          /* MESSAGE: once it was asked for */
};

/* ---- the lists ---- */

static void push(struct due_list *l, struct due_item *owned) {
    owned->next = NULL;
    if (l->last != NULL) {
        l->last->next = owned;
    } else {
        l->first = owned;
    }
    l->last = owned;
}

/* Takes out the one behind `before`; NULL: the first. */
static struct due_item *take(struct due_list *l, struct due_item *before) {
    struct due_item **at = before != NULL ? &before->next : &l->first;
    struct due_item *i = *at;
    *at = i->next;
    if (l->last == i) l->last = before;
    return i;
}

static bool is_pulled(const struct due_item *i) {
    return i->kind == DUE_MESSAGE || i->kind == DUE_NOTIFICATIONS;
}

static void push_now(struct due *d, struct due_item *owned) {
    if (is_pulled(owned)) d->n_pulled[owned->kind]++;
    push(&d->now, owned);
}

static struct due_item *take_now(struct due *d, struct due_item *before) {
    struct due_item *i = take(&d->now, before);
    if (is_pulled(i)) d->n_pulled[i->kind]--;
    return i;
}

static void item_free(struct due *d, struct due_item *i) {
    pull_done(&i->pull);
    free(i);
    d->n--;
}

static void list_done(struct due *d, struct due_list *l) {
    while (l->first != NULL) item_free(d, take(l, NULL));
}

void due_init(struct due *d) {
    *d = (struct due){0};
}

void due_done(struct due *d) {
    list_done(d, &d->now);
    list_done(d, &d->at_tick);
    list_done(d, &d->failed);
    d->n_pulled[DUE_MESSAGE] = d->n_pulled[DUE_NOTIFICATIONS] = 0;
}

bool due_is_empty(const struct due *d) {
    return d->now.first == NULL;
}

bool due_awaits(const struct due *d) {
    return d->n_pulled[DUE_MESSAGE] != 0 || d->n_pulled[DUE_NOTIFICATIONS] != 0;
}

size_t due_bytes(const struct due *d) {
    return (size_t)d->n * SESSION_PENDING_BASE;
}

/* ---- adding ---- */

static struct due_item *item_new(struct session *s, enum due_kind kind, const struct id *id) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct due_item *i = calloc(1, sizeof *i);
    if (i == NULL) return NULL;
    i->kind = (uint8_t)kind;
    i->after = s->outbox.n_added;
    if (id != NULL) i->id = *id;
    s->due.n++;
    return i;
}

enum err due_add(struct session *s, enum due_kind kind, const struct id *id, bool alone) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct due_item *i = item_new(s, kind, id);
    if (i == NULL) return E_NO_MEMORY;
    i->alone = alone;
    if (kind == DUE_NOTIFICATIONS) {
        push(&s->due.at_tick, i);
    } else {
        push_now(&s->due, i);
    }
    return OK;
}

void due_tick(struct due *d) {
    while (d->at_tick.first != NULL) push_now(d, take(&d->at_tick, NULL));
}

/* ---- what could not be read ---- */

static void retry_tick(void *ctx) {
    due_retry(ctx);
}

static void want_retry(struct relay_loop *rl) {
    if (rl->retry_ticking) return;
    rl->retry_ticking =
        loop_timer_start(rl->loop, &rl->retry_timer, RETRY_MS, 0, retry_tick, rl) == OK;
}

static void push_failed(struct session *s, struct due_item *owned) {
    const unsigned pause = owned->pause == 0 ? 1 : 2u * owned->pause;
    owned->pause = (uint8_t)(pause < RETRY_TICKS_MAX ? pause : RETRY_TICKS_MAX);
    owned->ticks_left = owned->pause;
    pull_done(&owned->pull);
    push(&s->due.failed, owned);
    if (list_is_empty(&s->in_retry)) list_push_back(&s->rl->retry_waiting, &s->in_retry);
    want_retry(s->rl);
}

enum err due_add_failed(struct session *s, const struct id *queue_id) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct due_item *i = item_new(s, DUE_MESSAGE, queue_id);
    if (i == NULL) return E_NO_MEMORY;
    push_failed(s, i);
    return OK;
}

static void retry_session(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct due_list all = s->due.failed;
    s->due.failed = (struct due_list){0};
    while (all.first != NULL) {
        struct due_item *i = take(&all, NULL);
        if (--i->ticks_left == 0) {
            push_now(&s->due, i);
        } else {
            push(&s->due.failed, i);
        }
    }
    conn_want_write(s->conn);
}

void due_retry(struct relay_loop *rl) {
    ASSERT_ON_LOOP(rl->loop);
    struct list all;
    list_init(&all);
    rl->retry_ticking = false;
    list_move_all(&all, &rl->retry_waiting);
    for (struct list *l; (l = list_first(&all)) != NULL;) {
        struct session *s = CONTAINER_OF(l, struct session, in_retry);
        list_remove(l);
        retry_session(s);
        if (s->due.failed.first == NULL) continue;
        list_push_back(&rl->retry_waiting, l);
        want_retry(rl);
    }
}

/* ---- packing ---- */

/* What became of an entry's turn. */
enum turn {
    TURN_GONE,   /* written, or nothing was there: the entry goes */
    TURN_FAILED, /* the store could not read it */
    TURN_LATER,  /* the store has not answered yet */
    TURN_FULL    /* no room */
};

static enum turn pack_message(struct session *s, struct due_item *i, struct packing *p) {
    const struct reply_to to = {.entity = id_bytes(&i->id)};
    if (p->n != 0 && 2 + reply_msg_len(&s->params, &to) > wr_left(&p->w)) return TURN_FULL;
    if (i->pull.queue == NULL) {
        struct queue *q = sub_due_queue(s, &i->id);
        if (q == NULL) return TURN_GONE;
        pull_init(&i->pull, q);
    }
    switch (sub_pull(s, &i->pull, false)) {
    case PULLED_LATER:
        return TURN_LATER;
    case PULLED_CLOSED:
        session_leave_unanswered(s, E_CLOSED);
        return TURN_FAILED;
    case PULLED_FAILED:
        return TURN_FAILED;
    case PULLED_NOTHING:
        sub_unsent(s, &i->pull, false, UNSENT_NOTHING);
        return TURN_GONE;
    case PULLED_MESSAGE:
        break;
    }
    const size_t mark = wr_mark_u16(&p->w);
    pull_write(&i->pull, &s->params, (struct bytes){0}, &p->w);
    wr_close_u16(&p->w, mark);
    p->n++;
    p->is_closed = i->alone;
    sub_sent(s, &i->pull);
    s->due.has_turn = false;
    return TURN_GONE;
}

static enum turn pack_alls(struct session *s, const struct due_item *i, struct packing *p) {
    if (i != s->due.now.first) return TURN_LATER; /* some are being read still */
    struct wr w = p->w;
    const size_t mark = wr_mark_u16(&w);
    reply_alls(&w, &s->params);
    wr_close_u16(&w, mark);
    if (wr_err(&w) != OK) return TURN_FULL;
    p->w = w;
    p->n++;
    return TURN_GONE;
}

static enum turn pack_item(struct session *s, struct due_item *i, struct packing *p) {
    switch ((enum due_kind)i->kind) {
    case DUE_MESSAGE:
        return pack_message(s, i, p);
    case DUE_NOTIFICATIONS:
        return ntf_pack(s, &i->id, p) ? TURN_GONE : TURN_FULL;
    case DUE_SCAN:
        service_scan(s);
        return TURN_GONE;
    case DUE_ALLS:
        return pack_alls(s, i, p);
    }
    return TURN_GONE;
}

static bool may_go(const struct session *s, const struct due_item *i, const struct packing *p) {
    return i->after <= s->outbox.n_left && (!i->alone || p->n == 0);
}

/* From the front; those that the store is reading are passed by, but only so many. */
static void pack(struct session *s, struct packing *p) {
    struct due *d = &s->due;
    unsigned n_later = 0;
    for (struct due_item *i = d->now.first, *before = NULL;
         i != NULL && n_later < PULLED_AT_ONCE && p->n < SMP_BATCH_MAX && !p->is_closed;) {
        if (!may_go(s, i, p)) return;
        const enum turn t = pack_item(s, i, p);
        if (t == TURN_FULL) return;
        if (t == TURN_LATER) {
            packing_wait(p, pull_waits_for(&i->pull));
            n_later++;
            before = i;
        } else if (t == TURN_FAILED) {
            push_failed(s, take_now(d, before));
        } else {
            item_free(d, take_now(d, before));
        }
        i = before != NULL ? before->next : d->now.first;
    }
}

void due_pack_first(struct session *s, struct packing *p) {
    if (s->due.has_turn && s->due.now.first != NULL) pack(s, p);
    s->due.has_turn = false;
}

void due_pack_rest(struct session *s, struct packing *p, bool has_answers) {
    if (p->is_closed || s->due.now.first == NULL) return;
    s->due.has_turn = has_answers;
    pack(s, p);
}
