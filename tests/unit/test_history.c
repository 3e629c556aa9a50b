/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The course of the figures: values that are known, rings that come round, `since`, the clock. */
#include "stats_fixture.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "stats/history.h"

struct course {
    struct clock clock;
    struct stats *stats;
    struct stats_gauges gauges;
    struct history *history;
};

static void set_up(struct course *c) {
    *c = (struct course){.gauges = {.n_ports = 0}};
    clock_init(&c->clock);
    c->stats = stats_at(&c->clock, 1);
    assert_int_equal(history_new(&c->history), OK);
}

static void tear_down(struct course *c) {
    history_free(c->history);
    stats_free(c->stats);
}

static void add(struct course *c) {
    struct stats_report r;
    stats_report(c->stats, &c->gauges, &r);
    history_add(c->history, c->stats, &r, c->clock.mono_us / 1000);
}

/* The end of a step of that length. */
static void step(struct course *c, int64_t s) {
    c->clock.now_s += s;
    c->clock.mono_us += s * 1000000;
    add(c);
}

static void count(struct course *c, enum stat_id id, uint64_t n) {
    stats_add(stats_sheet(c->stats, 0), id, n);
}

/* The caller decrefs. */
static json_t *ask(const struct course *c, int64_t since_s) {
    char *text = malloc(HISTORY_JSON_MAX);
    assert_non_null(text);
    struct wr w = wr_init(text, HISTORY_JSON_MAX);
    wr_str(&w, "{");
    history_write(c->history, since_s, &w);
    wr_str(&w, "}");
    assert_int_equal(wr_err(&w), OK);
    json_t *all = json_loadb(text, wr_bytes(&w).n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(all);
    free(text);
    return all;
}

enum { FINE, DAY };

static json_t *array(const json_t *all, unsigned ring, const char *name) {
    json_t *found = json_object_get(json_array_get(json_object_get(all, "steps"), ring), name);
    if (!json_is_array(found)) fail_msg("no %s", name);
    return found;
}

/* NAN: null. i from the end when it is negative. */
static double value(const struct course *c, unsigned ring, const char *name, int i) {
    json_t *all = ask(c, 0);
    const json_t *a = array(all, ring, name);
    const size_t n = json_array_size(a), at = i >= 0 ? (size_t)i : n - (size_t)-i;
    const json_t *v = json_array_get(a, at);
    if (v == NULL) fail_msg("no value %d of %s", i, name);
    const double result = json_is_null(v) ? (double)NAN : json_number_value(v);
    json_decref(all);
    return result;
}

static size_t n_points(const struct course *c, unsigned ring, int64_t since_s) {
    json_t *all = ask(c, since_s);
    const size_t n = json_array_size(array(all, ring, "time"));
    assert_int_equal(n, json_array_size(array(all, ring, "messages_sent")));
    assert_int_equal(n, json_array_size(array(all, ring, "proxy_errors_other")));
    json_decref(all);
    return n;
}

static bool is(double a, double b) {
    return a > b - 0.0006 && a < b + 0.0006;
}

static void values_are_those_of_their_step(void **state) {
    (void)state;
    struct course c;
    set_up(&c);
    count(&c, STAT_MSG_SENT, 1000); /* before it began */
    add(&c);
    assert_int_equal(n_points(&c, FINE, 0), 0);
    count(&c, STAT_MSG_SENT, 10);
    count(&c, STAT_P_RELAYS_ERRORS_CONNECT, 2);
    count(&c, STAT_P_MSG_FWDS_ERRORS_CONNECT, 3);
    count(&c, STAT_P_MSG_FWDS_ERRORS_OTHER, 1);
    count(&c, STAT_RSLV_SUCC, 7);
    count(&c, STAT_RSLV_NOT_FOUND, 4);
    count(&c, STAT_RSLV_RESOLVER_ERRS, 2);
    count(&c, STAT_RSLV_DISABLED, 1);
    c.gauges.value[GAUGE_Q_COUNT] = 20000001;
    c.gauges.value[GAUGE_RESIDENT_BYTES] = 123456789012;
    step(&c, 5);
    assert_true(is(value(&c, FINE, "messages_sent", 0), 2));
    assert_true(is(value(&c, FINE, "messages_received", 0), 0));
    assert_true(is(value(&c, FINE, "proxy_errors_connect", 0), 5));
    assert_true(is(value(&c, FINE, "proxy_errors_compat", 0), 0));
    assert_true(is(value(&c, FINE, "proxy_errors_other", 0), 1));
    assert_true(is(value(&c, FINE, "names_found", 0), 7));
    assert_true(is(value(&c, FINE, "names_unknown", 0), 4));
    assert_true(is(value(&c, FINE, "names_failed", 0), 3));
    assert_true(is(value(&c, FINE, "queues", 0), 20000001));
    assert_true(is(value(&c, FINE, "memory_bytes", 0), 123456789012));
    assert_true(isnan(value(&c, FINE, "answer_p50_ms", 0)));
    /* By the time that has passed, and without what the step before had. */
    count(&c, STAT_MSG_SENT, 10);
    step(&c, 15);
    assert_true(is(value(&c, FINE, "messages_sent", 1), 0.667));
    assert_true(is(value(&c, FINE, "proxy_errors_connect", 1), 0));
    tear_down(&c);
}

static void minutes_have_what_their_steps_had(void **state) {
    (void)state;
    struct course c;
    set_up(&c);
    add(&c);
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(n_points(&c, DAY, 0), 0);
        count(&c, STAT_MSG_RECV, i < 6 ? 30 : 0);
        count(&c, STAT_P_RELAYS_ERRORS_COMPAT, 1);
        c.gauges.value[GAUGE_MSG_COUNT] = i;
        step(&c, HISTORY_STEP_S);
    }
    assert_int_equal(n_points(&c, DAY, 0), 1);
    assert_true(is(value(&c, DAY, "messages_received", 0), 3));
    assert_true(is(value(&c, DAY, "proxy_errors_compat", 0), 12));
    assert_true(is(value(&c, DAY, "messages", 0), 11));
    assert_true(is(value(&c, DAY, "time", 0), SUNDAY_S + 60));
    assert_true(is(value(&c, FINE, "time", -1), SUNDAY_S + 60));
    tear_down(&c);
}

