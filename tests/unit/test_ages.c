/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "relay/session/ages.h"

enum { START_S = 5000000 }; /* of the clock: it counts since the machine started */

static uint64_t total(const struct ages_sum *sum) {
    uint64_t n = 0;
    for (unsigned i = 0; i < AGES_PERIODS; i++) n += sum->n[i];
    return n;
}

static struct ages_sum read_at(const struct ages *a, uint32_t now_s) {
    struct ages_sum sum = {0};
    ages_read(a, now_s, &sum);
    return sum;
}

static void test_one_grows_old(void **state) {
    (void)state;
    static const struct {
        uint32_t age_s;
        unsigned period;
    } CASES[] = {{0, 0},    {49, 0},   {60, 1},   {290, 1},    {300, 2},        {1199, 2},
                 {1210, 3}, {3580, 3}, {3600, 4}, {100000, 4}, {500 * 3600, 4}, {600 * 3600, 4}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct ages a = {0};
        const uint32_t now_s = START_S + CASES[i].age_s;
        ages_begin(&a, START_S);
        struct ages_sum sum = read_at(&a, now_s);
        assert_int_equal(sum.n[CASES[i].period], 1);
        assert_int_equal(total(&sum), 1);
        /* the same when something else made the rings go on */
        ages_begin(&a, now_s);
        ages_end(&a, now_s, now_s);
        sum = read_at(&a, now_s);
        assert_int_equal(sum.n[CASES[i].period], 1);
        assert_int_equal(total(&sum), 1);
        ages_end(&a, now_s, START_S);
        sum = read_at(&a, now_s);
        assert_int_equal(total(&sum), 0);
        assert_int_equal(sum.oldest_s, 0);
    }
}

static void test_oldest(void **state) {
    (void)state;
    struct ages a = {0};
    ages_begin(&a, START_S);
    ages_begin(&a, START_S + 100);
    assert_in_range(read_at(&a, START_S + 500).oldest_s, 500, 510);
    ages_end(&a, START_S + 500, START_S);
    assert_in_range(read_at(&a, START_S + 500).oldest_s, 400, 410);
    ages_begin(&a, START_S + 90000); /* the other is in the coarse ring now */
    assert_in_range(read_at(&a, START_S + 90000).oldest_s, 89900, 89900 + AGES_COARSE_S);
}

static unsigned random_of(unsigned *seed) {
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

/* Against a list of what waits, with pauses of all lengths. */
static void test_any_order(void **state) {
    (void)state;
    enum { N = 200, N_STEPS = 20000 };
    static const uint32_t PAUSES_S[] = {0, 0, 0, 1, 3, 9, 10, 11, 40, 700, 3599, 3600, 9000};
    static uint32_t since[N];
    static struct ages a;
    uint32_t now_s = START_S;
    unsigned n = 0, seed = 7;
    for (unsigned i = 0; i < N_STEPS; i++) {
        now_s += PAUSES_S[random_of(&seed) % (sizeof PAUSES_S / sizeof PAUSES_S[0])];
        if (i % 5000 == 4999) now_s += 400u * 86400;
        if (n < N && (n == 0 || random_of(&seed) % 2 == 0)) {
            since[n++] = now_s;
            ages_begin(&a, now_s);
        } else {
            const unsigned k = random_of(&seed) % n;
            ages_end(&a, now_s, since[k]);
            since[k] = since[--n];
        }
        if (i % 16 != 0) continue;
        const struct ages_sum sum = read_at(&a, now_s);
        unsigned n_hour = 0;
        for (unsigned k = 0; k < n; k++) n_hour += now_s - since[k] < 3600 - AGES_FINE_S;
        assert_int_equal(total(&sum), n);
        assert_true(sum.n[0] + sum.n[1] + sum.n[2] + sum.n[3] >= n_hour);
        assert_true(n == 0 || sum.n[AGES_PERIODS - 1] <= n - n_hour);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_grows_old),
        cmocka_unit_test(test_oldest),
        cmocka_unit_test(test_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
