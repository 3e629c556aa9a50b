/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Intended starts: neither late takers nor rounding may move them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/clock.h"
#include "bench/schedule.h"

static void nothing_is_due_early(void **state) {
    (void)state;
    struct schedule s;
    int64_t due = -1;
    schedule_init(&s, 1000, 1000);
    assert_false(schedule_take(&s, 999, &due));
    assert_int_equal(due, -1);
    assert_true(schedule_take(&s, 1000, &due));
    assert_int_equal(due, 1000);
    assert_false(schedule_take(&s, 1000 + 999999, &due));
    assert_int_equal(schedule_next_ns(&s), 1000 + 1000000);
}

/* Half a second of standing still: all that was due in it is due at its own time. */
static void a_pause_moves_nothing(void **state) {
    (void)state;
    struct schedule s;
    int64_t due = 0;
    schedule_init(&s, 0, 100);
    assert_true(schedule_take(&s, 0, &due));
    const int64_t now = CLOCK_NS_PER_S / 2;
    for (int64_t i = 1; i <= 50; i++) {
        assert_true(schedule_take(&s, now, &due));
        assert_int_equal(due, i * 10000000);
    }
    assert_false(schedule_take(&s, now, &due));
}

static void rounding_does_not_add_up(void **state) {
    (void)state;
    struct schedule s;
    int64_t due = 0;
    schedule_init(&s, 0, 3);
    for (int i = 0; i <= 3000000; i++) assert_true(schedule_take(&s, INT64_MAX, &due));
    assert_in_range(due, (int64_t)1000000 * CLOCK_NS_PER_S - 1000,
                    (int64_t)1000000 * CLOCK_NS_PER_S + 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_due_early),
        cmocka_unit_test(a_pause_moves_nothing),
        cmocka_unit_test(rounding_does_not_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
