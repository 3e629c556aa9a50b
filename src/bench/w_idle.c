/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* idle: connections that do nothing but hold their subscriptions: what each costs in memory. At the
 * end some of them get a message, which proves that they live. */
#include <stdlib.h>

#include "bench/clock.h"
#include "bench/fleet.h"
#include "bench/workload.h"
#include "net/loop.h"

enum { FIRST_CONNECTIONS = 20, SETTLE_MS = 2000, PROOFS_MAX = 100 };

struct idle {
    /* The first ones make the server load and set up what it needs once; they stay. */
    struct fleet first, rest;
    struct loop_timer timer;
    struct call proofs[PROOFS_MAX];
    unsigned n_proofs, n_proved;
};

static void on_proved(struct pair *p);
static const struct pair_events ON = {.acked = on_proved};

static enum err job_new(struct worker *w) {
    struct idle *j = calloc(1, sizeof *j);
    if (j == NULL) return E_NO_MEMORY;
    w->job = j;
    const unsigned n = worker_share(w, w->o->connections), n_queues = (unsigned)w->o->queues;
    const struct fleet_shape first = {.n_rcv = FIRST_CONNECTIONS, .n_pairs = FIRST_CONNECTIONS};
    const struct fleet_shape rest = {.n_rcv = n,
                                     .n_snd = n_queues != 0 ? 1 : 0,
                                     .n_pairs = n * n_queues,
                                     .first = worker_first(w, w->o->connections) * n_queues,
                                     .on = &ON};
    const enum err e = fleet_init(&j->first, w, j, &first);
    return e == OK ? fleet_init(&j->rest, w, j, &rest) : e;
}

static void job_free(struct worker *w) {
    struct idle *j = w->job;
    fleet_done(&j->first);
    fleet_done(&j->rest);
    free(j);
}

static void job_check(struct worker *w) {
    struct idle *j = w->job;
    fleet_check(&j->rest);
}

/* ---- making them ---- */

static void settled(void *ctx) {
    worker_end_phase(ctx);
}

static void settle(struct fleet *f) {
    struct idle *j = f->owner;
    if (loop_timer_start(f->w->loop, &j->timer, SETTLE_MS, 0, settled, f->w) != OK) {
        worker_fail(f->w, "out of memory");
    }
}

static void create_first(struct fleet *f) {
    fleet_create(f, true, settle);
}

static void connect_first(struct worker *w) {
    struct idle *j = w->job;
    fleet_connect(&j->first, create_first);
}

static void create_rest(struct fleet *f) {
    fleet_create(f, true, settle);
}

static void connect_rest(struct worker *w) {
    struct idle *j = w->job;
    w->tally.ops += j->rest.n_rcv;
    fleet_connect(&j->rest, create_rest);
}

/* ---- holding ---- */

static void hold(struct worker *w) {
    (void)w; /* until it is stopped */
}

static void stop_holding(struct worker *w) {
    worker_end_phase(w);
}

/* ---- proof ---- */

static void on_proved(struct pair *p) {
    struct fleet *f = p->owner;
    struct idle *j = f->owner;
    if (++j->n_proved == j->n_proofs) worker_end_phase(p->w);
}

static void prove(struct worker *w) {
    struct idle *j = w->job;
    struct fleet *f = &j->rest;
    j->n_proofs = f->n_pairs < PROOFS_MAX ? f->n_pairs : PROOFS_MAX;
    if (j->n_proofs == 0) worker_end_phase(w);
    for (unsigned i = 0; i < j->n_proofs; i++) {
        pair_send(&f->pairs[(size_t)f->n_pairs * i / j->n_proofs], &j->proofs[i], 0);
    }
}

static void delete_rest(struct fleet *f) {
    struct idle *j = f->owner;
    fleet_delete(&j->rest, fleet_end_phase);
}

static void delete_all(struct worker *w) {
    struct idle *j = w->job;
    fleet_delete(&j->first, delete_rest);
}

static const struct phase PHASES[] = {
    {.title = "warming up", .start = connect_first},
    {.title = "connecting", .stage = "idle", .start = connect_rest},
    {.title = "holding", .start = hold, .stop = stop_holding},
    {.title = "proving", .start = prove},
    {.title = "deleting queues", .start = delete_all},
};

const struct workload WORKLOAD_IDLE = {
    .name = "idle",
    .summary = "Connections that hold subscriptions: memory of each",
    .op = "connection",
    .takes = TAKES_COMMON | TAKES_SECONDS | TAKES_CONNECTIONS | TAKES_QUEUES | TAKES_SIZE,
    .defaults = {.threads = 1,
                 .seconds = 1,
                 .timeout_s = 20,
                 .rounds = 3,
                 .connections = 5000,
                 .queues = 1},
    .phases = PHASES,
    .n_phases = ARRAY_LEN(PHASES),
    .job_new = job_new,
    .job_free = job_free,
    .job_check = job_check,
};
