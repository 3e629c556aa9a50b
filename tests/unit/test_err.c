/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"

static void every_error_has_name_and_meaning(void **state) {
    (void)state;
    for (int e = OK; e < N_ERRS; e++) {
        assert_true(strlen(err_name((enum err)e)) > 0);
        assert_true(strlen(err_meaning((enum err)e)) > 0);
        assert_true(strlen(err_wire((enum err)e)) > 0);
    }
}

static void texts_are_those_of_the_table(void **state) {
    (void)state;
    assert_string_equal(err_name(OK), "OK");
    assert_string_equal(err_name(E_CMD_NO_AUTH), "CMD_NO_AUTH");
    assert_string_equal(err_wire(E_CMD_NO_AUTH), "CMD NO_AUTH");
    assert_string_equal(err_wire(E_AUTH), "AUTH");
    assert_string_equal(err_meaning(E_NO_MEMORY), "out of memory");
}

static void inner_errors_leave_as_internal(void **state) {
    (void)state;
    assert_string_equal(err_wire(E_NO_MEMORY), "INTERNAL");
    assert_string_equal(err_wire(E_SYNTAX), "INTERNAL");
    assert_string_equal(err_wire(OK), "INTERNAL");
}

static void number_beyond_the_table_is_internal(void **state) {
    (void)state;
    assert_string_equal(err_name(N_ERRS), "INTERNAL");
    assert_string_equal(err_wire(N_ERRS), "INTERNAL");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_name_and_meaning),
        cmocka_unit_test(texts_are_those_of_the_table),
        cmocka_unit_test(inner_errors_leave_as_internal),
        cmocka_unit_test(number_beyond_the_table_is_internal),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
