/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a browser prefers: languages, codings, entity tags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "web/accept.h"

static void test_language(void **state) {
    (void)state;
    static const struct {
        const char *value;
        enum web_lang lang;
    } CASES[] = {
        {"", WEB_EN},
        {"fr", WEB_FR},
        {"FR-ca", WEB_FR},
        {"ja;q=0.9, fr;q=0.8", WEB_JA},
        {"fr;q=0.8, ja;q=0.9", WEB_JA},
        {"de, fr;q=0.5", WEB_FR},
        {"de, *;q=0.5, fr;q=0.3", WEB_EN},
        {"en-GB,en;q=0.9,ja;q=0.8", WEB_EN},
        {"fr;q=0, ja;q=0.001", WEB_JA},
        {"fr;q=0", WEB_EN},
        {"fr;q=2, ja;q=0.1", WEB_JA},
        {"fr;q=x", WEB_EN},
        {"french", WEB_EN},
        {" , ,fr ; q=1.000 ,", WEB_FR},
        {"fr;level=1;q=0.2,ja;q=0.3", WEB_JA},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        if (accept_language(bytes_str(CASES[i].value)) != CASES[i].lang)
            fail_msg("%s", CASES[i].value);
    }
}

static void test_coding(void **state) {
    (void)state;
    static const struct {
        const char *value;
        unsigned weights[N_WEB_CODINGS];
    } CASES[] = {
        {"", {1, 0, 0}},
        {"gzip", {1, 1000, 0}},
        {"gzip, deflate, br", {1, 1000, 1000}},
        {"br;q=0.5,gzip;q=0.75", {1, 750, 500}},
        {"gzip;q=0", {1, 0, 0}},
        {"*", {1, 1000, 1000}},
        {"br;q=0, *;q=0.1", {1, 100, 0}},
        {"identity;q=0.9, gzip;q=0.1", {900, 100, 0}},
        {"identity;q=0, gzip", {0, 1000, 0}},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        unsigned got[N_WEB_CODINGS];
        accept_coding(bytes_str(CASES[i].value), got);
        for (unsigned c = 0; c < N_WEB_CODINGS; c++) {
            if (got[c] != CASES[i].weights[c]) fail_msg("%s: %u", CASES[i].value, c);
        }
    }
}

static void test_tags(void **state) {
    (void)state;
    const struct bytes tag = bytes_str("abc");
    static const char *const YES[] = {"\"abc\"", "W/\"abc\"", "*", "\"x\", \"abc\"",
                                      " \"x\" ,W/\"abc\" "};
    static const char *const NO[] = {"", "abc", "\"abcd\"", "\"ab\"", "\"abc", "w/\"abc\"", "\"\""};
    for (size_t i = 0; i < ARRAY_LEN(YES); i++) {
        if (!accept_has_tag(bytes_str(YES[i]), tag)) fail_msg("%s", YES[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(NO); i++) {
        if (accept_has_tag(bytes_str(NO[i]), tag)) fail_msg("%s", NO[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_language),
        cmocka_unit_test(test_coding),
        cmocka_unit_test(test_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
