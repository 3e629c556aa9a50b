/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rd.h"

/* One reading function with an input that it uses up, and one check of what it returned. */
struct grammar {
    const char *name;
    const char *input;
    size_t n;
    void (*read)(struct rd *r);
};

static void read_u8(struct rd *r) {
    const uint8_t v = rd_u8(r);
    assert_int_equal(v, r->err == OK ? 0xfe : 0);
}

static void read_u16(struct rd *r) {
    const uint16_t v = rd_u16(r);
    assert_int_equal(v, r->err == OK ? 0xfedc : 0);
}

static void read_u32(struct rd *r) {
    const uint32_t v = rd_u32(r);
    assert_int_equal(v, r->err == OK ? 0xfedcba98 : 0);
}

static void read_i64(struct rd *r) {
    const int64_t v = rd_i64(r);
    assert_true(v == (r->err == OK ? -2 : 0));
}

static void check_abc(const struct rd *r, struct bytes b) {
    if (r->err == OK) assert_true(bytes_equal(b, bytes_str("abc")));
    if (r->err != OK) assert_true(b.n == 0 && b.p == NULL);
}

static void read_take(struct rd *r) {
    const struct bytes b = rd_take(r, 3);
    check_abc(r, b);
}

static void read_short(struct rd *r) {
    const struct bytes b = rd_short(r);
    check_abc(r, b);
}

static void read_large(struct rd *r) {
    const struct bytes b = rd_large(r);
    check_abc(r, b);
}

static void read_true(struct rd *r) {
    const bool v = rd_bool(r);
    assert_int_equal(v, r->err == OK);
}

static void read_present(struct rd *r) {
    const bool v = rd_maybe(r);
    assert_int_equal(v, r->err == OK);
}

static void read_list(struct rd *r) {
    const unsigned n = rd_list(r);
    assert_int_equal(n, r->err == OK ? 255 : 0);
}

static void read_lit(struct rd *r) {
    rd_lit(r, ' ');
}

static void read_high_lit(struct rd *r) {
    rd_lit(r, (char)0xff);
}

/* clang-format off */
static const struct grammar GRAMMARS[] = {
    {"u8",     "\xfe", 1, read_u8},
    {"u16",    "\xfe\xdc", 2, read_u16},
    {"u32",    "\xfe\xdc\xba\x98", 4, read_u32},
    {"i64",    "\xff\xff\xff\xff\xff\xff\xff\xfe", 8, read_i64},
    {"take",   "abc", 3, read_take},
    {"short",  "\x03" "abc", 4, read_short},
    {"large",  "\x00\x03" "abc", 5, read_large},
    {"bool",   "T", 1, read_true},
    {"maybe",  "1", 1, read_present},
    {"list",   "\xff", 1, read_list},
    {"lit",    " ", 1, read_lit},
    {"lit ff", "\xff", 1, read_high_lit},
};
/* clang-format on */

/* Reads from memory of exactly n bytes, so that a sanitizer sees a read beyond them. */
static struct rd read_prefix(const struct grammar *g, size_t n, uint8_t **ret_buf) {
    uint8_t *buf = malloc(n != 0 ? n : 1);
    assert_non_null(buf);
    memcpy(buf, g->input, n);
    struct rd r = rd_init(bytes_of(n != 0 ? buf : NULL, n));
    g->read(&r);
    *ret_buf = buf;
    return r;
}

static void whole_input_is_read(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(GRAMMARS); i++) {
        uint8_t *buf;
        const struct rd r = read_prefix(&GRAMMARS[i], GRAMMARS[i].n, &buf);
        if (rd_end(&r) != OK) fail_msg("%s", GRAMMARS[i].name);
        free(buf);
    }
}

static void every_proper_prefix_fails(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(GRAMMARS); i++) {
        for (size_t n = 0; n < GRAMMARS[i].n; n++) {
            uint8_t *buf;
            const struct rd r = read_prefix(&GRAMMARS[i], n, &buf);
            if (rd_err(&r) != E_SYNTAX || rd_end(&r) != E_SYNTAX) {
                fail_msg("%s, %zu bytes", GRAMMARS[i].name, n);
            }
            free(buf);
        }
    }
}

