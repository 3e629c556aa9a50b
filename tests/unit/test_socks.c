/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* SOCKS5 as bytes: the setting, what is said, and each proper prefix of what is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/attr.h"
#include "net/socks.h"

static void check_setting(const char *text, const char *host, uint16_t port, enum socks_auth auth) {
    struct socks_proxy p;
    if (socks_proxy_parse(text, &p) != OK) fail_msg("\"%s\"", text);
    assert_string_equal(p.host, host);
    assert_int_equal(p.port, port);
    assert_int_equal(p.auth, auth);
}

static void test_setting(void **state) {
    (void)state;
    check_setting("localhost:9150", "localhost", 9150, SOCKS_ISOLATE);
    check_setting(":1080", "127.0.0.1", 1080, SOCKS_ISOLATE);
    check_setting("[::1]:9050", "::1", 9050, SOCKS_ISOLATE);
    check_setting("[fd00::9]:9051", "fd00::9", 9051, SOCKS_ISOLATE);
    check_setting("@tor:9050", "tor", 9050, SOCKS_NO_AUTH);
    check_setting("me:word@tor:9050", "tor", 9050, SOCKS_PASSWORD);
    check_setting("me:@tor:9050", "tor", 9050, SOCKS_PASSWORD);
    struct socks_proxy p;
    assert_int_equal(socks_proxy_parse("me:a@b@tor:9050", &p), OK);
    assert_string_equal(p.user, "me");
    assert_string_equal(p.password, "a@b");
}

static void test_bad_settings(void **state) {
    (void)state;
    static const char *const BAD[] = {
        "",          "127.0.0.1", "tor",       "[fd00::9]", "me:word@tor", "192.168.1.300:9050",
        "a..b:1",    "tor:0",     "tor:65536", "tor:",      "tor:x",       "tor:+1",
        "tor: 1",    "tor:1 ",    "[::1",      "[::1]9",    "[]x",         "me@tor",
        ":word@tor", "x.onion",   "a b",       "::1",       "tor:9050x",   "socks5://tor",
    };
    struct socks_proxy p;
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        if (socks_proxy_parse(BAD[i], &p) != E_SYNTAX) fail_msg("\"%s\"", BAD[i]);
    }
}

static void check_bytes(const struct wr *w, const char *expected, size_t n) {
    assert_int_equal(wr_err(w), OK);
    assert_int_equal(w->at, n);
    assert_memory_equal(w->p, expected, n);
}

static void test_writing(void **state) {
    (void)state;
    uint8_t buf[SOCKS_OUT_MAX];
    struct wr w = wr_init(buf, sizeof buf);
    socks_write_greeting(SOCKS_ISOLATE, &w);
    check_bytes(&w, "\5\1\2", 3);
    w = wr_init(buf, sizeof buf);
    socks_write_greeting(SOCKS_NO_AUTH, &w);
    check_bytes(&w, "\5\1\0", 3);
    w = wr_init(buf, sizeof buf);
    socks_write_password("me", "word", &w);
    check_bytes(&w, "\1\2me\4word", 9);
    w = wr_init(buf, sizeof buf);
    socks_write_connect("x.onion", 5223, &w);
    check_bytes(&w, "\5\1\0\3\7x.onion\x14\x67", 14);
    w = wr_init(buf, sizeof buf);
    socks_write_connect("1.2.3.4", 443, &w);
    check_bytes(&w, "\5\1\0\1\1\2\3\4\1\xbb", 10);
    w = wr_init(buf, sizeof buf);
    socks_write_connect("::1", 443, &w);
    check_bytes(&w, "\5\1\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1\xbb", 22);
}

static void test_pairs(void **state) {
    (void)state;
    size_t need = 0;
    assert_int_equal(socks_read_method(bytes_of("", 0), SOCKS_ISOLATE, &need), SOCKS_MORE);
    assert_int_equal(socks_read_method(bytes_of("\5", 1), SOCKS_ISOLATE, &need), SOCKS_MORE);
    assert_int_equal(need, 2);
    assert_int_equal(socks_read_method(bytes_of("\5\2", 2), SOCKS_ISOLATE, &need), SOCKS_GRANTED);
    assert_int_equal(socks_read_method(bytes_of("\5\2", 2), SOCKS_NO_AUTH, &need), SOCKS_REFUSED);
    assert_int_equal(socks_read_method(bytes_of("\5\0", 2), SOCKS_PASSWORD, &need), SOCKS_REFUSED);
    assert_int_equal(socks_read_method(bytes_of("\5\xff", 2), SOCKS_ISOLATE, &need), SOCKS_REFUSED);
    assert_int_equal(socks_read_method(bytes_of("\4\2", 2), SOCKS_ISOLATE, &need), SOCKS_REFUSED);
    assert_int_equal(socks_read_password(bytes_of("\1", 1), &need), SOCKS_MORE);
    assert_int_equal(socks_read_password(bytes_of("\1\0", 2), &need), SOCKS_GRANTED);
    assert_int_equal(socks_read_password(bytes_of("\1\1", 2), &need), SOCKS_REFUSED);
}

/* Each proper prefix asks for more, and never for less than it has nor more than there is. */
static void check_reply(const uint8_t *reply, size_t n) {
    size_t need = 0;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(socks_read_connect(bytes_of(reply, i), &need), SOCKS_MORE);
        assert_true(need > i && need <= n && need <= SOCKS_IN_MAX);
    }
    assert_int_equal(socks_read_connect(bytes_of(reply, n), &need), SOCKS_GRANTED);
    assert_int_equal(need, n);
}

static void test_replies(void **state) {
    (void)state;
    uint8_t reply[SOCKS_IN_MAX] = {5, 0, 0, 1};
    check_reply(reply, 10);
    reply[3] = 4;
    check_reply(reply, 22);
    reply[3] = 3;
    for (unsigned name = 0; name < 256; name++) {
        reply[4] = (uint8_t)name;
        check_reply(reply, 7 + name);
    }
}

static void test_refusals(void **state) {
    (void)state;
    size_t need = 0;
    for (unsigned status = 1; status < 256; status++) {
        const uint8_t reply[] = {5, (uint8_t)status, 0, 1, 0};
        assert_int_equal(socks_read_connect(bytes_of(reply, 5), &need), SOCKS_REFUSED);
    }
    for (unsigned type = 0; type < 256; type++) {
        if (type == 1 || type == 3 || type == 4) continue;
        const uint8_t reply[] = {5, 0, 0, (uint8_t)type, 0};
        assert_int_equal(socks_read_connect(bytes_of(reply, 5), &need), SOCKS_REFUSED);
    }
    assert_int_equal(socks_read_connect(bytes_of("\4\0\0\1\0", 5), &need), SOCKS_REFUSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_setting), cmocka_unit_test(test_bad_settings),
        cmocka_unit_test(test_writing), cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_replies), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
