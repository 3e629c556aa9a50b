/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The table of limits says what settings and metrics say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "generated_doc.h"
#include "app/settings/limits_doc.h"
#include "app/settings/options.h"
#include "model/limits.h"
#include "stats/tables.h"

/* "SECTION.key"; NULL: there is none. */
static const struct opt *setting_of(const char *name) {
    char text[128];
    for (size_t i = 0; i < N_OPTS; i++) {
        (void)snprintf(text, sizeof text, "%s.%s", OPTS[i].section, OPTS[i].key);
        if (strcmp(text, name) == 0) return &OPTS[i];
    }
    return NULL;
}

static void settings_have_their_limits(void **state) {
    (void)state;
    unsigned n = 0;
    for (size_t i = 0; i < N_LIMIT_ROWS; i++) {
        const struct limit_row *l = &LIMIT_ROWS[i];
        if (l->setting[0] == '\0') {
            assert_int_equal(l->most, 0);
            continue;
        }
        const struct opt *o = setting_of(l->setting);
        if (o == NULL) fail_msg("%s: there is no %s", l->id, l->setting);
        assert_int_equal(o->def, l->value);
        assert_int_equal(o->min, l->least);
        assert_int_equal(o->max, l->most);
        assert_string_equal(o->unit, l->unit);
        assert_in_range(l->value, l->least, l->most);
        n++;
    }
    assert_true(n > 20);
}

static bool is_metric(const char *name) {
    for (size_t i = 1; i < N_STAT_METRICS; i++) {
        if (strcmp(METRIC_ROWS[i].name, name) == 0) return true;
    }
    return false;
}

static void counters_are_metrics(void **state) {
    (void)state;
    for (size_t i = 0; i < N_LIMIT_ROWS; i++) {
        const struct limit_row *l = &LIMIT_ROWS[i];
        if (l->metric[0] != '\0' && !is_metric(l->metric))
            fail_msg("%s: there is no metric %s", l->id, l->metric);
    }
}

/* `make docs` writes the file anew; it has every row. */
static void document_is_up_to_date(void **state) {
    (void)state;
    static char printed[LIMITS_DOC_MAX];
    struct wr w = wr_init(printed, sizeof printed - 1);
    limits_doc_print(&w);
    assert_int_equal(wr_err(&w), OK);
    for (size_t i = 0; i < N_LIMIT_ROWS; i++) assert_non_null(strstr(printed, LIMIT_ROWS[i].id));
    check_generated_doc("limits.md", printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_have_their_limits),
        cmocka_unit_test(counters_are_metrics),
        cmocka_unit_test(document_is_up_to_date),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
