/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Lines of /proc: words and numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/files/proc_line.h"

static void words(void **state) {
    (void)state;
    char none[] = " \t\n", some[] = "  1: a\tbc \n",
         many[] = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17";
    struct proc_line l;
    proc_split(none, &l);
    assert_int_equal(l.n, 0);
    proc_split(some, &l);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.words[0], "1:");
    assert_string_equal(l.words[1], "a");
    assert_string_equal(l.words[2], "bc");
    proc_split(many, &l);
    assert_int_equal(l.n, PROC_WORDS_MAX);
    assert_string_equal(l.words[PROC_WORDS_MAX - 1], "16");
}

static void numbers(void **state) {
    (void)state;
    const char *text = "0100007fFF:1467";
    uint64_t v = 0;
    assert_true(proc_number(&text, 16, 8, &v));
    assert_int_equal(v, 0x0100007f);
    assert_true(proc_number(&text, 16, 8, &v));
    assert_int_equal(v, 0xff);
    assert_false(proc_number(&text, 16, 8, &v));
    assert_false(proc_number_after(&text, '-', 10, &v));
    assert_true(proc_number_after(&text, ':', 10, &v));
    assert_int_equal(v, 1467);
    assert_string_equal(text, "");
    text = "12a";
    assert_true(proc_number(&text, 10, 0, &v));
    assert_int_equal(v, 12);
    assert_string_equal(text, "a");
}

static void what_is_no_number(void **state) {
    (void)state;
    static const char *const TEXTS[] = {"", "-1", "g", ":", " 1", "fffffffffffffffff"};
    uint64_t v = 7;
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        const char *text = TEXTS[i];
        assert_false(proc_number(&text, 16, 0, &v));
        assert_ptr_equal(text, TEXTS[i]);
    }
    const char *colon = ":";
    assert_false(proc_number_after(&colon, ':', 16, &v));
    assert_string_equal(colon, ":");
    assert_int_equal(v, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(numbers),
        cmocka_unit_test(what_is_no_number),
    };
    return cmocka_run_group_tests_name("proc", tests, NULL, NULL);
}
