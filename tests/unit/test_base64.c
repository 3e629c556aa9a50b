/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crypto/base64.h"

/* RFC 4648, section 10, and the two digits in which base64url differs. */
static const struct {
    const char *plain, *text;
} SAMPLES[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xff\xef\xbe\xfb", "_----w=="},
};

/* From memory of exactly that size to memory of exactly that size. */
static enum err decode(struct bytes text, size_t cap, struct bytes want) {
    char *in = malloc(text.n != 0 ? text.n : 1);
    uint8_t *out = malloc(cap != 0 ? cap : 1);
    assert_non_null(in);
    assert_non_null(out);
    if (text.n != 0) memcpy(in, text.p, text.n);
    size_t n = 0;
    const enum err e = base64url_decode(bytes_of(in, text.n), out, cap, &n);
    if (e == OK) assert_true(bytes_equal(bytes_of(out, n), want));
    free(in);
    free(out);
    return e;
}

static void encodes_the_samples(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SAMPLES); i++) {
        const struct bytes plain = bytes_str(SAMPLES[i].plain);
        char *text = malloc(BASE64_LEN(plain.n) + 1);
        assert_non_null(text);
        base64url_encode(plain, text);
        assert_string_equal(text, SAMPLES[i].text);
        assert_int_equal(strlen(text), BASE64_LEN(plain.n));
        free(text);
    }
}

static void decodes_with_and_without_padding(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SAMPLES); i++) {
        const struct bytes plain = bytes_str(SAMPLES[i].plain), text = bytes_str(SAMPLES[i].text);
        struct bytes bare = text;
        while (bare.n > 0 && bare.p[bare.n - 1] == '=') bare.n--;
        assert_int_equal(decode(text, plain.n, plain), OK);
        assert_int_equal(decode(bare, plain.n + 5, plain), OK);
    }
}

static void refuses_more_than_there_is_room_for(void **state) {
    (void)state;
    for (size_t i = 1; i < ARRAY_LEN(SAMPLES); i++) {
        const struct bytes plain = bytes_str(SAMPLES[i].plain);
        assert_int_equal(decode(bytes_str(SAMPLES[i].text), plain.n - 1, plain), E_LIMIT);
    }
}

/* One length in four is never the length of an encoding; others are those of a shorter value. */
static void prefixes_are_refused_or_are_shorter_values(void **state) {
    (void)state;
    const struct bytes text = bytes_str("Zm9vYmFy"), plain = bytes_str("foobar");
    assert_int_equal(decode(bytes_of(text.p, 1), 6, plain), E_SYNTAX);
    assert_int_equal(decode(bytes_of(text.p, 4), 6, bytes_of(plain.p, 3)), OK);
    assert_int_equal(decode(bytes_of(text.p, 5), 6, plain), E_SYNTAX);
    /* What is left of the cut byte is not zero. */
    assert_int_equal(decode(bytes_of(text.p, 2), 6, plain), E_SYNTAX);
    assert_int_equal(decode(bytes_of(text.p, 3), 6, plain), E_SYNTAX);
}

static void refuses_other_spellings(void **state) {
    (void)state;
    static const char *const BAD[] = {"=",     "==",         "====", "Z===", "Zg=",
                                      "Zm8==", "Zm9v=",      "Zg=a", "Zh==", "Zm9=",
                                      "Zm9v ", "Zm9v\nZg==", "Zm+v", "Zm/v", "Zm9\xff"};
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        if (decode(bytes_str(BAD[i]), 64, (struct bytes){0}) != E_SYNTAX) fail_msg("%s", BAD[i]);
    }
    assert_int_equal(decode(bytes_of("Zm\0v", 4), 64, (struct bytes){0}), E_SYNTAX);
}

static void all_bytes_survive(void **state) {
    (void)state;
    uint8_t all[256], back[256];
    char text[BASE64_LEN(sizeof all) + 1];
    for (size_t i = 0; i < sizeof all; i++) all[i] = (uint8_t)i;
    for (size_t n = 0; n <= sizeof all; n++) {
        size_t n_back = 0;
        base64url_encode(bytes_of(all, n), text);
        assert_int_equal(base64url_decode(bytes_str(text), back, n, &n_back), OK);
        assert_int_equal(n_back, n);
        assert_memory_equal(back, all, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_the_samples),
        cmocka_unit_test(decodes_with_and_without_padding),
        cmocka_unit_test(refuses_more_than_there_is_room_for),
        cmocka_unit_test(prefixes_are_refused_or_are_shorter_values),
        cmocka_unit_test(refuses_other_spellings),
        cmocka_unit_test(all_bytes_survive),
    };
    return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
