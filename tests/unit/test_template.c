/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Pages with places for values: what comes out, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "web/template.h"

static const char *value_of(const void *ctx, struct bytes name) {
    (void)ctx;
    if (bytes_equal(name, bytes_str("full"))) return "a<&>\"'b";
    if (bytes_equal(name, bytes_str("empty"))) return "";
    return NULL;
}

static enum err fill(const char *text, char *to, size_t cap) {
    struct wr w = wr_init(to, cap);
    const enum err e = template_fill(bytes_str(text), value_of, NULL, &w);
    to[e == OK ? w.at : 0] = '\0';
    return e;
}

static void check(const char *text, const char *expected) {
    char got[512];
    assert_int_equal(fill(text, got, sizeof got - 1), OK);
    assert_string_equal(got, expected);
}

static void test_values(void **state) {
    (void)state;
    check("", "");
    check("plain } text { {", "plain } text { {");
    check("<p>{{full}}</p>", "<p>a&lt;&amp;&gt;&quot;&#39;b</p>");
    check("[{{empty}}]", "[]");
}

static void test_sections(void **state) {
    (void)state;
    check("{{#full}}yes{{/full}}{{^full}}no{{/full}}", "yes");
    check("{{#empty}}yes{{/empty}}{{^empty}}no{{/empty}}", "no");
    check("{{#empty}}a{{#full}}b{{/full}}c{{/empty}}d", "d");
    check("{{#full}}a{{#empty}}b{{/empty}}{{^empty}}c{{/empty}}{{/full}}d", "acd");
    check("{{#empty}}{{full}}{{/empty}}", "");
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum err e;
    } BAD[] = {
        {"{{full", E_SYNTAX},
        {"{{}}", E_SYNTAX},
        {"{{#}}", E_SYNTAX},
        {"{{#full}}", E_SYNTAX},
        {"{{/full}}", E_SYNTAX},
        {"{{#full}}{{#empty}}{{/full}}{{/empty}}", E_SYNTAX},
        {"{{nobody}}", E_NOT_FOUND},
        {"{{#nobody}}{{/nobody}}", E_NOT_FOUND},
        {"{{#empty}}{{nobody}}{{/empty}}", E_NOT_FOUND},
    };
    char got[512], deep[512] = "";
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        if (fill(BAD[i].text, got, sizeof got - 1) != BAD[i].e) fail_msg("%s", BAD[i].text);
    }
    for (int i = 0; i <= TEMPLATE_DEPTH_MAX; i++)
        (void)strncat(deep, "{{#full}}", sizeof deep - strlen(deep) - 1);
    assert_int_equal(fill(deep, got, sizeof got - 1), E_SYNTAX);
    assert_int_equal(fill("{{full}}", got, 10), E_LIMIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
