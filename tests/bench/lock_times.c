/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* lock_times.c -- base/lock.c with a clock: smp-server-locks says at its end, on stderr, how often
 * each kind of lock was taken, how long it was held and how often somebody had to wait for it. Read
 * by locks.py. */
#define lock_init    plain_init
#define lock_take    plain_take
#define lock_give    plain_give
#define lock_wait    plain_wait
#define lock_wait_ms plain_wait_ms
#include "../../src/base/lock.c"
#undef lock_init
#undef lock_take
#undef lock_give
#undef lock_wait
#undef lock_wait_ms

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* The same declarations as in lock.h, which the names above have hidden. */
void lock_init(struct lock *l, enum lock_kind kind);
void lock_take(struct lock *l);
void lock_give(struct lock *l);
void lock_wait(struct lock_cond *c, struct lock *l);
bool lock_wait_ms(struct lock_cond *c, struct lock *l, int64_t ms);

enum { N_STEPS = 40, PER_DOUBLING = 2, S_IN_NS = 1000000000 };

/* What a thread has seen; kept after its end. */
struct seen {
    struct seen *next;
    struct {
        uint64_t taken, waited;
        uint64_t held[N_STEPS]; /* times, by half doublings of ns */
        int64_t since;
    } of[N_LOCK_KINDS];
};

static _Atomic(struct seen *) all;
static _Thread_local struct seen *mine;
static atomic_uint n_locks[N_LOCK_KINDS];

static int64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * S_IN_NS + t.tv_nsec;
}

static struct seen *seen_of_thread(void) {
    if (mine == NULL) {
        mine = calloc(1, sizeof *mine);
        if (mine == NULL) abort();
        mine->next = atomic_load(&all);
        while (!atomic_compare_exchange_weak(&all, &mine->next, mine)) continue;
    }
    return mine;
}

/* The upper end of step i. */
static uint64_t step_ns(unsigned i) {
    const uint64_t doubling = UINT64_C(1) << (i / PER_DOUBLING);
    return i % PER_DOUBLING == 0 ? doubling : doubling + doubling / 2;
}

static void held_for(struct seen *s, enum lock_kind kind) {
    const int64_t ns = now_ns() - s->of[kind].since;
    unsigned i = 0;
    while (i < N_STEPS - 1 && (int64_t)step_ns(i) < ns) i++;
    s->of[kind].held[i]++;
}

static void begin(enum lock_kind kind, bool waited) {
    struct seen *s = seen_of_thread();
    s->of[kind].taken++;
    s->of[kind].waited += waited;
    s->of[kind].since = now_ns();
}

void lock_init(struct lock *l, enum lock_kind kind) {
    plain_init(l, kind);
    (void)atomic_fetch_add(&n_locks[kind], 1);
}

void lock_take(struct lock *l) {
    remember_taken(l);
    const bool waited = pthread_mutex_trylock(&l->mtx) != 0;
    if (waited) (void)pthread_mutex_lock(&l->mtx);
    begin(l->kind, waited);
}

void lock_give(struct lock *l) {
    held_for(seen_of_thread(), l->kind);
    plain_give(l);
}

void lock_wait(struct lock_cond *c, struct lock *l) {
    held_for(seen_of_thread(), l->kind);
    plain_wait(c, l);
    begin(l->kind, false);
}

bool lock_wait_ms(struct lock_cond *c, struct lock *l, int64_t ms) {
    held_for(seen_of_thread(), l->kind);
    const bool woken = plain_wait_ms(c, l, ms);
    begin(l->kind, false);
    return woken;
}

/* One line of JSON a kind. Threads that still run may go on counting: it is a measurement. */
static void report_kind(enum lock_kind kind) {
    uint64_t taken = 0, waited = 0, times[N_STEPS] = {0};
    for (const struct seen *s = atomic_load(&all); s != NULL; s = s->next) {
        taken += s->of[kind].taken;
        waited += s->of[kind].waited;
        for (unsigned i = 0; i < N_STEPS; i++) times[i] += s->of[kind].held[i];
    }
    if (taken == 0) return;
    (void)fprintf(stderr,
                  "lock-times {\"kind\":\"%s\",\"locks\":%u,\"taken\":%" PRIu64
                  ",\"waited\":%" PRIu64 ",\"held_ns\":[",
                  lock_kind_name(kind), atomic_load(&n_locks[kind]), taken, waited);
    for (unsigned i = 0; i < N_STEPS; i++)
        (void)fprintf(stderr, "%s[%" PRIu64 ",%" PRIu64 "]", i > 0 ? "," : "", step_ns(i),
                      times[i]);
    (void)fprintf(stderr, "]}\n");
}

__attribute__((destructor)) static void report(void) {
    for (enum lock_kind k = 0; k < N_LOCK_KINDS; k++) report_kind(k);
}
