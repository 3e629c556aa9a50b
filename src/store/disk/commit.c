/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* commit.c -- the commit thread; see commit.h for what it promises.
 *
 * One group at a time: limit and take under the mutex, write and sync without it, publish, tell the
 * sinks. Only the thread changes the state, so what it reads of it needs no lock. A failure is
 * handled in this order: undo what is in the files; under the mutex refuse further appends, note
 * the lost range, and have the sinks drop; let the sinks tell their owners; only then wake who
 * waits. So whoever learns that a change was lost finds it taken back already. */
#include "store/disk/commit.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/vfs.h"
#include "stats/stats.h"

enum {
    MAX_SINKS = 4,
    MAX_LOST = 64,
    RETRY_MS = 1000,
    /* A sync costs processor time too: under load groups begin this far apart, so that they are
     * larger. A group of few changes is not load: who waits for each answer waits for the disk
     * alone. */
    SPACING_MS = 1,
    LOAD_CHANGES = 4,
    /* Whether the files are still where they are looked for: what is written to a file that was
     * removed is lost. */
    LOOK_MS = 1000,
    LOOK_IDLE_MS = 5000,
    /* A change at leisure waits for the next one that is not: LEISURE_TIMES as long as these come
     * apart, where that is no more than LEISURE_INTERVAL_US; and so many of them are a group. */
    LEISURE_TIMES = 2,
    LEISURE_INTERVAL_US = 5000,
    LEISURE_MAX_CHANGES = LOAD_CHANGES,
    /* Who waited in vain is not made to wait again for so many groups, twice as many each time. */
    DISTRUST_MIN = 16,
    DISTRUST_MAX = 1024,
    INTERVAL_WEIGHT = 4, /* of what was before */
};

struct range {
    lsn_t first, last;
};

struct lost_list {
    struct lock mtx;
    /* guarded by mtx */
    struct range v[MAX_LOST];
    unsigned n;
};

struct commit {
    /* fixed after commit_start() */
    struct commit_opts o;
    struct commit_sink sinks[MAX_SINKS];
    unsigned n_sinks;
    struct thread thread;
    bool started;
    /* commit thread only */
    int64_t unsynced_since_ms; /* when the oldest unsynced group was written */
    int64_t group_begun_ms;
    lsn_t group_changes; /* in the last group */
    int64_t retry_at_ms;
    int64_t look_at_ms; /* when next, by o.missing */
    bool last_retry;    /* tried once more while stopping */
    /* guarded by mtx */
    struct lock mtx;
    struct lock_cond work, progress;
    lsn_t last_lsn;         /* given out */
    lsn_t wanted_lsn;       /* the last one that is not at leisure */
    lsn_t taken_lsn;        /* all up to here was taken, or lost */
    int64_t waits_since_us; /* since when a change beyond taken_lsn is wanted */
    unsigned n_at_leisure;  /* changes beyond taken_lsn that were appended so */
    bool has_come;          /* one of them was not */
    int64_t came_us;        /* when the last group with such a change was taken */
    int64_t interval_us;    /* between these groups, lately */
    unsigned distrust, distrust_left;
    lsn_t finished_lsn; /* synced, and the sinks are done */
    lsn_t flush_lsn;    /* somebody waits for this to be finished */
    bool kept;          /* the sinks put something back when a group was dropped */
    bool stopping;
    struct lost_list
        *lost; /* owned; apart, so that commit_is_lost() can lock it of a const commit */
    /* atomic */
    _Atomic lsn_t durable_lsn; /* release: what was published may be acted on */
    _Atomic lsn_t synced_lsn;  /* release, as above */
    _Atomic lsn_t lost_upto; /* release after the range is in the list; 0: nothing was ever lost */
    _Atomic int state;       /* release; enum commit_state */
    _Atomic unsigned n_failures; /* release; grows after the sinks have dropped */
};

/* ---- state and lost ranges ---- */

static void set_state(struct commit *c, enum commit_state state) {
    atomic_store_explicit(&c->state, state, memory_order_release);
}

enum commit_state commit_state(const struct commit *c) {
    return (enum commit_state)atomic_load_explicit(&c->state, memory_order_acquire);
}

unsigned commit_n_failures(const struct commit *c) {
    return atomic_load_explicit(&c->n_failures, memory_order_acquire);
}

lsn_t commit_durable_lsn(const struct commit *c) {
    return atomic_load_explicit(&c->durable_lsn, memory_order_acquire);
}

