/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The lines of an ini file, as the reference reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "app/settings/ini.h"

enum { TEXT_MAX = 2048 };

struct seen {
    char text[TEXT_MAX];
    unsigned stop_at; /* line whose handling fails; 0: none */
};

static enum err collect(void *ctx, const struct ini_line *line) {
    struct seen *s = ctx;
    if (line->number == s->stop_at) return E_LIMIT;
    const size_t n = strlen(s->text);
    (void)snprintf(s->text + n, sizeof s->text - n, "%u|%s|%s|%s\n", line->number, line->section,
                   line->key, line->value);
    return OK;
}

static enum err parse(const char *text, struct seen *seen, unsigned *ret_line) {
    char copy[TEXT_MAX];
    assert_true(strlen(text) < sizeof copy);
    (void)snprintf(copy, sizeof copy, "%s", text);
    return ini_parse(copy, collect, seen, ret_line);
}

static void assert_settings(const char *text, const char *expected) {
    struct seen seen = {0};
    unsigned line = 0;
    assert_int_equal(parse(text, &seen, &line), OK);
    assert_string_equal(seen.text, expected);
}

static void reads_both_separators(void **state) {
    (void)state;
    assert_settings("[A]\nx: 1\ny = 2\nz=3\n[B C]\nx:4", "2|A|x|1\n3|A|y|2\n4|A|z|3\n6|B C|x|4\n");
}

static void first_separator_counts(void **state) {
    (void)state;
    assert_settings("[A]\nx = a:b=c\ny: d=e:f\n", "2|A|x|a:b=c\n3|A|y|d=e:f\n");
}

static void comments_and_blanks_say_nothing(void **state) {
    (void)state;
    assert_settings("# a: b\n\n  ; c: d\n\t\n[A] \n  # e\n", "");
}

static void spaces_and_line_ends_are_dropped(void **state) {
    (void)state;
    assert_settings("\xEF\xBB\xBF[ A ]\r\n  key with space  :\t v w \r\n",
                    "2|A|key with space|v w\n");
}

static void values_may_be_empty_or_have_marks(void **state) {
    (void)state;
    assert_settings("[A]\nx:\ny = a ; b # c\nz: #d\n", "2|A|x|\n3|A|y|a ; b # c\n4|A|z|#d\n");
}

/* Go's ini library writes `...` around what has a # or ; in it, and three double quotes around what
 * has a backquote; nothing else is a quote. */
static void quotes_of_a_patcher_are_dropped(void **state) {
    (void)state;
    assert_settings("[A]\na = `https://a.example/a#k;1`\nb = \"\"\"a`b\"\"\"\nc = `plain`\nd = "
                    "\"x#y\"\n"
                    "e = `\nf = \"\"\"x\"\"\"\ng = `a`#`b`\nh = `#\ni = ``\nj = \"\"\"`\"\"\n",
                    "2|A|a|https://a.example/a#k;1\n3|A|b|a`b\n4|A|c|`plain`\n5|A|d|\"x#y\"\n"
                    "6|A|e|`\n7|A|f|\"\"\"x\"\"\"\n8|A|g|`a`#`b`\n9|A|h|`#\n10|A|i|``\n"
                    "11|A|j|\"\"\"`\"\"\n");
}

static void setting_before_a_section(void **state) {
    (void)state;
    assert_settings("x: 1\n", "1||x|1\n");
}

static void long_lines_stay_whole(void **state) {
    (void)state;
    char value[701], text[800], expected[800];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    (void)snprintf(text, sizeof text, "[A]\nx = %s\n", value);
    (void)snprintf(expected, sizeof expected, "2|A|x|%s\n", value);
    assert_settings(text, expected);
}

static void names_the_line_that_is_no_setting(void **state) {
    (void)state;
    static const char *const BAD[] = {"word", ": value", "= value", "[A", "[A] b", "[A]]"};
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "[S]\n\nx: 1\n%s\ny: 2\n", BAD[i]);
        struct seen seen = {0};
        unsigned line = 0;
        assert_int_equal(parse(text, &seen, &line), E_SYNTAX);
        assert_int_equal(line, 4);
        assert_string_equal(seen.text, "3|S|x|1\n");
    }
}

static void handler_ends_the_parsing(void **state) {
    (void)state;
    struct seen seen = {.stop_at = 3};
    unsigned line = 0;
    assert_int_equal(parse("[A]\nx: 1\ny: 2\nz: 3\n", &seen, &line), E_LIMIT);
    assert_int_equal(line, 3);
    assert_string_equal(seen.text, "2|A|x|1\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_both_separators),
        cmocka_unit_test(first_separator_counts),
        cmocka_unit_test(comments_and_blanks_say_nothing),
        cmocka_unit_test(spaces_and_line_ends_are_dropped),
        cmocka_unit_test(values_may_be_empty_or_have_marks),
        cmocka_unit_test(quotes_of_a_patcher_are_dropped),
        cmocka_unit_test(setting_before_a_section),
        cmocka_unit_test(long_lines_stay_whole),
        cmocka_unit_test(names_the_line_that_is_no_setting),
        cmocka_unit_test(handler_ends_the_parsing),
    };
    return cmocka_run_group_tests_name("ini", tests, NULL, NULL);
}
