/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* later.c -- a backend that always answers later.
 *
 * It is a real one whose answers to the four questions that may be answered later (store_load(),
 * store_msg_next(), store_service_open(), store_service_scan()) are kept for 0 to LATER_MAX_MS and
 * then given by a thread of its own, in an order that has nothing to do with that of the questions.
 * A queue is looked for at the end of that time or at its beginning, by chance: the contract allows
 * both. All else is the real backend's. Linked with --wrap in front of the
 * backends' open functions (meson.build), so that smp-server-later is the server, whole and
 * unchanged. SMP_LATER_SEED in the environment makes a run like another. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "store/files.h"
#include "store/store_priv.h"

enum { LATER_MAX_MS = 6, LATER_MAX = 1 << 16 };

/* What is asked: queues are to be found, a queue's next message, a service or what waits for it. */
struct question {
    struct store_waiter *waiter;  /* borrowed: whom to tell */
    struct store_lookup *lookups; /* borrowed; NULL: a message */
    size_t n_lookups;
    bool is_found;                   /* already, at the beginning */
    struct store_next *next;         /* borrowed; NULL: no message */
    struct store_service_open *open; /* borrowed; NULL: no service */
    struct store_scan *scan;         /* borrowed; NULL: not what waits for one */
    struct store_waiter own;         /* for the real backend's answer */
    int64_t due_us;
};

/* There is one store in a process. */
static struct later {
    const struct store_ops *real;
    struct store_ops ops; /* the real ones, but for those below */
    struct store *store;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    /* guarded by mtx */
    uint64_t random;
    struct question *questions[LATER_MAX]; /* owned */
    size_t n_questions;
    bool is_stopping;
    uint64_t n_later; /* answers given */
} later = {.mtx = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int64_t now_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t); /* as pthread_cond_timedwait() has it */
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* xorshift64; with the lock held. */
static uint64_t draw(uint64_t below) {
    later.random ^= later.random << 13;
    later.random ^= later.random >> 7;
    later.random ^= later.random << 17;
    return later.random % below;
}

static void must(bool holds, const char *what) {
    if (holds) return;
    (void)fprintf(stderr, "smp-server-later: %s\n", what);
    abort();
}

/* ---- answering ---- */

static void answer(struct question *owned) {
    struct store_waiter *w = owned->waiter;
    if (owned->lookups != NULL && !owned->is_found)
        must(later.real->load(later.store, owned->lookups, owned->n_lookups, NULL), "find");
    if (owned->open != NULL)
        must(later.real->service_open(later.store, owned->open, NULL), "open a service");
    if (owned->scan != NULL) must(later.real->service_scan(later.store, owned->scan, NULL), "scan");
    free(owned);
    w->ready(w);
}

/* The real backend has the message, on a thread of its own. */
static void message_came(struct store_waiter *w) {
    answer(CONTAINER_OF(w, struct question, own));
}

static void ask_or_answer(struct question *owned) {
    owned->own.ready = message_came;
    if (owned->next == NULL || later.real->msg_next(later.store, owned->next, &owned->own))
        answer(owned);
}

/* One that is due, of several any; at a stop they all are. NULL: none. With the lock held. */
static struct question *take_due(int64_t *ret_next_us) {
    const int64_t now = now_us();
    const size_t first = later.n_questions != 0 ? (size_t)draw(later.n_questions) : 0;
    *ret_next_us = INT64_MAX;
    for (size_t i = 0; i < later.n_questions; i++) {
        struct question **at = &later.questions[(first + i) % later.n_questions];
        struct question *q = *at;
        if (q->due_us < *ret_next_us) *ret_next_us = q->due_us;
        if (q->due_us > now && !later.is_stopping) continue;
        *at = later.questions[--later.n_questions];
        return q;
    }
    return NULL;
}

static void sleep_until(int64_t us) {
    if (us == INT64_MAX) {
        pthread_cond_wait(&later.changed, &later.mtx);
        return;
    }
    const struct timespec until = {.tv_sec = (time_t)(us / 1000000),
                                   .tv_nsec = (long)(us % 1000000) * 1000};
    (void)pthread_cond_timedwait(&later.changed, &later.mtx, &until);
}

static void *run(void *arg) {
    (void)arg;
    pthread_mutex_lock(&later.mtx);
    while (!later.is_stopping || later.n_questions != 0) {
        int64_t next_us;
        struct question *q = take_due(&next_us);
        if (q == NULL) {
            sleep_until(next_us);
            continue;
        }
        later.n_later++;
        pthread_mutex_unlock(&later.mtx);
        ask_or_answer(q);
        pthread_mutex_lock(&later.mtx);
    }
    pthread_mutex_unlock(&later.mtx);
    return NULL;
}

