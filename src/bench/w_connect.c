/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* connect: connections made and closed; --connections of them are under way at once. */
#include <stdlib.h>

#include "bench/connect.h"
#include "bench/workload.h"

static enum err job_new(struct worker *w) {
    struct connect *c = calloc(1, sizeof *c);
    if (c == NULL) return E_NO_MEMORY;
    w->job = c;
    return connect_init(c, w, worker_share(w, w->o->connections), worker_rate(w));
}

static void job_free(struct worker *w) {
    connect_done(w->job);
    free(w->job);
}

static void on_ended(struct connect *c) {
    worker_end_phase(c->w);
}

static void warm_up(struct worker *w) {
    connect_start(w->job, 0, on_ended);
}

static void measure(struct worker *w) {
    const uint64_t n = worker_share(w, w->o->count);
    if (w->o->count > 0 && n == 0) {
        worker_end_phase(w);
        return;
    }
    worker_expect(w, 2 * n); /* up, PONG */
    connect_start(w->job, n, on_ended);
}

static void stop(struct worker *w) {
    connect_stop(w->job);
}

static const struct phase PHASES[] = {
    {.title = "warming up", .start = warm_up, .stop = stop, .is_warm_up = true},
    {.title = "connecting", .stage = "connect", .start = measure, .stop = stop},
};

const struct workload WORKLOAD_CONNECT = {
    .name = "connect",
    .summary = "TCP, TLS and SMP handshakes, and a PING",
    .op = "connection",
    .takes = TAKES_COMMON | TAKES_SECONDS | TAKES_CONNECTIONS | TAKES_RATE | TAKES_COUNT,
    .defaults = {.threads = 1,
                 .seconds = 10,
                 .warm_up_s = 1,
                 .timeout_s = 20,
                 .rounds = 3,
                 .connections = 16},
    .phases = PHASES,
    .n_phases = ARRAY_LEN(PHASES),
    .job_new = job_new,
    .job_free = job_free,
};
