/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/crew.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/lock.h"
#include "bench/clock.h"
#include "bench/meter.h"
#include "bench/scrape.h"
#include "bench/workload.h"
#include "net/loop.h"
#include "net/tls.h"

enum { LOOK_EVERY_NS = 100000000, STALL_GRACE_S = 5 };

struct crew {
    /* fixed after start */
    const struct workload *workload; /* borrowed */
    const struct bench_opts *o;      /* borrowed */
    struct watched watched;
    struct worker *workers; /* owned */
    unsigned n_workers;
    /* guarded by mutex */
    struct lock mutex;
    struct lock_cond changed;
    unsigned n_busy;
    bool has_failed, has_stalled;
    struct bench_problem problem;
    /* atomic, relaxed: a hint */
    _Atomic bool is_ending;
};

/* A step of a phase, on its way to a worker. */
struct order {
    struct loop_msg msg;
    struct worker *w;
    const struct phase *phase;
    bool stop;
};

/* ---- for workloads ---- */

static void hand_over(struct worker *w) {
    tally_merge(&w->handed, &w->tally);
    memset(&w->tally, 0, sizeof w->tally);
}

void worker_end_phase(struct worker *w) {
    struct crew *c = w->crew;
    if (!w->is_busy) return;
    w->is_busy = false;
    lock_take(&c->mutex);
    hand_over(w);
    c->n_busy--;
    lock_wake(&c->changed);
    lock_give(&c->mutex);
}

static void keep_failure(struct crew *c, const struct bench_problem *p) {
    lock_take(&c->mutex);
    if (!c->has_failed) c->problem = *p;
    c->has_failed = true;
    lock_wake(&c->changed);
    lock_give(&c->mutex);
}

void worker_fail(struct worker *w, const char *fmt, ...) {
    struct bench_problem p;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(p.text, sizeof p.text, fmt, ap);
    va_end(ap);
    keep_failure(w->crew, &p);
}

