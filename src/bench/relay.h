/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* relay.h -- messages through pairs: as fast as they are answered, or at a fixed rate. Used by the
 * workloads that relay. All on the worker's loop. */
#pragma once

#include "bench/fleet.h"
#include "bench/schedule.h"
#include "net/loop.h"

struct relay;

/* A SEND of the window. */
struct relay_call {
    struct list node; /* on free */
    struct call call;
};

struct relay_shape {
    unsigned n_links, n_pairs, first, window;
    double rate; /* messages a second; 0: closed loop */
};

struct relay {
    struct fleet fleet;
    unsigned window;
    double rate;
    struct relay_call *calls; /* owned; window of each pair */
    struct list free_calls;
    struct list *turns; /* owned; one of each pair, on ready when it may send */
    struct list ready;
    struct schedule schedule;
    struct loop_timer timer;
    bool is_sending;
    uint64_t n_left;    /* messages to send; UINT64_MAX: until relay_stop() */
    uint64_t n_pending; /* sent, and not yet both answered and acknowledged (or refused) */
    void (*drained)(struct relay *r); /* nothing more to send, nothing under way */
};

MUST_USE enum err relay_init(struct relay *r, struct worker *w, const struct relay_shape *shape);
void relay_done(struct relay *r);
/* n messages; 0: until relay_stop(). */
void relay_start(struct relay *r, uint64_t n, void (*drained)(struct relay *r));
void relay_stop(struct relay *r); /* drained() follows, once */
