/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/connect.h"

#include <stdlib.h>

#include "bench/clock.h"
#include "wire/command.h"

enum { TICK_MS = 1 };

struct connect_slot {
    struct link link;
    struct list node; /* on ready */
    struct call ping;
    struct connect *connect; /* borrowed */
};

static void end_if_done(struct connect *c) {
    if (c->n_left > 0 || c->n_busy > 0 || !c->is_running) return;
    c->is_running = false;
    loop_timer_stop(&c->timer);
    c->ended(c);
}

static void push(struct connect *c) {
    while (c->n_left > 0 && !list_is_empty(&c->ready)) {
        int64_t due_ns = 0;
        if (c->rate > 0 && !schedule_take(&c->schedule, clock_ns(), &due_ns)) return;
        struct connect_slot *s = CONTAINER_OF(list_first(&c->ready), struct connect_slot, node);
        list_remove(&s->node);
        if (c->n_left != UINT64_MAX) c->n_left--;
        c->n_busy++;
        link_open(&s->link);
        if (due_ns == 0) continue;
        worker_latency(c->w, LATENCY_LATE, due_ns);
        s->link.start_ns = due_ns;
    }
}

static void on_tick(void *ctx) {
    push(ctx);
}

static void on_down(struct link *k) {
    struct connect_slot *s = k->owner;
    struct connect *c = s->connect;
    c->n_busy--;
    list_push_back(&c->ready, &s->node);
    if (c->is_running) push(c);
    end_if_done(c);
}

static void on_pong(struct call *call, const struct reply_view *a, uint8_t *text) {
    (void)text;
    struct link *k = call->link;
    if (!call_expects(call, a, REPLY_PONG)) return;
    worker_latency(k->w, LATENCY_CONNECT, k->start_ns);
    k->w->tally.ops++;
    link_close(k);
}

static void on_up(struct link *k) {
    struct connect_slot *s = k->owner;
    struct draft d;
    s->ping.what = "PING";
    s->ping.answered = on_pong;
    if (!call_begin(&s->ping, k, SMP_SHORT_COMMAND_MAX, (struct bytes){0}, (struct smp_auth){0},
                    &d))
        return;
    smp_command_plain(&d.w, &d.head, CMD_PING);
    call_send(&s->ping, &d);
}

void connect_start(struct connect *c, uint64_t n, void (*ended)(struct connect *c)) {
    c->ended = ended;
    c->n_left = n != 0 ? n : UINT64_MAX;
    c->is_running = true;
    if (c->rate > 0) {
        schedule_init(&c->schedule, clock_ns(), c->rate);
        if (loop_timer_start(c->w->loop, &c->timer, TICK_MS, TICK_MS, on_tick, c) != OK) {
            worker_fail(c->w, "out of memory");
        }
    }
    push(c);
}

void connect_stop(struct connect *c) {
    c->n_left = 0;
    end_if_done(c);
}

enum err connect_init(struct connect *c, struct worker *w, unsigned n_slots, double rate) {
    *c = (struct connect){.w = w, .rate = rate};
    list_init(&c->ready);
    c->slots = calloc((size_t)n_slots + 1, sizeof *c->slots);
    if (c->slots == NULL) return E_NO_MEMORY;
    c->n_slots = n_slots;
    for (unsigned i = 0; i < n_slots; i++) {
        struct connect_slot *s = &c->slots[i];
        link_init(&s->link, w, s);
        s->link.on_up = on_up;
        s->link.on_down = on_down;
        s->connect = c;
        list_push_back(&c->ready, &s->node);
    }
    return OK;
}

void connect_done(struct connect *c) {
    for (unsigned i = 0; i < c->n_slots; i++) link_done(&c->slots[i].link);
    free(c->slots);
}
