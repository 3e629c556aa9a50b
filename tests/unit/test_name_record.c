/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The object that a resolver says of a name. Each case is the good object with one change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/attr.h"
#include "names/name_record.h"

static const char GOOD[] =
    "{\"name\":\"alice.simplex\",\"nickname\":\"Alice\",\"website\":\"https://example.org\","
    "\"location\":\"\",\"simplexContact\":[\"https://smp.example.org/a#x\",\"b\"],"
    "\"simplexChannel\":[],\"eth\":\"0xab\",\"btc\":null,\"xmr\":null,\"dot\":null,"
    "\"owner\":\"0x01\",\"resolver\":\"0x02\"}";

static const char *const TEXTS[] = {"name", "nickname", "website", "location", "owner", "resolver"};
static const char *const LISTS[] = {"simplexContact", "simplexChannel"};
static const char *const COINS[] = {"eth", "btc", "xmr", "dot"};

static char out[16384];

static enum err rewrite_n(const char *json, size_t n) {
    struct wr w = wr_init(out, sizeof out - 1);
    const enum err e = name_record_write(bytes_of(json, n), &w);
    out[w.at] = '\0';
    return e;
}

static enum err rewrite(const char *json) {
    return rewrite_n(json, strlen(json));
}

/* The good object with `key` set to `value`, or without it when value is NULL. Owns value. */
static enum err rewrite_with(const char *key, json_t *value) {
    json_t *o = json_loads(GOOD, 0, NULL);
    assert_non_null(o);
    if (value != NULL) {
        assert_int_equal(json_object_set_new(o, key, value), 0);
    } else {
        assert_int_equal(json_object_del(o, key), 0);
    }
    char *text = json_dumps(o, JSON_COMPACT);
    const enum err e = rewrite(text);
    free(text);
    json_decref(o);
    return e;
}

static void good_object(void **state) {
    (void)state;
    assert_int_equal(rewrite(GOOD), OK);
    assert_string_equal(out, GOOD);
}

static void every_key_missing(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++)
        assert_int_equal(rewrite_with(TEXTS[i], NULL), E_SYNTAX);
    for (size_t i = 0; i < ARRAY_LEN(LISTS); i++)
        assert_int_equal(rewrite_with(LISTS[i], NULL), E_SYNTAX);
    for (size_t i = 0; i < ARRAY_LEN(COINS); i++) {
        char null[32];
        assert_int_equal(rewrite_with(COINS[i], NULL), OK);
        (void)snprintf(null, sizeof null, "\"%s\":null", COINS[i]);
        assert_non_null(strstr(out, null));
    }
}

/* One value of each type of JSON. */
static json_t *value_of(unsigned type) {
    switch (type) {
    case 0:
        return json_string("text");
    case 1:
        return json_null();
    case 2:
        return json_true();
    case 3:
        return json_integer(7);
    case 4:
        return json_real(1.5);
    case 5:
        return json_object();
    case 6:
        return json_array();
    case 7:
        return json_pack("[s]", "text");
    case 8:
        return json_pack("[i]", 7);
    case 9:
        return json_pack("[[s]]", "text");
    default:
        return json_pack("[n]");
    }
}
enum { N_TYPES = 11, TYPE_TEXT = 0, TYPE_NULL = 1, TYPE_ARRAY = 6, TYPE_TEXT_ARRAY = 7 };

static void every_type_wrong(void **state) {
    (void)state;
    for (unsigned t = 0; t < N_TYPES; t++) {
        for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
            const enum err e = rewrite_with(TEXTS[i], value_of(t));
            assert_int_equal(e, t == TYPE_TEXT ? OK : E_SYNTAX);
        }
        for (size_t i = 0; i < ARRAY_LEN(LISTS); i++) {
            const enum err e = rewrite_with(LISTS[i], value_of(t));
            assert_int_equal(e, t == TYPE_ARRAY || t == TYPE_TEXT_ARRAY ? OK : E_SYNTAX);
        }
        for (size_t i = 0; i < ARRAY_LEN(COINS); i++) {
            const enum err e = rewrite_with(COINS[i], value_of(t));
            assert_int_equal(e, t == TYPE_TEXT || t == TYPE_NULL ? OK : E_SYNTAX);
        }
    }
}

