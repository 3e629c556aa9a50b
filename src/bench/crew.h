/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* crew.h -- the threads of the generator, and the phases that they go through together.
 *
 * A workload is a list of phases. Each begins on all workers at once and is over when all have said
 * so; only then the next one begins, so that what is measured is nothing but the phase that says
 * that it is. What a worker has counted it hands over with the end of each phase.
 *
 * The first failure ends the run: everything here is bounded in time. */
#pragma once

#include <stdatomic.h>

#include "bench/opts.h"
#include "bench/result.h"
#include "bench/tally.h"
#include "client/smp_client.h"
#include "model/limits.h"

struct crew;

/* Where connections of a run go; fixed. */
struct goal {
    struct smp_target server, proxy;
    const char *password; /* of the server, to make queues; "" for none; borrowed */
    const char *proxy_password;
    bool has_proxy;
};

/* One thread. */
struct worker {
    /* fixed after start */
    struct crew *crew; /* borrowed */
    struct loop *loop; /* owned */
    unsigned index;
    const struct bench_opts *o; /* borrowed */
    const struct goal *goal;    /* borrowed */
    uint64_t run;               /* random; of all workers: see struct stamp */
    struct conn_opts conn;
    struct dial_opts dial;
    struct smp_client_opts client;
    /* owner loop only; when no loop runs any more, the main thread */
    void *job; /* the workload's */
    bool is_busy;
    bool is_stopping; /* time is up: begin nothing new */
    struct tally tally;
    uint8_t scratch[SMP_BLOCK_LEN];
    /* guarded by the crew's mutex */
    struct tally handed; /* counted until the end of the last phase, and not yet collected */
    /* atomic: relaxed, for the bar and for noticing that nothing moves any more */
    _Atomic uint64_t n_done, n_expected;
};

struct phase {
    const char *title; /* for the bar */
    const char *stage; /* NULL: not measured; else the name of its result */
    /* On the worker's loop; sooner or later it calls worker_end_phase(). */
    void (*start)(struct worker *w);
    /* NULL: the phase ends by itself. Else called when its time is up: the worker completes what is
     * under way, and ends the phase. */
    void (*stop)(struct worker *w);
    bool is_warm_up; /* takes --warm-up in place of --seconds; nothing when that is 0 */
};

/* How the server can be looked at; 0: not known. */
struct watched {
    int pid, metrics_port;
};

/* Goes through all phases. E_CLOSED with *p set when the run failed: then *ret has what there is.
 */
MUST_USE enum err crew_run(const struct workload *w, const struct bench_opts *o,
                           const struct goal *goal, struct watched watched, struct result *ret,
                           struct bench_problem *p);

/* ---- for workloads, on the worker's loop ---- */

void worker_end_phase(struct worker *w); /* any number of times */
/* Ends the run; the first text is the one that is shown. */
void worker_fail(struct worker *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool worker_is_ending(const struct worker *w); /* the run is over: connections go by themselves */
/* This worker's part of n things, and the number of its first one. */
unsigned worker_share(const struct worker *w, double n);
unsigned worker_first(const struct worker *w, double n);
double worker_rate(const struct worker *w); /* its part of --rate */
/* How many steps the phase will have, when that is known. */
void worker_expect(struct worker *w, uint64_t n);
void worker_step(struct worker *w); /* something was done */
void worker_latency(struct worker *w, enum latency l, int64_t start_ns);
