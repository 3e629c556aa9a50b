/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* loop_rig.h -- loops that do not run, so that a test decides all that happens on them: clock and
 * randomness, when timers fire, what a connection reads and what is left of its share of the turn.
 * Connections are made by hand: they stand in for net/conn. Link with --wrap of loop_timer_start,
 * loop_timer_stop and loop_turn_ms. One rig at a time. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/list.h"
#include "net/conn.h"
#include "net/loop.h"

/* In place of net/conn's. */
struct conn {
    struct conn *next;
    struct loop *loop;   /* borrowed */
    void *session;       /* NULL after on_close() */
    struct bytes unique; /* of TLS; borrowed */
    struct bytes chain;  /* the peer's; borrowed; empty: it shows none */
    bool wants_write, wants_run, is_paused, is_finishing, is_closed;
    bool share_is_used;
    bool may_not_make_queues;
    int64_t deadline_ms;
};

enum { RIG_LOOPS_MAX = 2, RIG_EPOCH_S = 1700000000 };

struct loop_rig {
    int64_t now_ms; /* monotonic; the wall clock is RIG_EPOCH_S seconds ahead */
    uint64_t random;
    struct env env;
    struct loop *loops[RIG_LOOPS_MAX];
    unsigned n_loops;
    struct list timers;       /* those that run */
    struct conn *conns;       /* owned */
    struct server_cert *cert; /* borrowed; what conn_cert() gives */
};
extern struct loop_rig loop_rig;

void loop_rig_open(unsigned n_loops);
/* When nothing runs on the loops any more; the connections have been closed. */
void loop_rig_close(void);

/* A connection without a session. */
struct conn *rig_conn(struct loop *l);
/* Time goes on, timers fire in their order, and what was posted is run. */
void rig_pass_ms(int64_t ms);
void rig_run_posted(void);
