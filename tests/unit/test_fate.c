/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Waiting for the disk: who is told what, who is left alone, and that nobody is forgotten while
 * another thread makes changes durable. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "relay/delivery/fate.h"
#include "store/store_priv.h"

/* ---- a store that has nothing but fates ---- */

static _Atomic lsn_t durable, lost; /* lost: this one and those before */
static struct fates *grows;         /* right after it was looked at; NULL: not */

static enum err fate(const struct store *s, lsn_t lsn) {
    (void)s;
    const lsn_t was = durable;
    if (grows != NULL) {
        durable = was + 1;
        fates_changed(grows);
        grows = NULL;
    }
    if (lsn <= lost) return E_STORE;
    return lsn <= was ? OK : E_PENDING;
}

static const struct store_ops OPS = {.fate = fate};
static const struct store STORE = {.ops = &OPS};

/* ---- those who wait ---- */

struct waiting {
    struct fate_waiter waiter;
    unsigned n_told;
    enum err fate;
    struct fate_desk *asks_again; /* for the next lsn, when it is told */
};

static void told(struct fate_waiter *w, enum err fate) {
    struct waiting *x = CONTAINER_OF(w, struct waiting, waiter);
    x->n_told++;
    x->fate = fate;
    if (x->asks_again != NULL)
        assert_int_equal(fate_ask(x->asks_again, w->lsn + 1, &x->waiter), E_PENDING);
}

struct fixture {
    struct fates fates;
    struct loop *loop;
    struct fate_desk desk;
    struct waiting a, b;
};

static int setup(void **state) {
    static struct fixture f;
    durable = lost = 0;
    grows = NULL;
    f = (struct fixture){0};
    fates_init(&f.fates, &STORE);
    if (loop_new(0, &ENV_SYSTEM, &f.loop) != OK) return -1;
    fate_desk_open(&f.fates, f.loop, &f.desk);
    fate_waiter_init(&f.a.waiter, told);
    fate_waiter_init(&f.b.waiter, told);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    fate_forget(&f->a.waiter);
    fate_forget(&f->b.waiter);
    fate_desk_close(&f->desk);
    loop_free(f->loop);
    fates_done(&f->fates);
    return 0;
}

/* The store says so, and the loop has its turn. */
static void grow(struct fixture *f, lsn_t to) {
    durable = to;
    fates_changed(&f->fates);
    loop_join(f->loop);
}

static void what_is_decided_needs_no_waiting(void **state) {
    struct fixture *f = *state;
    assert_int_equal(fate_ask(&f->desk, 0, &f->a.waiter), OK);
    durable = 5;
    lost = 3;
    assert_int_equal(fate_ask(&f->desk, 5, &f->a.waiter), OK);
    assert_int_equal(fate_ask(&f->desk, 3, &f->a.waiter), E_STORE);
    grow(f, 6);
    assert_int_equal(f->a.n_told, 0);
}

static void each_is_told_when_its_own_change_is_decided(void **state) {
    struct fixture *f = *state;
    assert_int_equal(fate_ask(&f->desk, 1, &f->a.waiter), E_PENDING);
    assert_int_equal(fate_ask(&f->desk, 2, &f->b.waiter), E_PENDING);
    grow(f, 1);
    assert_int_equal(f->a.n_told, 1);
    assert_int_equal(f->a.fate, OK);
    assert_int_equal(f->b.n_told, 0);
    grow(f, 1);
    assert_int_equal(f->b.n_told, 0);
    lost = 2;
    grow(f, 1);
    assert_int_equal(f->b.n_told, 1);
    assert_int_equal(f->b.fate, E_STORE);
    grow(f, 9);
    assert_int_equal(f->a.n_told + f->b.n_told, 2);
}

static void who_is_told_may_ask_again(void **state) {
    struct fixture *f = *state;
    f->a.asks_again = &f->desk;
    assert_int_equal(fate_ask(&f->desk, 1, &f->a.waiter), E_PENDING);
    for (lsn_t i = 1; i <= 4; i++) {
        grow(f, i);
        assert_int_equal(f->a.n_told, i);
    }
}

static void the_last_question_counts(void **state) {
    struct fixture *f = *state;
    assert_int_equal(fate_ask(&f->desk, 1, &f->a.waiter), E_PENDING);
    assert_int_equal(fate_ask(&f->desk, 2, &f->a.waiter), E_PENDING);
    grow(f, 1);
    assert_int_equal(f->a.n_told, 0);
    grow(f, 2);
    assert_int_equal(f->a.n_told, 1);
}

/* ---- what is left at a desk ---- */

struct note {
    struct loop_msg msg;
    unsigned n_run;
};

static void run_note(struct loop_msg *m) {
    CONTAINER_OF(m, struct note, msg)->n_run++;
}

