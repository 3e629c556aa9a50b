/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/loop.h"

enum { N_SENDERS = 4, N_PER_SENDER = 5000 };

/* A flag that one thread sets and another waits for. */
struct gate {
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    bool is_open;
};

static void gate_init(struct gate *g) {
    pthread_mutex_init(&g->mtx, NULL);
    pthread_cond_init(&g->cond, NULL);
    g->is_open = false;
}

static void gate_open(struct gate *g) {
    pthread_mutex_lock(&g->mtx);
    g->is_open = true;
    pthread_cond_signal(&g->cond);
    pthread_mutex_unlock(&g->mtx);
}

static void gate_wait(struct gate *g) {
    pthread_mutex_lock(&g->mtx);
    while (!g->is_open) pthread_cond_wait(&g->cond, &g->mtx);
    pthread_mutex_unlock(&g->mtx);
    pthread_cond_destroy(&g->cond);
    pthread_mutex_destroy(&g->mtx);
}

static struct loop *new_loop(void) {
    struct loop *l = NULL;
    assert_int_equal(loop_new(3, &ENV_SYSTEM, &l), OK);
    return l;
}

static void stop_and_free(struct loop *l) {
    loop_stop(l);
    loop_join(l);
    loop_free(l);
}

/* ---- mailbox ---- */

/* What the receiving loop notes; read by the test after loop_join(). */
struct inbox {
    struct loop *loop;
    unsigned next[N_SENDERS]; /* number expected next from each */
    unsigned n_received, n_out_of_order, n_off_loop;
};

struct note {
    struct loop_msg msg;
    struct inbox *inbox;
    unsigned sender, number;
};

static void receive(struct loop_msg *m) {
    struct note *n = (struct note *)m;
    struct inbox *in = n->inbox;
    in->n_received++;
    if (in->next[n->sender]++ != n->number) in->n_out_of_order++;
    if (!loop_is_current(in->loop)) in->n_off_loop++;
    free(n);
}

static void send(struct inbox *in, unsigned sender, unsigned number) {
    struct note *n = malloc(sizeof *n);
    assert_non_null(n);
    *n = (struct note){{NULL, receive}, in, sender, number};
    loop_post(in->loop, &n->msg);
}

struct sender {
    struct inbox *inbox;
    unsigned index;
};

static void *send_all(void *arg) {
    const struct sender *s = arg;
    for (unsigned i = 0; i < N_PER_SENDER; i++) send(s->inbox, s->index, i);
    return NULL;
}