/* ---- asking ---- */

static void keep(struct question *owned) {
    pthread_mutex_lock(&later.mtx);
    must(later.n_questions < LATER_MAX, "too many questions");
    must(!later.is_stopping, "asked while the store stops");
    owned->due_us = now_us() + (int64_t)draw((uint64_t)LATER_MAX_MS * 1000 + 1);
    later.questions[later.n_questions++] = owned;
    pthread_cond_signal(&later.changed);
    pthread_mutex_unlock(&later.mtx);
}

static bool by_chance(void) {
    pthread_mutex_lock(&later.mtx);
    const bool is = draw(2) == 0;
    pthread_mutex_unlock(&later.mtx);
    return is;
}

static struct question *new_question(struct store_waiter *w) {
    struct question *q = calloc(1, sizeof *q);
    must(q != NULL, "out of memory");
    q->waiter = w;
    return q;
}

static bool later_load(struct store *s, struct store_lookup *lookups, size_t n,
                       struct store_waiter *w) {
    struct question *q = new_question(w);
    q->lookups = lookups;
    q->n_lookups = n;
    q->is_found = by_chance();
    if (q->is_found) must(later.real->load(s, lookups, n, NULL), "find");
    keep(q);
    return false;
}

static bool later_msg_next(struct store *s, struct store_next *n, struct store_waiter *w) {
    (void)s;
    if (w == NULL) return false;
    struct question *q = new_question(w);
    q->next = n;
    keep(q);
    return false;
}

static bool later_service_open(struct store *s, struct store_service_open *o,
                               struct store_waiter *w) {
    (void)s;
    struct question *q = new_question(w);
    q->open = o;
    keep(q);
    return false;
}

static bool later_service_scan(struct store *s, struct store_scan *scan, struct store_waiter *w) {
    (void)s;
    struct question *q = new_question(w);
    q->scan = scan;
    keep(q);
    return false;
}

/* ---- start and stop ---- */

static enum err later_start(struct store *s) {
    const enum err e = later.real->start(s);
    if (e != OK) return e;
    must(pthread_create(&later.thread, NULL, run, NULL) == 0, "no thread");
    later.has_thread = true;
    return OK;
}

/* All that is due is answered before the real backend stops. */
static enum err later_stop(struct store *s, struct store_problem *ret_problem) {
    pthread_mutex_lock(&later.mtx);
    later.is_stopping = true;
    pthread_cond_signal(&later.changed);
    pthread_mutex_unlock(&later.mtx);
    if (later.has_thread) (void)pthread_join(later.thread, NULL);
    later.has_thread = false;
    (void)fprintf(stderr, "smp-server-later: %llu answers came later\n",
                  (unsigned long long)later.n_later);
    return later.real->stop(s, ret_problem);
}

static void take_over(struct store *s) {
    const char *seed = getenv("SMP_LATER_SEED");
    later.random = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)now_us();
    if (later.random == 0) later.random = 1;
    (void)fprintf(stderr, "smp-server-later: SMP_LATER_SEED=%llu\n",
                  (unsigned long long)later.random);
    later.store = s;
    later.real = s->ops;
    later.ops = *s->ops;
    later.ops.load = later_load;
    later.ops.msg_next = later_msg_next;
    later.ops.service_open = later_service_open;
    later.ops.service_scan = later_service_scan;
    later.ops.start = later_start;
    later.ops.stop = later_stop;
    s->ops = &later.ops;
}

enum err __real_nothing_open(const struct store_opts *o, struct store **ret);
enum err __wrap_nothing_open(const struct store_opts *o, struct store **ret);
typedef enum err open_fn(const struct store_opts *o, const struct files_opts *f, struct store **ret,
                         struct store_problem *ret_problem);
open_fn __real_files_open_memory, __real_files_open_journal;
open_fn __wrap_files_open_memory, __wrap_files_open_journal;

enum err __wrap_nothing_open(const struct store_opts *o, struct store **ret) {
    const enum err e = __real_nothing_open(o, ret);
    if (e == OK) take_over(*ret);
    return e;
}

enum err __wrap_files_open_memory(const struct store_opts *o, const struct files_opts *f,
                                  struct store **ret, struct store_problem *ret_problem) {
    const enum err e = __real_files_open_memory(o, f, ret, ret_problem);
    if (e == OK) take_over(*ret);
    return e;
}

enum err __wrap_files_open_journal(const struct store_opts *o, const struct files_opts *f,
                                   struct store **ret, struct store_problem *ret_problem) {
    const enum err e = __real_files_open_journal(o, f, ret, ret_problem);
    if (e == OK) take_over(*ret);
    return e;
}