lsn_t commit_synced_lsn(const struct commit *c) {
    return atomic_load_explicit(&c->synced_lsn, memory_order_acquire);
}

static void add_lost(struct commit *c, struct range r) {
    struct lost_list *l = c->lost;
    lock_take(&l->mtx);
    if (l->n != 0 && l->v[l->n - 1].last + 1 >= r.first) {
        l->v[l->n - 1].last = r.last; /* failed again without a group in between */
    } else {
        if (l->n == MAX_LOST) { /* the two oldest become one; see commit_is_lost() */
            l->v[0].last = l->v[1].last;
            memmove(&l->v[1], &l->v[2], (MAX_LOST - 2) * sizeof l->v[0]);
            l->n--;
        }
        l->v[l->n++] = r;
    }
    lock_give(&l->mtx);
    atomic_store_explicit(&c->lost_upto, r.last, memory_order_release);
}

bool commit_is_lost(const struct commit *c, lsn_t lsn) {
    if (lsn > atomic_load_explicit(&c->lost_upto, memory_order_acquire)) return false;
    struct lost_list *l = c->lost;
    bool lost = false;
    lock_take(&l->mtx);
    for (unsigned i = 0; i < l->n && !lost; i++) {
        lost = lsn >= l->v[i].first && lsn <= l->v[i].last;
    }
    lock_give(&l->mtx);
    return lost;
}

/* In this order: once there is room again, what is published passes over what was lost. */
enum err commit_fate(const struct commit *c, lsn_t lsn) {
    const lsn_t durable = commit_durable_lsn(c);
    if (commit_is_lost(c, lsn)) return E_STORE;
    return lsn <= durable ? OK : E_PENDING;
}

/* ---- the sinks together ---- */

static enum err write_taken(struct commit *c, const bool taken[]) {
    enum err e = OK;
    for (unsigned i = 0; i < c->n_sinks && e == OK; i++) {
        if (taken[i]) e = c->sinks[i].write(c->sinks[i].sink);
    }
    return e;
}

static enum err sync_all(struct commit *c) {
    enum err e = OK;
    for (unsigned i = 0; i < c->n_sinks && e == OK; i++) e = c->sinks[i].sync(c->sinks[i].sink);
    return e;
}

static bool is_shortage(enum err e, int error) {
    return e == E_NO_MEMORY || (e == E_SYS && vfs_is_shortage(error));
}

/* False: nobody knows what is in the files. */
static bool undo_taken(struct commit *c, const bool taken[]) {
    bool known = true;
    for (unsigned i = c->n_sinks; i-- > 0 && known;) {
        const enum err e = taken[i] ? c->sinks[i].undo(c->sinks[i].sink) : OK;
        known = e == OK || is_shortage(e, errno);
    }
    return known;
}

static void done_all(struct commit *c, bool ok) {
    for (unsigned i = 0; i < c->n_sinks; i++) c->sinks[i].done(c->sinks[i].sink, ok);
}

static void tell_durable(struct commit *c) {
    if (c->o.on_durable != NULL) c->o.on_durable(c->o.ctx);
}

/* ---- the commit thread; mtx is held on entry and on return of these ---- */

static void log_failure(enum commit_state state, int error) {
    const bool no_room = error == ENOSPC || error == EDQUOT;
    if (state == COMMIT_FAILED) {
        log_line(LOG_ERROR, "storage-failed",
                 "error=\"%s\" changes=\"refused until the server is started again\"",
                 strerror(error));
    } else {
        log_line(LOG_ERROR, no_room ? "storage-full" : "storage-short",
                 "error=\"%s\" changes=\"refused; tried again every second\"", strerror(error));
    }
}

/* The group that was taken, if any, and all that was appended since, has failed. */
static void fail(struct commit *c, enum commit_state state, int error) {
    set_state(c, state);
    add_lost(c, (struct range){commit_durable_lsn(c) + 1,
                               state == COMMIT_FULL ? c->last_lsn : UINT64_MAX});
    for (unsigned i = 0; i < c->n_sinks; i++) c->sinks[i].drop(c->sinks[i].sink);
    c->taken_lsn = c->last_lsn;
    c->kept = true;
    c->retry_at_ms = env_mono_ms(c->o.env) + RETRY_MS;
    lock_give(&c->mtx);
    log_failure(state, error);
    done_all(c, false);
    tell_durable(c);
    lock_take(&c->mtx);
    atomic_fetch_add_explicit(&c->n_failures, 1, memory_order_release);
    lock_wake_all(&c->progress);
}

