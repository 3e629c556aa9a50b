/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/resubscribe.h"

#include <stdlib.h>

static unsigned n_queues_of(const struct resubscribe *r) {
    return r->fleet.n_pairs / r->fleet.n_rcv;
}

static struct link *link_of(const struct resubscribe_link *l) {
    return &l->r->fleet.links[l->index];
}

static void push(struct resubscribe_link *l) {
    struct resubscribe *r = l->r;
    const unsigned n = n_queues_of(r);
    for (; l->next < n && l->next - l->n_done < r->window; l->next++) {
        pair_subscribe(&r->fleet.pairs[l->next * r->fleet.n_rcv + l->index]);
    }
}

static void end_round(struct resubscribe_link *l) {
    struct resubscribe *r = l->r;
    if (!r->is_stopping) {
        link_close(link_of(l));
        return;
    }
    r->n_busy--;
    if (r->n_busy > 0) return;
    r->is_running = false;
    r->ended(r);
}

static void on_subscribed(struct pair *p) {
    struct fleet *f = p->owner;
    struct resubscribe *r = f->owner;
    struct resubscribe_link *l = &r->links[p->rcv - f->links];
    p->w->tally.ops++;
    if (r->n_left > 0 && --r->n_left == 0) r->is_stopping = true;
    l->n_done++;
    if (l->n_done == n_queues_of(r)) {
        end_round(l);
    } else {
        push(l);
    }
}

static void on_down(struct link *k) {
    link_open(k);
}

static void on_up(struct link *k) {
    struct resubscribe *r = ((struct fleet *)k->owner)->owner;
    struct resubscribe_link *l = &r->links[k - r->fleet.links];
    worker_latency(k->w, LATENCY_CONNECT, k->start_ns);
    l->next = l->n_done = 0;
    push(l);
}

void resubscribe_start(struct resubscribe *r, uint64_t n, void (*ended)(struct resubscribe *r)) {
    r->ended = ended;
    r->n_left = n;
    r->is_running = true;
    r->is_stopping = false;
    r->n_busy = r->fleet.n_rcv;
    r->fleet.on.subscribed = on_subscribed;
    for (unsigned i = 0; i < r->fleet.n_rcv; i++) {
        struct link *k = &r->fleet.links[i];
        k->on_up = on_up;
        k->on_down = on_down;
        link_close(k);
    }
}

void resubscribe_stop(struct resubscribe *r) {
    r->is_stopping = true;
}

enum err resubscribe_init(struct resubscribe *r, struct worker *w, unsigned n_links,
                          unsigned n_queues, unsigned window) {
    const struct fleet_shape shape = {.n_rcv = n_links, .n_pairs = n_links * n_queues};
    *r = (struct resubscribe){.window = window};
    const enum err e = fleet_init(&r->fleet, w, r, &shape);
    r->links = calloc((size_t)n_links + 1, sizeof *r->links);
    if (r->links == NULL) return E_NO_MEMORY;
    for (unsigned i = 0; i < n_links; i++) {
        r->links[i] = (struct resubscribe_link){.r = r, .index = i};
    }
    return e;
}

void resubscribe_done(struct resubscribe *r) {
    fleet_done(&r->fleet);
    free(r->links);
}
