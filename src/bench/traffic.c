/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Each pair has a window of messages that are sent and not acknowledged. A pair that has room
 * stands on `ready`, so that at a fixed rate whoever has room takes the next turn; when nobody has,
 * what is due waits, and its wait counts. */
#include "bench/traffic.h"

#include <stdlib.h>

#include "bench/clock.h"

enum { TICK_MS = 1 };

static struct list *turn_of(struct traffic *r, const struct pair *p) {
    return &r->turns[p - r->fleet.pairs];
}

static struct pair *pair_of(struct traffic *r, const struct list *turn) {
    return &r->fleet.pairs[turn - r->turns];
}

static uint64_t unacked(const struct pair *p) {
    return p->n_sent - p->n_refused - p->n_acked;
}

static void end_if_drained(struct traffic *r) {
    if (r->n_left > 0 || r->n_pending > 0 || !r->is_sending) return;
    r->is_sending = false;
    loop_timer_stop(&r->timer);
    r->drained(r);
}

/* ---- sending ---- */

static void send_one(struct traffic *r, struct pair *p, int64_t due_ns) {
    struct list *n = list_first(&r->free_calls);
    list_remove(n);
    if (r->n_left != UINT64_MAX) r->n_left--;
    r->n_pending += 2; /* an answer, and a message */
    pair_send(p, &CONTAINER_OF(n, struct traffic_call, node)->call, due_ns);
}

static bool may_send(const struct traffic *r) {
    return r->n_left > 0 && !list_is_empty(&r->ready) && !list_is_empty(&r->free_calls);
}

static void push(struct traffic *r) {
    int64_t due_ns = 0;
    while (may_send(r)) {
        if (r->rate > 0 && !schedule_take(&r->schedule, clock_ns(), &due_ns)) return;
        struct list *turn = list_first(&r->ready);
        struct pair *p = pair_of(r, turn);
        list_remove(turn);
        send_one(r, p, due_ns);
        if (unacked(p) < r->window) list_push_back(&r->ready, turn);
    }
}

static void on_tick(void *ctx) {
    push(ctx);
}

/* A pair has room again. */
static void go_on(struct traffic *r, struct pair *p) {
    struct list *turn = turn_of(r, p);
    if (list_is_empty(turn) && unacked(p) < r->window) list_push_back(&r->ready, turn);
    if (r->is_sending) push(r);
    end_if_drained(r);
}

static void on_sent(struct pair *p, struct call *c, bool is_accepted) {
    struct fleet *f = p->owner;
    struct traffic *r = f->owner;
    list_push_back(&r->free_calls, &CONTAINER_OF(c, struct traffic_call, call)->node);
    r->n_pending -= is_accepted ? 1 : 2;
    go_on(r, p);
}

static void on_acked(struct pair *p) {
    struct fleet *f = p->owner;
    struct traffic *r = f->owner;
    p->w->tally.ops++;
    r->n_pending--;
    go_on(r, p);
}

void traffic_start(struct traffic *r, uint64_t n, void (*drained)(struct traffic *r)) {
    r->drained = drained;
    r->n_left = n != 0 ? n : UINT64_MAX;
    r->is_sending = true;
    if (r->rate > 0) {
        schedule_init(&r->schedule, clock_ns(), r->rate);
        if (loop_timer_start(r->fleet.w->loop, &r->timer, TICK_MS, TICK_MS, on_tick, r) != OK) {
            worker_fail(r->fleet.w, "out of memory");
        }
    }
    push(r);
}

void traffic_stop(struct traffic *r) {
    r->n_left = 0;
    end_if_drained(r);
}

/* ---- beginning and end ---- */

enum err traffic_init(struct traffic *r, struct worker *w, const struct traffic_shape *shape) {
    static const struct pair_events ON = {.sent = on_sent, .acked = on_acked};
    const struct fleet_shape of = {.n_rcv = shape->n_links,
                                   .n_snd = shape->n_links,
                                   .n_pairs = shape->n_pairs,
                                   .first = shape->first,
                                   .on = &ON};
    const size_t n_calls = (size_t)shape->n_pairs * shape->window;
    *r = (struct traffic){.window = shape->window, .rate = shape->rate};
    list_init(&r->free_calls);
    list_init(&r->ready);
    enum err e = fleet_init(&r->fleet, w, r, &of);
    r->calls = calloc(n_calls + 1, sizeof *r->calls);
    r->turns = calloc((size_t)shape->n_pairs + 1, sizeof *r->turns);
    if (e == OK && (r->calls == NULL || r->turns == NULL)) e = E_NO_MEMORY;
    for (size_t i = 0; e == OK && i < n_calls; i++) {
        list_push_back(&r->free_calls, &r->calls[i].node);
    }
    for (size_t i = 0; e == OK && i < shape->n_pairs; i++) list_push_back(&r->ready, &r->turns[i]);
    return e;
}

void traffic_done(struct traffic *r) {
    fleet_done(&r->fleet);
    free(r->calls);
    free(r->turns);
}
