/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* history.h -- the course of some figures, in memory: the last quarter of an hour in steps of five
 * seconds, and the last day in steps of a minute. What is older is forgotten, and all of it when
 * the program ends.
 *
 * Its size is fixed, about 260 KB. A step ends when history_add() is called; rates are by the time
 * that has really passed. Points have the wall clock's time, and their times only grow: when that
 * clock is set back, all is forgotten. No locks: the owner guards it. Which figures:
 * history.def. */
#pragma once

#include "stats/report.h"

enum history_series {
#define SERIES(id, ...) HISTORY_##id,
#include "stats/history.def"
#undef SERIES
    N_HISTORY_SERIES
};

enum {
    HISTORY_STEP_S = 5, /* between two calls of history_add() */
    HISTORY_FINE_POINTS = 180,
    HISTORY_DAY_STEP_S = 60,
    HISTORY_DAY_POINTS = 1440,
    /* Bytes of JSON at most: of a number with its comma, and of what is around them. */
    HISTORY_NUMBER_MAX = 24,
    HISTORY_JSON_MAX =
        (HISTORY_FINE_POINTS + HISTORY_DAY_POINTS) * (N_HISTORY_SERIES + 1) * HISTORY_NUMBER_MAX +
        4096
};

struct history;

MUST_USE enum err history_new(struct history **ret); /* E_NO_MEMORY */
void history_free(struct history *h);                /* NULL is a no-op */
/* The end of a step; the first call, and one after the clock was set back, only begins one. r is
 * what s reports at this moment. */
void history_add(struct history *h, const struct stats *s, const struct stats_report *r,
                 int64_t mono_ms);
/* Members of a JSON object: "began", Unix seconds, which changes when all was forgotten, and
 * "steps", an array with an object for each length of step, of the points later than since_s. Their
 * members are arrays of one length: "time" and the names of the series; null is where there is no
 * value. w needs room for HISTORY_JSON_MAX bytes. */
void history_write(const struct history *h, int64_t since_s, struct wr *w);
