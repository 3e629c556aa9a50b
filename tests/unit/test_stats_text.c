/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The tables have no gaps, and the texts are those of the reference: what it wrote is in
 * tests/samples. */
#include "stats_fixture.h"

#include "generated_doc.h"
#include "stats/stats_doc.h"

enum { CSV_COLUMNS = 101, CONTROL_LINES = 40, TEXT_MAX = STATS_METRICS_MAX };

/* ---- tables ---- */

static void every_column_is_there_once(void **state) {
    (void)state;
    unsigned seen[CSV_COLUMNS + 1] = {[1] = 1}; /* the first is the date */
    for (unsigned i = 0; i < N_STATS; i++) {
        assert_in_range(STAT_ROWS[i].csv, 0, CSV_COLUMNS);
        seen[STAT_ROWS[i].csv]++;
    }
    for (unsigned i = 0; i < N_STAT_GAUGES; i++) {
        assert_in_range(GAUGE_ROWS[i].csv, 0, CSV_COLUMNS);
        seen[GAUGE_ROWS[i].csv]++;
        assert_int_equal(GAUGE_ROWS[i].csv != 0, GAUGE_ROWS[i].csv_name != NULL);
        assert_int_equal(GAUGE_ROWS[i].line != 0, GAUGE_ROWS[i].line_name != NULL);
    }
    for (unsigned i = 1; i <= CSV_COLUMNS; i++) assert_int_equal(seen[i], 1);
}

/* Several counters of one line are its tuple; a gauge has its line alone. */
static void every_line_is_there(void **state) {
    (void)state;
    unsigned stats[CONTROL_LINES + 1] = {0}, gauges[CONTROL_LINES + 1] = {0};
    for (unsigned i = 0; i < N_STATS; i++) {
        assert_in_range(STAT_ROWS[i].line, 0, CONTROL_LINES);
        stats[STAT_ROWS[i].line]++;
    }
    for (unsigned i = 0; i < N_STAT_GAUGES; i++) {
        assert_in_range(GAUGE_ROWS[i].line, 0, CONTROL_LINES);
        gauges[GAUGE_ROWS[i].line]++;
    }
    for (unsigned i = 2; i <= CONTROL_LINES; i++) {
        assert_true(stats[i] != 0 ? gauges[i] == 0 : gauges[i] == 1);
    }
}

static unsigned rows_of(enum stat_metric m) {
    unsigned n = 0;
    for (unsigned i = 0; i < N_STATS; i++) n += STAT_ROWS[i].metric == m;
    for (unsigned i = 0; i < N_STAT_GAUGES; i++) n += GAUGE_ROWS[i].metric == m;
    for (unsigned i = 0; i < N_STAT_HISTOGRAMS; i++) n += HISTOGRAM_ROWS[i].metric == m;
    return n;
}

static void every_metric_has_samples(void **state) {
    (void)state;
    for (unsigned m = METRIC_NONE + 1; m < N_STAT_METRICS; m++) {
        const bool is_special =
            m == METRIC_INFO || (m >= METRIC_SOCKETS_ACCEPTED && m <= METRIC_SOCKETS_LEAKED);
        if (rows_of(m) == 0 && !is_special) fail_msg("%s has no rows", METRIC_ROWS[m].name);
        for (unsigned other = 1; other < m; other++) {
            assert_string_not_equal(METRIC_ROWS[m].name, METRIC_ROWS[other].name);
        }
    }
    for (unsigned i = 0; i < N_STATS; i++) assert_true(STAT_ROWS[i].metric != METRIC_NONE);
}

/* ---- what the reference wrote ---- */

struct text {
    char p[TEXT_MAX + 1];
};

static char *text_end(struct text *t, struct wr *w) {
    assert_int_equal(wr_err(w), OK);
    t->p[w->at] = '\0';
    return t->p;
}

static char *sample_text(const char *name) {
    struct blob b = sample_load(name);
    char *text = realloc(b.p, b.n + 1);
    assert_non_null(text);
    text[b.n] = '\0';
    return text;
}

/* Some samples were taken before a subscription had ended. */
static void forget_ended_subscriptions(struct stats_report *r) {
    r->counter[STAT_Q_SUB_END] = 0;
    r->counter[STAT_Q_SUB_END_B] = 0;
}