static void fail_group(struct commit *c, const bool taken[], bool written, enum err e, int error) {
    enum commit_state state = COMMIT_FAILED;
    if (!written && is_shortage(e, error) && undo_taken(c, taken)) state = COMMIT_FULL;
    lock_take(&c->mtx);
    fail(c, state, e == E_NO_MEMORY ? ENOMEM : error);
}

static bool wants_sync(const struct commit *c) {
    return c->o.interval_ms == 0 || c->stopping || c->flush_lsn > c->finished_lsn;
}

static void publish_synced(struct commit *c, lsn_t upto) {
    atomic_store_explicit(&c->synced_lsn, upto, memory_order_release);
}

static void observe_latency(const struct commit *c, int64_t since_us) {
    const int64_t us = env_mono_us(c->o.env) - since_us;
    stats_observe(c->o.stats, HISTOGRAM_COMMIT_US, us > 0 ? (uint64_t)us : 0);
}

/* How often there is company for a change at leisure. */
static void note_company(struct commit *c, int64_t now_us) {
    if (!c->has_come) return;
    const int64_t us = now_us - c->came_us;
    const int64_t most = (int64_t)LEISURE_INTERVAL_US * INTERVAL_WEIGHT * 2;
    c->interval_us += ((us < most ? us : most) - c->interval_us) / INTERVAL_WEIGHT;
    c->came_us = now_us;
    c->has_come = false;
    if (c->distrust_left != 0) {
        c->distrust_left--;
    } else if (c->n_at_leisure != 0) {
        c->distrust /= 2;
    }
}

/* One group: taken, written, synced, published. */
static void do_group(struct commit *c) {
    lsn_t upto = c->last_lsn;
    for (unsigned i = 0; i < c->n_sinks; i++) {
        if (c->sinks[i].limit != NULL) upto = c->sinks[i].limit(c->sinks[i].sink, upto);
    }
    bool taken[MAX_SINKS] = {false};
    for (unsigned i = 0; i < c->n_sinks; i++) taken[i] = c->sinks[i].take(c->sinks[i].sink, upto);
    const int64_t now_us = env_mono_us(c->o.env);
    /* what was at leisure has not waited */
    const int64_t first_us = c->wanted_lsn > c->taken_lsn ? c->waits_since_us : now_us;
    note_company(c, now_us);
    c->n_at_leisure = 0;
    c->waits_since_us = now_us; /* of what this group does not take: it came a little earlier */
    c->group_begun_ms = now_us / 1000;
    c->group_changes = upto - c->taken_lsn;
    c->taken_lsn = upto;
    c->kept = false;
    const bool with_sync = wants_sync(c);
    lock_give(&c->mtx);

    enum err e = write_taken(c, taken);
    const bool written = e == OK;
    if (written && with_sync) e = sync_all(c);
    if (e != OK) {
        fail_group(c, taken, written, e, errno);
        return;
    }
    if (with_sync) {
        publish_synced(c, upto);
    } else if (commit_synced_lsn(c) == commit_durable_lsn(c)) {
        c->unsynced_since_ms = env_mono_ms(c->o.env);
    }
    atomic_store_explicit(&c->durable_lsn, upto, memory_order_release);
    if (c->group_changes != 0) observe_latency(c, first_us);
    tell_durable(c);
    done_all(c, true);
    lock_take(&c->mtx);
    if (with_sync) c->finished_lsn = upto;
    lock_wake_all(&c->progress);
}

/* Groups that were published before they were synced. */
static void do_sync(struct commit *c) {
    lock_give(&c->mtx);
    const enum err e = sync_all(c);
    const int error = errno;
    const lsn_t upto = commit_durable_lsn(c);
    if (e == OK) publish_synced(c, upto);
    lock_take(&c->mtx);
    if (e == OK) {
        c->finished_lsn = upto;
        lock_wake_all(&c->progress);
    } else {
        fail(c, COMMIT_FAILED, e == E_NO_MEMORY ? ENOMEM : error);
    }
}

static void do_retry(struct commit *c) {
    c->last_retry = c->stopping;
    lock_give(&c->mtx);
    enum err e = OK;
    for (unsigned i = 0; i < c->n_sinks && e == OK; i++) e = c->sinks[i].retry(c->sinks[i].sink);
    const int error = errno;
    lock_take(&c->mtx);
    if (e == OK) {
        set_state(c, COMMIT_OK);
    } else if (!is_shortage(e, error)) {
        fail(c, COMMIT_FAILED, error);
        return;
    } else {
        c->retry_at_ms = env_mono_ms(c->o.env) + RETRY_MS;
        return;
    }
    lock_give(&c->mtx);
    log_line(LOG_INFO, "storage-has-room-again", "appends=accepted");
    tell_durable(c);
    lock_take(&c->mtx);
}

