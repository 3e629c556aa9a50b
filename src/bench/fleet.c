/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/fleet.h"

#include <stdlib.h>

/* ---- sweeps ---- */

void fleet_end_phase(struct fleet *f) {
    worker_end_phase(f->w);
}

static void push(struct fleet *f) {
    while (f->next < f->n_steps && f->next - f->n_done < SWEEP_WINDOW) {
        const unsigned i = f->next++;
        f->step(f, i);
    }
}

void fleet_sweep(struct fleet *f, unsigned n, void (*step)(struct fleet *f, unsigned i),
                 void (*after)(struct fleet *f)) {
    f->step = step;
    f->after = after;
    f->next = f->n_done = 0;
    f->n_steps = n;
    push(f);
    if (n == 0) after(f);
}

void fleet_stepped(struct fleet *f) {
    f->n_done++;
    if (f->n_done == f->n_steps) {
        f->after(f);
    } else {
        push(f);
    }
}

/* ---- connections ---- */

static void on_up(struct link *k) {
    worker_latency(k->w, LATENCY_CONNECT, k->start_ns);
    fleet_stepped(k->owner);
}

static void connect_step(struct fleet *f, unsigned i) {
    const bool is_sender = i >= f->n_rcv;
    if (is_sender && f->w->goal->has_proxy) {
        link_open_proxied(&f->links[i]);
    } else {
        link_open(&f->links[i]);
    }
}

void fleet_connect(struct fleet *f, void (*after)(struct fleet *f)) {
    worker_expect(f->w, f->n_links);
    fleet_sweep(f, f->n_links, connect_step, after);
}

/* ---- pairs ---- */

static void on_stepped(struct pair *p) {
    fleet_stepped(p->owner);
}

static void create_step(struct fleet *f, unsigned i) {
    pair_create(&f->pairs[i], f->subscribe);
}

static void subscribe_step(struct fleet *f, unsigned i) {
    pair_subscribe(&f->pairs[i]);
}

static void delete_step(struct fleet *f, unsigned i) {
    pair_delete(&f->pairs[i]);
}

void fleet_create(struct fleet *f, bool subscribe, void (*after)(struct fleet *f)) {
    f->subscribe = subscribe;
    worker_expect(f->w, f->n_snd != 0 ? 2 * (uint64_t)f->n_pairs : f->n_pairs); /* NEW, KEY */
    fleet_sweep(f, f->n_pairs, create_step, after);
}

void fleet_subscribe(struct fleet *f, void (*after)(struct fleet *f)) {
    fleet_sweep(f, f->n_pairs, subscribe_step, after);
}

void fleet_delete(struct fleet *f, void (*after)(struct fleet *f)) {
    worker_expect(f->w, f->n_pairs);
    fleet_sweep(f, f->n_pairs, delete_step, after);
}

void fleet_check(struct fleet *f) {
    for (unsigned i = 0; i < f->n_pairs; i++) pair_check(&f->pairs[i]);
}

/* ---- beginning and end ---- */

enum err fleet_init(struct fleet *f, struct worker *w, void *owner,
                    const struct fleet_shape *shape) {
    *f = (struct fleet){.w = w,
                        .owner = owner,
                        .n_rcv = shape->n_rcv,
                        .n_snd = shape->n_snd,
                        .n_links = shape->n_rcv + shape->n_snd};
    if (shape->on != NULL) f->on = *shape->on;
    f->on.created = f->on.subscribed = f->on.deleted = on_stepped;
    f->links = calloc(f->n_links + 1, sizeof *f->links);
    f->pairs = calloc((size_t)shape->n_pairs + 1, sizeof *f->pairs);
    if (f->links == NULL || f->pairs == NULL) return E_NO_MEMORY;
    for (unsigned i = 0; i < f->n_links; i++) {
        link_init(&f->links[i], w, f);
        f->links[i].on_up = on_up;
    }
    f->n_pairs = shape->n_pairs;
    for (unsigned i = 0; i < f->n_pairs; i++) {
        struct link *snd = f->n_snd != 0 ? &f->links[f->n_rcv + i % f->n_snd] : NULL;
        pair_init(&f->pairs[i], w, &f->links[i % f->n_rcv], snd, shape->first + i, &f->on, f);
    }
    return OK;
}

void fleet_done(struct fleet *f) {
    for (unsigned i = 0; i < f->n_pairs; i++) pair_done(&f->pairs[i]);
    for (unsigned i = 0; f->links != NULL && i < f->n_links; i++) link_done(&f->links[i]);
    free(f->links);
    free(f->pairs);
}
