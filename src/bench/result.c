/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/result.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "bench/clock.h"
#include "bench/workload.h"

static const double US_PER_S = 1e6, MIB = 1 << 20;

/* ---- keeping ---- */

enum err result_new(const struct workload *w, struct result *ret) {
    *ret = (struct result){.workload = w, .what = w->op};
    ret->stages = calloc(STAGES_MAX, sizeof *ret->stages);
    return ret->stages != NULL ? OK : E_NO_MEMORY;
}

void result_done(struct result *r) {
    free(r->stages);
}

static void add_stage(struct stage *s, const struct stage *other) {
    s->seconds += other->seconds;
    s->own_cpu_s += other->own_cpu_s;
    s->has_server = s->has_server && other->has_server;
    s->server_cpu_s += other->server_cpu_s;
    s->rss_after_bytes = other->rss_after_bytes;
    s->rss_peak_bytes = other->rss_peak_bytes;
    for (size_t i = 0; i < N_PROC_ROLES; i++) s->wake_ups[i] += other->wake_ups[i];
    s->preempted += other->preempted;
    s->file_bytes += other->file_bytes;
    s->has_storage = s->has_storage && other->has_storage;
    s->syncs += other->syncs;
    s->writes += other->writes;
    s->written_bytes += other->written_bytes;
    tally_merge(&s->tally, &other->tally);
}

void result_add(struct result *r, const struct result *other) {
    for (unsigned i = 0; i < other->n_stages; i++) {
        if (i < r->n_stages) {
            add_stage(&r->stages[i], &other->stages[i]);
        } else {
            r->stages[r->n_stages++] = other->stages[i];
        }
    }
    tally_merge_checks(&r->checks, &other->checks);
}

bool result_is_clean(const struct result *r) {
    return tally_is_clean(&r->checks);
}

/* ---- what follows from it ---- */

static double per_second(const struct stage *s) {
    return s->seconds > 0 ? (double)s->tally.ops / s->seconds : 0;
}

static double us_per_op(const struct stage *s, double cpu_s) {
    return s->tally.ops != 0 ? cpu_s * US_PER_S / (double)s->tally.ops : 0;
}

static double per_op(const struct stage *s, uint64_t n) {
    return s->tally.ops != 0 ? (double)n / (double)s->tally.ops : 0;
}

static double wake_ups_per_op(const struct stage *s) {
    uint64_t n = 0;
    for (size_t i = 0; i < N_PROC_ROLES; i++) n += s->wake_ups[i];
    return per_op(s, n);
}

static double grown_per_op(const struct stage *s) {
    const double grown = (double)s->rss_after_bytes - (double)s->rss_before_bytes;
    return s->tally.ops != 0 ? grown / (double)s->tally.ops : 0;
}

/* The columns of a latency. */
static const struct {
    const char *name;
    double share; /* above 1: the largest */
} QUANTILES[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 2}};

static double quantile_us(const struct histogram *h, size_t i) {
    const double share = QUANTILES[i].share;
    const uint64_t ns = share > 1 ? h->max : histogram_quantile(h, share);
    return (double)ns / CLOCK_NS_PER_US;
}

/* ---- the table ---- */

static void print_latencies(const struct stage *s, FILE *out) {
    fprintf(out, "  %-32s %10s", "latency, ms", "count");
    for (size_t i = 0; i < ARRAY_LEN(QUANTILES); i++) fprintf(out, " %9s", QUANTILES[i].name);
    fprintf(out, "\n");
    for (size_t l = 0; l < N_LATENCIES; l++) {
        const struct histogram *h = &s->tally.latencies[l];
        if (h->n == 0) continue;
        fprintf(out, "  %-32s %10" PRIu64, latency_meaning((enum latency)l), h->n);
        for (size_t i = 0; i < ARRAY_LEN(QUANTILES); i++) {
            fprintf(out, " %9.3f", quantile_us(h, i) / 1000);
        }
        fprintf(out, "\n");
    }
}

static void print_wake_ups(const struct result *r, const struct stage *s, FILE *out) {
    fprintf(out, "  wake-ups: %.2f per %s (", wake_ups_per_op(s), r->what);
    for (size_t i = 0; i < N_PROC_ROLES; i++) {
        fprintf(out, "%s%s %.2f", i != 0 ? ", " : "", proc_role_name((enum proc_role)i),
                per_op(s, s->wake_ups[i]));
    }
    fprintf(out, "); preempted %.2f\n", per_op(s, s->preempted));
}

static void print_storage(const struct result *r, const struct stage *s, FILE *out) {
    if (s->has_server)
        fprintf(out, "  files: %.0f bytes written per %s\n", per_op(s, s->file_bytes), r->what);
    if (!s->has_storage) return;
    fprintf(out, "  disk: %.3f syncs, %.2f writes, %.0f bytes written per %s\n",
            per_op(s, s->syncs), per_op(s, s->writes), per_op(s, s->written_bytes), r->what);
}

