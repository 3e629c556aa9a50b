/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* test_line_reader.c -- lines out of what terminals send, whole and in pieces of one byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"
#include "net/line_reader.h"

/* What lines come out, each followed by '|', too long ones as "!". */
static void read_all(struct bytes in, size_t piece, char *ret, size_t cap) {
    struct line_reader r = {0};
    struct line line;
    size_t n = 0;
    for (size_t at = 0; at < in.n; at += piece) {
        struct bytes part = bytes_of(in.p + at, in.n - at < piece ? in.n - at : piece);
        while (line_reader_take(&r, &part, &line)) {
            assert_true(n + line.text.n + 3 < cap);
            if (line.is_too_long) ret[n++] = '!';
            if (line.text.n > 0) memcpy(ret + n, line.text.p, line.text.n);
            n += line.text.n;
            ret[n++] = '|';
        }
    }
    if (line_reader_end(&r, &line)) {
        memcpy(ret + n, line.text.p, line.text.n);
        n += line.text.n;
    }
    ret[n] = '\0';
}

static void lines_of_terminals(void **state) {
    (void)state;
    static const struct {
        const char *in;
        size_t n;
        const char *out;
    } ROWS[] = {
#define ROW(in, out) {in, sizeof(in) - 1, out}
        ROW("", ""),
        ROW("help\nquit\n", "help|quit|"),
        ROW("help\r\nquit\r\n", "help|quit|"),
        ROW("help\r\0\n", "help|"),
        ROW("\n\n", "||"),
        ROW("no end", "no end"),
        ROW("\xff\xfd\x01"
            "a\n",
            "a|"),
        ROW("a\xff\xf6"
            "b\n",
            "ab|"),
        ROW("a\xff\xff"
            "b\n",
            "a\xff"
            "b|"),
        ROW("\xff\xfa\x18\x01"
            "xterm\n\xff\xff\xff\xf0"
            "a\n",
            "a|"),
#undef ROW
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        for (size_t piece = 1; piece < 8; piece++) {
            char got[256];
            read_all(bytes_of(ROWS[i].in, ROWS[i].n), piece, got, sizeof got);
            assert_string_equal(got, ROWS[i].out);
        }
    }
}

static void a_long_line_is_one_report(void **state) {
    (void)state;
    static const size_t EXTRA[] = {0, 1, 5000};
    for (size_t i = 0; i < ARRAY_LEN(EXTRA); i++) {
        char got[2 * LINE_LEN_MAX], *in = malloc(LINE_LEN_MAX + EXTRA[i] + 6);
        const size_t n = LINE_LEN_MAX + EXTRA[i];
        assert_non_null(in);
        memset(in, 'x', n);
        memcpy(in + n, "\nnext\n", 6);
        read_all(bytes_of(in, n + 6), 100, got, sizeof got);
        assert_int_equal(got[0], EXTRA[i] == 0 ? 'x' : '!');
        assert_string_equal(strchr(got, '|'), "|next|");
        free(in);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines_of_terminals),
                                       cmocka_unit_test(a_long_line_is_one_report)};
    return cmocka_run_group_tests_name("line_reader", tests, NULL, NULL);
}
