/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/attr.h"
#include "net/addr.h"

static void texts_that_are_addresses(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t n; /* bytes of the address; 0: it is none */
        size_t n_unmapped;
        bool is_loopback;
    } ROWS[] = {
        {"127.0.0.1", 4, 4, true},
        {"127.255.0.9", 4, 4, true},
        {"128.0.0.1", 4, 4, false},
        {"0.0.0.0", 4, 4, false},
        {"::1", 16, 16, true},
        {"::", 16, 16, false},
        {"2001:db8::1", 16, 16, false},
        {"::ffff:127.0.0.1", 16, 4, false},
        {"[::1]", 0, 0, false},
        {"fe80::1%lo", 0, 0, false},
        {"127.1", 0, 0, false},
        {"localhost", 0, 0, false},
        {"", 0, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        union addr a;
        assert_int_equal(addr_parse(ROWS[i].text, 5223, &a), ROWS[i].n != 0);
        assert_int_equal(addr_is_ip(ROWS[i].text), ROWS[i].n != 0);
        const struct bytes b = addr_bytes(&a.any);
        assert_int_equal(b.n, ROWS[i].n);
        if (b.n == 0) continue;
        assert_int_equal(addr_port(&a), 5223);
        assert_int_equal(addr_len(&a.any), b.n == 4 ? sizeof a.v4 : sizeof a.v6);
        assert_int_equal(addr_unmapped(b).n, ROWS[i].n_unmapped);
        assert_int_equal(addr_is_loopback(&a.any), ROWS[i].is_loopback);
    }
}

static void other_families_have_no_address(void **state) {
    (void)state;
    const struct sockaddr a = {.sa_family = AF_UNIX};
    assert_int_equal(addr_bytes(&a).n, 0);
    assert_false(addr_is_loopback(&a));
}

static void a_port_is_bound_once_unless_it_is_shared(void **state) {
    (void)state;
    union addr a;
    socklen_t len = sizeof a;
    assert_true(addr_parse("127.0.0.1", 0, &a));
    const int first = addr_bind(&a, false, true);
    assert_true(first >= 0);
    assert_int_equal(getsockname(first, &a.any, &len), 0);
    assert_int_equal(listen(first, 1), 0);
    assert_int_equal(addr_bind(&a, false, false), -1);
    const int second = addr_bind(&a, false, true);
    assert_true(second >= 0);
    addr_close(first);
    addr_close(second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_are_addresses),
        cmocka_unit_test(other_families_have_no_address),
        cmocka_unit_test(a_port_is_bound_once_unless_it_is_shared),
    };
    return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
