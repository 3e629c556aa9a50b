/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rd.h"
#include "base/wr.h"

static void put_u8(struct wr *w) {
    wr_u8(w, 0xfe);
}

static void put_u16(struct wr *w) {
    wr_u16(w, 0xfedc);
}

static void put_u32(struct wr *w) {
    wr_u32(w, 0xfedcba98);
}

static void put_i64(struct wr *w) {
    wr_i64(w, -2);
}

static void put_raw(struct wr *w) {
    wr_bytes_raw(w, bytes_str("abc"));
}

static void put_str(struct wr *w) {
    wr_str(w, "abc");
}

static void put_short(struct wr *w) {
    wr_short(w, bytes_str("abc"));
}

static void put_large(struct wr *w) {
    wr_large(w, bytes_str("abc"));
}

static void put_bools(struct wr *w) {
    wr_bool(w, true);
    wr_bool(w, false);
}

static void put_maybes(struct wr *w) {
    wr_maybe(w, true);
    wr_maybe(w, false);
}

static void put_skip(struct wr *w) {
    uint8_t *to = wr_skip(w, 3);
    assert_true((to == NULL) == (wr_err(w) != OK));
    if (to != NULL) memcpy(to, "abc", 3);
}

static void put_marked(struct wr *w) {
    const size_t mark = wr_mark_u16(w);
    wr_str(w, "abc");
    wr_close_u16(w, mark);
}

static const struct form {
    const char *name;
    void (*put)(struct wr *w);
    const char *output;
    size_t n;
} FORMS[] = {
    {"u8", put_u8, "\xfe", 1},
    {"u16", put_u16, "\xfe\xdc", 2},
    {"u32", put_u32, "\xfe\xdc\xba\x98", 4},
    {"i64", put_i64, "\xff\xff\xff\xff\xff\xff\xff\xfe", 8},
    {"raw", put_raw, "abc", 3},
    {"str", put_str, "abc", 3},
    {"short", put_short,
     "\x03"
     "abc",
     4},
    {"large", put_large,
     "\0\x03"
     "abc",
     5},
    {"bool", put_bools, "TF", 2},
    {"maybe", put_maybes, "10", 2},
    {"skip", put_skip, "abc", 3},
    {"marked", put_marked,
     "\0\x03"
     "abc",
     5},
};

static void writes_what_fits_exactly(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(FORMS); i++) {
        uint8_t *buf = malloc(FORMS[i].n); /* exactly, so that a sanitizer sees a write beyond */
        assert_non_null(buf);
        struct wr w = wr_init(buf, FORMS[i].n);
        FORMS[i].put(&w);
        if (!bytes_equal(wr_bytes(&w), bytes_of(FORMS[i].output, FORMS[i].n))) {
            fail_msg("%s", FORMS[i].name);
        }
        assert_int_equal(wr_err(&w), OK);
        assert_int_equal(wr_left(&w), 0);
        free(buf);
    }
}

static void every_smaller_buffer_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(FORMS); i++) {
        for (size_t n = 0; n < FORMS[i].n; n++) {
            uint8_t *buf = malloc(n != 0 ? n : 1);
            assert_non_null(buf);
            struct wr w = wr_init(buf, n);
            FORMS[i].put(&w);
            if (wr_err(&w) != E_LIMIT) fail_msg("%s in %zu bytes", FORMS[i].name, n);
            assert_int_equal(wr_bytes(&w).n, 0);
            free(buf);
        }
    }
}

static void error_is_sticky(void **state) {
    (void)state;
    uint8_t buf[16];
    for (size_t i = 0; i < ARRAY_LEN(FORMS); i++) {
        memset(buf, 0x55, sizeof buf);
        struct wr w = wr_init(buf, 3);
        wr_u32(&w, 1);
        w.cap = sizeof buf; /* there would be room again */
        FORMS[i].put(&w);
        assert_int_equal(wr_err(&w), E_LIMIT);
        for (size_t j = 0; j < sizeof buf; j++) assert_int_equal(buf[j], 0x55);
    }
}

static void lengths_have_limits(void **state) {
    (void)state;
    enum { BIG = UINT16_MAX + 1 };
    uint8_t *text = calloc(1, BIG), *buf = malloc(BIG + 2);
    assert_non_null(text);
    assert_non_null(buf);
    struct wr w = wr_init(buf, BIG + 2);
    wr_short(&w, bytes_of(text, 255));
    assert_int_equal(wr_err(&w), OK);
    wr_short(&w, bytes_of(text, 256));
    assert_int_equal(wr_err(&w), E_LIMIT);
    w = wr_init(buf, BIG + 2);
    wr_large(&w, bytes_of(text, BIG - 1));
    assert_int_equal(wr_err(&w), OK);
    w = wr_init(buf, BIG + 2);
    wr_large(&w, bytes_of(text, BIG));
    assert_int_equal(wr_err(&w), E_LIMIT);
    w = wr_init(buf, BIG + 2);
    const size_t mark = wr_mark_u16(&w);
    wr_bytes_raw(&w, bytes_of(text, BIG));
    assert_int_equal(wr_err(&w), OK);
    wr_close_u16(&w, mark);
    assert_int_equal(wr_err(&w), E_LIMIT);
    free(text);
    free(buf);
}

static void marks_nest(void **state) {
    (void)state;
    uint8_t buf[16];
    struct wr w = wr_init(buf, sizeof buf);
    const size_t outer = wr_mark_u16(&w);
    wr_u8(&w, 'a');
    const size_t inner = wr_mark_u16(&w);
    wr_str(&w, "bc");
    wr_close_u16(&w, inner);
    wr_close_u16(&w, outer);
    assert_true(bytes_equal(wr_bytes(&w), bytes_of("\0\x05"
                                                   "a\0\x02"
                                                   "bc",
                                                   7)));
}

static void cursors_mirror_each_other(void **state) {
    (void)state;
    uint8_t buf[64];
    struct wr w = wr_init(buf, sizeof buf);
    wr_u8(&w, 1);
    wr_u16(&w, 2);
    wr_u32(&w, 3);
    wr_i64(&w, INT64_MIN);
    wr_short(&w, bytes_str("s"));
    wr_large(&w, bytes_str(""));
    wr_bool(&w, false);
    wr_maybe(&w, true);
    struct rd r = rd_init(wr_bytes(&w));
    assert_int_equal(rd_u8(&r), 1);
    assert_int_equal(rd_u16(&r), 2);
    assert_int_equal(rd_u32(&r), 3);
    assert_true(rd_i64(&r) == INT64_MIN);
    assert_true(bytes_equal(rd_short(&r), bytes_str("s")));
    assert_int_equal(rd_large(&r).n, 0);
    assert_false(rd_bool(&r));
    assert_true(rd_maybe(&r));
    assert_int_equal(rd_end(&r), OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_fits_exactly),
        cmocka_unit_test(every_smaller_buffer_is_refused),
        cmocka_unit_test(error_is_sticky),
        cmocka_unit_test(lengths_have_limits),
        cmocka_unit_test(marks_nest),
        cmocka_unit_test(cursors_mirror_each_other),
    };
    return cmocka_run_group_tests_name("wr", tests, NULL, NULL);
}
