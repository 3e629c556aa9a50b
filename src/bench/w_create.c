/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* create: queues made and deleted. */
#include <stdlib.h>

#include "bench/create.h"
#include "bench/workload.h"

static enum err job_new(struct worker *w) {
    struct create *c = calloc(1, sizeof *c);
    if (c == NULL) return E_NO_MEMORY;
    w->job = c;
    return create_init(c, w, worker_share(w, w->o->connections), (unsigned)w->o->window);
}

static void job_free(struct worker *w) {
    create_done(w->job);
    free(w->job);
}

static void connect_all(struct worker *w) {
    struct create *c = w->job;
    fleet_connect(&c->fleet, fleet_end_phase);
}

static void on_ended(struct create *c) {
    worker_end_phase(c->fleet.w);
}

static void warm_up(struct worker *w) {
    create_start(w->job, 0, on_ended);
}

static void measure(struct worker *w) {
    const uint64_t n = worker_share(w, w->o->count);
    if (w->o->count > 0 && n == 0) {
        worker_end_phase(w);
        return;
    }
    worker_expect(w, 2 * n); /* NEW, DEL */
    create_start(w->job, n, on_ended);
}

static void stop(struct worker *w) {
    create_stop(w->job);
}

static const struct phase PHASES[] = {
    {.title = "connecting", .start = connect_all},
    {.title = "warming up", .start = warm_up, .stop = stop, .is_warm_up = true},
    {.title = "making queues", .stage = "create", .start = measure, .stop = stop},
};

const struct workload WORKLOAD_CREATE = {
    .name = "create",
    .summary = "Queues made and deleted",
    .op = "queue",
    .takes = TAKES_COMMON | TAKES_SECONDS | TAKES_CONNECTIONS | TAKES_WINDOW | TAKES_COUNT,
    .defaults = {.threads = 1,
                 .seconds = 10,
                 .warm_up_s = 1,
                 .timeout_s = 20,
                 .rounds = 3,
                 .connections = 4,
                 .window = 16},
    .phases = PHASES,
    .n_phases = ARRAY_LEN(PHASES),
    .job_new = job_new,
    .job_free = job_free,
};
