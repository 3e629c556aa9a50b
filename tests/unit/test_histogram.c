/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Values and quantiles against what is known or sorted out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/histogram.h"

static struct histogram h, other;

static int clear(void **state) {
    (void)state;
    memset(&h, 0, sizeof h);
    memset(&other, 0, sizeof other);
    return 0;
}

static void empty_is_zero(void **state) {
    (void)state;
    assert_int_equal(histogram_quantile(&h, 0.99), 0);
    assert_int_equal(h.max, 0);
    assert_true(histogram_mean(&h) <= 0);
}

static void small_values_are_exact(void **state) {
    (void)state;
    for (int64_t v = 1; v <= 200; v++) histogram_add(&h, v);
    assert_int_equal(histogram_quantile(&h, 0.5), 100);
    assert_int_equal(histogram_quantile(&h, 0.9), 180);
    assert_int_equal(histogram_quantile(&h, 1), 200);
    assert_int_equal(histogram_quantile(&h, 0), 1);
    assert_int_equal(h.max, 200);
    assert_true(histogram_mean(&h) > 100.4 && histogram_mean(&h) < 100.6);
}

/* Each value alone: its bucket's upper end is not below it, and within 1/128. */
static void all_sizes_are_close(void **state) {
    (void)state;
    for (unsigned bit = 0; bit < HISTOGRAM_VALUE_BITS; bit++) {
        for (int step = -1; step <= 1; step++) {
            const int64_t v = ((int64_t)1 << bit) + step;
            if (v >= (int64_t)1 << HISTOGRAM_VALUE_BITS) continue;
            (void)clear(NULL);
            histogram_add(&h, v);
            histogram_add(&h,
                          ((int64_t)1 << HISTOGRAM_VALUE_BITS) - 1); /* so that max caps nothing */
            const uint64_t found = histogram_quantile(&h, 0.5);
            assert_true(found >= (uint64_t)v);
            assert_true(found <= (uint64_t)v + (uint64_t)v / 128);
        }
    }
}

static void extremes_do_no_harm(void **state) {
    (void)state;
    histogram_add(&h, -5);
    histogram_add(&h, INT64_MAX);
    assert_int_equal(h.n, 2);
    assert_int_equal(histogram_quantile(&h, 0.5), 0);
    assert_int_equal(histogram_quantile(&h, 1), h.max);
    assert_int_equal(h.max, ((uint64_t)1 << HISTOGRAM_VALUE_BITS) - 1);
}

static void merged_is_as_if_added(void **state) {
    (void)state;
    for (int64_t v = 0; v < 1000; v++) histogram_add(v % 2 == 0 ? &h : &other, v * 1000);
    histogram_merge(&h, &other);
    assert_int_equal(h.n, 1000);
    assert_int_equal(h.max, 999000);
    const uint64_t half = histogram_quantile(&h, 0.5);
    assert_true(half >= 499000 && half <= 499000 + 499000 / 128);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(empty_is_zero, clear),
        cmocka_unit_test_setup(small_values_are_exact, clear),
        cmocka_unit_test_setup(all_sizes_are_close, clear),
        cmocka_unit_test_setup(extremes_do_no_harm, clear),
        cmocka_unit_test_setup(merged_is_as_if_added, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
