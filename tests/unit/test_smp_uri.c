/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Addresses of servers: what is one, and what is wrong with what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/smp_uri.h"

#define FP "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
#define V3 "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwxyz.onion"

static void good(void **state) {
    (void)state;
    static const struct {
        const char *text, *password, *host;
        unsigned n_hosts;
        uint16_t port;
    } ROWS[] = {
        {"smp://" FP "=@a.example", "", "a.example", 1, 5223},
        {"smp://" FP "@a.example:443", "", "a.example", 1, 443},
        {"smp://" FP ":pass+%41@a.example", "pass+%41", "a.example", 1, 5223},
        {"smp://" FP "@a.example," V3 ":65535", "", "a.example", 2, 65535},
        {"smp://" FP "@" V3 ",10.0.0.1", "", V3, 2, 5223},
        {"smp://" FP "@[::1]:1", "", "::1", 1, 1},
        {"smp://" FP "@[2001:db8::1],b.example", "", "2001:db8::1", 2, 5223},
        {"smp://" FP "@a,b,c,d,e,f,g,h", "", "a", 8, 5223},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct smp_uri u;
        const char *why = "";
        assert_int_equal(smp_uri_parse(ROWS[i].text, &u, &why), OK);
        assert_string_equal(why, "");
        for (size_t k = 0; k < sizeof u.identity; k++) assert_int_equal(u.identity[k], 1);
        assert_string_equal(u.password, ROWS[i].password);
        assert_string_equal(u.hosts[0], ROWS[i].host);
        assert_int_equal(u.n_hosts, ROWS[i].n_hosts);
        assert_int_equal(u.port, ROWS[i].port);
        smp_uri_done(&u);
        assert_string_equal(u.password, "");
    }
}

static void bad(void **state) {
    (void)state;
    static const char *const TEXTS[] = {
        "",
        "smp:/",
        "smp://",
        "SMP://" FP "@a",
        "xftp://" FP "@a",
        " smp://" FP "@a",
        "smp://" FP,
        "smp://@a",
        "smp://" FP "@",
        "smp://AQ@a",
        "smp://" FP "AA@a",
        "smp://" FP "==@a",
        "smp://" FP "@a@b",
        "smp://" FP ":@a",
        "smp://" FP ":a:b@c",
        "smp://" FP ":a b@c",
        "smp://" FP ":a/b@c",
        "smp://" FP ":\xc3\xa4@c",
        "smp://" FP "@a:",
        "smp://" FP "@a:0",
        "smp://" FP "@a:65536",
        "smp://" FP "@a:+1",
        "smp://" FP "@a:1 ",
        "smp://" FP "@a:000001",
        "smp://" FP "@a:1:2",
        "smp://" FP "@a/",
        "smp://" FP "@a b",
        "smp://" FP "@,a",
        "smp://" FP "@a,",
        "smp://" FP "@a,,b",
        "smp://" FP "@::1",
        "smp://" FP "@[::1",
        "smp://" FP "@[::1]x",
        "smp://" FP "@[]",
        "smp://" FP "@[a]",
        "smp://" FP "@[10.0.0.1]",
        "smp://" FP "@[::1%eth0]",
        "smp://" FP "@1.2.3.4.5",
        "smp://" FP "@a,b,c,d,e,f,g,h,i",
        "smp://" FP "@a?x=y",
        "smp://" FP "@a#x",
    };
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        struct smp_uri u = {.port = 7};
        const char *why = NULL;
        if (smp_uri_parse(TEXTS[i], &u, &why) != E_SYNTAX) fail_msg("taken: %s", TEXTS[i]);
        assert_non_null(why);
        assert_int_equal(u.port, 7);
    }
}

static void prefixes(void **state) {
    (void)state;
    static const char TEXT[] = "smp://" FP ":password@[::1]:5";
    struct smp_uri u;
    const char *why = NULL;
    for (size_t n = 0; n < sizeof TEXT - 1; n++) {
        char *text = strndup(TEXT, n);
        assert_non_null(text);
        const bool may_end_here = n == sizeof TEXT - 1 - 2; /* without its port */
        assert_int_equal(smp_uri_parse(text, &u, &why), may_end_here ? OK : E_SYNTAX);
        free(text);
    }
}

/* The longest that there can be, and one character more. */
static void lengths(void **state) {
    (void)state;
    char text[1024], password[257], host[300];
    struct smp_uri u;
    const char *why = NULL;
    memset(password, 'p', sizeof password);
    memset(host, 'h', sizeof host);
    for (size_t i = 63; i < sizeof host; i += 64) host[i] = '.'; /* labels of 63 */
    for (int extra = 0; extra <= 1; extra++) {
        (void)snprintf(text, sizeof text, "smp://" FP ":%.*s@a", 255 + extra, password);
        assert_int_equal(smp_uri_parse(text, &u, &why), extra == 0 ? OK : E_SYNTAX);
        (void)snprintf(text, sizeof text, "smp://" FP "@%.*s", HOST_TEXT_MAX - 1 + extra, host);
        assert_int_equal(smp_uri_parse(text, &u, &why), extra == 0 ? OK : E_SYNTAX);
    }
}

static void choice_of_hosts(void **state) {
    (void)state;
    struct smp_uri u;
    const char *why = NULL;
    assert_int_equal(smp_uri_parse("smp://" FP "@a.example," V3 ",b.example", &u, &why), OK);
    assert_string_equal(smp_uri_host(&u, false), "a.example");
    assert_string_equal(smp_uri_host(&u, true), V3);
    assert_int_equal(smp_uri_parse("smp://" FP "@a.example", &u, &why), OK);
    assert_null(smp_uri_host(&u, true));
    assert_int_equal(smp_uri_parse("smp://" FP "@" V3, &u, &why), OK);
    assert_null(smp_uri_host(&u, false));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(bad),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(lengths),
        cmocka_unit_test(choice_of_hosts),
    };
    return cmocka_run_group_tests_name("smp_uri", tests, NULL, NULL);
}
