/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Sets of active queues: exact while small, estimates in bounded memory when large. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"
#include "stats/active.h"

/* Different for each i, and spread over all 64 bits. */
static uint64_t nth_hash(uint64_t i) {
    uint8_t id[ID_LEN] = {0};
    uint64_t z = i;
    for (size_t k = 0; k < sizeof id; k++) {
        z = z * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        id[k] = (uint8_t)(z >> 56);
    }
    return active_hash(bytes_of(id, sizeof id));
}

/* Vectors: Data.Hashable.hash of hashable 1.4.4.0, which the reference's state files hold. */
static void hash_is_that_of_the_reference(void **state) {
    (void)state;
    uint8_t zeros[ID_LEN], ones[ID_LEN];
    memset(zeros, 0, sizeof zeros);
    memset(ones, 0xff, sizeof ones);
    const struct {
        struct bytes in;
        int64_t hash;
    } rows[] = {
        {bytes_str(""), INT64_C(5558979605539197941)},
        {bytes_str("a"), INT64_C(-1964608642901874691)},
        {bytes_str("abcdefghijklmnopqrstuvwx"), INT64_C(1428501634897219085)},
        {bytes_of(zeros, sizeof zeros), INT64_C(-2117686383353975091)},
        {bytes_of(ones, sizeof ones), INT64_C(-7142071268842898235)},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true((int64_t)active_hash(rows[i].in) == rows[i].hash);
    }
}

static void counts_each_queue_once(void **state) {
    (void)state;
    struct active_set s = {.slot = NULL};
    assert_int_equal(active_set_count(&s), 0);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 10000; i++) active_set_add(&s, nth_hash(i));
        assert_int_equal(active_set_count(&s), 10000);
    }
    active_set_clear(&s);
    assert_int_equal(active_set_count(&s), 0);
    active_set_add(&s, nth_hash(1));
    assert_int_equal(active_set_count(&s), 1);
    active_set_clear(&s);
}

static void list_is_sorted(void **state) {
    (void)state;
    struct active_set s = {.slot = NULL};
    int64_t list[1000];
    for (uint64_t i = 0; i < 1000; i++) active_set_add(&s, nth_hash(i));
    active_set_copy(&s, list);
    active_sort(list, 1000);
    for (size_t i = 1; i < 1000; i++) assert_true(list[i - 1] < list[i]);
    active_set_clear(&s);
}

static void fill(struct active_set *s, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) active_set_add(s, nth_hash(i));
}

static void assert_near(uint64_t count, uint64_t n) {
    assert_in_range(count, n - n / 50, n + n / 50); /* seven standard errors */
}

static void is_exact_up_to_the_limit(void **state) {
    (void)state;
    struct active_set s = {.slot = NULL};
    fill(&s, ACTIVE_SET_MAX);
    assert_int_equal(s.level, 0);
    assert_int_equal(active_set_count(&s), ACTIVE_SET_MAX);
    active_set_clear(&s);
}

static void estimates_above_the_limit(void **state) {
    (void)state;
    struct active_set s = {.slot = NULL};
    fill(&s, 10 * (uint64_t)ACTIVE_SET_MAX);
    assert_true(s.level >= 3);
    assert_true(s.n <= ACTIVE_SET_MAX && s.n_slots <= 2 * (size_t)ACTIVE_SET_MAX);
    assert_near(active_set_count(&s), 10 * (uint64_t)ACTIVE_SET_MAX);
    fill(&s, 10 * (uint64_t)ACTIVE_SET_MAX); /* the same ones */
    assert_near(active_set_count(&s), 10 * (uint64_t)ACTIVE_SET_MAX);
    active_set_clear(&s);
}

/* The list is all that a file keeps of a set. */
static void check_restored(uint64_t n) {
    struct active_set s = {.slot = NULL}, again = {.slot = NULL};
    fill(&s, n);
    int64_t *list = malloc(s.n * sizeof *list);
    assert_non_null(list);
    active_set_copy(&s, list);
    for (size_t i = 0; i < s.n; i++) active_set_add(&again, (uint64_t)list[i]);
    active_set_restored(&again);
    assert_int_equal(again.n, s.n);
    assert_int_equal(again.level, s.level);
    free(list);
    active_set_clear(&s);
    active_set_clear(&again);
}

static void level_is_found_again(void **state) {
    (void)state;
    check_restored(0);
    check_restored(1);
    check_restored(7);
    check_restored(ACTIVE_SET_MAX);
    check_restored(3 * (uint64_t)ACTIVE_SET_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_is_that_of_the_reference),
        cmocka_unit_test(counts_each_queue_once),
        cmocka_unit_test(list_is_sorted),
        cmocka_unit_test(is_exact_up_to_the_limit),
        cmocka_unit_test(estimates_above_the_limit),
        cmocka_unit_test(level_is_found_again),
    };
    return cmocka_run_group_tests_name("stats_active", tests, NULL, NULL);
}