static void other_keys_are_dropped(void **state) {
    (void)state;
    assert_int_equal(rewrite_with("another", json_pack("{s:[i]}", "x", 1)), OK);
    assert_string_equal(out, GOOD);
}

/* Balances of coins, say. */
static void numbers_of_any_size_are_dropped(void **state) {
    static const char *const NUMBERS[] = {"123456789012345678901234567890", "-99999999999999999999",
                                          "1e300", "1e-400", "0.1"};
    char text[sizeof GOOD + 64];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(NUMBERS); i++) {
        (void)snprintf(text, sizeof text, "{\"wei\":%s,%s", NUMBERS[i], GOOD + 1);
        if (rewrite(text) != OK) fail_msg("refused: %s", NUMBERS[i]);
        assert_string_equal(out, GOOD);
    }
}

static void no_object(void **state) {
    static const char *const BAD[] = {
        "",
        " ",
        "null",
        "[]",
        "\"text\"",
        "7",
        "{",
        "{}",
        "not json",
        "{\"name\":\"a\"",
        "<html></html>",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) assert_int_equal(rewrite(BAD[i]), E_SYNTAX);
}

static void text_around_it(void **state) {
    char text[sizeof GOOD + 16];
    (void)state;
    (void)snprintf(text, sizeof text, " \n%s\t\r\n", GOOD);
    assert_int_equal(rewrite(text), OK);
    assert_string_equal(out, GOOD);
    (void)snprintf(text, sizeof text, "%s x", GOOD);
    assert_int_equal(rewrite(text), E_SYNTAX);
    (void)snprintf(text, sizeof text, "%s{}", GOOD);
    assert_int_equal(rewrite(text), E_SYNTAX);
    (void)snprintf(text, sizeof text, "x%s", GOOD);
    assert_int_equal(rewrite(text), E_SYNTAX);
}

static void every_prefix_is_refused(void **state) {
    (void)state;
    for (size_t n = 0; n < sizeof GOOD - 1; n++) assert_int_equal(rewrite_n(GOOD, n), E_SYNTAX);
}

/* As the reference escapes. */
static void escapes(void **state) {
    static const char IN[] = "a\"b\\c\n\r\t\b\f\x01/<>&\x7f\xc3\xab\xe2\x80\xa8";
    static const char OUT[] =
        "\"nickname\":\"a\\\"b\\\\c\\n\\r\\t\\u0008\\u000c\\u0001/<>&\x7f\xc3\xab\xe2\x80\xa8\"";
    (void)state;
    assert_int_equal(rewrite_with("nickname", json_string(IN)), OK);
    assert_non_null(strstr(out, OUT));
    assert_int_equal(rewrite_with("nickname", json_stringn("a\0b", 3)), OK);
    assert_non_null(strstr(out, "\"nickname\":\"a\\u0000b\""));
}

static void what_grows_too_large(void **state) {
    enum { N = 7000 };
    char *text = malloc(2 * N + sizeof GOOD + 1);
    (void)state;
    assert_non_null(text);
    const char *at = strstr(GOOD, "Alice\"");
    size_t n = (size_t)(at - GOOD);
    memcpy(text, GOOD, n);
    for (unsigned i = 0; i < N; i++, n += 2) memcpy(text + n, "\\b", 2);
    memcpy(text + n, at + 5, strlen(at + 5) + 1);
    struct wr w = wr_init(out, sizeof out);
    wr_str(&w, "before");
    assert_int_equal(name_record_write(bytes_str(text), &w), E_LIMIT);
    assert_int_equal(wr_err(&w), OK);
    assert_int_equal(w.at, 6);
    free(text);
}

static void deep_nesting_is_refused(void **state) {
    char text[16001];
    (void)state;
    memset(text, '[', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(rewrite(text), E_SYNTAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_object),
        cmocka_unit_test(every_key_missing),
        cmocka_unit_test(every_type_wrong),
        cmocka_unit_test(other_keys_are_dropped),
        cmocka_unit_test(numbers_of_any_size_are_dropped),
        cmocka_unit_test(no_object),
        cmocka_unit_test(text_around_it),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(escapes),
        cmocka_unit_test(what_grows_too_large),
        cmocka_unit_test(deep_nesting_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
