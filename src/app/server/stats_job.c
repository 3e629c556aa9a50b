/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/stats_job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "app/server/stats_state.h"
#include "base/day.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/thread.h"

enum {
    TICK_MS = 1000,
    SAVE_INTERVAL_MS = 300 * 1000,
    RETRY_MS = 60 * 1000,               /* after a file could not be written */
    UNWRITTEN_MAX = 16 * STATS_CSV_MAX, /* bytes of days that could not be written */
    FILE_MODE = 0640,
    EXPORTER_MODE = 0644,
};

struct stats_job {
    /* fixed after stats_job_new() */
    struct stats_job_opts o;
    struct thread thread;
    /* the thread's, or the stopping thread's when it has ended */
    int64_t midnight_s;                    /* at which this day ends */
    int64_t save_ms, metrics_ms, retry_ms; /* monotonic: when next */
    char unwritten[UNWRITTEN_MAX];         /* lines for the CSV file */
    size_t n_unwritten;
    struct lock saving;
    struct stats_state state; /* guarded by saving */
    /* guarded by mtx */
    struct lock mtx;
    struct lock_cond wake;
    bool is_stopping;
};

/* ---- files ---- */

/* After a line that was cut off another one begins. */
static enum err ends_in_line(const struct vfs *v, int fd, uint64_t size, bool *ret) {
    char last = '\n';
    size_t n = 0;
    const enum err e = size != 0 ? v->read_at(v->ctx, fd, &last, 1, size - 1, &n) : OK;
    *ret = last == '\n';
    return e;
}

/* Behind what is there, or not at all. */
static enum err append_to(const struct vfs *v, int fd, uint64_t size, struct bytes b) {
    bool is_whole = true;
    enum err e = ends_in_line(v, fd, size, &is_whole);
    if (e != OK) return e;
    if (!is_whole) e = vfs_write(v, fd, bytes_str("\n"), size);
    if (e == OK) e = vfs_write(v, fd, b, size + !is_whole);
    if (e == OK) e = v->sync(v->ctx, fd);
    const int why = errno;
    if (e != OK) (void)v->truncate(v->ctx, fd, size);
    errno = why;
    return e;
}

static enum err append(const struct vfs *v, const char *path, struct bytes b) {
    int fd = -1;
    uint64_t size = 0;
    enum err e = v->open(v->ctx, path, O_RDWR | O_CREAT, FILE_MODE, &fd);
    if (e != OK) return e;
    e = v->size(v->ctx, fd, &size);
    if (e == OK) e = append_to(v, fd, size, b);
    const int why = errno;
    v->close(v->ctx, fd);
    errno = why;
    return e;
}

static void warn_not_written(const char *path, enum err e) {
    log_line(LOG_WARN, "stats_not_written", "file=\"%s\" reason=\"%s\"", path,
             e == E_NO_MEMORY || e == E_LIMIT ? err_meaning(e) : strerror(errno));
}

/* ---- state ---- */

enum err stats_job_save(struct stats_job *j) {
    struct stats_gauges g = {0};
    if (!j->o.log_stats) return OK;
    j->o.gauges(j->o.ctx, &g);
    lock_take(&j->saving);
    const enum err e = stats_state_save(&j->state, g.value[GAUGE_Q_COUNT]);
    lock_give(&j->saving);
    return e;
}

static void save(struct stats_job *j) {
    const enum err e = stats_job_save(j);
    if (e != OK) warn_not_written(j->o.paths->stats, e);
    j->save_ms = env_mono_ms(j->o.env) + SAVE_INTERVAL_MS;
}

/* ---- days ---- */

static int64_t next_midnight(int64_t now_s) {
    return (calendar_day(now_s) + 1) * DAY_S;
}

/* Of the oldest days, whole lines are dropped until there is room for one more. */
static void make_room(struct stats_job *j) {
    while (j->n_unwritten + STATS_CSV_MAX > sizeof j->unwritten) {
        const char *end = memchr(j->unwritten, '\n', j->n_unwritten);
        const size_t n = (size_t)(end - j->unwritten) + 1;
        log_line(LOG_ERROR, "stats_day_lost", "line=\"%.*s\"", (int)n - 1, j->unwritten);
        memmove(j->unwritten, j->unwritten + n, j->n_unwritten - n);
        j->n_unwritten -= n;
    }
}

static void write_days(struct stats_job *j) {
    if (j->n_unwritten == 0) return;
    const enum err e =
        append(j->o.vfs, j->o.paths->stats_daily, bytes_of(j->unwritten, j->n_unwritten));
    j->retry_ms = env_mono_ms(j->o.env) + RETRY_MS;
    if (e != OK) {
        warn_not_written(j->o.paths->stats_daily, e);
        return;
    }
    j->n_unwritten = 0;
}

