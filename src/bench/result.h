/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* result.h -- what a run has shown, as a table and as JSON. Main thread. */
#pragma once

#include <stdio.h>

#include "base/err.h"
#include "bench/process_cost.h"
#include "bench/tally.h"

struct workload;

enum { STAGES_MAX = 4 };

/* One measured phase. */
struct stage {
    const char *name; /* static */
    double seconds, own_cpu_s;
    bool has_server; /* its process was looked at */
    double server_cpu_s;
    uint64_t rss_before_bytes, rss_after_bytes, rss_peak_bytes;
    uint64_t wake_ups[N_PROC_ROLES], preempted, file_bytes;
    bool has_storage; /* it was asked for its metrics */
    uint64_t syncs, writes, written_bytes;
    struct tally tally;
};

struct result {
    const struct workload *workload; /* borrowed */
    const char *what;                /* an operation: "message"; static */
    struct stage *stages;            /* owned: STAGES_MAX of them */
    unsigned n_stages;
    struct tally checks; /* verdicts, losses and refusals of all phases */
};

MUST_USE enum err result_new(const struct workload *w, struct result *ret); /* E_NO_MEMORY */
void result_done(struct result *r);                                         /* zeros are fine */
/* Adds another run of the same workload. */
void result_add(struct result *r, const struct result *other);
bool result_is_clean(const struct result *r);

void result_print(const struct result *r, FILE *out);
void result_print_json(const struct result *r, FILE *out);
/* Two servers side by side, and second divided by first. */
void result_print_versus(const struct result *a, const struct result *b, FILE *out);
void result_print_versus_json(const struct result *a, const struct result *b, FILE *out);
