/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* crypto: the bound that this machine's cryptography sets to any server. */
#include <jansson.h>
#include <stdio.h>

#include "bench/bound.h"
#include "bench/meter.h"
#include "bench/workload.h"

static void show(double share) {
    meter_show("measuring", share, 0);
}

static void print_table(const struct bounds *b) {
    printf("%-40s %8s", "microseconds of CPU", "each");
    for (int i = 0; i < N_BOUNDS; i++) printf(" %12s", bound_name((enum bound)i));
    printf("\n");
    for (unsigned i = 0; i < b->n_ops; i++) {
        const struct bound_op *o = &b->ops[i];
        printf("%-40s %8.2f", o->text, o->us);
        for (int j = 0; j < N_BOUNDS; j++) {
            if (o->counts[j] >= 1) {
                printf(" %12.0f", o->counts[j]);
            } else if (o->counts[j] > 0) {
                printf("        1/%-3.0f", 1 / o->counts[j]);
            } else {
                printf(" %12s", "");
            }
        }
        printf("\n");
    }
    printf("%-40s %8s", "bound: sum, microseconds", "");
    for (int i = 0; i < N_BOUNDS; i++) printf(" %12.1f", b->us[i]);
    printf("\n%-40s %8s", "bound: per second and core", "");
    for (int i = 0; i < N_BOUNDS; i++) printf(" %12.0f", 1e6 / b->us[i]);
    printf("\n");
}

static void print_json(const struct bounds *b) {
    json_t *ops = json_object(), *sums = json_object();
    for (unsigned i = 0; i < b->n_ops; i++) {
        (void)json_object_set_new(ops, b->ops[i].name, json_real(b->ops[i].us));
    }
    for (int i = 0; i < N_BOUNDS; i++) {
        (void)json_object_set_new(sums, bound_name((enum bound)i), json_real(b->us[i]));
    }
    json_t *all =
        json_pack("{s:s, s:o, s:o}", "workload", "crypto", "ops_us", ops, "bound_us", sums);
    (void)json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(all);
}

static enum err run(const struct bench_opts *o, struct bench_problem *p) {
    struct bounds b;
    const enum err e = bounds_measure(show, &b);
    meter_clear();
    if (e != OK) {
        return bench_problem_set(p, e, "the cryptography cannot be measured: %s", err_meaning(e));
    }
    if (o->json) {
        print_json(&b);
    } else {
        print_table(&b);
    }
    return OK;
}

const struct workload WORKLOAD_CRYPTO = {
    .name = "crypto",
    .summary = "The bound: what cryptography costs here, without a server",
    .run = run,
};