static void error_is_sticky(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(GRAMMARS); i++) {
        struct rd r = rd_init(bytes_of(GRAMMARS[i].input, GRAMMARS[i].n));
        r.err = E_LIMIT;
        GRAMMARS[i].read(&r);
        assert_int_equal(r.at, 0);
        assert_int_equal(rd_end(&r), E_LIMIT); /* the first error stays */
    }
    struct rd r = rd_init(bytes_str("abc"));
    rd_fail(&r);
    assert_int_equal(rd_tail(&r).n, 0);
    assert_int_equal(rd_until(&r, 'c').n, 0);
    assert_int_equal(rd_left(&r), 3);
}

static void left_over_bytes_are_an_error_of_the_end_only(void **state) {
    (void)state;
    struct rd r = rd_init(bytes_str("ab"));
    (void)rd_u8(&r);
    assert_int_equal(rd_err(&r), OK);
    assert_int_equal(rd_end(&r), E_SYNTAX);
}

static void wrong_characters_are_refused(void **state) {
    (void)state;
    struct rd r = rd_init(bytes_str("t"));
    assert_false(rd_bool(&r));
    assert_int_equal(rd_err(&r), E_SYNTAX);
    r = rd_init(bytes_str("F"));
    assert_false(rd_bool(&r));
    assert_int_equal(rd_end(&r), OK);
    r = rd_init(bytes_str("2"));
    assert_false(rd_maybe(&r));
    assert_int_equal(rd_err(&r), E_SYNTAX);
    r = rd_init(bytes_str("0"));
    assert_false(rd_maybe(&r));
    assert_int_equal(rd_end(&r), OK);
    r = rd_init(bytes_str("x"));
    rd_lit(&r, 'y');
    assert_int_equal(rd_err(&r), E_SYNTAX);
    r = rd_init(bytes_of("", 1));
    assert_int_equal(rd_list(&r), 0);
    assert_int_equal(rd_err(&r), E_SYNTAX);
}

static void tail_is_what_is_left(void **state) {
    (void)state;
    struct rd r = rd_init(bytes_str("xabc"));
    (void)rd_u8(&r);
    assert_true(bytes_equal(rd_tail(&r), bytes_str("abc")));
    assert_int_equal(rd_tail(&r).n, 0); /* an empty tail is fine */
    assert_int_equal(rd_end(&r), OK);
    r = rd_init((struct bytes){0});
    assert_int_equal(rd_tail(&r).n, 0);
    assert_int_equal(rd_end(&r), OK);
}

static void until_stops_before_the_character_or_at_the_end(void **state) {
    (void)state;
    struct rd r = rd_init(bytes_str("abc def"));
    assert_true(bytes_equal(rd_until(&r, ' '), bytes_str("abc")));
    assert_int_equal(rd_until(&r, ' ').n, 0);
    rd_lit(&r, ' ');
    assert_true(bytes_equal(rd_until(&r, ' '), bytes_str("def")));
    assert_int_equal(rd_until(&r, ' ').n, 0);
    assert_int_equal(rd_end(&r), OK);
}

static void parts_are_without_what_parts_them(void **state) {
    (void)state;
    struct rd r = rd_init(bytes_str("a,,b,"));
    assert_true(bytes_equal(rd_part(&r, ','), bytes_str("a")));
    assert_int_equal(rd_part(&r, ',').n, 0);
    assert_true(bytes_equal(rd_part(&r, ','), bytes_str("b")));
    assert_int_equal(rd_left(&r), 0);
    assert_int_equal(rd_part(&r, ',').n, 0);
    assert_int_equal(rd_end(&r), OK);
}

static void numbers_keep_their_extremes(void **state) {
    (void)state;
    struct rd r = rd_init(bytes_of("\x80\0\0\0\0\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 16));
    assert_true(rd_i64(&r) == INT64_MIN);
    assert_true(rd_i64(&r) == INT64_MAX);
    assert_int_equal(rd_end(&r), OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_input_is_read),
        cmocka_unit_test(every_proper_prefix_fails),
        cmocka_unit_test(error_is_sticky),
        cmocka_unit_test(left_over_bytes_are_an_error_of_the_end_only),
        cmocka_unit_test(wrong_characters_are_refused),
        cmocka_unit_test(tail_is_what_is_left),
        cmocka_unit_test(until_stops_before_the_character_or_at_the_end),
        cmocka_unit_test(parts_are_without_what_parts_them),
        cmocka_unit_test(numbers_keep_their_extremes),
    };
    return cmocka_run_group_tests_name("rd", tests, NULL, NULL);
}
