/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* report.h -- what `check` finds, one item after another: lines for people, or JSON for machines.
 *
 * People see each item at once. Machines get one object when all is done:
 *
 *     {"checked": text, "ok": bool, "warnings": n, "errors": n,
 *      "items": [{"name": text, "level": "ok"|"warning"|"error", "ms": number, "text": text}, ...]}
 *
 * "ms" is there where something was measured; report_set_text() and report_set_number() add what
 * else is known. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "app/problem.h"

typedef struct json_t json_t;

enum report_level { REPORT_OK, REPORT_WARNING, REPORT_ERROR };

struct report {
    json_t *root, *items; /* root owned, items its; NULL: for people */
    unsigned n[REPORT_ERROR + 1];
    struct problem error; /* the last one, with its name */
};

/* checked: what it is about. E_NO_MEMORY. */
MUST_USE enum err report_begin(struct report *r, const char *checked, bool as_json,
                               struct problem *ret_problem);
/* ms < 0: not measured. */
void report_add(struct report *r, enum report_level level, const char *name, double ms,
                const char *fmt, ...) PRINTF_LIKE(5, 6);
void report_set_text(struct report *r, const char *key, const char *value); /* nothing for people */
void report_set_number(struct report *r, const char *key, int64_t value);   /* as above */
void report_cancel(struct report *r); /* frees all, prints nothing */
/* Prints what is left to be printed and frees all. E_CONFIG when there were errors. */
MUST_USE enum err report_end(struct report *r, struct problem *ret_problem);
