/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HTTP/1 as bytes: one table of requests for whichever parser the build has, each of them whole and
 * byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "base/wr.h"
#include "web/http1.h"
#include "web/http_path.h"
#include "web/http_reader.h"

enum { LONGEST = 32 * 1024 };

static enum http_step take(struct http_reader *r, const char *text, size_t n, size_t step,
                           struct http_request *ret, size_t *ret_used) {
    http_reader_reset(r);
    enum http_step s = HTTP_MORE;
    size_t at = 0;
    while (s == HTTP_MORE && at < n) {
        const size_t want = n - at < step ? n - at : step;
        struct bytes in = bytes_of(text + at, want);
        s = http_reader_take(r, &in, ret);
        at += want - in.n;
    }
    *ret_used = at;
    return s;
}

/* The status of the refusal; 0: a request was read, and all used. */
static unsigned status_of(const char *text) {
    static struct http_reader r, other;
    struct http_request q;
    size_t used = 0, used_other = 0;
    const size_t n = strlen(text);
    const enum http_step s = take(&r, text, n, n, &q, &used);
    const enum http_step t = take(&other, text, n, 1, &q, &used_other);
    if (s != t || r.status != other.status || (s == HTTP_REQUEST_READ && used != used_other))
        fail_msg("not the same in pieces (%u, %u): %.60s", r.status, other.status, text);
    if (s == HTTP_MORE) return 1;
    return s == HTTP_REFUSED ? r.status : 0;
}

#define HOST "Host: a\r\n"

