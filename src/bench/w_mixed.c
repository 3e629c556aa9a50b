/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* mixed: what a server has to do on a busy day, all at once: most of the load is messages; beside
 * them connections come and go, queues are made and deleted, and a client subscribes to all its
 * queues. An operation is a message, a connection, a queue or a subscription. */
#include <stdlib.h>

#include "bench/connect.h"
#include "bench/create.h"
#include "bench/traffic.h"
#include "bench/resubscribe.h"
#include "bench/workload.h"

enum { CONNECT_SLOTS = 1, CREATE_LINKS = 1, CREATE_WINDOW = 1, RETURNING = 1, N_PARTS = 4 };

struct mixed {
    struct traffic relay;
    struct connect connect;
    struct create create;
    struct resubscribe resubscribe;
    unsigned n_running;
};

static enum err job_new(struct worker *w) {
    struct mixed *m = calloc(1, sizeof *m);
    if (m == NULL) return E_NO_MEMORY;
    w->job = m;
    const unsigned n_pairs = worker_share(w, w->o->pairs);
    const struct traffic_shape shape = {.n_links = worker_share(w, w->o->connections),
                                        .n_pairs = n_pairs,
                                        .first = worker_first(w, w->o->pairs),
                                        .window = (unsigned)w->o->window};
    /* All, so that job_free() finds each of them begun. */
    const enum err errors[N_PARTS] = {
        traffic_init(&m->relay, w, &shape),
        connect_init(&m->connect, w, CONNECT_SLOTS, 0),
        create_init(&m->create, w, CREATE_LINKS, CREATE_WINDOW),
        resubscribe_init(&m->resubscribe, w, RETURNING, (unsigned)w->o->queues, SWEEP_WINDOW),
    };
    for (size_t i = 0; i < N_PARTS; i++) {
        if (errors[i] != OK) return errors[i];
    }
    m->connect.owner = m->create.owner = m->resubscribe.owner = m;
    return OK;
}

static void job_free(struct worker *w) {
    struct mixed *m = w->job;
    traffic_done(&m->relay);
    connect_done(&m->connect);
    create_done(&m->create);
    resubscribe_done(&m->resubscribe);
    free(m);
}

static void job_check(struct worker *w) {
    struct mixed *m = w->job;
    fleet_check(&m->relay.fleet);
}

/* ---- one after the other ---- */

static struct mixed *mixed_of(const struct fleet *f) {
    return f->w->job;
}

static void connect_third(struct fleet *f) {
    fleet_connect(&mixed_of(f)->resubscribe.fleet, fleet_end_phase);
}

static void connect_second(struct fleet *f) {
    fleet_connect(&mixed_of(f)->create.fleet, connect_third);
}

static void connect_all(struct worker *w) {
    struct mixed *m = w->job;
    fleet_connect(&m->relay.fleet, connect_second);
}

static void create_second(struct fleet *f) {
    fleet_create(&mixed_of(f)->resubscribe.fleet, false, fleet_end_phase);
}

static void create_all(struct worker *w) {
    struct mixed *m = w->job;
    fleet_create(&m->relay.fleet, true, create_second);
}

static void delete_second(struct fleet *f) {
    fleet_delete(&mixed_of(f)->resubscribe.fleet, fleet_end_phase);
}

static void delete_all(struct worker *w) {
    struct mixed *m = w->job;
    fleet_delete(&m->relay.fleet, delete_second);
}

/* ---- all at once ---- */

static void end_one(struct worker *w) {
    struct mixed *m = w->job;
    m->n_running--;
    if (m->n_running == 0) worker_end_phase(w);
}

static void traffic_ended(struct traffic *r) {
    end_one(r->fleet.w);
}

static void connect_ended(struct connect *c) {
    end_one(c->w);
}

static void create_ended(struct create *c) {
    end_one(c->fleet.w);
}

static void resubscribe_ended(struct resubscribe *r) {
    end_one(r->fleet.w);
}

static void measure(struct worker *w) {
    struct mixed *m = w->job;
    m->n_running = N_PARTS;
    traffic_start(&m->relay, 0, traffic_ended);
    connect_start(&m->connect, 0, connect_ended);
    create_start(&m->create, 0, create_ended);
    resubscribe_start(&m->resubscribe, 0, resubscribe_ended);
}

static void stop(struct worker *w) {
    struct mixed *m = w->job;
    traffic_stop(&m->relay);
    connect_stop(&m->connect);
    create_stop(&m->create);
    resubscribe_stop(&m->resubscribe);
}

static const struct phase PHASES[] = {
    {.title = "connecting", .start = connect_all},
    {.title = "making queues", .start = create_all},
    {.title = "warming up", .start = measure, .stop = stop, .is_warm_up = true},
    {.title = "all at once", .stage = "mixed", .start = measure, .stop = stop},
    {.title = "deleting queues", .start = delete_all},
};

const struct workload WORKLOAD_MIXED = {
    .name = "mixed",
    .summary = "Messages, connections, new queues and subscriptions at once",
    .op = "operation",
    .takes = TAKES_COMMON | TAKES_SECONDS | TAKES_PAIRS | TAKES_CONNECTIONS | TAKES_QUEUES |
             TAKES_WINDOW | TAKES_SIZE,
    .defaults = {.threads = 1,
                 .seconds = 10,
                 .warm_up_s = 1,
                 .timeout_s = 20,
                 .rounds = 3,
                 .pairs = 100,
                 .connections = 10,
                 .queues = 100,
                 .window = 1},
    .phases = PHASES,
    .n_phases = ARRAY_LEN(PHASES),
    .job_new = job_new,
    .job_free = job_free,
    .job_check = job_check,
};
