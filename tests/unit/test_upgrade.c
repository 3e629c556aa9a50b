/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which requests are upgrades to WebSocket, and what is made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "crypto/crypto.h"
#include "web/upgrade.h"

#define HOST    "Host: a\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define ASKS    "Connection: Upgrade\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"

enum { NOT_WANTED = 0 };

static struct http_reader reader;

static struct http_request read_request(const char *text) {
    struct bytes in = bytes_str(text);
    struct http_request r;
    http_reader_reset(&reader);
    assert_int_equal(http_reader_take(&reader, &in, &r), HTTP_REQUEST_READ);
    assert_int_equal(in.n, 0);
    return r;
}

static unsigned status_of(const char *text, struct upgrade *ret) {
    const struct http_request r = read_request(text);
    return upgrade_is_wanted(&r) ? upgrade_check(&r, ret) : NOT_WANTED;
}

/* The example of RFC 6455, section 1.3. */
static void the_answer(void **state) {
    (void)state;
    struct upgrade u;
    assert_int_equal(status_of("GET /chat HTTP/1.1\r\n" HOST UPGRADE ASKS KEY VERSION "\r\n", &u),
                     101);
    assert_string_equal(u.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_int_equal(u.n_challenge, 0);
}

static void statuses(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned status;
    } CASES[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", NOT_WANTED},
        {"GET / HTTP/1.1\r\n" HOST "Upgrade: h2c\r\n" ASKS KEY VERSION "\r\n", NOT_WANTED},
        {"GET / HTTP/1.1\r\n" HOST "Upgrade: websockets\r\n" ASKS KEY VERSION "\r\n", NOT_WANTED},
        {"GET / HTTP/1.1\r\n" HOST "Upgrade:\r\n" ASKS KEY VERSION "\r\n", NOT_WANTED},
        {"GET / HTTP/1.1\r\n" HOST "Upgrade: h2c , WEBSocket\r\n" ASKS KEY VERSION "\r\n", 101},
        {"GET / HTTP/1.1\r\n" HOST "Upgrade: h2c\r\n" UPGRADE ASKS KEY VERSION "\r\n", 101},
        {"GET / HTTP/1.1\r\n" HOST UPGRADE "Connection: keep-alive,\tUPGRADE\r\n" KEY VERSION
         "\r\n",
         101},
        {"GET / HTTP/1.1\r\n" HOST UPGRADE "Connection: close\r\n" KEY VERSION "\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 400},
        {"HEAD / HTTP/1.1\r\n" HOST UPGRADE ASKS KEY VERSION "\r\n", 400},
        {"GET / HTTP/1.0\r\n" HOST UPGRADE ASKS KEY VERSION "\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST UPGRADE ASKS KEY "\r\n", 426},
        {"GET / HTTP/1.1\r\n" HOST UPGRADE ASKS KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426},
        {"GET / HTTP/1.1\r\n" HOST UPGRADE ASKS KEY VERSION VERSION "\r\n", 426},
        {"GET / HTTP/1.1\r\n" HOST UPGRADE ASKS VERSION "\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST UPGRADE ASKS KEY KEY VERSION "\r\n", 400},
    };
    struct upgrade u;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const unsigned got = status_of(CASES[i].text, &u);
        if (got != CASES[i].status) fail_msg("%u for %s", got, CASES[i].text);
    }
}

static void keys(void **state) {
    (void)state;
    static const struct {
        const char *key;
        unsigned status;
    } CASES[] = {
        {"AAAAAAAAAAAAAAAAAAAAAA==", 101}, {"++++/////////////////w==", 101},
        {"AAAAAAAAAAAAAAAAAAAAAA", 400},   {"AAAAAAAAAAAAAAAAAAAAAB==", 400}, /* two spellings */
        {"AAAAAAAAAAAAAAAAAAAAAAAA", 400}, {"----_________________w==", 400},
        {"AAAAAAAAAAAAAAAAAAAA====", 400}, {"AAAAAAAAAAAAAAAAAAAAAAA=", 400},
        {"!AAAAAAAAAAAAAAAAAAAAA==", 400}, {"", 400},
    };
    struct upgrade u;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[512];
        (void)snprintf(text, sizeof text,
                       "GET / HTTP/1.1\r\n" HOST UPGRADE ASKS VERSION
                       "Sec-WebSocket-Key: %s\r\n\r\n",
                       CASES[i].key);
        const unsigned got = status_of(text, &u);
        if (got != CASES[i].status) fail_msg("%u for %s", got, CASES[i].key);
    }
}

#define A40 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void challenges(void **state) {
    (void)state;
    static const struct {
        const char *target;
        bool has_challenge;
    } CASES[] = {
        {"/?challenge=" A40 "AAA", true},
        {"/any/%20path?challenge=" A40 "AAA", true},
        {"/?a=b&challenge=" A40 "AAA&c", true},
        {"/?challenge=" A40 "AAA&challenge=x", true},
        {"/?&challenge=" A40 "AAA", true},
        {"/", false},
        {"/?", false},
        {"/challenge=" A40 "AAA", false},
        {"/?challenge=" A40 "AA", false},
        {"/?challenge=" A40 "AAAA", false},
        {"/?challenge=" A40 "AAA=", false},
        {"/?challenge=" A40 "AAB", false}, /* two spellings */
        {"/?challenge=" A40 "AA.", false},
        {"/?challenge=x&challenge=" A40 "AAA", false},
        {"/?Challenge=" A40 "AAA", false},
        {"/?achallenge=" A40 "AAA", false},
    };
    struct upgrade u;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[1024];
        (void)snprintf(text, sizeof text,
                       "GET %s HTTP/1.1\r\n" HOST UPGRADE ASKS KEY VERSION "\r\n", CASES[i].target);
        assert_int_equal(status_of(text, &u), 101);
        if ((u.n_challenge == UPGRADE_CHALLENGE_LEN) != CASES[i].has_challenge)
            fail_msg("%s", CASES[i].target);
    }
    static const uint8_t EXPECTED[UPGRADE_CHALLENGE_LEN] = {0xff, 0xef, 0xbe};
    assert_int_equal(status_of("GET /?challenge=_---AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
                               "HTTP/1.1\r\n" HOST UPGRADE ASKS KEY VERSION "\r\n",
                               &u),
                     101);
    assert_int_equal(u.n_challenge, UPGRADE_CHALLENGE_LEN);
    assert_memory_equal(u.challenge, EXPECTED, sizeof EXPECTED);
}

static int init(void **state) {
    (void)state;
    return crypto_init() == OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer),
        cmocka_unit_test(statuses),
        cmocka_unit_test(keys),
        cmocka_unit_test(challenges),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
