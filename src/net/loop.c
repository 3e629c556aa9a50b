/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A turn of libuv is: timers, idle, prepare, poll with its callbacks, check. The work that
 * callbacks only mark (blocks to write, connections to close) is done in prepare, for what timers
 * marked, and in check, for what messages and sockets marked. A part of it that exceeds a
 * connection's share of the turn is left for the next one; then an idle handle keeps poll from
 * sleeping.
 *
 * Who the owner is: the loop's thread while it runs, whoever holds the loop before and after. A
 * thread-local pointer tells the thread, so that loop_is_current() reads nothing that another
 * thread may be writing. */
#include "net/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/thread.h"
#include "net/stream_priv.h"
#include "net/loop_priv.h"

enum { LAG_EVERY_MS = 1000 };

struct loop {
    /* fixed after loop_new() */
    unsigned index;
    const struct env *env; /* borrowed */
    struct streams *conns; /* owned */
    uv_async_t wake;

    /* owner loop only */
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t spin; /* active while the next poll must not sleep */
    struct list timers;
    struct loop_timer lag_timer;
    int64_t lag_due_us; /* when lag_timer should come next; 0: it has not come yet */

    /* fixed after loop_start() */
    struct stats_sheet *stats; /* borrowed; may be NULL */

    /* who starts and joins only */
    struct thread thread;

    /* atomic */
    atomic_bool is_running;  /* acquire and release: hands the loop over to its thread and back */
    atomic_bool is_stopping; /* relaxed: a flag, published by the wake-up */

    /* guarded by mtx */
    struct lock mtx;
    struct loop_msg *head, **tail;
    bool is_woken; /* and has not looked into its mailbox since */
};

struct timer {
    uv_timer_t uv;
    struct loop *loop;        /* borrowed */
    struct loop_timer *owner; /* borrowed; it outlives a running timer */
    struct list link;         /* in loop->timers */
    void (*fn)(void *ctx);
    void *ctx;
    bool is_once;
};

_Thread_local const struct loop *loop__current;

/* ---- mailbox ---- */

static struct loop_msg *take_messages(struct loop *l) {
    lock_take(&l->mtx);
    struct loop_msg *list = l->head;
    l->head = NULL;
    l->tail = &l->head;
    l->is_woken = false;
    lock_give(&l->mtx);
    return list;
}

/* False when there was none. */
static bool run_messages(struct loop *l) {
    struct loop_msg *list = take_messages(l);
    if (list == NULL) return false;
    for (struct loop_msg *next; list != NULL; list = next) {
        next = list->next; /* run() frees its message */
        list->run(list);
    }
    return true;
}

static void on_wake(uv_async_t *h) {
    struct loop *l = CONTAINER_OF(h, struct loop, wake);
    (void)run_messages(l);
    if (atomic_load_explicit(&l->is_stopping, memory_order_relaxed)) uv_stop(&l->uv);
}

/* ---- turns ---- */

static void on_spin(uv_idle_t *h) {
    (void)h; /* being active is all it does */
}

static void on_prepare(uv_prepare_t *h) {
    struct loop *l = CONTAINER_OF(h, struct loop, prepare);
    if (streams__before_poll(l->conns)) {
        (void)uv_idle_start(&l->spin, on_spin);
    } else {
        (void)uv_idle_stop(&l->spin);
    }
}

static void on_check(uv_check_t *h) {
    struct loop *l = CONTAINER_OF(h, struct loop, check);
    streams__after_poll(l->conns);
}

