/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a thread holds is a short list of its own, in the order of taking: the check costs a few
 * instructions, and is part of every build. */
#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

enum { HELD_MAX = 8 }; /* of a thread at once */

static _Thread_local struct {
    const struct lock *lock[HELD_MAX];
    unsigned n;
} held;

static const char *const NAMES[N_LOCK_KINDS] = {
#define LOCK(id, guards) [LOCK_##id] = #id,
#include "base/locks.def"
#undef LOCK
};

const char *lock_kind_name(enum lock_kind kind) {
    return NAMES[kind];
}

/* The last one taken has the highest kind. */
static void remember_taken(const struct lock *l) {
    assert(held.n == 0 || held.lock[held.n - 1]->kind < l->kind);
    assert(held.n < HELD_MAX);
    held.lock[held.n++] = l;
}

static void forget_given(const struct lock *l) {
    unsigned i = held.n;
    while (i > 0 && held.lock[i - 1] != l) i--;
    assert(i > 0);
    for (held.n--; i <= held.n; i++) held.lock[i - 1] = held.lock[i];
}

void lock_init(struct lock *l, enum lock_kind kind) {
    const int r = pthread_mutex_init(&l->mtx, NULL); /* cannot fail with default attributes */
    assert(r == 0);
    (void)r;
    l->kind = kind;
}

void lock_done(struct lock *l) {
    (void)pthread_mutex_destroy(&l->mtx);
}

void lock_take(struct lock *l) {
    remember_taken(l);
    (void)pthread_mutex_lock(&l->mtx);
}

void lock_give(struct lock *l) {
    forget_given(l);
    (void)pthread_mutex_unlock(&l->mtx);
}

bool lock_is_held(const struct lock *l) {
    for (unsigned i = 0; i < held.n; i++) {
        if (held.lock[i] == l) return true;
    }
    return false;
}

/* ---- conditions ---- */

void lock_cond_init(struct lock_cond *c) {
    pthread_condattr_t attr;
    int r = pthread_condattr_init(&attr);
    if (r == 0) r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (r == 0) r = pthread_cond_init(&c->cond, &attr);
    assert(r == 0); /* none of them allocates on Linux */
    (void)pthread_condattr_destroy(&attr);
}

void lock_cond_done(struct lock_cond *c) {
    (void)pthread_cond_destroy(&c->cond);
}

void lock_wait(struct lock_cond *c, struct lock *l) {
    assert(lock_is_held(l));
    (void)pthread_cond_wait(&c->cond, &l->mtx);
}

bool lock_wait_ms(struct lock_cond *c, struct lock *l, int64_t ms) {
    struct timespec until;
    assert(lock_is_held(l));
    if (ms <= 0) return false;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    return pthread_cond_timedwait(&c->cond, &l->mtx, &until) != ETIMEDOUT;
}

void lock_wake(struct lock_cond *c) {
    (void)pthread_cond_signal(&c->cond);
}

void lock_wake_all(struct lock_cond *c) {
    (void)pthread_cond_broadcast(&c->cond);
}