static void end_day(struct stats_job *j) {
    struct stats_gauges g = {0};
    struct stats_report r;
    if (!j->o.log_stats) {
        stats_end_active_day(j->o.stats);
        return;
    }
    j->o.gauges(j->o.ctx, &g);
    stats_end_day(j->o.stats, &g, &r);
    make_room(j);
    struct wr w = wr_init(j->unwritten + j->n_unwritten, sizeof j->unwritten - j->n_unwritten);
    stats_write_csv(&r, &w);
    j->n_unwritten += wr_bytes(&w).n;
    write_days(j);
    save(j);
}

static void check_midnight(struct stats_job *j) {
    const int64_t now_s = env_now_s(j->o.env);
    if (now_s >= j->midnight_s) {
        end_day(j);
    } else if (j->midnight_s - now_s <= 2 * (int64_t)DAY_S) {
        return;
    } /* else the clock was set back by days: it is trusted again */
    j->midnight_s = next_midnight(now_s);
}

/* ---- metrics ---- */

void stats_job_report(struct stats_job *j, struct stats_report *ret) {
    struct stats_gauges g = {0};
    j->o.gauges(j->o.ctx, &g);
    stats_report(j->o.stats, &g, ret);
}

static void write_metrics_to(const struct stats_job *j, const struct stats_report *r,
                             enum stats_metrics_for what_for, const char *path, mode_t mode) {
    uint8_t *text = malloc(STATS_METRICS_MAX);
    enum err e = E_NO_MEMORY;
    if (text != NULL) {
        struct wr w = wr_init(text, STATS_METRICS_MAX);
        stats_write_metrics(r, j->o.version, what_for, &w);
        e = stats_state_replace(j->o.vfs, path, mode, wr_bytes(&w));
        free(text);
    }
    if (e != OK) warn_not_written(path, e);
}

/* One file as the reference writes it, and one that node_exporter takes, which is another user. */
static void write_metrics(struct stats_job *j) {
    struct stats_report r;
    stats_job_report(j, &r);
    write_metrics_to(j, &r, METRICS_FOR_FILE, j->o.paths->metrics, FILE_MODE);
    write_metrics_to(j, &r, METRICS_FOR_EXPORTER, j->o.paths->metrics_prom, EXPORTER_MODE);
    j->metrics_ms = env_mono_ms(j->o.env) + j->o.metrics_interval_s * 1000;
}

/* ---- the thread ---- */

void stats_job_tick(struct stats_job *j) {
    const int64_t now_ms = env_mono_ms(j->o.env);
    check_midnight(j);
    if (now_ms >= j->retry_ms) write_days(j);
    if (now_ms >= j->save_ms) save(j);
    if (j->o.metrics_interval_s != 0 && now_ms >= j->metrics_ms) write_metrics(j);
}

static void run(void *arg) {
    struct stats_job *j = arg;
    lock_take(&j->mtx);
    while (!j->is_stopping) {
        lock_give(&j->mtx);
        stats_job_tick(j);
        lock_take(&j->mtx);
        if (!j->is_stopping) (void)lock_wait_ms(&j->wake, &j->mtx, TICK_MS);
    }
    lock_give(&j->mtx);
}

enum err stats_job_new(const struct stats_job_opts *o, struct stats_job **ret,
                       struct problem *ret_problem) {
    struct stats_job *j = calloc(1, sizeof *j);
    if (j == NULL) return problem_set(ret_problem, E_NO_MEMORY, "out of memory");
    j->o = *o;
    j->state =
        (struct stats_state){.env = o->env, .vfs = o->vfs, .paths = o->paths, .stats = o->stats};
    const enum err e = o->log_stats ? stats_state_restore(&j->state, ret_problem) : OK;
    if (e != OK) {
        free(j);
        return e;
    }
    j->midnight_s = next_midnight(env_now_s(o->env));
    j->save_ms = env_mono_ms(o->env) + SAVE_INTERVAL_MS;
    j->metrics_ms = env_mono_ms(o->env) + o->metrics_interval_s * 1000;
    lock_init(&j->saving, LOCK_STATS_SAVING);
    lock_init(&j->mtx, LOCK_STATS_JOB);
    lock_cond_init(&j->wake);
    *ret = j;
    return OK;
}

enum err stats_job_start(struct stats_job *j) {
    return thread_start(&j->thread, "statistics", run, j);
}

void stats_job_stop(struct stats_job *j) {
    if (j == NULL || !j->thread.is_started) return;
    lock_take(&j->mtx);
    j->is_stopping = true;
    lock_wake(&j->wake);
    lock_give(&j->mtx);
    thread_join(&j->thread);
    write_days(j);
    if (j->n_unwritten != 0) {
        log_line(LOG_ERROR, "stats_day_lost", "lines=\"%.*s\"", (int)j->n_unwritten - 1,
                 j->unwritten);
    }
    save(j);
}

void stats_job_free(struct stats_job *j) {
    if (j == NULL) return;
    lock_cond_done(&j->wake);
    lock_done(&j->mtx);
    lock_done(&j->saving);
    free(j);
}