static void messages_of_several_threads_arrive_in_the_order_of_each(void **state) {
    (void)state;
    struct inbox in = {.loop = new_loop()};
    assert_int_equal(loop_start(in.loop), OK);
    assert_false(loop_is_current(in.loop));
    pthread_t threads[N_SENDERS];
    struct sender senders[N_SENDERS];
    for (unsigned i = 0; i < N_SENDERS; i++) {
        senders[i] = (struct sender){&in, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    for (unsigned i = 0; i < N_SENDERS; i++) pthread_join(threads[i], NULL);
    stop_and_free(in.loop);
    assert_int_equal(in.n_received, N_SENDERS * N_PER_SENDER);
    assert_int_equal(in.n_out_of_order, 0);
    assert_int_equal(in.n_off_loop, 0);
}

static void messages_before_start_and_after_join_are_run(void **state) {
    (void)state;
    struct inbox in = {.loop = new_loop()};
    assert_true(loop_is_current(in.loop)); /* nobody else has it */
    assert_int_equal(loop_index(in.loop), 3);
    send(&in, 0, 0);
    assert_int_equal(loop_start(in.loop), OK);
    loop_stop(in.loop);
    loop_join(in.loop);
    assert_int_equal(in.n_received, 1);
    assert_true(loop_is_current(in.loop));
    send(&in, 0, 1);
    loop_join(in.loop); /* once more */
    assert_int_equal(in.n_received, 2);
    send(&in, 0, 2);
    loop_free(in.loop);
    assert_int_equal(in.n_received, 3);
    assert_int_equal(in.n_out_of_order, 0);
}

static void a_loop_that_never_started_runs_its_messages_too(void **state) {
    (void)state;
    struct inbox in = {.loop = new_loop()};
    send(&in, 0, 0);
    loop_join(in.loop);
    assert_int_equal(in.n_received, 1);
    send(&in, 0, 1);
    loop_free(in.loop);
    assert_int_equal(in.n_received, 2);
    loop_free(NULL);
}

/* Two loops that throw a ball to each other. */
struct ball {
    struct loop_msg msg;
    struct loop *here, *there;
    unsigned n_left;
    struct gate *done;
};

static void catch_ball(struct loop_msg *m) {
    struct ball *b = (struct ball *)m;
    assert(loop_is_current(b->here) && (b->there == NULL || !loop_is_current(b->there)));
    if (b->n_left-- == 0) {
        gate_open(b->done);
        return;
    }
    struct loop *const to = b->there;
    b->there = b->here;
    b->here = to;
    loop_post(to, &b->msg);
}

/* It does not wake the loop, and loses nothing of what comes behind it. */
static void what_is_left_comes_with_the_next(void **state) {
    (void)state;
    struct inbox in = {.loop = new_loop()};
    assert_int_equal(loop_start(in.loop), OK);
    for (unsigned i = 0; i < 1000; i++) {
        struct note *n = malloc(sizeof *n);
        assert_non_null(n);
        *n = (struct note){{NULL, receive}, &in, 0, 2 * i};
        loop_leave(in.loop, &n->msg);
        send(&in, 0, 2 * i + 1);
    }
    struct gate seen;
    gate_init(&seen);
    struct ball last = {{NULL, catch_ball}, in.loop, NULL, 0, &seen};
    loop_post(in.loop, &last.msg);
    gate_wait(&seen);
    assert_int_equal(in.n_received, 2000);
    assert_int_equal(in.n_out_of_order, 0);
    stop_and_free(in.loop);
}

static void loops_post_to_each_other(void **state) {
    (void)state;
    struct loop *a = new_loop(), *b = new_loop();
    assert_int_equal(loop_start(a), OK);
    assert_int_equal(loop_start(b), OK);
    struct gate done;
    gate_init(&done);
    struct ball ball = {{NULL, catch_ball}, a, b, 2000, &done};
    loop_post(a, &ball.msg);
    gate_wait(&done);
    loop_stop(a);
    loop_stop(b);
    loop_join(a);
    loop_join(b);
    loop_free(a);
    loop_free(b);
}

struct mask_probe {
    struct loop_msg msg;
    sigset_t mask;
};

static void read_mask(struct loop_msg *m) {
    struct mask_probe *p = (struct mask_probe *)m;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &p->mask);
}

static void the_thread_takes_no_signals(void **state) {
    (void)state;
    struct loop *l = new_loop();
    struct mask_probe probe = {.msg = {NULL, read_mask}};
    loop_post(l, &probe.msg);
    assert_int_equal(loop_start(l), OK);
    sigset_t mine;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
    stop_and_free(l);
    assert_int_equal(sigismember(&probe.mask, SIGTERM), 1);
    assert_int_equal(sigismember(&mine, SIGTERM), 0);
}

/* ---- timers ---- */

struct ticks {
    struct loop *loop;
    struct loop_timer timer;
    unsigned n, stop_at;
    int64_t begun_ms, last_ms;
    struct gate done;
};

static void on_tick(void *ctx) {
    struct ticks *t = ctx;
    ASSERT_ON_LOOP(t->loop);
    t->last_ms = loop_now_ms(t->loop);
    if (++t->n < t->stop_at) return;
    loop_timer_stop(&t->timer);
    gate_open(&t->done);
}

static void init_ticks(struct ticks *t, unsigned stop_at) {
    *t = (struct ticks){.loop = new_loop(), .stop_at = stop_at};
    t->begun_ms = loop_now_ms(t->loop);
    gate_init(&t->done);
}

static void a_timer_fires_once(void **state) {
    (void)state;
    struct ticks t;
    init_ticks(&t, 1);
    assert_int_equal(loop_timer_start(t.loop, &t.timer, 20, 0, on_tick, &t), OK);
    assert_non_null(t.timer.impl);
    assert_int_equal(loop_start(t.loop), OK);
    gate_wait(&t.done);
    stop_and_free(t.loop);
    assert_int_equal(t.n, 1);
    assert_null(t.timer.impl);
    assert_true(t.last_ms - t.begun_ms >= 19); /* libuv's clock is cut to milliseconds */
}

static void a_timer_repeats_until_stopped(void **state) {
    (void)state;
    struct ticks t;
    init_ticks(&t, 5);
    assert_int_equal(loop_timer_start(t.loop, &t.timer, 0, 3, on_tick, &t), OK);
    assert_int_equal(loop_start(t.loop), OK);
    gate_wait(&t.done);
    stop_and_free(t.loop);
    assert_int_equal(t.n, 5);
    assert_true(t.last_ms - t.begun_ms >= 4 * 3 - 1);
    loop_timer_stop(&t.timer); /* not running: nothing happens */
}

static void on_tick_restart(void *ctx) {
    struct ticks *t = ctx;
    if (++t->n == t->stop_at) {
        gate_open(&t->done);
    } else {
        assert(loop_timer_start(t->loop, &t->timer, 1, 0, on_tick_restart, t) == OK);
    }
}

static void a_timer_may_start_itself_anew(void **state) {
    (void)state;
    struct ticks t;
    init_ticks(&t, 10);
    /* The second start replaces the first. */
    assert_int_equal(loop_timer_start(t.loop, &t.timer, 3600000, 0, on_tick, &t), OK);
    assert_int_equal(loop_timer_start(t.loop, &t.timer, 1, 0, on_tick_restart, &t), OK);
    assert_int_equal(loop_start(t.loop), OK);
    gate_wait(&t.done);
    stop_and_free(t.loop);
    assert_int_equal(t.n, 10);
}

static void a_running_timer_ends_with_its_loop(void **state) {
    (void)state;
    struct ticks t;
    init_ticks(&t, 1);
    assert_int_equal(loop_timer_start(t.loop, &t.timer, 3600000, 0, on_tick, &t), OK);
    assert_int_equal(loop_start(t.loop), OK);
    stop_and_free(t.loop);
    assert_int_equal(t.n, 0);
    assert_null(t.timer.impl);
    gate_open(&t.done);
    gate_wait(&t.done);
}

/* ---- lag ---- */

enum { BLOCKED_US = 1500 * 1000 };

static void block(void *ctx) {
    struct loop_timer *t = ctx;
    loop_timer_stop(t);
    usleep(BLOCKED_US);
}

/* Measured once a second; who blocks the loop for longer makes it late. */
static void a_late_loop_is_noticed(void **state) {
    (void)state;
    struct stats *stats = NULL;
    assert_int_equal(stats_new(&ENV_SYSTEM, 1, &stats), OK);
    struct stats_sheet *sheet = stats_sheet(stats, 0);
    struct loop *l = new_loop();
    struct loop_timer timer = {0};
    loop_set_stats(l, sheet);
    assert_int_equal(loop_timer_start(l, &timer, 1100, 1, block, &timer), OK);
    assert_int_equal(loop_start(l), OK);
    for (int i = 0; i < 6000 && atomic_load(&sheet->histogram[HISTOGRAM_LOOP_LAG_US].sum) == 0; i++)
        usleep(10000);
    stop_and_free(l);
    /* it was due a second after the first time, about 2 s, and came after 2.6 s */
    assert_true(atomic_load(&sheet->histogram[HISTOGRAM_LOOP_LAG_US].sum) > BLOCKED_US / 5);
    stats_free(stats);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_several_threads_arrive_in_the_order_of_each),
        cmocka_unit_test(messages_before_start_and_after_join_are_run),
        cmocka_unit_test(a_loop_that_never_started_runs_its_messages_too),
        cmocka_unit_test(what_is_left_comes_with_the_next),
        cmocka_unit_test(loops_post_to_each_other),
        cmocka_unit_test(the_thread_takes_no_signals),
        cmocka_unit_test(a_timer_fires_once),
        cmocka_unit_test(a_timer_repeats_until_stopped),
        cmocka_unit_test(a_timer_may_start_itself_anew),
        cmocka_unit_test(a_running_timer_ends_with_its_loop),
        cmocka_unit_test(a_late_loop_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
