/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/create.h"

static void begin(struct create *c, struct pair *p) {
    if (c->n_left == 0) return;
    if (c->n_left != UINT64_MAX) c->n_left--;
    c->n_busy++;
    pair_create(p, false);
}

static void end_if_done(struct create *c) {
    if (c->n_left > 0 || c->n_busy > 0 || !c->is_running) return;
    c->is_running = false;
    c->ended(c);
}

static void on_deleted(struct pair *p) {
    struct fleet *f = p->owner;
    struct create *c = f->owner;
    p->w->tally.ops++;
    c->n_busy--;
    begin(c, p);
    end_if_done(c);
}

void create_start(struct create *c, uint64_t n, void (*ended)(struct create *c)) {
    c->ended = ended;
    c->n_left = n != 0 ? n : UINT64_MAX;
    c->is_running = true;
    c->fleet.on.created = pair_delete;
    c->fleet.on.deleted = on_deleted;
    for (unsigned i = 0; i < c->fleet.n_pairs; i++) begin(c, &c->fleet.pairs[i]);
}

void create_stop(struct create *c) {
    c->n_left = 0;
    end_if_done(c);
}

enum err create_init(struct create *c, struct worker *w, unsigned n_links, unsigned window) {
    const struct fleet_shape shape = {.n_rcv = n_links, .n_pairs = n_links * window};
    *c = (struct create){0};
    return fleet_init(&c->fleet, w, c, &shape);
}

void create_done(struct create *c) {
    fleet_done(&c->fleet);
}
