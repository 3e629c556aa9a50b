/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A faulty server must be seen: each kind of fault, alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "bench/checker.h"

enum { RUN = 77, QUEUE = 5, BODY_LEN = 1003 };

static struct checker checker;
static uint8_t body[BODY_LEN];

static int clear(void **state) {
    (void)state;
    memset(&checker, 0, sizeof checker);
    return 0;
}

static struct bytes message(uint64_t number) {
    const struct stamp s = {.run = RUN, .queue = QUEUE, .number = number, .sent_ns = 123456789};
    stamp_write(&s, body, sizeof body);
    return bytes_of(body, sizeof body);
}

static enum checker_verdict take(uint64_t number) {
    struct stamp s;
    return checker_take(&checker, RUN, QUEUE, message(number), &s);
}

/* ---- bytes ---- */

static void stamps_come_back(void **state) {
    (void)state;
    const struct stamp s = {.run = UINT64_MAX,
                            .queue = UINT32_MAX,
                            .number = UINT64_MAX - 1,
                            .sent_ns = INT64_MIN};
    for (size_t n = STAMP_LEN; n < STAMP_LEN + 20; n++) {
        struct stamp found = {0};
        stamp_write(&s, body, n);
        assert_true(stamp_read(bytes_of(body, n), &found));
        assert_true(found.run == s.run && found.queue == s.queue && found.number == s.number &&
                    found.sent_ns == s.sent_ns);
    }
}

static void every_byte_counts(void **state) {
    (void)state;
    struct stamp s;
    (void)message(1);
    for (size_t i = 0; i < sizeof body; i++) {
        body[i] ^= 0x10;
        assert_false(stamp_read(bytes_of(body, sizeof body), &s));
        body[i] ^= 0x10;
    }
    for (size_t n = 0; n < STAMP_LEN; n++) assert_false(stamp_read(bytes_of(body, n), &s));
}

/* What was sent to another queue, or in another run, is whole but not ours. */
static void strangers_are_damage(void **state) {
    (void)state;
    struct stamp s;
    const struct bytes m = message(0);
    assert_int_equal(checker_take(&checker, RUN + 1, QUEUE, m, &s), CHECK_DAMAGED);
    assert_int_equal(checker_take(&checker, RUN, QUEUE + 1, m, &s), CHECK_DAMAGED);
    assert_int_equal(checker_take(&checker, RUN, QUEUE, bytes_of(m.p, 10), &s), CHECK_DAMAGED);
    assert_int_equal(checker_lost(&checker, 1), 1);
}

/* ---- order ---- */

static void in_order_is_good(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 2000; i++) assert_int_equal(take(i), CHECK_GOOD);
    assert_int_equal(checker_lost(&checker, 2000), 0);
    assert_int_equal(checker_lost(&checker, 2003), 3);
}

static void twice_is_a_duplicate(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 300; i++) assert_int_equal(take(i), CHECK_GOOD);
    assert_int_equal(take(299), CHECK_DUPLICATE);
    assert_int_equal(take(100), CHECK_DUPLICATE);
    assert_int_equal(take(0), CHECK_DUPLICATE);
    assert_int_equal(checker_lost(&checker, 300), 0);
}

static void a_gap_is_a_loss(void **state) {
    (void)state;
    assert_int_equal(take(0), CHECK_GOOD);
    assert_int_equal(take(3), CHECK_GOOD);
    assert_int_equal(checker_lost(&checker, 4), 2);
    assert_int_equal(take(1000), CHECK_GOOD);
    assert_int_equal(checker_lost(&checker, 1001), 998);
}

static void a_latecomer_is_out_of_order(void **state) {
    (void)state;
    assert_int_equal(take(0), CHECK_GOOD);
    assert_int_equal(take(2), CHECK_GOOD);
    assert_int_equal(take(1), CHECK_DISORDERED);
    assert_int_equal(take(1), CHECK_DUPLICATE);
    assert_int_equal(checker_lost(&checker, 3), 0);
}

/* Across the window's end, and after a gap wider than the window. */
static void the_window_forgets_nothing_within(void **state) {
    (void)state;
    static const uint64_t GAPS[] = {CHECKER_WINDOW - 1, CHECKER_WINDOW, CHECKER_WINDOW + 1, 5000};
    for (size_t i = 0; i < ARRAY_LEN(GAPS); i++) {
        (void)clear(NULL);
        const uint64_t far = 10 + GAPS[i];
        for (uint64_t n = 0; n <= 10; n++) assert_int_equal(take(n), CHECK_GOOD);
        assert_int_equal(take(far), CHECK_GOOD);
        for (uint64_t n = far - 1; n > 10 && n + CHECKER_WINDOW > far; n--) {
            assert_int_equal(take(n), CHECK_DISORDERED);
        }
        assert_int_equal(take(far), CHECK_DUPLICATE);
        assert_int_equal(checker_lost(&checker, far + 1),
                         GAPS[i] > CHECKER_WINDOW ? GAPS[i] - CHECKER_WINDOW : 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(stamps_come_back, clear),
        cmocka_unit_test_setup(every_byte_counts, clear),
        cmocka_unit_test_setup(strangers_are_damage, clear),
        cmocka_unit_test_setup(in_order_is_good, clear),
        cmocka_unit_test_setup(twice_is_a_duplicate, clear),
        cmocka_unit_test_setup(a_gap_is_a_loss, clear),
        cmocka_unit_test_setup(a_latecomer_is_out_of_order, clear),
        cmocka_unit_test_setup(the_window_forgets_nothing_within, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
