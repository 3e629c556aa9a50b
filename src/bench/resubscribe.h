/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* resubscribe.h -- what a server meets when clients come back: connections that are closed, opened,
 * and subscribe to all their queues in batches, again and again. All on the worker's loop. */
#pragma once

#include "bench/fleet.h"

struct resubscribe_link {
    struct resubscribe *r; /* borrowed */
    unsigned index, next, n_done;
};

struct resubscribe {
    struct fleet fleet; /* pairs of a connection: every n_rcv-th one */
    void *owner;
    struct resubscribe_link *links; /* owned */
    unsigned window;
    bool is_running, is_stopping;
    unsigned n_busy;
    uint64_t n_left; /* subscriptions until it stops by itself */
    void (*ended)(struct resubscribe *r);
};

/* window: SUBs of a connection under way. E_NO_MEMORY; resubscribe_done() in any case. */
MUST_USE enum err resubscribe_init(struct resubscribe *r, struct worker *w, unsigned n_links,
                                   unsigned n_queues, unsigned window);
void resubscribe_done(struct resubscribe *r);
/* After fleet_connect() and fleet_create(): rounds until resubscribe_stop(), or until there were n
 * subscriptions; 0: any number. */
void resubscribe_start(struct resubscribe *r, uint64_t n, void (*ended)(struct resubscribe *r));
void resubscribe_stop(struct resubscribe *r); /* rounds are completed; then ended(), once */
