/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* subscribe: clients that come back and subscribe to all their queues. */
#include <stdlib.h>

#include "bench/resubscribe.h"
#include "bench/workload.h"

static enum err job_new(struct worker *w) {
    struct resubscribe *r = calloc(1, sizeof *r);
    if (r == NULL) return E_NO_MEMORY;
    w->job = r;
    return resubscribe_init(r, w, worker_share(w, w->o->connections), (unsigned)w->o->queues,
                            (unsigned)w->o->window);
}

static void job_free(struct worker *w) {
    resubscribe_done(w->job);
    free(w->job);
}

static void connect_all(struct worker *w) {
    struct resubscribe *r = w->job;
    fleet_connect(&r->fleet, fleet_end_phase);
}

static void create_all(struct worker *w) {
    struct resubscribe *r = w->job;
    fleet_create(&r->fleet, false, fleet_end_phase);
}

static void on_ended(struct resubscribe *r) {
    worker_end_phase(r->fleet.w);
}

static void warm_up(struct worker *w) {
    resubscribe_start(w->job, 0, on_ended);
}

static void measure(struct worker *w) {
    const uint64_t n = worker_share(w, w->o->count);
    if (w->o->count > 0 && n == 0) {
        worker_end_phase(w);
        return;
    }
    resubscribe_start(w->job, n, on_ended);
}

static void stop(struct worker *w) {
    resubscribe_stop(w->job);
}

static void delete_all(struct worker *w) {
    struct resubscribe *r = w->job;
    fleet_delete(&r->fleet, fleet_end_phase);
}

static const struct phase PHASES[] = {
    {.title = "connecting", .start = connect_all},
    {.title = "making queues", .start = create_all},
    {.title = "warming up", .start = warm_up, .stop = stop, .is_warm_up = true},
    {.title = "subscribing", .stage = "subscribe", .start = measure, .stop = stop},
    {.title = "deleting queues", .start = delete_all},
};

const struct workload WORKLOAD_SUBSCRIBE = {
    .name = "subscribe",
    .summary = "Clients that come back: connect, and SUB all queues in batches",
    .op = "subscription",
    .takes = TAKES_COMMON | TAKES_SECONDS | TAKES_CONNECTIONS | TAKES_QUEUES | TAKES_WINDOW |
             TAKES_COUNT,
    .defaults = {.threads = 1,
                 .seconds = 10,
                 .warm_up_s = 1,
                 .timeout_s = 20,
                 .rounds = 3,
                 .connections = 10,
                 .queues = 1000,
                 .window = 500},
    .phases = PHASES,
    .n_phases = ARRAY_LEN(PHASES),
    .job_new = job_new,
    .job_free = job_free,
};
