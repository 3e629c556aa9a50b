/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* create.h -- queues that are made and deleted, again and again: NEW, DEL. All on the worker's
 * loop. */
#pragma once

#include "bench/fleet.h"

struct create {
    struct fleet fleet; /* one pair for each queue under way */
    void *owner;
    bool is_running;
    uint64_t n_left;
    unsigned n_busy;
    void (*ended)(struct create *c);
};

/* window: queues of each connection at once. E_NO_MEMORY; create_done() in any case. */
MUST_USE enum err create_init(struct create *c, struct worker *w, unsigned n_links,
                              unsigned window);
void create_done(struct create *c);
/* After fleet_connect(). n queues; 0: until create_stop(). */
void create_start(struct create *c, uint64_t n, void (*ended)(struct create *c));
void create_stop(struct create *c); /* ended() follows, once */
