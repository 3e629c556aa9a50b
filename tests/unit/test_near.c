/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which names are taken for slips of others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/settings/near.h"
#include "base/attr.h"

static void counts_the_changes(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        unsigned distance;
    } ROWS[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"abc", "abc", 0},
        {"ABC", "abc", 0},
        {"a-b", "a_b", 0},
        {"abc", "abd", 1},
        {"abc", "ab", 1},
        {"abc", "xabc", 1},
        {"abc", "acb", 1},
        {"abc", "bca", 2},
        {"port", "host", 2},
        {"kitten", "sitting", 3},
        {"new_queue", "new_queues", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        assert_int_equal(near_distance(ROWS[i].a, ROWS[i].b), ROWS[i].distance);
        assert_int_equal(near_distance(ROWS[i].b, ROWS[i].a), ROWS[i].distance);
    }
}

static void long_names_are_near_to_none(void **state) {
    (void)state;
    char longest[NEAR_WORD_MAX + 2], other[NEAR_WORD_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[NEAR_WORD_MAX] = '\0';
    memcpy(other, longest, sizeof other);
    assert_int_equal(near_distance(longest, other), 0);
    other[0] = 'b';
    assert_int_equal(near_distance(longest, other), 1);
    longest[NEAR_WORD_MAX] = 'a';
    longest[NEAR_WORD_MAX + 1] = '\0';
    assert_int_equal(near_distance(longest, longest), NEAR_FAR);
    assert_int_equal(near_distance("", longest), NEAR_FAR);
    assert_false(near_is_slip(longest, longest));
}

static void slips(void **state) {
    (void)state;
    static const char *const PASSWORD[] = {"create_pasword",  "createpassword",  "create-password",
                                           "Create_Password", "create_passwort", "creat_passwd",
                                           "crate_password",  "create_password_"};
    for (size_t i = 0; i < ARRAY_LEN(PASSWORD); i++) {
        if (!near_is_slip(PASSWORD[i], "create_password")) fail_msg("%s", PASSWORD[i]);
    }
    assert_true(near_is_slip("prot", "port"));
    assert_false(near_is_slip("host", "port"));
    assert_false(near_is_slip("password", "create_password"));
    assert_false(near_is_slip("", "port"));
    assert_false(near_is_slip("new_queue_ttl", "new_queues"));
}

static void parts_are_whole_words(void **state) {
    (void)state;
    assert_true(near_is_part("password", "create_password"));
    assert_true(near_is_part("create_password", "Password"));
    assert_true(near_is_part("admin_password", "control_port_admin_password"));
    assert_true(near_is_part("queue-quota", "daily_block_queue_quota"));
    assert_false(near_is_part("passwords", "create_password"));
    assert_false(near_is_part("queue", "new_queues"));
    assert_false(near_is_part("port", "control_port"));
    assert_false(near_is_part("", "control_port"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_the_changes),
        cmocka_unit_test(long_names_are_near_to_none),
        cmocka_unit_test(slips),
        cmocka_unit_test(parts_are_whole_words),
    };
    return cmocka_run_group_tests_name("near", tests, NULL, NULL);
}
