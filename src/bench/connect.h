/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* connect.h -- connections that are made, proved and closed, again and again: TCP, TLS, the SMP
 * handshake, and a PING, whose answer shows that the server has completed it too. All on the
 * worker's loop. */
#pragma once

#include "bench/link.h"
#include "bench/schedule.h"
#include "net/loop.h"

struct connect_slot;

struct connect {
    struct worker *w; /* borrowed */
    void *owner;
    struct connect_slot *slots; /* owned */
    unsigned n_slots, n_busy;
    struct list ready;
    double rate; /* connections a second; 0: each slot begins again when it has ended */
    struct schedule schedule;
    struct loop_timer timer;
    bool is_running;
    uint64_t n_left;
    void (*ended)(struct connect *c);
};

/* n_slots at once. E_NO_MEMORY; connect_done() in any case. */
MUST_USE enum err connect_init(struct connect *c, struct worker *w, unsigned n_slots, double rate);
void connect_done(struct connect *c); /* no loop runs any more */
/* n connections; 0: until connect_stop(). */
void connect_start(struct connect *c, uint64_t n, void (*ended)(struct connect *c));
void connect_stop(struct connect *c); /* ended() follows, once */
