/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/env.h"
#include "base/lock.h"
#include "base/thread.h"

/* ---- order ---- */

/* True when `run` ends the process by an assertion. */
static bool is_refused(void (*run)(void)) {
    const pid_t pid = fork();
    if (pid == 0) {
        (void)close(2);
        run();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static struct lock first, second, also_second;

static int init_locks(void **state) {
    (void)state;
    lock_init(&first, (enum lock_kind)0);
    lock_init(&second, (enum lock_kind)1);
    lock_init(&also_second, (enum lock_kind)1);
    return 0;
}

static int done_locks(void **state) {
    (void)state;
    lock_done(&first);
    lock_done(&second);
    lock_done(&also_second);
    return 0;
}

static void take_in_order(void) {
    lock_take(&first);
    assert_true(lock_is_held(&first) && !lock_is_held(&second));
    lock_take(&second);
    lock_give(&first); /* in any order */
    assert_true(!lock_is_held(&first) && lock_is_held(&second));
    lock_give(&second);
    lock_take(&also_second);
    lock_give(&also_second);
}

static void take_against_order(void) {
    lock_take(&second);
    lock_take(&first);
}

static void take_two_of_a_kind(void) {
    lock_take(&second);
    lock_take(&also_second);
}

static void take_twice(void) {
    lock_take(&first);
    lock_take(&first);
}

static void give_what_is_not_held(void) {
    lock_give(&first);
}

static void wait_without_lock(void) {
    struct lock_cond c;
    lock_cond_init(&c);
    (void)lock_wait_ms(&c, &first, 1);
}

static void order_is_kept(void **state) {
    (void)state;
    take_in_order();
    assert_false(is_refused(take_in_order));
    assert_true(is_refused(take_against_order));
    assert_true(is_refused(take_two_of_a_kind));
    assert_true(is_refused(take_twice));
    assert_true(is_refused(give_what_is_not_held));
    assert_true(is_refused(wait_without_lock));
}

static void each_kind_has_a_name(void **state) {
    (void)state;
    for (unsigned i = 0; i < N_LOCK_KINDS; i++) {
        assert_non_null(lock_kind_name((enum lock_kind)i));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(lock_kind_name((enum lock_kind)i),
                                    lock_kind_name((enum lock_kind)j));
    }
}

/* ---- waiting ---- */

struct baton {
    struct lock lock;
    struct lock_cond cond;
    /* guarded by lock */
    unsigned turn;
};

enum { TURNS = 1000 };

/* Takes every second turn. */
static void play(struct baton *b, unsigned parity) {
    lock_take(&b->lock);
    while (b->turn < TURNS) {
        if (b->turn % 2 == parity) {
            b->turn++;
            lock_wake_all(&b->cond);
        } else {
            lock_wait(&b->cond, &b->lock);
        }
    }
    lock_give(&b->lock);
}

static void play_even(void *ctx) {
    play(ctx, 0);
}

static void two_take_turns(void **state) {
    struct baton b = {.turn = 0};
    struct thread t = {.is_started = false};
    (void)state;
    lock_init(&b.lock, (enum lock_kind)0);
    lock_cond_init(&b.cond);
    assert_int_equal(thread_start(&t, "even", play_even, &b), OK);
    play(&b, 1);
    thread_join(&t);
    assert_int_equal(b.turn, TURNS);
    lock_cond_done(&b.cond);
    lock_done(&b.lock);
}

static void waits_end(void **state) {
    struct baton b = {.turn = 0};
    (void)state;
    lock_init(&b.lock, (enum lock_kind)0);
    lock_cond_init(&b.cond);
    lock_take(&b.lock);
    assert_false(lock_wait_ms(&b.cond, &b.lock, 0));
    assert_false(lock_wait_ms(&b.cond, &b.lock, -1));
    const int64_t from_ms = env_mono_ms(&ENV_SYSTEM);
    while (lock_wait_ms(&b.cond, &b.lock, 30)) {
    }
    assert_true(env_mono_ms(&ENV_SYSTEM) - from_ms >= 29);
    assert_true(lock_is_held(&b.lock));
    lock_give(&b.lock);
    lock_cond_done(&b.cond);
    lock_done(&b.lock);
}

/* ---- threads ---- */

struct seen {
    char name[THREAD_NAME_MAX];
    sigset_t blocked;
};

static void look(void *ctx) {
    struct seen *s = ctx;
    (void)pthread_getname_np(pthread_self(), s->name, sizeof s->name);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &s->blocked);
}

static void threads_are_named_and_deaf(void **state) {
    struct thread t = {.is_started = false};
    struct seen s = {.name = ""};
    sigset_t before, after;
    (void)state;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &before);
    thread_join(&t); /* not started: nothing */
    assert_int_equal(thread_start(&t, "fifteen-letters", look, &s), OK);
    assert_true(t.is_started);
    thread_join(&t);
    assert_false(t.is_started);
    thread_join(&t);
    assert_string_equal(s.name, "fifteen-letters");
    assert_int_equal(sigismember(&s.blocked, SIGTERM), 1);
    assert_int_equal(sigismember(&s.blocked, SIGHUP), 1);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_kept),
        cmocka_unit_test(each_kind_has_a_name),
        cmocka_unit_test(two_take_turns),
        cmocka_unit_test(waits_end),
        cmocka_unit_test(threads_are_named_and_deaf),
    };
    return cmocka_run_group_tests(tests, init_locks, done_locks);
}