/* text is the sample less the end of its last line, and then what version 7.0 brought. */
static void check_longer(char *text, const char *sample, const char *more) {
    const size_t n = strlen(sample) - 1;
    assert_true(strlen(text) > n);
    assert_string_equal(text + n, more);
    text[n] = '\0';
    assert_int_equal(strncmp(text, sample, n), 0);
}

static void day_is_the_line_of_the_reference(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_of_sample(&c);
    const struct stats_gauges g = gauges_of_sample();
    struct stats_report r;
    static struct text t;
    struct wr w = wr_init(t.p, STATS_CSV_MAX);
    c.now_s = MONDAY_S;
    stats_end_day(s, &g, &r);
    forget_ended_subscriptions(&r);
    stats_write_csv(&r, &w);
    char *sample = sample_text(SAMPLE_CSV);
    check_longer(text_end(&t, &w), sample, ",0,0,0,0,0\n");
    free(sample);
    stats_free(s);
}

/* The answer to `stats` in a recorded session. */
static char *recorded_answer(char *session) {
    char *from = strstr(session, ">>> stats\nfromTime");
    assert_non_null(from);
    from += strlen(">>> stats\n");
    char *to = strstr(from, ">>>");
    assert_non_null(to);
    *to = '\0';
    return from;
}

static void check_control(const char *sample, bool is_admin) {
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_of_sample(&c);
    const struct stats_gauges g = gauges_of_sample();
    struct stats_report r;
    static struct text t;
    struct wr w = wr_init(t.p, STATS_CONTROL_MAX);
    stats_report(s, &g, &r);
    if (!is_admin) forget_ended_subscriptions(&r);
    stats_write_control(&r, is_admin, &w);
    char *session = sample_text(sample);
    check_longer(text_end(&t, &w), recorded_answer(session),
                 "\nrslvStats: reqs=0, succ=0, notFound=0, resolverErrs=0, disabled=0\n");
    free(session);
    stats_free(s);
}

static void control_port_answers_as_the_reference(void **state) {
    (void)state;
    check_control("reference-6.5.5/control-port/control-port-admin.txt", true);
    check_control("reference-6.5.5/control-port/control-port-user.txt", false);
}

/* ---- metrics ---- */

/* The next line of a text of metrics: the type of one, or a sample without its time. NULL: no
 * more. Lines that differ on purpose are left out: comments and help, buckets, the version. */
static const char *next_fact(char **at, char *ret, size_t size) {
    while (**at != '\0') {
        char *line = *at, *end = strchr(line, '\n');
        assert_non_null(end);
        *at = end + 1;
        *end = '\0';
        if (line[0] == '\0' || (line[0] == '#' && strncmp(line, "# TYPE", 6) != 0)) continue;
        if (strstr(line, "_bucket{") != NULL || strstr(line, "_info{") != NULL) continue;
        char *last = strrchr(line, ' ');
        if (line[0] != '#' && strchr(line, ' ') != last) *last = '\0';
        assert_true(strlen(line) < size);
        memcpy(ret, line, strlen(line) + 1);
        return ret;
    }
    return NULL;
}

static void write_sample_metrics(struct text *t, bool with_time) {
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_of_sample(&c);
    struct stats_gauges g = gauges_of_sample();
    struct stats_report r;
    struct wr w = wr_init(t->p, STATS_METRICS_MAX);
    g.value[GAUGE_THREADS] = 18;
    g.value[GAUGE_LOADED_QUEUES] = 6;
    g.value[GAUGE_LOADED_NTFS] = 1;
    g.value[GAUGE_CPU_US] = 12345678;
    stats_observe(stats_sheet(s, 0), HISTOGRAM_ACK_S, 0);
    stats_observe(stats_sheet(s, 0), HISTOGRAM_COMMAND_US, 700);
    stats_observe(stats_sheet(s, 0), HISTOGRAM_COMMAND_US, 20000000);
    stats_report(s, &g, &r);
    stats_write_metrics(&r, "1.2.3", with_time ? METRICS_FOR_FILE : METRICS_FOR_HTTP, &w);
    (void)text_end(t, &w);
    stats_free(s);
}

