/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* backlog: queues are filled while nobody is there, then their recipients come and take all. */
#include <stdlib.h>
#include <string.h>

#include "bench/fleet.h"
#include "bench/workload.h"

struct backlog_call {
    struct list node;
    struct call call;
};

struct backlog {
    struct fleet fleet;
    struct backlog_call calls[SWEEP_WINDOW];
    struct list free_calls;
    uint64_t n_stored, n_taken;
};

static struct backlog *backlog_of(const struct pair *p) {
    struct fleet *f = p->owner;
    return f->owner;
}

static void on_sent(struct pair *p, struct call *c, bool is_accepted) {
    struct backlog *b = backlog_of(p);
    list_push_back(&b->free_calls, &CONTAINER_OF(c, struct backlog_call, call)->node);
    p->w->tally.ops++;
    if (is_accepted) b->n_stored++;
    fleet_stepped(&b->fleet);
}

static void end_if_drained(struct backlog *b) {
    const struct fleet *f = &b->fleet;
    if (f->n_done < f->n_steps || b->n_taken < b->n_stored) return;
    /* Between SEND and MSG they had waited: that says nothing about the server. */
    memset(&f->w->tally.latencies[LATENCY_DELIVERY], 0, sizeof(struct histogram));
    worker_end_phase(f->w);
}

static void on_acked(struct pair *p) {
    struct backlog *b = backlog_of(p);
    p->w->tally.ops++;
    b->n_taken++;
    end_if_drained(b);
}

static const struct pair_events ON = {.sent = on_sent, .acked = on_acked};

static enum err job_new(struct worker *w) {
    struct backlog *b = calloc(1, sizeof *b);
    if (b == NULL) return E_NO_MEMORY;
    w->job = b;
    list_init(&b->free_calls);
    for (size_t i = 0; i < SWEEP_WINDOW; i++) list_push_back(&b->free_calls, &b->calls[i].node);
    unsigned n_links = worker_share(w, w->o->connections);
    if (n_links == 0) n_links = 1;
    const struct fleet_shape shape = {.n_rcv = n_links,
                                      .n_snd = n_links,
                                      .n_pairs = worker_share(w, w->o->pairs),
                                      .first = worker_first(w, w->o->pairs),
                                      .on = &ON};
    return fleet_init(&b->fleet, w, b, &shape);
}

static void job_free(struct worker *w) {
    struct backlog *b = w->job;
    fleet_done(&b->fleet);
    free(b);
}

static void job_check(struct worker *w) {
    struct backlog *b = w->job;
    fleet_check(&b->fleet);
}

static void connect_all(struct worker *w) {
    struct backlog *b = w->job;
    fleet_connect(&b->fleet, fleet_end_phase);
}

static void create_all(struct worker *w) {
    struct backlog *b = w->job;
    fleet_create(&b->fleet, false, fleet_end_phase);
}

static void send_step(struct fleet *f, unsigned i) {
    struct backlog *b = f->owner;
    struct list *n = list_first(&b->free_calls);
    list_remove(n);
    pair_send(&f->pairs[i % f->n_pairs], &CONTAINER_OF(n, struct backlog_call, node)->call, 0);
}

static void fill(struct worker *w) {
    struct backlog *b = w->job;
    const unsigned n = b->fleet.n_pairs * (unsigned)w->o->messages;
    worker_expect(w, n);
    fleet_sweep(&b->fleet, n, send_step, fleet_end_phase);
}

static void on_all_subscribed(struct fleet *f) {
    end_if_drained(f->owner);
}

static void drain(struct worker *w) {
    struct backlog *b = w->job;
    worker_expect(w, b->n_stored + b->fleet.n_pairs);
    fleet_subscribe(&b->fleet, on_all_subscribed);
}

static void delete_all(struct worker *w) {
    struct backlog *b = w->job;
    fleet_delete(&b->fleet, fleet_end_phase);
}

static const struct phase PHASES[] = {
    {.title = "connecting", .start = connect_all},
    {.title = "making queues", .start = create_all},
    {.title = "filling", .stage = "fill", .start = fill},
    {.title = "draining", .stage = "drain", .start = drain},
    {.title = "deleting queues", .start = delete_all},
};

const struct workload WORKLOAD_BACKLOG = {
    .name = "backlog",
    .summary = "Queues are filled while nobody is there, then drained",
    .op = "message",
    .takes = TAKES_COMMON | TAKES_PAIRS | TAKES_CONNECTIONS | TAKES_MESSAGES | TAKES_SIZE,
    .defaults = {.threads = 1,
                 .timeout_s = 20,
                 .rounds = 3,
                 .pairs = 100,
                 .connections = 10,
                 .messages = 100},
    .phases = PHASES,
    .n_phases = ARRAY_LEN(PHASES),
    .job_new = job_new,
    .job_free = job_free,
    .job_check = job_check,
};
