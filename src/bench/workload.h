/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* workload.h -- the table of workloads. A new one is a row of WORKLOADS (main.c) and a file. */
#pragma once

#include "bench/crew.h"

struct workload {
    const char *name, *summary;
    const char *op; /* what is counted: "message" */
    int takes;      /* TAKES_ */
    struct bench_opts defaults;
    /* Either phases of a crew: job_new() makes w->job before the first one (E_NO_MEMORY);
     * job_free() ends it when no loop runs any more, half-built or not. */
    const struct phase *phases;
    size_t n_phases;
    enum err (*job_new)(struct worker *w);
    void (*job_free)(struct worker *w);
    /* May be NULL: counts what was lost, when all phases are over or nothing moves any more. */
    void (*job_check)(struct worker *w);
    /* Or something without a server. */
    enum err (*run)(const struct bench_opts *o, struct bench_problem *p);
};

extern const struct workload WORKLOAD_RELAY, WORKLOAD_CONNECT, WORKLOAD_IDLE, WORKLOAD_SUBSCRIBE,
    WORKLOAD_CREATE, WORKLOAD_BACKLOG, WORKLOAD_MIXED, WORKLOAD_CRYPTO;
