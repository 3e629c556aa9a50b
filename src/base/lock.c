/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Of a kind a thread holds one lock at most, so what it holds is a place for each kind: the check
 * costs a few instructions, and is part of every build. */
#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

static _Thread_local struct {
    uint64_t kinds; /* a bit for each that is held */
    const struct lock *of[N_LOCK_KINDS];
} held;
_Static_assert(N_LOCK_KINDS <= 64, "held.kinds");

static const char *const NAMES[N_LOCK_KINDS] = {
#define LOCK(id, guards) [LOCK_##id] = #id,
#include "base/locks.def"
#undef LOCK
};

const char *lock_kind_name(enum lock_kind kind) {
    return NAMES[kind];
}

static void remember_taken(const struct lock *l) {
    assert(held.kinds >> l->kind == 0); /* neither this kind nor one further down */
    held.kinds |= UINT64_C(1) << l->kind;
    held.of[l->kind] = l;
}

static void forget_given(const struct lock *l) {
    assert(held.of[l->kind] == l);
    held.kinds &= ~(UINT64_C(1) << l->kind);
    held.of[l->kind] = NULL;
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
    return held.of[l->kind] == l;
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