static void thread_main(void *arg) {
    struct loop *l = arg;
    loop__current = l;
    (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    loop__current = NULL;
}

/* ---- start and stop ---- */

static enum err sys_error(int uv_status) {
    errno = -uv_status; /* libuv's codes are negated errno values on Linux */
    return E_SYS;
}

static enum err init_handles(struct loop *l) {
    const int r = uv_async_init(&l->uv, &l->wake, on_wake);
    if (r != 0) return sys_error(r);
    (void)uv_prepare_init(&l->uv,
                          &l->prepare); /* these cannot fail: no allocation, no system call */
    (void)uv_check_init(&l->uv, &l->check);
    (void)uv_idle_init(&l->uv, &l->spin);
    (void)uv_prepare_start(&l->prepare, on_prepare);
    (void)uv_check_start(&l->check, on_check);
    return streams__new(l, &l->conns);
}

enum err loop_new(unsigned index, const struct env *env, struct loop **ret) {
    struct loop *l = calloc(1, sizeof *l);
    if (l == NULL) return E_NO_MEMORY;
    l->index = index;
    l->env = env;
    l->tail = &l->head;
    list_init(&l->timers);
    lock_init(&l->mtx, LOCK_LOOP);
    const int r = uv_loop_init(&l->uv);
    if (r != 0) {
        lock_done(&l->mtx);
        free(l);
        return sys_error(r);
    }
    const enum err e = init_handles(l);
    if (e != OK) {
        const int saved = errno;
        loop_free(l);
        errno = saved;
        return e;
    }
    *ret = l;
    return OK;
}

static void close_handle(uv_handle_t *h, void *ctx) {
    (void)ctx;
    if (!uv_is_closing(h)) uv_close(h, NULL);
}

void loop_free(struct loop *l) {
    if (l == NULL) return;
    assert(!l->thread.is_started); /* loop_join() first */
    if (l->conns != NULL) streams__close_all(l->conns);
    while (run_messages(l)) {
    }
    for (struct list *n; (n = list_first(&l->timers)) != NULL;) {
        loop_timer_stop(CONTAINER_OF(n, struct timer, link)->owner);
    }
    if (l->conns != NULL) streams__close_listeners(l->conns);
    uv_walk(&l->uv, close_handle, NULL);
    (void)uv_run(&l->uv, UV_RUN_DEFAULT); /* runs the close callbacks, which free */
    const int r = uv_loop_close(&l->uv);
    assert(r == 0);
    (void)r;
    streams__free(l->conns);
    lock_done(&l->mtx);
    free(l);
}

/* How late a timer comes is how long something that is ready waits for its turn. */
static void measure_lag(void *ctx) {
    struct loop *l = ctx;
    const int64_t now_us = loop_now_us(l);
    const int64_t late_us =
        l->lag_due_us != 0 && now_us > l->lag_due_us ? now_us - l->lag_due_us : 0;
    if (l->lag_due_us != 0) stats_observe(l->stats, HISTOGRAM_LOOP_LAG_US, (uint64_t)late_us);
    l->lag_due_us = now_us + (int64_t)LAG_EVERY_MS * 1000;
}

void loop_set_stats(struct loop *l, struct stats_sheet *sheet) {
    assert(!l->thread.is_started);
    l->stats = sheet;
}

struct stats_sheet *loop_stats(const struct loop *l) {
    return l->stats;
}

static enum err start_lag_timer(struct loop *l) {
    if (l->stats == NULL) return OK;
    return loop_timer_start(l, &l->lag_timer, LAG_EVERY_MS, LAG_EVERY_MS, measure_lag, l);
}

enum err loop_start(struct loop *l) {
    assert(!l->thread.is_started);
    const enum err e = start_lag_timer(l);
    if (e != OK) return e;
    char name[THREAD_NAME_MAX];
    (void)snprintf(name, sizeof name, "loop-%u", l->index);
    atomic_store_explicit(&l->is_running, true, memory_order_release);
    const enum err started = thread_start(&l->thread, name, thread_main, l);
    if (started != OK) atomic_store_explicit(&l->is_running, false, memory_order_release);
    return started;
}

void loop_stop(struct loop *l) {
    atomic_store_explicit(&l->is_stopping, true, memory_order_relaxed);
    (void)uv_async_send(&l->wake);
}

void loop_join(struct loop *l) {
    if (l->thread.is_started) {
        thread_join(&l->thread);
        atomic_store_explicit(&l->is_running, false, memory_order_release);
    }
    (void)run_messages(l);
    /* Now, and not in loop_free(): what the sessions post when they close needs the other loops. */
    streams__close_all(l->conns);
    while (run_messages(l)) {
    }
}

/* ---- any thread ---- */

static void post(struct loop *l, struct loop_msg *owned, bool wakes) {
    owned->next = NULL;
    lock_take(&l->mtx);
    const bool must_wake = wakes && !l->is_woken;
    if (must_wake) l->is_woken = true;
    *l->tail = owned;
    l->tail = &owned->next;
    lock_give(&l->mtx);
    if (must_wake) (void)uv_async_send(&l->wake);
}

void loop_post(struct loop *l, struct loop_msg *owned) {
    post(l, owned, true);
}

void loop_leave(struct loop *l, struct loop_msg *owned) {
    post(l, owned, false);
}

unsigned loop_index(const struct loop *l) {
    return l->index;
}

bool loop_is_current(const struct loop *l) {
    return loop__current == l || !atomic_load_explicit(&l->is_running, memory_order_acquire);
}

const struct env *loop_env(const struct loop *l) {
    return l->env;
}

/* ---- owner ---- */

int64_t loop_now_ms(const struct loop *l) {
    ASSERT_ON_LOOP(l);
    return env_mono_ms(l->env);
}

int64_t loop_now_us(const struct loop *l) {
    ASSERT_ON_LOOP(l);
    return env_mono_us(l->env);
}

int64_t loop_turn_ms(const struct loop *l) {
    ASSERT_ON_LOOP(l);
    return (int64_t)uv_now(&l->uv);
}

static void free_timer(uv_handle_t *h) {
    free(CONTAINER_OF(h, struct timer, uv));
}

static void detach_timer(struct timer *t) {
    t->owner->impl = NULL;
    list_remove(&t->link);
    uv_close((uv_handle_t *)&t->uv, free_timer);
}

static void on_timer(uv_timer_t *h) {
    struct timer *t = CONTAINER_OF(h, struct timer, uv);
    void (*const fn)(void *) = t->fn;
    void *const ctx = t->ctx;
    if (t->is_once) detach_timer(t); /* before fn(), which may start it anew or free its owner */
    fn(ctx);
}

static struct timer *new_timer(struct loop *l, struct loop_timer *owner) {
    struct timer *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    t->loop = l;
    t->owner = owner;
    (void)uv_timer_init(&l->uv, &t->uv);
    list_init(&t->link);
    list_push_back(&l->timers, &t->link);
    owner->impl = t;
    return t;
}

enum err loop_timer_start(struct loop *l, struct loop_timer *timer, uint64_t first_ms,
                          uint64_t repeat_ms, void (*fn)(void *ctx), void *ctx) {
    ASSERT_ON_LOOP(l);
    struct timer *t = timer->impl != NULL ? timer->impl : new_timer(l, timer);
    if (t == NULL) return E_NO_MEMORY;
    assert(t->loop == l);
    t->fn = fn;
    t->ctx = ctx;
    t->is_once = repeat_ms == 0;
    if (loop__current != l) uv_update_time(&l->uv); /* libuv's clock stands still between turns */
    (void)uv_timer_start(&t->uv, on_timer, first_ms, repeat_ms);
    return OK;
}

void loop_timer_stop(struct loop_timer *timer) {
    struct timer *t = timer->impl;
    if (t == NULL) return;
    ASSERT_ON_LOOP(t->loop);
    detach_timer(t);
}

void loop_timer_pause(struct loop_timer *timer) {
    struct timer *t = timer->impl;
    if (t == NULL) return;
    ASSERT_ON_LOOP(t->loop);
    (void)uv_timer_stop(&t->uv);
}

/* ---- this folder ---- */

struct uv_loop_s *loop__uv(struct loop *l) {
    return &l->uv;
}

struct streams *loop__streams(const struct loop *l) {
    return l->conns;
}
