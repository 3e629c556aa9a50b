/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Turns on a clock that only the connections' work moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "net/loop.h"
#include "net/turns.h"

static int64_t clock_us;

static int64_t fake_mono_us(void *ctx) {
    (void)ctx;
    return clock_us;
}

static const struct env ENV = {.mono_us = fake_mono_us};

enum { N_FLOODERS = 200 };

struct worker {
    struct turn turn;
    int64_t cost_us;
    unsigned n_served;
};

struct rig {
    struct loop *loop;
    struct turns turns;
    struct worker flooders[N_FLOODERS], neighbour;
};

static struct rig rig;

static void serve(struct turn *t) {
    struct worker *w = CONTAINER_OF(t, struct worker, turn);
    w->n_served++;
    clock_us += w->cost_us;
}

static int set_up(void **state) {
    (void)state;
    rig = (struct rig){0};
    clock_us = 1000000;
    if (loop_new(0, &ENV, &rig.loop) != OK) return -1;
    turns_init(&rig.turns, rig.loop);
    turn_init(&rig.neighbour.turn);
    rig.neighbour.cost_us = 10;
    for (unsigned i = 0; i < N_FLOODERS; i++) turn_init(&rig.flooders[i].turn);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    loop_free(rig.loop);
    return 0;
}

/* What a loop does in one turn. */
static void turn(void) {
    turns_serve(&rig.turns, TURN_READY, TURN_READY, serve);
    turns_serve(&rig.turns, TURN_SHAKING, TURN_OWING, serve);
}

static void all_want(unsigned n) {
    for (unsigned i = 0; i < n; i++) turn_want(&rig.turns, &rig.flooders[i].turn, false);
}

static void set_cost(unsigned n, int64_t us) {
    for (unsigned i = 0; i < n; i++) rig.flooders[i].cost_us = us;
}

/* However many there are, a neighbour that asks for little is served in the turn in which it asks.
 */
static void flood(unsigned n, int64_t cost_us) {
    set_cost(n, cost_us);
    for (unsigned i = 0; i < 4 * n; i++) { /* what they had saved up is spent */
        all_want(n);
        turn();
    }
    for (unsigned i = 1; i <= 100; i++) {
        const unsigned before = rig.neighbour.n_served;
        const int64_t asked_us = clock_us;
        all_want(n);
        turn_want(&rig.turns, &rig.neighbour.turn, false);
        turn();
        assert_int_equal(rig.neighbour.n_served, before + 1);
        assert_true(clock_us - asked_us <= 2 * (TURN_PART_US + cost_us) + rig.neighbour.cost_us);
        all_want(n); /* it thinks about its answer */
        turn();
    }
}

static void test_one_flooder(void **state) {
    (void)state;
    flood(1, TURN_SHARE_US);
}

static void test_many_flooders(void **state) {
    (void)state;
    flood(N_FLOODERS, TURN_SHARE_US);
}

static void test_flooders_of_small_things(void **state) {
    (void)state;
    flood(N_FLOODERS, 100);
}

static void test_no_flooder_starves(void **state) {
    (void)state;
    flood(N_FLOODERS, TURN_SHARE_US);
    unsigned least = UINT32_MAX, most = 0;
    for (unsigned i = 0; i < N_FLOODERS; i++) {
        const unsigned n = rig.flooders[i].n_served;
        if (n < least) least = n;
        if (n > most) most = n;
    }
    assert_true(least > 0 && most <= 2 * least);
}

/* A part of a turn is used by whoever needs it, and what is left over is first in the next. */
static void test_what_is_left_over_is_first(void **state) {
    (void)state;
    set_cost(4, TURN_SHARE_US);
    all_want(4);
    turn();
    assert_int_equal(rig.flooders[1].n_served, 1);
    assert_int_equal(rig.flooders[2].n_served, 0);
    assert_true(turns_wait(&rig.turns));
    all_want(4);
    turn();
    assert_int_equal(rig.flooders[2].n_served, 1);
    assert_int_equal(rig.flooders[3].n_served, 1);
}

static void test_alone_nobody_is_held_up(void **state) {
    (void)state;
    set_cost(1, TURN_SHARE_US);
    for (unsigned i = 1; i <= 100; i++) {
        all_want(1);
        turn();
        assert_int_equal(rig.flooders[0].n_served, i);
    }
}

static void check_share(struct turn *t) {
    (void)t;
    assert_false(turns_share_is_used(&rig.turns));
    clock_us += TURN_SHARE_US - 1;
    assert_false(turns_share_is_used(&rig.turns));
    clock_us += 1;
    assert_true(turns_share_is_used(&rig.turns));
}

static void test_a_share_ends(void **state) {
    (void)state;
    all_want(1);
    turns_serve(&rig.turns, TURN_READY, TURN_READY, check_share);
}

static void test_a_handshake_is_charged_to_nobody(void **state) {
    (void)state;
    set_cost(1, 3 * TURN_SHARE_US);
    turn_want(&rig.turns, &rig.flooders[0].turn, true);
    turn();
    assert_int_equal(rig.flooders[0].turn.credit_us, TURN_SHARE_US);
}

static void test_dropped_ones_are_not_served(void **state) {
    (void)state;
    all_want(2);
    turn_drop(&rig.turns, &rig.flooders[0].turn);
    turn_drop(&rig.turns, &rig.flooders[0].turn);
    turn();
    assert_int_equal(rig.flooders[0].n_served, 0);
    assert_int_equal(rig.flooders[1].n_served, 1);
    assert_false(turns_wait(&rig.turns));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_one_flooder),
        TEST(test_many_flooders),
        TEST(test_flooders_of_small_things),
        TEST(test_no_flooder_starves),
        TEST(test_what_is_left_over_is_first),
        TEST(test_alone_nobody_is_held_up),
        TEST(test_a_share_ends),
        TEST(test_a_handshake_is_charged_to_nobody),
        TEST(test_dropped_ones_are_not_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