static void print_stage(const struct result *r, const struct stage *s, FILE *out) {
    fprintf(out, "%s: %" PRIu64 " %ss in %.2f s, %.1f per second\n", s->name, s->tally.ops, r->what,
            s->seconds, per_second(s));
    if (s->has_server) {
        fprintf(out,
                "  server: %.1f us of CPU per %s, %.0f %% of a core; memory %.1f MiB, %.1f "
                "before, peak %.1f; %.0f bytes more per %s\n",
                us_per_op(s, s->server_cpu_s), r->what,
                s->seconds > 0 ? 100 * s->server_cpu_s / s->seconds : 0,
                (double)s->rss_after_bytes / MIB, (double)s->rss_before_bytes / MIB,
                (double)s->rss_peak_bytes / MIB, grown_per_op(s), r->what);
        print_wake_ups(r, s, out);
    }
    print_storage(r, s, out);
    fprintf(out, "  smp-bench itself: %.1f us of CPU per %s\n", us_per_op(s, s->own_cpu_s),
            r->what);
    print_latencies(s, out);
}

static void print_checks(const struct tally *t, FILE *out) {
    const uint64_t received = t->verdicts[CHECK_GOOD] + t->verdicts[CHECK_DISORDERED];
    if (received != 0 || !tally_is_clean(t)) {
        fprintf(out,
                "messages: %" PRIu64 " received, %" PRIu64 " lost, %" PRIu64 " twice, %" PRIu64
                " out of order, %" PRIu64 " damaged\n",
                received, t->lost, t->verdicts[CHECK_DUPLICATE], t->verdicts[CHECK_DISORDERED],
                t->verdicts[CHECK_DAMAGED]);
    }
    for (unsigned i = 0; i < t->n_refusals; i++) {
        fprintf(out, "error: %s (%" PRIu64 " times)\n", t->refusals[i].name, t->refusals[i].n);
    }
}

void result_print(const struct result *r, FILE *out) {
    for (unsigned i = 0; i < r->n_stages; i++) print_stage(r, &r->stages[i], out);
    print_checks(&r->checks, out);
}

/* ---- JSON ---- */

static json_t *latency_json(const struct histogram *h) {
    json_t *o = json_pack("{s:I, s:f}", "count", (json_int_t)h->n, "mean",
                          histogram_mean(h) / CLOCK_NS_PER_US);
    for (size_t i = 0; i < ARRAY_LEN(QUANTILES); i++) {
        (void)json_object_set_new(o, QUANTILES[i].name, json_real(quantile_us(h, i)));
    }
    return o;
}

static json_t *wake_ups_json(const struct stage *s) {
    json_t *o = json_object();
    for (size_t i = 0; i < N_PROC_ROLES; i++) {
        (void)json_object_set_new(o, proc_role_name((enum proc_role)i),
                                  json_real(per_op(s, s->wake_ups[i])));
    }
    return o;
}

static json_t *server_json(const struct stage *s) {
    return json_pack("{s:f, s:f, s:I, s:I, s:I, s:f, s:o, s:f, s:f}", "cpu_us_per_op",
                     us_per_op(s, s->server_cpu_s), "cpu_s", s->server_cpu_s, "rss_before_bytes",
                     (json_int_t)s->rss_before_bytes, "rss_after_bytes",
                     (json_int_t)s->rss_after_bytes, "rss_peak_bytes",
                     (json_int_t)s->rss_peak_bytes, "wake_ups_per_op", wake_ups_per_op(s),
                     "wake_ups_by_thread", wake_ups_json(s), "preempted_per_op",
                     per_op(s, s->preempted), "file_bytes_per_op", per_op(s, s->file_bytes));
}

static json_t *storage_json(const struct stage *s) {
    return json_pack("{s:f, s:f, s:f}", "syncs_per_op", per_op(s, s->syncs), "writes_per_op",
                     per_op(s, s->writes), "written_bytes_per_op", per_op(s, s->written_bytes));
}

static json_t *stage_json(const struct stage *s) {
    json_t *latencies = json_object();
    for (size_t l = 0; l < N_LATENCIES; l++) {
        const struct histogram *h = &s->tally.latencies[l];
        if (h->n == 0) continue;
        (void)json_object_set_new(latencies, latency_name((enum latency)l), latency_json(h));
    }
    json_t *o = json_pack("{s:s, s:f, s:I, s:f, s:f, s:o}", "name", s->name, "seconds", s->seconds,
                          "ops", (json_int_t)s->tally.ops, "ops_per_second", per_second(s),
                          "own_cpu_us_per_op", us_per_op(s, s->own_cpu_s), "latency_us", latencies);
    if (s->has_server) (void)json_object_set_new(o, "server", server_json(s));
    if (s->has_storage) (void)json_object_set_new(o, "storage", storage_json(s));
    return o;
}

static json_t *checks_json(const struct tally *t) {
    const uint64_t received = t->verdicts[CHECK_GOOD] + t->verdicts[CHECK_DISORDERED];
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "received", (json_int_t)received, "lost",
                     (json_int_t)t->lost, "duplicate", (json_int_t)t->verdicts[CHECK_DUPLICATE],
                     "disordered", (json_int_t)t->verdicts[CHECK_DISORDERED], "damaged",
                     (json_int_t)t->verdicts[CHECK_DAMAGED]);
}

