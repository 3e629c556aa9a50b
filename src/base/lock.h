/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* lock.h -- mutexes that know their place in one order, and conditions to wait for with them.
 *
 * Each lock is of a kind, a row of locks.def. A thread that holds one may take only locks of kinds
 * that stand further down: so no two threads ever wait for each other. Taking asserts that, giving
 * back asserts that it is held. Waits are by the monotonic clock. Any thread. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum lock_kind {
#define LOCK(id, guards) LOCK_##id,
#include "base/locks.def"
#undef LOCK
    N_LOCK_KINDS
};

struct lock {
    pthread_mutex_t mtx;
    enum lock_kind kind; /* fixed after lock_init() */
};

void lock_init(struct lock *l, enum lock_kind kind);
void lock_done(struct lock *l); /* nobody holds it */
void lock_take(struct lock *l);
void lock_give(struct lock *l);
bool lock_is_held(const struct lock *l); /* by this thread: for asserts */

struct lock_cond {
    pthread_cond_t cond;
};

void lock_cond_init(struct lock_cond *c);
void lock_cond_done(struct lock_cond *c); /* nobody waits */
/* Gives the lock back and takes it again when somebody woke this thread; may return for nothing. */
void lock_wait(struct lock_cond *c, struct lock *l);
/* The same for ms milliseconds at most, 0 and less: not at all. False: the time is over. */
bool lock_wait_ms(struct lock_cond *c, struct lock *l, int64_t ms);
void lock_wake(struct lock_cond *c);     /* one of those that wait */
void lock_wake_all(struct lock_cond *c); /* all of them */

const char *lock_kind_name(enum lock_kind kind); /* static */