static void wait_ms(struct commit *c, int64_t ms) {
    (void)lock_wait_ms(&c->work, &c->mtx, ms);
}

static void look_for_files(struct commit *c) {
    lock_give(&c->mtx);
    const char *path = c->o.missing(c->o.ctx);
    if (path != NULL) {
        log_line(LOG_ERROR, "storage-gone",
                 "path=\"%s\" reason=\"it was removed, replaced or unmounted under the server\"",
                 path);
    }
    lock_take(&c->mtx);
    c->look_at_ms = env_mono_ms(c->o.env) + LOOK_MS;
    if (path != NULL) fail(c, COMMIT_FAILED, ENOENT);
}

/* What is at leisure alone is taken when the thread wakes anyway, but nothing waits for ever. */
static bool wants_group(const struct commit *c) {
    if (c->taken_lsn < c->wanted_lsn || c->kept) return true;
    return c->taken_lsn < c->last_lsn && (c->stopping || c->flush_lsn > c->finished_lsn ||
                                          env_mono_ms(c->o.env) >= c->group_begun_ms + LOOK_MS);
}

static bool is_look_due(const struct commit *c) {
    return c->o.missing != NULL && env_mono_ms(c->o.env) >= c->look_at_ms;
}

static int64_t spacing_left_ms(const struct commit *c) {
    const bool load = c->group_changes >= LOAD_CHANGES;
    if (!load || c->stopping || c->flush_lsn > c->finished_lsn) return 0;
    return c->group_begun_ms + SPACING_MS - env_mono_ms(c->o.env);
}

/* One turn while all is well. False: the end. */
static bool turn_ok(struct commit *c) {
    if (!c->stopping && is_look_due(c)) {
        look_for_files(c);
        return true;
    }
    if (wants_group(c)) {
        const int64_t wait = spacing_left_ms(c);
        if (wait > 0) {
            wait_ms(c, wait);
        } else {
            do_group(c);
        }
        return true;
    }
    if (commit_synced_lsn(c) == commit_durable_lsn(c)) {
        if (c->stopping) return false;
        wait_ms(c, LOOK_IDLE_MS);
        return true;
    }
    const int64_t due_ms = c->unsynced_since_ms + c->o.interval_ms;
    const int64_t left_ms = due_ms - env_mono_ms(c->o.env);
    if (wants_sync(c) || left_ms <= 0) {
        do_sync(c);
    } else {
        wait_ms(c, left_ms);
    }
    return true;
}

static bool turn_full(struct commit *c) {
    if (c->stopping && c->last_retry) return false;
    const int64_t left_ms = c->retry_at_ms - env_mono_ms(c->o.env);
    if (c->stopping || left_ms <= 0) {
        do_retry(c);
    } else {
        wait_ms(c, left_ms);
    }
    return true;
}

static bool turn_failed(struct commit *c) {
    if (!c->stopping) lock_wait(&c->work, &c->mtx);
    return !c->stopping;
}

static void run(void *ctx) {
    struct commit *c = ctx;
    bool more = true;
    lock_take(&c->mtx);
    while (more) {
        switch (commit_state(c)) {
        case COMMIT_OK:
            more = turn_ok(c);
            break;
        case COMMIT_FULL:
            more = turn_full(c);
            break;
        case COMMIT_FAILED:
            more = turn_failed(c);
            break;
        }
    }
    lock_give(&c->mtx);
}

/* ---- public ---- */

enum err commit_new(const struct commit_opts *o, struct commit **ret) {
    struct commit *c = calloc(1, sizeof *c);
    if (c == NULL) return E_NO_MEMORY;
    c->o = *o;
    c->lost = calloc(1, sizeof *c->lost);
    if (c->lost == NULL) {
        free(c);
        return E_NO_MEMORY;
    }
    lock_init(&c->mtx, LOCK_COMMIT);
    lock_init(&c->lost->mtx, LOCK_COMMIT_LOST);
    lock_cond_init(&c->work);
    lock_cond_init(&c->progress);
    c->interval_us = LEISURE_INTERVAL_US + 1; /* until it is known */
    *ret = c;
    return OK;
}