static void test_statuses(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned status;
    } CASES[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", 0},
        {"HEAD /x HTTP/1.1\r\nhOST:a\r\n\r\n", 0},
        {"GET / HTTP/1.0\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n" HOST "X: a\tb \xc3\xa9\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n\r\n", 400},              /* no Host */
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400}, /* two */
        {"GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400},
        {"GET / HTTP/1.1\n" HOST "\r\n", 400}, /* bare LF */
        {"GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400},      /* bare CR */
        {"GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400}, /* folded */
        {"GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400}, /* space before the colon */
        {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n", 400},
        {"GET /\x80 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400},
        {"\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET http://a/ HTTP/1.1\r\n" HOST "\r\n", 400}, /* not origin-form */
        {"GET a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03\r\n", 400}, /* TLS */
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400},
        /* http-parser takes it for Transfer-Encoding: so it is one with every parser. */
        {"GET / HTTP/1.1\r\n" HOST "transfer-encoding-x: y\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encodin: chunked\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", 413},
        {"HEAD / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", 413},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0 \r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0\t\r\n\r\n", 400}, /* llhttp 9.4 takes it */
        {"POST / HTTP/1.1\r\n" HOST "\r\n", 405},
        {"OPTIONS / HTTP/1.1\r\n" HOST "\r\n", 405},
        {"GETX / HTTP/1.1\r\n" HOST "\r\n", 405},
        {"GE / HTTP/1.1\r\n" HOST "\r\n", 405},
        {"get / HTTP/1.1\r\n" HOST "\r\n", 405},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", 405},
        /* Methods that one of the parsers knows, and the other not. */
        {"PRI * HTTP/2.0\r\n\r\n", 405},
        {"QUERY / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", 405},
        {"DESCRIBE / HTTP/1.1\r\n" HOST HOST "\r\n", 405},
        {"G\x01 / HTTP/1.1\r\n" HOST "\r\n", 400},
        {" GET / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.2\r\n" HOST "\r\n", 505},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
        {"GET / HTTP/0.9\r\n" HOST "\r\n", 505},
        {"GET / HTTP/01.1\r\n" HOST "\r\n", 505},
        /* What http-parser takes for HTTP/1.1, or llhttp. */
        {"GET / HTT5/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTP:1.1\r\n" HOST "\r\n", 400},
        {"GET / HT/P/1.1\r\n" HOST "\r\n", 400},
        {"GET / RTSP/1.0\r\n" HOST "\r\n", 400},
        {"GET / ICE/1.0\r\n" HOST "\r\n", 400},
        {"GET / http/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.10\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.\r\n" HOST "\r\n", 400},
        {"GET / HTTP /1.1\r\n" HOST "\r\n", 400},
        {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /  HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /a b HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /\r\n" HOST "\r\n", 400},
        {"GET ftp:// HTTP/1.1\r\n" HOST "\r\n", 400},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const unsigned got = status_of(CASES[i].text);
        if (got != CASES[i].status) fail_msg("%u for %s", got, CASES[i].text);
    }
}

/* A request whose target or fields have about n bytes. */
static unsigned status_of_long(size_t n_target, unsigned n_fields, size_t n_value) {
    static char text[LONGEST];
    struct wr w = wr_init(text, sizeof text - 1);
    wr_str(&w, "GET /");
    for (size_t i = 0; i < n_target; i++) wr_u8(&w, 'x');
    wr_str(&w, " HTTP/1.1\r\nHost: a\r\n");
    for (unsigned i = 0; i < n_fields; i++) {
        wr_str(&w, "X: ");
        for (size_t j = 0; j < n_value; j++) wr_u8(&w, 'x');
        wr_str(&w, "\r\n");
    }
    wr_str(&w, "\r\n");
    assert_int_equal(wr_err(&w), OK);
    text[w.at] = '\0';
    return status_of(text);
}

static void test_limits(void **state) {
    (void)state;
    const size_t rest = strlen("GET / HTTP/1.1");
    assert_int_equal(status_of_long(HTTP_LINE_MAX - rest, 0, 0), 0);
    assert_int_equal(status_of_long(HTTP_LINE_MAX - rest + 1, 0, 0), 414);
    assert_int_equal(status_of_long((size_t)3 * HTTP_LINE_MAX, 0, 0), 414);
    assert_int_equal(status_of_long(0, HTTP_FIELDS_MAX - 1, 1), 0);
    assert_int_equal(status_of_long(0, HTTP_FIELDS_MAX, 1), 431);
    const size_t others = strlen(HOST "X: \r\n\r\n");
    assert_int_equal(status_of_long(0, 1, HTTP_HEADERS_MAX - others), 0);
    assert_int_equal(status_of_long(0, 1, HTTP_HEADERS_MAX - others + 1), 431);
}

static void test_prefixes(void **state) {
    (void)state;
    static const char TEXT[] = "GET /a HTTP/1.1\r\nHost: a\r\nAccept-Language: fr\r\n\r\n";
    static struct http_reader r;
    struct http_request q;
    size_t used = 0;
    for (size_t n = 0; n < sizeof TEXT - 1; n++)
        assert_int_equal(take(&r, TEXT, n, LONGEST, &q, &used), HTTP_MORE);
}

static void check_view(struct bytes got, const char *expected) {
    if (!bytes_equal(got, bytes_str(expected)))
        fail_msg("\"%.*s\", not \"%s\"", (int)got.n, (const char *)got.p, expected);
}

static void test_fields(void **state) {
    (void)state;
    static const char TEXT[] = "HEAD /%61b?c=%64 HTTP/1.1\r\nHost: h:1\r\nAccept-Language: fr\r\n"
                               "accept-ENCODING: br\r\nIf-None-Match: \"t\"\r\n"
                               "Accept-Encoding: gzip\r\nAccept-Languages: ja\r\n\r\nGET / HT";
    static struct http_reader r;
    struct http_request q;
    size_t used = 0;
    assert_int_equal(take(&r, TEXT, sizeof TEXT - 1, 7, &q, &used), HTTP_REQUEST_READ);
    assert_string_equal(TEXT + used, "GET / HT");
    assert_int_equal(q.method, WEB_HEAD);
    assert_true(q.keeps_alive && q.is_path_known);
    check_view(q.path, "/ab");
    check_view(q.query, "c=%64");
    check_view(q.text[HTTP_HOST], "h:1");
    check_view(q.text[HTTP_ACCEPT_LANGUAGE], "fr");
    check_view(q.text[HTTP_ACCEPT_ENCODING], "br,gzip");
    check_view(q.text[HTTP_IF_NONE_MATCH], "\"t\"");
}

static void test_keep_alive(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool keeps;
    } CASES[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", true},
        {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection:\tClose\t\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: x, close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: x\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: closed\r\n\r\n", true},
        {"GET / HTTP/1.1\r\n" HOST "Proxy-Connection: close\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false}, /* simply not offered */
    };
    static struct http_reader r;
    struct http_request q;
    size_t used = 0;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        assert_int_equal(take(&r, CASES[i].text, strlen(CASES[i].text), LONGEST, &q, &used),
                         HTTP_REQUEST_READ);
        if (q.keeps_alive != CASES[i].keeps) fail_msg("%s", CASES[i].text);
    }
}

static void test_paths(void **state) {
    (void)state;
    static const struct {
        const char *path, *decoded; /* NULL: refused */
    } CASES[] = {
        {"/", "/"},
        {"/a/", "/a/"},
        {"/%41%62", "/Ab"},
        {"/a%2Fb", "/a/b"},
        {"/.well-known/x", "/.well-known/x"},
        {"/%2Ewell-known/x", "/.well-known/x"},
        {"/a b%20c", "/a b c"},
        {"/%2525", "/%25"},
        {"", NULL},
        {"a", NULL},
        {"/%", NULL},
        {"/%4", NULL},
        {"/%4g", NULL},
        {"/%00", NULL},
        {"/%0a", NULL},
        {"/a\\b", NULL},
        {"/%5c", NULL},
        {"//", NULL},
        {"/a//b", NULL},
        {"/%2f", NULL},
        {"/.", NULL},
        {"/..", NULL},
        {"/../x", NULL},
        {"/a/../b", NULL},
        {"/a/%2e%2e/b", NULL},
        {"/.hidden", NULL},
        {"/a/.b", NULL},
        {"/.well-known", NULL},
        {"/.well-known/.x", NULL},
        {"/.well-known/../x", NULL},
        {"/a/.well-known/x", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char to[64];
        struct bytes got = {0};
        const enum err e = http_path_decode(bytes_str(CASES[i].path), to, &got);
        if (CASES[i].decoded == NULL) {
            if (e != E_SYNTAX) fail_msg("%s is taken", CASES[i].path);
        } else {
            if (e != OK) fail_msg("%s is refused", CASES[i].path);
            check_view(got, CASES[i].decoded);
        }
    }
}

/* What does not fit is not there, or refuses the request; never a part of it. */
static void test_long_texts(void **state) {
    (void)state;
    static char text[LONGEST];
    static struct http_reader r;
    struct http_request q = {0};
    size_t used = 0;
    char filler[HTTP_TEXT_MAX + 2];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    int n = snprintf(text, sizeof text, "GET /%s HTTP/1.1\r\n" HOST "Accept-Language: fr%s\r\n\r\n",
                     filler, filler);
    assert_int_equal(take(&r, text, (size_t)n, 100, &q, &used), HTTP_REQUEST_READ);
    assert_false(q.is_path_known);
    assert_int_equal(q.text[HTTP_ACCEPT_LANGUAGE].n, 0);
    n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", filler);
    assert_int_equal(take(&r, text, (size_t)n, 100, &q, &used), HTTP_REFUSED);
    assert_int_equal(r.status, 400);
}

/* At least a KiB a second, and never longer than a minute. */
static void test_answer_time(void **state) {
    (void)state;
    assert_int_equal(http_answer_ms(0), 10000);
    assert_int_equal(http_answer_ms(1024), 11000);
    assert_int_equal(http_answer_ms(49u << 10), 59000);
    assert_int_equal(http_answer_ms(50u << 10), HTTP_ANSWER_MS);
    assert_int_equal(http_answer_ms(SIZE_MAX / 2048), HTTP_ANSWER_MS);
    assert_int_equal(HTTP_ANSWER_MS, 60000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statuses),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_prefixes),   cmocka_unit_test(test_fields),
        cmocka_unit_test(test_keep_alive), cmocka_unit_test(test_paths),
        cmocka_unit_test(test_long_texts), cmocka_unit_test(test_answer_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
