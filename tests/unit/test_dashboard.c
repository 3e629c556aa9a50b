/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the dashboard judges requests by: Host fields, and passwords in Authorization. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/basic_auth.h"
#include "admin/local_http.h"
#include "base/attr.h"

static void hosts_of_this_machine(void **state) {
    (void)state;
    static const char *const OURS[] = {
        "127.0.0.1",  "127.0.0.1:8001", "127.255.0.9:1", "localhost",  "LocalHost:65535",
        "127.0.0.1:", "localhost:8001", "[::1]",         "[::1]:8001",
    };
    for (size_t i = 0; i < ARRAY_LEN(OURS); i++) {
        if (!local_is_host(bytes_str(OURS[i]))) fail_msg("%s is refused", OURS[i]);
    }
    static const char *const OTHERS[] = {
        "",
        ":",
        ":8001",
        "example.org",
        "localhost.example.org",
        "127.0.0.1.example.org",
        "127.0.0.1@example.org",
        "xlocalhost",
        "localhost.",
        "192.0.2.1",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "127.0.0.1:x",
        "127.0.0.1:123456",
        "127.0.0.1:80:80",
        "127.0.0.1 ",
        " 127.0.0.1",
        "::1",
        "[::1",
        "[::1]x",
        "[::1]]",
        "[::2]",
        "[]",
        "[",
        "]",
        "[localhost]",
        "[127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::1%lo]",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]",
    };
    for (size_t i = 0; i < ARRAY_LEN(OTHERS); i++) {
        if (local_is_host(bytes_str(OTHERS[i]))) fail_msg("%s is let in", OTHERS[i]);
    }
    assert_false(local_is_host(bytes_of("localhost\0", 10)));
    assert_false(local_is_host(bytes_of("127.0.0.1\0.example.org", 22)));
}

static void passwords_are_found(void **state) {
    (void)state;
    static const struct {
        const char *field, *password;
    } ROWS[] = {
        {"Basic eDpzZWNyZXQ=", "secret"},   {"basic eDpzZWNyZXQ", "secret"},
        {"BASIC   eDpzZWNyZXQ=", "secret"}, {"Basic OnNlY3JldA==", "secret"},
        {"Basic eDphOmI6Yw==", "a:b:c"},    {"Basic eDo=", ""},
        {"Basic eDo+Pj8/Pz8=", ">>????"},   {"Basic eDrDqQ==", "\xc3\xa9"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        uint8_t got[BASIC_AUTH_MAX];
        size_t n = 0;
        assert_int_equal(basic_auth_password(bytes_str(ROWS[i].field), got, &n), OK);
        assert_true(bytes_equal(bytes_of(got, n), bytes_str(ROWS[i].password)));
    }
}

static void what_has_none(void **state) {
    (void)state;
    static const char *const BAD[] = {
        "",
        "Basic",
        "Basic ",
        "Basic  ",
        "Bearer eDpzZWNyZXQ=",
        "Basi eDo=",
        "Basicc eDo=",
        "BasiceDo=",
        "Basic eA==",
        "Basic eDpz ZWNyZXQ=",
        "Basic ===",
        "Basic e",
        "Basic eDpz-_8=",
        "Basic eDpzZWNyZXQ==",
        "Basic ****",
    };
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        uint8_t got[BASIC_AUTH_MAX];
        size_t n = 0;
        if (basic_auth_password(bytes_str(BAD[i]), got, &n) != E_SYNTAX) fail_msg("%s", BAD[i]);
    }
}

/* Each length, so that no byte beyond the room is written. */
static void the_longest(void **state) {
    (void)state;
    enum { GROUPS = BASIC_AUTH_MAX / 3 + 3, SCHEME_LEN = 6 };
    char field[SCHEME_LEN + 4 * GROUPS + 1] = "Basic eDp4";
    for (size_t i = 10; i + 1 < sizeof field; i++) field[i] = 'e';
    for (size_t n = 10; n + 1 <= sizeof field; n += 4) {
        uint8_t got[BASIC_AUTH_MAX];
        size_t len = 0;
        const size_t expected = (n - SCHEME_LEN) / 4 * 3;
        const enum err e = basic_auth_password(bytes_of(field, n), got, &len);
        assert_int_equal(e, expected <= BASIC_AUTH_MAX ? OK : E_LIMIT);
        if (e == OK) assert_int_equal(len, expected - 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_of_this_machine),
        cmocka_unit_test(passwords_are_found),
        cmocka_unit_test(what_has_none),
        cmocka_unit_test(the_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