/* Those of names (7.0) and ours follow after all of version 6.5's. */
static void metrics_begin_with_those_of_the_reference(void **state) {
    (void)state;
    static struct text t;
    char theirs[256], ours[256];
    char *sample = sample_text(SAMPLE_METRICS), *at = sample, *our_at = t.p;
    unsigned n = 0;
    write_sample_metrics(&t, true);
    for (; next_fact(&at, theirs, sizeof theirs) != NULL; n++) {
        assert_non_null(next_fact(&our_at, ours, sizeof ours));
        assert_string_equal(ours, theirs);
    }
    assert_true(n > 180);
    assert_non_null(next_fact(&our_at, ours, sizeof ours));
    assert_string_equal(ours, "# TYPE simplex_smp_names_reqs counter");
    free(sample);
}

static void assert_has(const struct text *t, const char *line) {
    if (strstr(t->p, line) == NULL) fail_msg("there is no line %s", line);
}

static void histograms_are_cumulative_and_in_seconds(void **state) {
    (void)state;
    static struct text t;
    write_sample_metrics(&t, false);
    assert_has(&t, "\nsimplex_smp_command_latency_seconds_sum 20.000700\n");
    assert_has(&t, "\nsimplex_smp_command_latency_seconds_count 2\n");
    assert_has(&t, "\nsimplex_smp_command_latency_seconds_bucket{le=\"0.000500\"} 0\n");
    assert_has(&t, "\nsimplex_smp_command_latency_seconds_bucket{le=\"0.001000\"} 1\n");
    assert_has(&t, "\nsimplex_smp_command_latency_seconds_bucket{le=\"10.000000\"} 1\n");
    assert_has(&t, "\nsimplex_smp_command_latency_seconds_bucket{le=\"+Inf\"} 2\n");
    assert_has(&t, "\nsimplex_smp_delivery_ack_confirmed_time_bucket{le=\"0\"} 1\n");
    assert_has(&t, "\nprocess_cpu_seconds_total 12.345678\n");
    assert_has(&t, "\nsimplex_smp_info{version=\"1.2.3\",rts_options=\"\"} 1\n");
}

static void time_of_samples_is_optional(void **state) {
    (void)state;
    static struct text t;
    write_sample_metrics(&t, true);
    assert_has(&t, "# Recorded at: 2026-11-22T06:08:15Z\n");
    assert_has(&t, "# Stats from: 2026-11-22T06:08:15.262620511Z\n");
    assert_has(&t, "\nsimplex_smp_queues_created 6 1795327695000\n");
    write_sample_metrics(&t, false);
    assert_has(&t, "\nsimplex_smp_queues_created 6\n");
}

/* The room that callers are told to give is enough for the largest numbers. */
static void texts_fit(void **state) {
    (void)state;
    static struct text t;
    static struct stats_report r;
    memset(&r, 0xff, sizeof r);
    r.from = (struct calendar_time){253402300799, 999999999};
    for (unsigned i = 0; i < N_STAT_PERIODS; i++) r.is_complete[i] = true;
    r.now_s = 253402300799;
    r.gauges.n_ports = STATS_PORTS_MAX;
    struct wr w = wr_init(t.p, STATS_METRICS_MAX);
    stats_write_metrics(&r, "1.2.3", METRICS_FOR_FILE, &w);
    assert_int_equal(wr_err(&w), OK);
    w = wr_init(t.p, STATS_CSV_MAX);
    stats_write_csv(&r, &w);
    assert_int_equal(wr_err(&w), OK);
    w = wr_init(t.p, STATS_CONTROL_MAX);
    stats_write_control(&r, true, &w);
    assert_int_equal(wr_err(&w), OK);
}

/* `make docs` writes the file anew. */
static void document_is_up_to_date(void **state) {
    (void)state;
    static char printed[STATS_DOC_MAX];
    struct wr w = wr_init(printed, sizeof printed - 1);
    stats_doc_print(&w);
    assert_int_equal(wr_err(&w), OK);
    check_generated_doc("statistics.md", printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_column_is_there_once),
        cmocka_unit_test(every_line_is_there),
        cmocka_unit_test(every_metric_has_samples),
        cmocka_unit_test(day_is_the_line_of_the_reference),
        cmocka_unit_test(control_port_answers_as_the_reference),
        cmocka_unit_test(metrics_begin_with_those_of_the_reference),
        cmocka_unit_test(histograms_are_cumulative_and_in_seconds),
        cmocka_unit_test(time_of_samples_is_optional),
        cmocka_unit_test(texts_fit),
        cmocka_unit_test(document_is_up_to_date),
    };
    return cmocka_run_group_tests_name("stats_text", tests, NULL, NULL);
}
