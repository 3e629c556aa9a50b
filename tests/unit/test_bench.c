/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The small parts of smp-bench: the texts of /proc, the bar, the command line, the tally. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/meter.h"
#include "bench/process_cost.h"
#include "bench/scrape.h"
#include "bench/workload.h"

/* ---- /proc ---- */

static void texts_of_proc(void **state) {
    (void)state;
    static const char STATUS[] =
        "Name:\tsmp-server\nVmHWM:\t   20000 kB\nVmRSS:\t   10 kB\nVmX: 1\n";
    uint64_t bytes = 7;
    int64_t ns = 7;
    assert_true(proc_parse_status(STATUS, "VmRSS", &bytes));
    assert_int_equal(bytes, 10240);
    assert_true(proc_parse_status(STATUS, "VmHWM", &bytes));
    assert_int_equal(bytes, 20480000);
    assert_false(proc_parse_status(STATUS, "VmSwap", &bytes));
    assert_false(proc_parse_status(STATUS, "Vm", &bytes));
    assert_false(proc_parse_status("VmRSS:\n", "VmRSS", &bytes));
    assert_false(proc_parse_status("", "VmRSS", &bytes));
    uint64_t n = 0;
    assert_true(
        proc_parse_count("a:\t5\nvoluntary_ctxt_switches:\t17\n", "voluntary_ctxt_switches", &n));
    assert_int_equal(n, 17);
    assert_false(
        proc_parse_count("nonvoluntary_ctxt_switches:\t17\n", "voluntary_ctxt_switches", &n));
    assert_false(proc_parse_count(STATUS, "VmRSS", &n));
    assert_int_equal(proc_parse_role("Name:\tloop-12\nx: 1\n"), ROLE_LOOPS);
    assert_int_equal(proc_parse_role("Name:\tcommit\n"), ROLE_COMMIT);
    assert_int_equal(proc_parse_role("Name:\tjournal-read\n"), ROLE_JOURNAL);
    assert_int_equal(proc_parse_role(STATUS), ROLE_OTHERS);
    assert_int_equal(proc_parse_role(""), ROLE_OTHERS);
    assert_true(proc_parse_schedstat("123456789012 5 6\n", &ns));
    assert_int_equal(ns, 123456789012);
    assert_false(proc_parse_schedstat("", &ns));
}

static void this_process_costs_something(void **state) {
    (void)state;
    struct proc_sample s = {0};
    assert_true(proc_read((int)getpid(), &s));
    assert_true(s.rss_bytes > 100000 && s.peak_rss_bytes > 100000);
    assert_false(proc_read(0x7fffffff, &s));
}

static void text_of_metrics(void **state) {
    (void)state;
    static const char TEXT[] = "HTTP/1.0 200 OK\r\n\r\n"
                               "# HELP simplex_smp_storage_syncs_total Syncs.\n"
                               "simplex_smp_storage_syncs_total 12 1700000000000\n"
                               "simplex_smp_storage_writes_total 34\n"
                               "simplex_smp_storage_written_bytes_total 56\n";
    struct storage_sample s = {0};
    assert_true(scrape_parse(TEXT, &s));
    assert_int_equal(s.n_syncs, 12);
    assert_int_equal(s.n_writes, 34);
    assert_int_equal(s.written_bytes, 56);
    assert_false(scrape_parse("# simplex_smp_storage_syncs_total 12\n", &s));
    assert_false(scrape_parse("", &s));
}

/* ---- the bar ---- */

static void the_bar_fits(void **state) {
    (void)state;
    char text[METER_LINE_MAX];
    meter_text("relaying", 0.5, 1234.4, text);
    assert_string_equal(text, "relaying         [###############---------------]  50% 1234/s");
    meter_text("a title that is too long for it", 7, 1e300, text);
    assert_true(strlen(text) < sizeof text);
    meter_text("x", -1, 0, text);
    assert_string_equal(text, "x                [------------------------------]   0%");
}

/* ---- the command line ---- */

static enum err parse(struct bench_opts *ret, struct bench_problem *p, char **argv) {
    bool help = false;
    int argc = 0;
    while (argv[argc] != NULL) argc++;
    return opts_parse(&WORKLOAD_RELAY, argc, argv, ret, &help, p);
}

static void options_are_read(void **state) {
    (void)state;
    struct bench_opts o;
    struct bench_problem p = {0};
    char *argv[] = {"relay", "--rate", "12.5", "smp://a", "--json", "--vs", "smp://b", NULL};
    assert_int_equal(parse(&o, &p, argv), OK);
    assert_string_equal(o.address, "smp://a");
    assert_string_equal(o.vs, "smp://b");
    assert_true(o.rate > 12.4 && o.rate < 12.6 && o.json);
    assert_true(o.pairs > 99 && o.pairs < 101); /* default */
}

static void wrong_options_are_refused(void **state) {
    (void)state;
    static char *WRONG[][5] = {
        {"relay", NULL},
        {"relay", "a", "b", NULL},
        {"relay", "a", "--pairs", "0", NULL},
        {"relay", "a", "--pairs", "1x", NULL},
        {"relay", "a", "--seconds", "nan", NULL},
        {"relay", "a", "--pairs", NULL},
        {"relay", "a", "--queues", "1", NULL}, /* of other workloads */
        {"relay", "a", "--nothing", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(WRONG); i++) {
        struct bench_opts o;
        struct bench_problem p = {0};
        assert_int_equal(parse(&o, &p, WRONG[i]), E_CONFIG);
        assert_true(p.text[0] != '\0');
    }
}

/* ---- the tally ---- */

static struct tally tally, other;

static void errors_are_counted_by_name(void **state) {
    (void)state;
    assert_true(tally_is_clean(&tally));
    tally_refusal(&tally, "SEND: QUOTA", 1);
    tally_refusal(&tally, "SEND: AUTH", 1);
    tally_refusal(&tally, "SEND: QUOTA", 2);
    assert_int_equal(tally.n_refusals, 2);
    assert_int_equal(tally.refusals[0].n, 3);
    assert_false(tally_is_clean(&tally));
    tally_merge_checks(&other, &tally);
    assert_int_equal(other.refusals[1].n, 1);
    for (int i = 0; i < 100; i++) {
        const char name[] = {'x', (char)('0' + i / 10), (char)('0' + i % 10), '\0'};
        tally_refusal(&tally, name, 1);
    }
    assert_int_equal(tally.n_refusals, REFUSALS_MAX);
}

static void anything_wrong_is_not_clean(void **state) {
    (void)state;
    static struct tally t;
    t.verdicts[CHECK_GOOD] = 5;
    assert_true(tally_is_clean(&t));
    for (int v = CHECK_GOOD + 1; v < N_CHECKER_VERDICTS; v++) {
        t.verdicts[v] = 1;
        assert_false(tally_is_clean(&t));
        t.verdicts[v] = 0;
    }
    t.lost = 1;
    assert_false(tally_is_clean(&t));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_proc),
        cmocka_unit_test(this_process_costs_something),
        cmocka_unit_test(text_of_metrics),
        cmocka_unit_test(the_bar_fits),
        cmocka_unit_test(options_are_read),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(errors_are_counted_by_name),
        cmocka_unit_test(anything_wrong_is_not_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