static void fail(struct crew *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void fail(struct crew *c, const char *fmt, ...) {
    struct bench_problem p;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(p.text, sizeof p.text, fmt, ap);
    va_end(ap);
    keep_failure(c, &p);
}

bool worker_is_ending(const struct worker *w) {
    return atomic_load_explicit(&w->crew->is_ending, memory_order_relaxed);
}

unsigned worker_share(const struct worker *w, double n) {
    const unsigned all = (unsigned)n, of = w->crew->n_workers;
    return all / of + (w->index < all % of ? 1 : 0);
}

unsigned worker_first(const struct worker *w, double n) {
    const unsigned all = (unsigned)n, of = w->crew->n_workers, extra = all % of;
    return all / of * w->index + (w->index < extra ? w->index : extra);
}

double worker_rate(const struct worker *w) {
    return w->o->rate / w->crew->n_workers;
}

void worker_expect(struct worker *w, uint64_t n) {
    atomic_store_explicit(&w->n_expected, n, memory_order_relaxed);
}

void worker_step(struct worker *w) {
    atomic_fetch_add_explicit(&w->n_done, 1, memory_order_relaxed);
}

void worker_latency(struct worker *w, enum latency l, int64_t start_ns) {
    histogram_add(&w->tally.latencies[l], clock_ns() - start_ns);
}

/* ---- workers ---- */

static void set_client_opts(struct worker *w) {
    const struct bench_opts *o = w->o;
    const uint16_t version = (uint16_t)o->version;
    const int64_t timeout_ms = (int64_t)(o->timeout_s * 1000);
    w->conn = (struct conn_opts){.ops = &SMP_CLIENT_OPS,
                                 .stream.tls_timeout_ms = timeout_ms,
                                 .block_timeout_ms = timeout_ms};
    w->dial.conn = &w->conn;
    w->dial.allow_private = true;
    w->client = (struct smp_client_opts){
        .env = &ENV_SYSTEM,
        .dial = &w->dial,
        .version_min = version != 0 ? version : (uint16_t)V_LEGACY,
        .version_max = version != 0 ? version : (uint16_t)V_CLIENT_NOTICES,
        .connect_timeout_ms = timeout_ms,
        .request_timeout_ms = timeout_ms,
        .requests_max = SIZE_MAX,
        .unsent_max = SIZE_MAX,
    };
}

static enum err worker_init(struct worker *w) {
    set_client_opts(w);
    enum err e = loop_new(w->index, &ENV_SYSTEM, &w->loop);
    if (e == OK) e = tls_client_ctx_new(&ENV_SYSTEM, &w->dial.tls);
    if (e == OK) e = w->crew->workload->job_new(w);
    if (e == OK) e = loop_start(w->loop);
    return e;
}

static enum err start(struct crew *c, const struct goal *goal) {
    uint64_t run;
    env_random(&ENV_SYSTEM, &run, sizeof run);
    for (unsigned i = 0; i < c->n_workers; i++) {
        struct worker *w = &c->workers[i];
        w->crew = c;
        w->index = i;
        w->o = c->o;
        w->goal = goal;
        w->run = run;
        const enum err e = worker_init(w);
        if (e != OK) return e;
    }
    return OK;
}

/* Also of a crew that was started in part. */
static void end(struct crew *c) {
    atomic_store_explicit(&c->is_ending, true, memory_order_relaxed);
    for (unsigned i = 0; i < c->n_workers; i++) {
        if (c->workers[i].loop != NULL) loop_stop(c->workers[i].loop);
    }
    for (unsigned i = 0; i < c->n_workers; i++) {
        if (c->workers[i].loop != NULL) loop_join(c->workers[i].loop);
    }
}

static void free_workers(struct crew *c) {
    for (unsigned i = 0; i < c->n_workers; i++) {
        struct worker *w = &c->workers[i];
        loop_free(w->loop);
        if (w->job != NULL) c->workload->job_free(w);
        tls_ctx_free(w->dial.tls);
    }
    free(c->workers);
}

/* ---- phases ---- */

static void run_order(struct loop_msg *m) {
    struct order *o = CONTAINER_OF(m, struct order, msg);
    struct worker *w = o->w;
    if (!o->stop) {
        w->is_busy = true;
        w->is_stopping = false;
        o->phase->start(w);
    } else if (w->is_busy) {
        w->is_stopping = true;
        o->phase->stop(w);
    }
    free(o);
}

static void order_all(struct crew *c, const struct phase *phase, bool stop) {
    for (unsigned i = 0; i < c->n_workers; i++) {
        struct order *o = malloc(sizeof *o);
        if (o == NULL) {
            fail(c, "out of memory");
            return;
        }
        *o =
            (struct order){.msg.run = run_order, .w = &c->workers[i], .phase = phase, .stop = stop};
        loop_post(c->workers[i].loop, &o->msg);
    }
}

static uint64_t sum(const struct crew *c, size_t offset) {
    uint64_t n = 0;
    for (unsigned i = 0; i < c->n_workers; i++) {
        const _Atomic uint64_t *one = (const void *)((const char *)&c->workers[i] + offset);
        n += atomic_load_explicit(one, memory_order_relaxed);
    }
    return n;
}

/* One phase, as the main thread sees it. */
struct watch {
    const struct phase *phase;
    int64_t start_ns, end_ns; /* end: when it is stopped; 0: it ends by itself */
    int64_t moved_ns;         /* when something was done last */
    uint64_t n_done;
    bool is_stopped;
};

static double share_of(const struct crew *c, const struct watch *t, int64_t now) {
    const uint64_t expected = sum(c, offsetof(struct worker, n_expected));
    if (expected != 0) return (double)t->n_done / (double)expected;
    if (t->end_ns == 0) return 0;
    return (double)(now - t->start_ns) / (double)(t->end_ns - t->start_ns);
}

static void look(struct crew *c, struct watch *t) {
    const int64_t now = clock_ns();
    const uint64_t n_done = sum(c, offsetof(struct worker, n_done));
    if (n_done != t->n_done) t->moved_ns = now;
    t->n_done = n_done;
    meter_show(t->phase->title, share_of(c, t, now),
               (double)n_done * CLOCK_NS_PER_S / (double)(now - t->start_ns));
    if (t->end_ns != 0 && now >= t->end_ns && !t->is_stopped) {
        t->is_stopped = true;
        t->moved_ns = now;
        order_all(c, t->phase, true);
    }
    const double still_s = (double)(now - t->moved_ns) / CLOCK_NS_PER_S;
    const bool may_rest = t->end_ns != 0 && !t->is_stopped;
    if (may_rest || still_s < c->o->timeout_s + STALL_GRACE_S) return;
    fail(c, "nothing has moved for %.0f s while %s", still_s, t->phase->title);
    c->has_stalled = true;
}

/* Waits for a change, LOOK_EVERY_NS at most; true: the phase is over. */
static bool wait_for_news(struct crew *c) {
    lock_take(&c->mutex);
    if (c->n_busy > 0 && !c->has_failed)
        (void)lock_wait_ms(&c->changed, &c->mutex, LOOK_EVERY_NS / 1000000);
    const bool is_over = c->n_busy == 0 || c->has_failed;
    lock_give(&c->mutex);
    return is_over;
}

static double seconds_of(const struct crew *c, const struct phase *p) {
    if (p->is_warm_up) return c->o->warm_up_s;
    return c->o->count > 0 && p->stage != NULL ? 0 : c->o->seconds;
}

static void run_phase(struct crew *c, const struct phase *p) {
    struct watch t = {.phase = p, .start_ns = clock_ns()};
    const double seconds = p->stop != NULL ? seconds_of(c, p) : 0;
    if (seconds > 0) t.end_ns = t.start_ns + (int64_t)(seconds * CLOCK_NS_PER_S);
    t.moved_ns = t.start_ns;
    lock_take(&c->mutex);
    c->n_busy = c->n_workers;
    lock_give(&c->mutex);
    for (unsigned i = 0; i < c->n_workers; i++) {
        struct worker *w = &c->workers[i];
        atomic_store_explicit(&w->n_done, 0, memory_order_relaxed);
        worker_expect(w, 0);
    }
    order_all(c, p, false);
    while (!wait_for_news(c)) look(c, &t);
}

/* ---- measuring ---- */

/* Takes what the workers have handed over. */
static void collect(struct crew *c, struct stage *stage, struct result *ret) {
    lock_take(&c->mutex);
    for (unsigned i = 0; i < c->n_workers; i++) {
        struct tally *t = &c->workers[i].handed;
        if (stage != NULL) tally_merge(&stage->tally, t);
        tally_merge_checks(&ret->checks, t);
        memset(t, 0, sizeof *t);
    }
    lock_give(&c->mutex);
}

/* What there is to see of the server. */
struct sight {
    struct proc_sample process;
    struct storage_sample storage;
    bool has_process, has_storage;
};

static void see(const struct watched *w, struct sight *ret) {
    *ret = (struct sight){0};
    ret->has_storage = w->metrics_port != 0 && scrape_read(w->metrics_port, &ret->storage);
    ret->has_process = w->pid != 0 && proc_read(w->pid, &ret->process);
}

static void note_process(const struct proc_sample *before, const struct proc_sample *after,
                         struct stage *s) {
    s->server_cpu_s = (double)(after->cpu_ns - before->cpu_ns) / CLOCK_NS_PER_S;
    s->rss_before_bytes = before->rss_bytes;
    s->rss_after_bytes = after->rss_bytes;
    s->rss_peak_bytes = after->peak_rss_bytes;
    for (size_t i = 0; i < N_PROC_ROLES; i++)
        s->wake_ups[i] = after->wake_ups[i] - before->wake_ups[i];
    s->preempted = after->preempted - before->preempted;
    s->file_bytes = after->file_bytes - before->file_bytes;
}

static void measure_phase(struct crew *c, const struct phase *p, struct result *ret) {
    struct stage *s = &ret->stages[ret->n_stages++];
    struct sight before, after;
    s->name = p->stage;
    see(&c->watched, &before);
    const int64_t start_ns = clock_ns(), own_ns = clock_own_cpu_ns();
    run_phase(c, p);
    s->seconds = (double)(clock_ns() - start_ns) / CLOCK_NS_PER_S;
    s->own_cpu_s = (double)(clock_own_cpu_ns() - own_ns) / CLOCK_NS_PER_S;
    see(&c->watched, &after);
    s->has_server = before.has_process && after.has_process;
    if (s->has_server) note_process(&before.process, &after.process, s);
    s->has_storage = before.has_storage && after.has_storage;
    if (!s->has_storage) return;
    s->syncs = after.storage.n_syncs - before.storage.n_syncs;
    s->writes = after.storage.n_writes - before.storage.n_writes;
    s->written_bytes = after.storage.written_bytes - before.storage.written_bytes;
}

static bool has_failed(struct crew *c) {
    lock_take(&c->mutex);
    const bool failed = c->has_failed;
    lock_give(&c->mutex);
    return failed;
}

static void run_phases(struct crew *c, struct result *ret) {
    for (size_t i = 0; i < c->workload->n_phases && !has_failed(c); i++) {
        const struct phase *p = &c->workload->phases[i];
        if (p->is_warm_up && c->o->warm_up_s <= 0) continue;
        if (p->stage != NULL) {
            measure_phase(c, p, ret);
        } else {
            run_phase(c, p);
        }
        /* of a failed phase only when the loops have ended */
        if (has_failed(c)) break;
        collect(c, p->stage != NULL ? &ret->stages[ret->n_stages - 1] : NULL, ret);
    }
    meter_clear();
}

static void init_locks(struct crew *c) {
    lock_init(&c->mutex, LOCK_CREW);
    lock_cond_init(&c->changed);
}

static void check_all(struct crew *c) {
    if (c->workload->job_check == NULL || (c->has_failed && !c->has_stalled)) return;
    for (unsigned i = 0; i < c->n_workers; i++) c->workload->job_check(&c->workers[i]);
}

enum err crew_run(const struct workload *w, const struct bench_opts *o, const struct goal *goal,
                  struct watched watched, struct result *ret, struct bench_problem *p) {
    struct crew c = {.workload = w, .o = o, .watched = watched, .n_workers = (unsigned)o->threads};
    c.workers = calloc(c.n_workers, sizeof *c.workers);
    if (c.workers == NULL) return bench_problem_set(p, E_NO_MEMORY, "out of memory");
    init_locks(&c);
    const enum err e = start(&c, goal);
    if (e != OK) {
        fail(&c, "cannot start: %s", err_meaning(e));
    } else {
        run_phases(&c, ret);
    }
    end(&c);
    check_all(&c);
    for (unsigned i = 0; i < c.n_workers; i++) hand_over(&c.workers[i]);
    struct stage *last = c.has_failed && ret->n_stages > 0 ? &ret->stages[ret->n_stages - 1] : NULL;
    collect(&c, last, ret);
    free_workers(&c);
    lock_cond_done(&c.changed);
    lock_done(&c.mutex);
    if (!c.has_failed) return OK;
    *p = c.problem;
    return E_CLOSED;
}
