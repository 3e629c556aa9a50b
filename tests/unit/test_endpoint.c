/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "names/endpoint.h"

static const char *why_url(const char *url) {
    struct endpoint e;
    const char *why = NULL;
    if (endpoint_set_url(&e, url, &why) == OK) return NULL;
    assert_non_null(why);
    return why;
}

static void good_urls(void **state) {
    static const char *const GOOD[][2] = {
        {"http://localhost", "http://localhost"},
        {"http://127.0.0.1:8000//", "http://127.0.0.1:8000"},
        {"https://names.example.org/api/", "https://names.example.org/api"},
        {"HTTPS://Names.Example.Org", "HTTPS://Names.Example.Org"},
        {"http://[::1]:8000", "http://[::1]:8000"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(GOOD); i++) {
        struct endpoint e;
        const char *why = NULL;
        assert_int_equal(endpoint_set_url(&e, GOOD[i][0], &why), OK);
        assert_string_equal(e.url, GOOD[i][1]);
        assert_int_equal(e.auth, ENDPOINT_OPEN);
    }
}

static void bad_urls(void **state) {
    static const char *const BAD[] = {
        "",
        "localhost",
        "localhost:8000",
        "//localhost",
        "/resolve",
        "ftp://localhost",
        "file:///etc/passwd",
        "http://",
        "http://user@localhost",
        "http://user:password@localhost",
        "http://localhost?x=1",
        "http://localhost#x",
        "http://localhost?",
        "http://localhost/api?",
        "http://localhost/#",
        "http://@localhost",
        "http://:@localhost",
        "http:localhost",
        "http:/localhost",
        "http:///localhost",
        "http://local host",
        "http://localhost\n",
        "http://localhost:99999",
        "http://localhost:x",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        if (why_url(BAD[i]) == NULL) fail_msg("taken: %s", BAD[i]);
    }
    char longest[ENDPOINT_URL_MAX + 20] = "http://localhost/";
    memset(longest + strlen(longest), 'a', ENDPOINT_URL_MAX - strlen(longest) - 1);
    assert_null(why_url(longest));
    longest[strlen(longest)] = 'a';
    assert_non_null(why_url(longest));
}

static const char *why_auth(const char *url, const char *auth, struct endpoint *e) {
    const char *why = NULL;
    assert_int_equal(endpoint_set_url(e, url, &why), OK);
    return endpoint_set_auth(e, auth, &why) == OK ? NULL : why;
}

static void auth_is_taken_apart(void **state) {
    struct endpoint e;
    (void)state;
    assert_null(why_auth("https://example.org", "bearer abc", &e));
    assert_int_equal(e.auth, ENDPOINT_BEARER);
    assert_string_equal(e.secret, "abc");
    assert_null(why_auth("https://example.org", "BASIC user:pa:ss", &e));
    assert_int_equal(e.auth, ENDPOINT_BASIC);
    assert_string_equal(e.secret, "user:pa:ss");
    assert_null(why_auth("https://example.org", "Bearer   spaced", &e));
    assert_string_equal(e.secret, "spaced");
    assert_null(why_auth("https://example.org", "basic user:", &e));
}

static void bad_auth(void **state) {
    static const char *const BAD[] = {
        "abc",           "bearer",           "bearer ",
        "basic nocolon", "basic :password",  "digest user:password",
        "bearer a b",    "bearer a\r\nX: y",
    };
    struct endpoint e;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        if (why_auth("https://example.org", BAD[i], &e) == NULL) fail_msg("taken: %s", BAD[i]);
    }
    char longest[ENDPOINT_SECRET_MAX + 20] = "bearer ";
    memset(longest + 7, 'a', ENDPOINT_SECRET_MAX - 1);
    assert_null(why_auth("https://example.org", longest, &e));
    longest[strlen(longest)] = 'a';
    assert_non_null(why_auth("https://example.org", longest, &e));
}

static void auth_goes_over_http_only_to_this_host(void **state) {
    static const char *const HERE[] = {"http://localhost:8000", "http://LOCALHOST/",
                                       "http://127.0.0.1", "http://[::1]:8000/api"};
    static const char *const ELSEWHERE[] = {"http://example.org",
                                            "http://127.0.0.1.example.org",
                                            "http://localhost.example.org",
                                            "http://0.0.0.0",
                                            "http://10.0.0.1",
                                            "http://[::2]"};
    struct endpoint e;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(HERE); i++) assert_null(why_auth(HERE[i], "bearer a", &e));
    for (size_t i = 0; i < ARRAY_LEN(ELSEWHERE); i++) {
        if (why_auth(ELSEWHERE[i], "bearer a", &e) == NULL) fail_msg("taken: %s", ELSEWHERE[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls),
        cmocka_unit_test(bad_urls),
        cmocka_unit_test(auth_is_taken_apart),
        cmocka_unit_test(bad_auth),
        cmocka_unit_test(auth_goes_over_http_only_to_this_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
