/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* findings.h -- what `check` finds, one item after another: lines for people, or JSON for machines.
 *
 * People see each item at once. Machines get one object when all is done:
 *
 *     {"checked": text, "ok": bool, "warnings": n, "errors": n,
 *      "items": [{"name": text, "level": "ok"|"warning"|"error", "ms": number, "text": text}, ...]}
 *
 * "ms" is there where something was measured; findings_set_text() and findings_set_number() add
 * what else is known. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "app/files/problem.h"

typedef struct json_t json_t;

enum finding_level { FINDING_OK, FINDING_WARNING, FINDING_ERROR };

struct findings {
    json_t *root, *items; /* root owned, items its; NULL: for people */
    unsigned n[FINDING_ERROR + 1];
    struct problem error; /* the last one, with its name */
};

/* checked: what it is about. E_NO_MEMORY. */
MUST_USE enum err findings_begin(struct findings *r, const char *checked, bool as_json,
                                 struct problem *ret_problem);
/* ms < 0: not measured. */
void findings_add(struct findings *r, enum finding_level level, const char *name, double ms,
                  const char *fmt, ...) PRINTF_LIKE(5, 6);
void findings_set_text(struct findings *r, const char *key,
                       const char *value); /* nothing for people */
void findings_set_number(struct findings *r, const char *key, int64_t value); /* as above */
void findings_cancel(struct findings *r); /* frees all, prints nothing */
/* Prints what is left to be printed and frees all. E_CONFIG when there were errors. */
MUST_USE enum err findings_end(struct findings *r, struct problem *ret_problem);
