/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Who gets how many descriptors: nothing is given twice, and too few are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/server/memory.h"
#include "app/server/shares.h"
#include "model/limits.h"

static struct conf conf;
static struct problem problem;

static int setup(void **state) {
    (void)state;
    conf_init(&conf);
    conf.proxy_enable = true;
    conf.names_enable = true;
    return 0;
}

/* As many as a start with so many loops asks for. */
static unsigned least(unsigned n_loops) {
    struct shares s;
    unsigned n = 0;
    assert_int_equal(shares_divide(&conf, n_loops, 0, &s, &problem), E_LIMIT);
    const char *last = strrchr(problem.text, ' ');
    assert_int_equal(sscanf(last, " %u", &n), 1);
    return n;
}

static void test_the_least_that_is_asked_for_is_enough(void **state) {
    (void)state;
    for (unsigned n_loops = 1; n_loops <= 64; n_loops *= 4) {
        struct shares s;
        const unsigned n = least(n_loops);
        assert_int_equal(shares_divide(&conf, n_loops, n - 1, &s, &problem), E_LIMIT);
        assert_non_null(strstr(problem.text, "LimitNOFILE"));
        assert_int_equal(shares_divide(&conf, n_loops, n, &s, &problem), OK);
    }
}

static void test_nothing_is_given_twice(void **state) {
    (void)state;
    static const unsigned LIMITS[] = {1024, 4096, 65536, 524288, 1 << 24};
    for (size_t i = 0; i < sizeof LIMITS / sizeof *LIMITS; i++) {
        for (unsigned n_loops = 1; n_loops <= 4; n_loops++) {
            struct shares s;
            assert_int_equal(shares_divide(&conf, n_loops, LIMITS[i], &s, &problem), OK);
            assert_true(s.clients + s.outgoing + s.transfers * n_loops + least(n_loops) - 32 ==
                        LIMITS[i]);
            assert_true(s.clients > LIMITS[i] / 3 && s.outgoing > 0 && s.transfers > 0);
            assert_true(s.transfers <= RESOLVER_TRANSFERS_MAX);
        }
    }
}

static void test_what_is_off_gets_none(void **state) {
    (void)state;
    struct shares s;
    const unsigned with_proxy = least(2);
    conf.proxy_enable = false;
    conf.names_enable = false;
    assert_true(least(2) < with_proxy);
    assert_int_equal(shares_divide(&conf, 2, 1024, &s, &problem), OK);
    assert_int_equal(s.outgoing, 0);
    assert_int_equal(s.transfers, 0);
}

static void test_loops_as_set(void **state) {
    (void)state;
    conf.threads = 7;
    assert_int_equal(shares_n_loops(&conf), 7);
    conf.threads = 0;
    assert_true(shares_n_loops(&conf) >= 1);
}

static void test_memory(void **state) {
    (void)state;
    const uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t before = memory_used();
    enum { LEN = 32 << 20 };
    assert_true(before != 0);
    assert_true(memory_there_is() > before && memory_there_is() <= machine);
    char *volatile touched = malloc(LEN);
    assert_non_null(touched);
    memset(touched, 1, LEN);
    assert_in_range(memory_used(), before + (uint64_t)LEN / 4 * 3, machine);
    free(touched);
}

enum { N_PIECES = 20000, PIECE_LEN = 2000, KEPT_EVERY = 100 };
static char *volatile pieces[N_PIECES];

static void take_pieces(int from, int to) {
    for (int i = from; i < to; i++) {
        pieces[i] = malloc(PIECE_LEN);
        assert_non_null(pieces[i]);
        memset(pieces[i], 1, PIECE_LEN);
    }
}

/* A few stay, the last among them: nothing but giving back makes the process smaller. */
static void free_pieces(int from, int to) {
    for (int i = from; i + 1 < to; i++) {
        if (i % KEPT_EVERY == 0) continue;
        free(pieces[i]);
        pieces[i] = NULL;
    }
}

static void free_all_pieces(void) {
    for (int i = 0; i < N_PIECES; i++) {
        free(pieces[i]);
        pieces[i] = NULL;
    }
}

/* What lies between things that are used stays, until it is given back; then there is no more to
 * give for a while, and what is small is not worth it. */
static void test_memory_is_given_back(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* whose allocators keep what is freed */
#endif
    struct memory_look look = {.stays = 0};
    take_pieces(0, N_PIECES);
    const uint64_t full = memory_used();
    free_pieces(0, N_PIECES);
    assert_true(memory_used() > full / 4 * 3);
    assert_true(memory_give_back(&look, 1000));
    assert_true(memory_used() < full / 2);
    assert_false(memory_give_back(&look, 200000));
    free_all_pieces();
}

/* Half of a crowd goes, memory is given back, and then the other half goes: that is given back too,
 * although the process has not grown since. */
static void test_memory_is_given_back_again(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    struct memory_look look = {.stays = 0};
    take_pieces(0, N_PIECES);
    free_pieces(0, N_PIECES / 2);
    assert_true(memory_give_back(&look, 1000));
    const uint64_t half = memory_used();
    free_pieces(N_PIECES / 2, N_PIECES);
    assert_false(memory_give_back(&look, 30000)); /* not so soon */
    assert_true(memory_give_back(&look, 200000));
    assert_true(memory_used() + (uint64_t)N_PIECES / 4 * PIECE_LEN < half);
    assert_false(memory_give_back(&look, 400000));
    free_all_pieces();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_least_that_is_asked_for_is_enough, setup),
        cmocka_unit_test_setup(test_nothing_is_given_twice, setup),
        cmocka_unit_test_setup(test_what_is_off_gets_none, setup),
        cmocka_unit_test_setup(test_loops_as_set, setup),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_is_given_back),
        cmocka_unit_test(test_memory_is_given_back_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
