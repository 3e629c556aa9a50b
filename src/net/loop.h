/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* loop.h -- an event loop: one thread, its timers, its end-of-turn hook and its mailbox.
 *
 * A loop owns everything that is opened on it; nobody else touches that. The only way in from
 * another thread is loop_post(), which transfers ownership of the message. Order is kept per
 * sender; the loop is woken once per burst (uv_async). Functions marked "owner" must run on the
 * loop's own thread and assert it (ASSERT_ON_LOOP). Start order: loop_new, open listeners and
 * timers, loop_start; stop order: loop_stop on all, loop_join on all, then loop_free on all:
 * messages posted in between are still run, by the caller of loop_join or loop_free, so that
 * nothing leaks. Such a late message must not post to another loop. See docs/ARCHITECTURE.md
 * "Threads". */
#pragma once

#include <assert.h>
#include <stdbool.h>

#include "base/env.h"
#include "base/err.h"
#include "stats/stats.h"

struct loop;

/* Embed as first field. run() owns the message and frees it; called on the loop's thread. */
struct loop_msg {
    struct loop_msg *next;
    void (*run)(struct loop_msg *m);
};

/* A timer; embed in the struct that needs it. Fields are private to loop.c but for storage. */
struct loop_timer {
    void *impl; /* owned by loop.c; NULL when not running */
};

/* *ret: loop_free(); env is borrowed. E_NO_MEMORY, E_SYS. */
MUST_USE enum err loop_new(unsigned index, const struct env *env, struct loop **ret);
void loop_free(struct loop *l); /* NULL is a no-op; after loop_join(); closes what is still open */
/* Before loop_start(): where this loop and what runs on it counts, borrowed until loop_free().
 * Without it, or with NULL, nothing is counted. */
void loop_set_stats(struct loop *l, struct stats_sheet *sheet);
struct stats_sheet *loop_stats(const struct loop *l); /* owner: borrowed; may be NULL */
/* Creates the thread, with signals blocked; E_SYS, E_NO_MEMORY. */
MUST_USE enum err loop_start(struct loop *l);
void loop_stop(struct loop *l); /* any thread: the thread ends after this turn */
/* Waits for the thread if there is one, then closes the connections that are left (on_close() on
 * the caller's thread) and runs what was posted. May be called again, for what other loops posted
 * when they were joined: do so before freeing what messages refer to. */
void loop_join(struct loop *l);

void loop_post(struct loop *l, struct loop_msg *owned); /* any thread; cannot fail */
/* The same without waking the loop: it comes with what is posted next, or earlier. */
void loop_leave(struct loop *l, struct loop_msg *owned);

unsigned loop_index(const struct loop *l);  /* any thread */
bool loop_is_current(const struct loop *l); /* any thread */
/* The loop that this thread runs; NULL: none. Written by loop.c alone: here for the assertion,
 * which is in so many functions that a call each would cost 3 % of an operation's instructions. */
extern _Thread_local const struct loop *loop__current;
#define ASSERT_ON_LOOP(l) assert(loop__current == (l) || loop_is_current(l))
int64_t loop_now_ms(const struct loop *l); /* owner: monotonic time, for deadlines */
int64_t loop_now_us(const struct loop *l); /* owner: the same clock */
/* Owner: when this turn began, by the kernel's monotonic clock. Costs no system call. */
int64_t loop_turn_ms(const struct loop *l);
const struct env *loop_env(const struct loop *l); /* any thread; borrowed */

/* Owner (or before loop_start): calls fn(ctx) after first_ms and then every repeat_ms (0: once).
 * Restarts when running. E_NO_MEMORY. */
MUST_USE enum err loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t first_ms,
                                   uint64_t repeat_ms, void (*fn)(void *ctx), void *ctx);
void loop_timer_stop(struct loop_timer *t); /* owner; no-op when not running */
/* Owner: as loop_timer_stop(), for one that repeats and is about to be started again: costs a turn
 * of the loop less, and keeps its memory. */
void loop_timer_pause(struct loop_timer *t);
