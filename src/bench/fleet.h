/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* fleet.h -- the connections and pairs of a worker, and what is done with all of them: open,
 * create, subscribe, delete. All on the worker's loop; each sweep has at most SWEEP_WINDOW steps
 * under way. */
#pragma once

#include "bench/pair.h"

enum { SWEEP_WINDOW = 128 };

struct fleet_shape {
    unsigned n_rcv, n_snd;        /* connections; n_snd 0: nobody sends */
    unsigned n_pairs;             /* spread over both */
    unsigned first;               /* number of the first pair in the run */
    const struct pair_events *on; /* created, subscribed and deleted are the fleet's: NULL here */
};

struct fleet {
    /* fixed after fleet_init() */
    struct worker *w; /* borrowed */
    void *owner;
    struct link *links; /* owned: recipients', then senders' */
    struct pair *pairs; /* owned */
    unsigned n_rcv, n_snd, n_links, n_pairs;
    struct pair_events on;
    /* the sweep under way */
    void (*step)(struct fleet *f, unsigned i);
    void (*after)(struct fleet *f); /* when all steps are done */
    unsigned next, n_done, n_steps;
    bool subscribe;
};

MUST_USE enum err fleet_init(struct fleet *f, struct worker *w, void *owner,
                             const struct fleet_shape *shape); /* E_NO_MEMORY */
void fleet_done(struct fleet *f); /* half-built ones too; no loop runs any more */

/* Calls step() for 0 to n - 1, each of which ends in fleet_stepped(); then after(). */
void fleet_sweep(struct fleet *f, unsigned n, void (*step)(struct fleet *f, unsigned i),
                 void (*after)(struct fleet *f));
void fleet_stepped(struct fleet *f);
void fleet_end_phase(struct fleet *f); /* an after() */

void fleet_connect(struct fleet *f, void (*after)(struct fleet *f));
void fleet_create(struct fleet *f, bool subscribe, void (*after)(struct fleet *f));
void fleet_subscribe(struct fleet *f, void (*after)(struct fleet *f));
void fleet_delete(struct fleet *f, void (*after)(struct fleet *f));
void fleet_check(struct fleet *f); /* counts what was lost */