static json_t *result_json(const struct result *r) {
    json_t *stages = json_array(), *errors = json_object();
    for (unsigned i = 0; i < r->n_stages; i++) {
        (void)json_array_append_new(stages, stage_json(&r->stages[i]));
    }
    for (unsigned i = 0; i < r->checks.n_refusals; i++) {
        (void)json_object_set_new(errors, r->checks.refusals[i].name,
                                  json_integer((json_int_t)r->checks.refusals[i].n));
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "workload", r->workload->name, "op", r->what,
                     "stages", stages, "checks", checks_json(&r->checks), "errors", errors);
}

static void print_json(json_t *owned, FILE *out) {
    (void)json_dumpf(owned, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    fprintf(out, "\n");
    json_decref(owned);
}

void result_print_json(const struct result *r, FILE *out) {
    print_json(result_json(r), out);
}

/* ---- two servers ---- */

/* One line of a comparison. */
struct figure {
    char name[64];
    double a, b;
};
enum { FIGURES_MAX = 64 };

static void add_figure(struct figure *f, unsigned *n, const char *stage, const char *name, double a,
                       double b) {
    if (*n == FIGURES_MAX) return;
    (void)snprintf(f[*n].name, sizeof f->name, "%s.%s", stage, name);
    f[*n].a = a;
    f[(*n)++].b = b;
}

static void compare_latency(struct figure *f, unsigned *n, const char *stage, enum latency l,
                            const struct histogram *a, const struct histogram *b) {
    char name[32];
    if (a->n == 0 || b->n == 0) return;
    for (size_t i = 0; i < ARRAY_LEN(QUANTILES); i++) {
        (void)snprintf(name, sizeof name, "%s_%s_us", latency_name(l), QUANTILES[i].name);
        add_figure(f, n, stage, name, quantile_us(a, i), quantile_us(b, i));
    }
}

static void compare_costs(struct figure *f, unsigned *n, const struct stage *a,
                          const struct stage *b) {
    if (a->has_server && b->has_server) {
        add_figure(f, n, a->name, "server_cpu_us_per_op", us_per_op(a, a->server_cpu_s),
                   us_per_op(b, b->server_cpu_s));
        add_figure(f, n, a->name, "server_rss_mib", (double)a->rss_after_bytes / MIB,
                   (double)b->rss_after_bytes / MIB);
        add_figure(f, n, a->name, "wake_ups_per_op", wake_ups_per_op(a), wake_ups_per_op(b));
        add_figure(f, n, a->name, "file_bytes_per_op", per_op(a, a->file_bytes),
                   per_op(b, b->file_bytes));
    }
    if (a->has_storage && b->has_storage) {
        add_figure(f, n, a->name, "syncs_per_op", per_op(a, a->syncs), per_op(b, b->syncs));
        add_figure(f, n, a->name, "written_bytes_per_op", per_op(a, a->written_bytes),
                   per_op(b, b->written_bytes));
    }
}

static unsigned compare(const struct result *ra, const struct result *rb,
                        struct figure ret[FIGURES_MAX]) {
    unsigned n = 0;
    for (unsigned i = 0; i < ra->n_stages && i < rb->n_stages; i++) {
        const struct stage *a = &ra->stages[i], *b = &rb->stages[i];
        add_figure(ret, &n, a->name, "ops_per_second", per_second(a), per_second(b));
        compare_costs(ret, &n, a, b);
        for (size_t l = 0; l < N_LATENCIES; l++) {
            compare_latency(ret, &n, a->name, (enum latency)l, &a->tally.latencies[l],
                            &b->tally.latencies[l]);
        }
    }
    return n;
}

static double ratio_of(const struct figure *f) {
    return f->a != 0 ? f->b / f->a : 0;
}

void result_print_versus(const struct result *a, const struct result *b, FILE *out) {
    struct figure f[FIGURES_MAX];
    const unsigned n = compare(a, b, f);
    fprintf(out, "%-36s %14s %14s %8s\n", a->workload->name, "first", "second", "ratio");
    for (unsigned i = 0; i < n; i++) {
        fprintf(out, "%-36s %14.2f %14.2f %8.3f\n", f[i].name, f[i].a, f[i].b, ratio_of(&f[i]));
    }
    print_checks(&a->checks, out);
    print_checks(&b->checks, out);
}

void result_print_versus_json(const struct result *a, const struct result *b, FILE *out) {
    struct figure f[FIGURES_MAX];
    const unsigned n = compare(a, b, f);
    json_t *ratio = json_object();
    for (unsigned i = 0; i < n; i++) {
        (void)json_object_set_new(ratio, f[i].name, json_real(ratio_of(&f[i])));
    }
    print_json(json_pack("{s:o, s:o, s:o}", "first", result_json(a), "second", result_json(b),
                         "ratio", ratio),
               out);
}
