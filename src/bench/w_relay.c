/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* relay: messages from senders to recipients, each acknowledged: SEND, OK, MSG, ACK, OK. */
#include <stdlib.h>

#include "bench/traffic.h"
#include "bench/workload.h"

static enum err job_new(struct worker *w) {
    struct traffic *r = calloc(1, sizeof *r);
    if (r == NULL) return E_NO_MEMORY;
    w->job = r;
    const unsigned n_pairs = worker_share(w, w->o->pairs);
    unsigned n_links = worker_share(w, w->o->connections);
    if (n_links == 0) n_links = 1;
    const struct traffic_shape shape = {.n_links = n_links < n_pairs ? n_links : n_pairs,
                                        .n_pairs = n_pairs,
                                        .first = worker_first(w, w->o->pairs),
                                        .window = (unsigned)w->o->window,
                                        .rate = worker_rate(w)};
    return traffic_init(r, w, &shape);
}

static void job_free(struct worker *w) {
    traffic_done(w->job);
    free(w->job);
}

static void job_check(struct worker *w) {
    struct traffic *r = w->job;
    fleet_check(&r->fleet);
}

static void connect_all(struct worker *w) {
    struct traffic *r = w->job;
    fleet_connect(&r->fleet, fleet_end_phase);
}

static void create_all(struct worker *w) {
    struct traffic *r = w->job;
    fleet_create(&r->fleet, true, fleet_end_phase);
}

static void on_drained(struct traffic *r) {
    worker_end_phase(r->fleet.w);
}

static void warm_up(struct worker *w) {
    traffic_start(w->job, 0, on_drained);
}

static void measure(struct worker *w) {
    const uint64_t n = worker_share(w, w->o->count);
    if (w->o->count > 0 && n == 0) {
        worker_end_phase(w);
        return;
    }
    worker_expect(w, 2 * n); /* SEND, ACK */
    traffic_start(w->job, n, on_drained);
}

static void stop(struct worker *w) {
    traffic_stop(w->job);
}

static void delete_all(struct worker *w) {
    struct traffic *r = w->job;
    fleet_delete(&r->fleet, fleet_end_phase);
}

static const struct phase PHASES[] = {
    {.title = "connecting", .start = connect_all},
    {.title = "making queues", .start = create_all},
    {.title = "warming up", .start = warm_up, .stop = stop, .is_warm_up = true},
    {.title = "relaying", .stage = "relay", .start = measure, .stop = stop},
    {.title = "deleting queues", .start = delete_all},
};

const struct workload WORKLOAD_RELAY = {
    .name = "relay",
    .summary = "Messages from senders to recipients, each acknowledged",
    .op = "message",
    .takes = TAKES_COMMON | TAKES_SECONDS | TAKES_PAIRS | TAKES_CONNECTIONS | TAKES_WINDOW |
             TAKES_SIZE | TAKES_RATE | TAKES_COUNT | TAKES_PROXY | TAKES_ACK_DELAY,
    .defaults = {.threads = 1,
                 .seconds = 10,
                 .warm_up_s = 1,
                 .timeout_s = 20,
                 .rounds = 3,
                 .pairs = 100,
                 .connections = 10,
                 .window = 1},
    .phases = PHASES,
    .n_phases = ARRAY_LEN(PHASES),
    .job_new = job_new,
    .job_free = job_free,
    .job_check = job_check,
};
