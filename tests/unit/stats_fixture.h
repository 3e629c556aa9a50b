/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* stats_fixture.h -- statistics under a clock that the test sets, and what the reference wrote. */
#pragma once

#include <inttypes.h>

#include "base/day.h"
#include "base/rd.h"
#include "stats/active.h"
#include "stats/report.h"
#include "stats/tables.h"
#include "text_fixture.h"

#define SAMPLE_STATE   "reference-6.5.5/memory/smp-server-stats.log"
#define SAMPLE_CSV     "reference-6.5.5/daily/smp-server-stats.daily.log"
#define SAMPLE_METRICS "reference-6.5.5/metrics.txt"

struct clock {
    struct env env;
    int64_t now_s, mono_us;
    uint8_t random;
};

static inline int64_t clock_now_s(void *ctx) {
    return ((struct clock *)ctx)->now_s;
}

static inline int64_t clock_mono_us(void *ctx) {
    return ((struct clock *)ctx)->mono_us;
}

static inline void clock_random(void *ctx, void *buf, size_t n) {
    memset(buf, ++((struct clock *)ctx)->random, n);
}

/* 2026-11-22 06:08:15, a Sunday. */
enum { SUNDAY_S = 1795327695, MONDAY_S = 1795392000 };

static inline void clock_init(struct clock *c) {
    *c = (struct clock){.env = {.now_s = clock_now_s,
                                .mono_us = clock_mono_us,
                                .random = clock_random,
                                .ctx = c},
                        .now_s = SUNDAY_S};
}

static inline struct stats *stats_at(struct clock *c, unsigned n_sheets) {
    struct stats *s = NULL;
    assert_int_equal(stats_new(&c->env, n_sheets, &s), OK);
    return s;
}

/* Statistics as the reference saved them. */
static inline struct stats *stats_of_sample(struct clock *c) {
    struct stats *s = stats_at(c, 1);
    struct blob text = sample_load(SAMPLE_STATE);
    assert_int_equal(stats_restore(s, blob_bytes(&text), NULL), OK);
    blob_freep(&text);
    return s;
}

/* What the reference's samples were taken with and the state file does not hold. */
static inline struct stats_gauges gauges_of_sample(void) {
    struct stats_gauges g = {.n_ports = 1, .port = {{.port = 5223, .accepted = 4, .closed = 4}}};
    g.value[GAUGE_Q_COUNT] = 5;
    g.value[GAUGE_Q_COUNT2] = 6;
    g.value[GAUGE_NOTIFIERS] = 1;
    g.value[GAUGE_MSG_COUNT] = 132;
    return g;
}

static inline struct id nth_id(uint64_t i) {
    struct id id = {{0}};
    memcpy(id.b, &i, sizeof i);
    return id;
}