void commit_add_sink(struct commit *c, const struct commit_sink *sink) {
    assert(!c->started && c->n_sinks < MAX_SINKS);
    const unsigned at = sink->goes_first ? 0 : c->n_sinks;
    memmove(&c->sinks[at + 1], &c->sinks[at], (c->n_sinks - at) * sizeof c->sinks[0]);
    c->sinks[at] = *sink;
    c->n_sinks++;
}

enum err commit_start(struct commit *c) {
    assert(!c->started);
    const enum err e = thread_start(&c->thread, "commit", run, c);
    c->started = e == OK;
    return e;
}

enum err commit_stop(struct commit *c) {
    assert(c->started);
    lock_take(&c->mtx);
    c->stopping = true;
    lock_wake(&c->work);
    lock_give(&c->mtx);
    thread_join(&c->thread);
    c->started = false;
    return commit_state(c) == COMMIT_OK ? OK : E_STORE;
}

void commit_free(struct commit *c) {
    if (c == NULL) return;
    assert(!c->started);
    lock_cond_done(&c->work);
    lock_cond_done(&c->progress);
    lock_done(&c->mtx);
    lock_done(&c->lost->mtx);
    free(c->lost);
    free(c);
}

enum err commit_begin(struct commit *c, lsn_t *ret_lsn) {
    lock_take(&c->mtx);
    if (commit_state(c) != COMMIT_OK) {
        lock_give(&c->mtx);
        return E_STORE;
    }
    *ret_lsn = ++c->last_lsn;
    return OK;
}

/* The thread sleeps only when nothing that is wanted is left to take, so the first of a group wakes
 * it. mtx is held, and given back. */
static void want(struct commit *c, lsn_t lsn) {
    const bool is_first = c->wanted_lsn <= c->taken_lsn && lsn > c->taken_lsn;
    if (is_first) c->waits_since_us = env_mono_us(c->o.env);
    if (c->wanted_lsn < lsn) c->wanted_lsn = lsn;
    lock_give(&c->mtx);
    if (is_first) lock_wake(&c->work);
}

void commit_end(struct commit *c) {
    c->has_come = true;
    want(c, c->last_lsn);
}

void commit_end_at_leisure(struct commit *c) {
    c->n_at_leisure++;
    if (c->n_at_leisure >= LEISURE_MAX_CHANGES) {
        want(c, c->last_lsn);
    } else {
        lock_give(&c->mtx);
    }
}

unsigned commit_leisure_ms(struct commit *c) {
    const int64_t now_us = env_mono_us(c->o.env);
    lock_take(&c->mtx);
    const int64_t us = c->interval_us * LEISURE_TIMES;
    const bool is_likely = c->distrust_left == 0 && c->interval_us <= LEISURE_INTERVAL_US &&
                           now_us - c->came_us < us && commit_state(c) == COMMIT_OK;
    lock_give(&c->mtx);
    return is_likely ? (unsigned)(us / 1000) + 1 : 0;
}

void commit_hurry(struct commit *c, lsn_t lsn, bool in_vain) {
    lock_take(&c->mtx);
    if (in_vain && c->taken_lsn < lsn && !c->has_come) {
        const unsigned next = c->distrust != 0 ? c->distrust * 2 : DISTRUST_MIN;
        c->distrust = next < DISTRUST_MAX ? next : DISTRUST_MAX;
        c->distrust_left = c->distrust;
    }
    want(c, lsn < c->last_lsn ? lsn : c->last_lsn);
}

lsn_t commit_current_lsn(const struct commit *c) {
    return c->last_lsn;
}

lsn_t commit_last_lsn(struct commit *c) {
    lock_take(&c->mtx);
    const lsn_t lsn = c->last_lsn;
    lock_give(&c->mtx);
    return lsn;
}

enum err commit_flush(struct commit *c) {
    lock_take(&c->mtx);
    const lsn_t target = c->last_lsn;
    const unsigned n_failures = commit_n_failures(c);
    if (c->flush_lsn < target) c->flush_lsn = target;
    lock_wake(&c->work);
    while (c->finished_lsn < target && commit_state(c) == COMMIT_OK &&
           commit_n_failures(c) == n_failures) {
        lock_wait(&c->progress, &c->mtx);
    }
    const bool ok = c->finished_lsn >= target && commit_n_failures(c) == n_failures;
    lock_give(&c->mtx);
    return ok ? OK : E_STORE;
}
