/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/terminal/findings.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

enum { MS_DIGITS = 9 }; /* of a number of JSON: microseconds of hours */

static const struct {
    const char *for_people, *for_machines;
} LEVELS[] = {
    [FINDING_OK] = {"ok", "ok"},
    [FINDING_WARNING] = {"WARNING", "warning"},
    [FINDING_ERROR] = {"ERROR", "error"},
};

/* Names of files may be anything, JSON is UTF-8. */
static json_t *text_of(const char *s) {
    json_t *text = json_string(s);
    if (text != NULL) return text;
    struct problem plain = {0};
    for (size_t i = 0; i < sizeof plain.text - 1 && s[i] != '\0'; i++) {
        plain.text[i] = (unsigned char)s[i] < 0x80 ? s[i] : '?';
    }
    return json_string(plain.text);
}

enum err findings_begin(struct findings *r, const char *checked, bool as_json,
                        struct problem *ret_problem) {
    *r = (struct findings){0};
    if (!as_json) {
        printf("Checking %s\n", checked);
        return OK;
    }
    r->root = json_object();
    r->items = json_array();
    if (r->items != NULL && json_object_set_new(r->root, "checked", text_of(checked)) == 0 &&
        json_object_set(r->root, "items", r->items) == 0) {
        json_decref(r->items);
        return OK;
    }
    json_decref(r->items);
    json_decref(r->root);
    return problem_set(ret_problem, E_NO_MEMORY, "out of memory");
}

/* An item that finds no memory is left out; findings_end() still knows that there were errors. */
static void add_for_machines(struct findings *r, enum finding_level level, const char *name,
                             double ms, const char *text) {
    json_t *item = json_object();
    (void)json_object_set_new(item, "name", json_string(name));
    (void)json_object_set_new(item, "level", json_string(LEVELS[level].for_machines));
    if (ms >= 0)
        (void)json_object_set_new(item, "ms", json_real((double)(int64_t)(ms * 1000) / 1000));
    (void)json_object_set_new(item, "text", text_of(text));
    (void)json_array_append_new(r->items, item);
}

static void add_for_people(enum finding_level level, const char *name, double ms,
                           const char *text) {
    char time[32] = "";
    if (ms >= 0) (void)snprintf(time, sizeof time, " %9.1f ms", ms);
    printf("  %-7s  %-11s%s%s%s\n", LEVELS[level].for_people, name, time, *text != '\0' ? "  " : "",
           text);
}

void findings_add(struct findings *r, enum finding_level level, const char *name, double ms,
                  const char *fmt, ...) {
    struct problem text;
    va_list ap;
    va_start(ap, fmt);
    (void)problem_vset(&text, OK, fmt, ap);
    va_end(ap);
    r->n[level]++;
    if (level == FINDING_ERROR) {
        (void)problem_set(&r->error, E_CONFIG, "%s: %.900s", name, text.text);
    }
    if (r->root != NULL) {
        add_for_machines(r, level, name, ms, text.text);
    } else {
        add_for_people(level, name, ms, text.text);
    }
}

void findings_set_text(struct findings *r, const char *key, const char *value) {
    if (r->root != NULL) (void)json_object_set_new(r->root, key, text_of(value));
}

void findings_set_number(struct findings *r, const char *key, int64_t value) {
    if (r->root != NULL) (void)json_object_set_new(r->root, key, json_integer(value));
}

void findings_cancel(struct findings *r) {
    json_decref(r->root);
}

enum err findings_end(struct findings *r, struct problem *ret_problem) {
    const unsigned n_errors = r->n[FINDING_ERROR];
    if (r->root != NULL) {
        (void)json_object_set_new(r->root, "ok", json_boolean(n_errors == 0));
        (void)json_object_set_new(r->root, "warnings", json_integer(r->n[FINDING_WARNING]));
        (void)json_object_set_new(r->root, "errors", json_integer(n_errors));
        const bool is_written =
            json_dumpf(r->root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(MS_DIGITS)) == 0;
        json_decref(r->root);
        printf("\n");
        if (!is_written) return problem_set(ret_problem, E_SYS, "cannot write the report");
    } else if (n_errors == 0) {
        printf("All is well%s.\n", r->n[FINDING_WARNING] != 0 ? ", but for the warnings" : "");
    }
    if (n_errors == 0) return OK;
    if (n_errors == 1) return problem_set(ret_problem, E_CONFIG, "%s", r->error.text);
    return problem_set(ret_problem, E_CONFIG, "%u errors were found", n_errors);
}