static void what_is_left_comes_when_it_is_decided(void **state) {
    struct fixture *f = *state;
    struct note n = {.msg.run = run_note};
    fate_leave(&f->desk, 1, &n.msg);
    assert_true(f->desk.is_waited_at);
    assert_false(f->desk.is_called);
    durable = 1;
    fates_changed(&f->fates);
    assert_true(f->desk.is_called);
    loop_join(f->loop);
    assert_int_equal(n.n_run, 1);
}

static void what_is_left_too_late_is_called_for(void **state) {
    struct fixture *f = *state;
    struct note n = {.msg.run = run_note};
    durable = 1;
    fate_leave(&f->desk, 1, &n.msg);
    assert_true(f->desk.is_called);
    loop_join(f->loop);
    assert_int_equal(n.n_run, 1);
}

static void who_left_is_not_told(void **state) {
    struct fixture *f = *state;
    assert_int_equal(fate_ask(&f->desk, 1, &f->a.waiter), E_PENDING);
    fate_forget(&f->a.waiter);
    grow(f, 1);
    assert_int_equal(f->a.n_told, 0);
}

/* By another thread, between the look and the wait. */
static void what_is_decided_while_it_is_asked_is_told(void **state) {
    struct fixture *f = *state;
    grows = &f->fates;
    assert_int_equal(fate_ask(&f->desk, 1, &f->a.waiter), E_PENDING);
    loop_join(f->loop);
    assert_int_equal(f->a.n_told, 1);
}

static void a_loop_where_nobody_waits_is_not_called(void **state) {
    struct fixture *f = *state;
    durable = 1;
    fates_changed(&f->fates);
    assert_false(f->desk.is_called);
    assert_int_equal(fate_ask(&f->desk, 2, &f->a.waiter), E_PENDING);
    durable = 2;
    fates_changed(&f->fates);
    assert_true(f->desk.is_called);
    fates_changed(&f->fates); /* once is enough */
    loop_join(f->loop);
    assert_false(f->desk.is_called);
    assert_int_equal(f->a.n_told, 1);
}

static void what_was_called_before_a_desk_closed_finds_nobody(void **state) {
    struct fixture *f = *state;
    struct fate_desk other;
    fate_desk_open(&f->fates, f->loop, &other);
    assert_int_equal(fate_ask(&other, 1, &f->b.waiter), E_PENDING);
    durable = 1;
    fates_changed(&f->fates);
    fate_forget(&f->b.waiter);
    fate_desk_close(&other);
    loop_join(f->loop);
    fates_changed(&f->fates);
    assert_int_equal(f->b.n_told, 0);
}

/* ---- with threads ---- */

enum { CHANGES = 5000 };

static _Atomic lsn_t made; /* the changes that were made */

struct asking {
    struct fixture *f;
    struct fate_waiter waiter;
    struct loop_timer timer; /* begins it */
    lsn_t at;
    _Atomic bool is_done;
};

/* Makes one change after the other, each when the one before is durable. */
static void go_on(struct asking *x) {
    while (x->at < CHANGES) {
        atomic_store(&made, ++x->at);
        if (fate_ask(&x->f->desk, x->at, &x->waiter) == E_PENDING) return;
    }
    atomic_store(&x->is_done, true);
}

static void asked_told(struct fate_waiter *w, enum err fate) {
    (void)fate;
    go_on(CONTAINER_OF(w, struct asking, waiter));
}

static void begin(void *ctx) {
    go_on(ctx);
}

/* Every change has to be seen, or this never ends. */
static void nobody_is_forgotten(void **state) {
    struct fixture *f = *state;
    struct asking x = {.f = f};
    atomic_store(&made, 0);
    fate_waiter_init(&x.waiter, asked_told);
    assert_int_equal(loop_timer_start(f->loop, &x.timer, 0, 0, begin, &x), OK);
    assert_int_equal(loop_start(f->loop), OK);
    while (!atomic_load(&x.is_done)) {
        const lsn_t upto = atomic_load(&made);
        if (upto == atomic_load(&durable)) continue;
        atomic_store(&durable, upto);
        fates_changed(&f->fates);
    }
    loop_stop(f->loop);
    loop_join(f->loop);
    loop_timer_stop(&x.timer);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    static const struct CMUnitTest TESTS[] = {
        TEST(what_is_decided_needs_no_waiting),
        TEST(each_is_told_when_its_own_change_is_decided),
        TEST(who_is_told_may_ask_again),
        TEST(the_last_question_counts),
        TEST(what_is_left_comes_when_it_is_decided),
        TEST(what_is_left_too_late_is_called_for),
        TEST(who_left_is_not_told),
        TEST(what_is_decided_while_it_is_asked_is_told),
        TEST(a_loop_where_nobody_waits_is_not_called),
        TEST(what_was_called_before_a_desk_closed_finds_nobody),
        TEST(nobody_is_forgotten),
    };
    return cmocka_run_group_tests_name("fate", TESTS, NULL, NULL);
}