static void the_end_of_a_day_is_no_dip(void **state) {
    (void)state;
    struct course c;
    struct stats_report ignored;
    set_up(&c);
    count(&c, STAT_MSG_SENT, 100);
    add(&c);
    count(&c, STAT_MSG_SENT, 50);
    stats_end_day(c.stats, &c.gauges, &ignored);
    count(&c, STAT_MSG_SENT, 50);
    step(&c, 5);
    assert_true(is(value(&c, FINE, "messages_sent", 0), 20));
    tear_down(&c);
}

static void shares_of_a_histogram(void **state) {
    (void)state;
    struct course c;
    set_up(&c);
    struct stats_sheet *sheet = stats_sheet(c.stats, 0);
    stats_observe(sheet, HISTOGRAM_COMMAND_US, 10000000); /* before it began */
    add(&c);
    for (unsigned i = 0; i < 100; i++) stats_observe(sheet, HISTOGRAM_COMMAND_US, 70);
    step(&c, 5);
    /* Evenly in the bucket from 50 to 100 us. */
    assert_true(is(value(&c, FINE, "answer_p50_ms", 0), 0.075));
    assert_true(is(value(&c, FINE, "answer_p99_ms", 0), 0.0995));
    for (unsigned i = 0; i < 98; i++) stats_observe(sheet, HISTOGRAM_COMMAND_US, 1);
    for (unsigned i = 0; i < 2; i++) stats_observe(sheet, HISTOGRAM_COMMAND_US, 200);
    step(&c, 5);
    assert_true(is(value(&c, FINE, "answer_p50_ms", 1), 0.0255));
    assert_true(is(value(&c, FINE, "answer_p99_ms", 1), 0.175));
    /* Beyond the last bound, and nothing at all. */
    stats_observe(sheet, HISTOGRAM_COMMAND_US, 99000000);
    step(&c, 5);
    assert_true(is(value(&c, FINE, "answer_p50_ms", 2), 10000));
    step(&c, 5);
    assert_true(isnan(value(&c, FINE, "answer_p99_ms", 3)));
    tear_down(&c);
}

