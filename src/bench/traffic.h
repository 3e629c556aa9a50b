/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* traffic.h -- messages through pairs: as fast as they are answered, or at a fixed rate. Used by
 * the workloads that relay. All on the worker's loop. */
#pragma once

#include "bench/fleet.h"
#include "bench/schedule.h"
#include "net/loop.h"

struct traffic;

/* A SEND of the window. */
struct traffic_call {
    struct list node; /* on free */
    struct call call;
};

struct traffic_shape {
    unsigned n_links, n_pairs, first, window;
    double rate; /* messages a second; 0: closed loop */
};

struct traffic {
    struct fleet fleet;
    unsigned window;
    double rate;
    struct traffic_call *calls; /* owned; window of each pair */
    struct list free_calls;
    struct list *turns; /* owned; one of each pair, on ready when it may send */
    struct list ready;
    struct schedule schedule;
    struct loop_timer timer;
    bool is_sending;
    uint64_t n_left;    /* messages to send; UINT64_MAX: until traffic_stop() */
    uint64_t n_pending; /* sent, and not yet both answered and acknowledged (or refused) */
    void (*drained)(struct traffic *t); /* nothing more to send, nothing under way */
};

MUST_USE enum err traffic_init(struct traffic *t, struct worker *w,
                               const struct traffic_shape *shape);
void traffic_done(struct traffic *t);
/* n messages; 0: until traffic_stop(). */
void traffic_start(struct traffic *t, uint64_t n, void (*drained)(struct traffic *t));
void traffic_stop(struct traffic *t); /* drained() follows, once */