static void rings_come_round(void **state) {
    (void)state;
    struct course c;
    set_up(&c);
    add(&c);
    const unsigned n = (HISTORY_DAY_POINTS + 1) * 12 + 5;
    for (unsigned i = 1; i <= n; i++) {
        c.gauges.value[GAUGE_Q_COUNT] = i;
        step(&c, HISTORY_STEP_S);
    }
    assert_int_equal(n_points(&c, FINE, 0), HISTORY_FINE_POINTS);
    assert_int_equal(n_points(&c, DAY, 0), HISTORY_DAY_POINTS);
    assert_true(is(value(&c, FINE, "queues", -1), n));
    assert_true(is(value(&c, FINE, "queues", 0), n - HISTORY_FINE_POINTS + 1));
    assert_true(is(value(&c, DAY, "queues", -1), n - 5));
    assert_true(is(value(&c, DAY, "queues", 0), 24));
    assert_true(is(value(&c, DAY, "time", 0), SUNDAY_S + 120));
    const int64_t now_s = SUNDAY_S + (int64_t)n * HISTORY_STEP_S;
    assert_int_equal(n_points(&c, FINE, now_s), 0);
    assert_int_equal(n_points(&c, FINE, now_s - 1), 1);
    assert_int_equal(n_points(&c, FINE, now_s - 25), 5);
    assert_int_equal(n_points(&c, DAY, now_s - 25), 0);
    assert_int_equal(n_points(&c, DAY, now_s - 26), 1);
    assert_int_equal(n_points(&c, DAY, now_s + 1000), 0);
    assert_int_equal(n_points(&c, DAY, INT64_MAX), 0);
    tear_down(&c);
}

static void a_clock_set_back_begins_anew(void **state) {
    (void)state;
    struct course c;
    set_up(&c);
    add(&c);
    step(&c, 5);
    step(&c, 5);
    c.clock.mono_us += 5000000;
    c.clock.now_s -= 3600;
    count(&c, STAT_MSG_SENT, 5);
    add(&c);
    assert_int_equal(n_points(&c, FINE, 0), 0);
    json_t *all = ask(&c, 0);
    assert_int_equal(json_integer_value(json_object_get(all, "began")), SUNDAY_S + 10 - 3600);
    json_decref(all);
    step(&c, 5);
    assert_int_equal(n_points(&c, FINE, 0), 1);
    assert_true(is(value(&c, FINE, "messages_sent", 0), 0));
    tear_down(&c);
}

/* Whatever is in it, it fits. */
static void the_largest_fits(void **state) {
    (void)state;
    struct course c;
    set_up(&c);
    add(&c);
    for (unsigned i = 0; i < N_STAT_GAUGES; i++) c.gauges.value[i] = UINT64_MAX / 1000;
    for (unsigned i = 0; i < HISTORY_DAY_POINTS * 12; i++) {
        for (unsigned id = 0; id < N_STATS; id++) count(&c, id, 999999999999);
        step(&c, 7);
    }
    json_t *all = ask(&c, 0);
    json_decref(all);
    tear_down(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_their_step),
        cmocka_unit_test(minutes_have_what_their_steps_had),
        cmocka_unit_test(the_end_of_a_day_is_no_dip),
        cmocka_unit_test(shares_of_a_histogram),
        cmocka_unit_test(rings_come_round),
        cmocka_unit_test(a_clock_set_back_begins_anew),
        cmocka_unit_test(the_largest_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
