/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The files of the statistics, under a clock that the test sets and on a file system that fails. */
#include "stats_fixture.h"

#include <errno.h>
#include <time.h>

#include "app/server/stats_job.h"
#include "faultfs.h"

#define STATE   "/smp-server-stats.log"
#define KEY     "/smp-server-stats.key"
#define DAILY   "/smp-server-stats.daily.log"
#define METRICS "/smp-server-metrics.txt"

struct rig {
    struct clock c;
    struct faultfs *fs;
    struct paths paths;
    struct stats *stats;
    struct stats_job *job;
    bool no_log;
    int64_t metrics_interval_s;
};

static void fill_gauges(void *ctx, struct stats_gauges *ret) {
    (void)ctx;
    *ret = gauges_of_sample();
}

static enum err try_boot(struct rig *r, struct problem *p) {
    r->stats = stats_at(&r->c, 1);
    const struct stats_job_opts o = {
        .env = &r->c.env,
        .vfs = faultfs_vfs(r->fs),
        .stats = r->stats,
        .paths = &r->paths,
        .log_stats = !r->no_log,
        .metrics_interval_s = r->metrics_interval_s,
        .version = "1.2.3",
        .gauges = fill_gauges,
    };
    return stats_job_new(&o, &r->job, p);
}

static void boot(struct rig *r) {
    struct problem p = {""};
    if (try_boot(r, &p) != OK) fail_msg("%s", p.text);
}

static void shut(struct rig *r) {
    stats_job_free(r->job);
    stats_free(r->stats);
    r->job = NULL;
    r->stats = NULL;
}

static int setup(void **state) {
    struct rig *r = calloc(1, sizeof *r);
    assert_non_null(r);
    clock_init(&r->c);
    r->fs = faultfs_new(1);
    (void)snprintf(r->paths.state, PATH_MAX, "%s", "/");
    (void)snprintf(r->paths.stats, PATH_MAX, "%s", STATE);
    (void)snprintf(r->paths.stats_key, PATH_MAX, "%s", KEY);
    (void)snprintf(r->paths.stats_daily, PATH_MAX, "%s", DAILY);
    (void)snprintf(r->paths.metrics, PATH_MAX, "%s", METRICS);
    *state = r;
    return 0;
}

static int teardown(void **state) {
    struct rig *r = *state;
    shut(r);
    faultfs_free(r->fs);
    free(r);
    return 0;
}

static void tick_at(struct rig *r, int64_t now_s) {
    if (now_s > r->c.now_s) r->c.mono_us += (now_s - r->c.now_s) * 1000000;
    r->c.now_s = now_s;
    stats_job_tick(r->job);
}

static void count(struct rig *r, enum stat_id id, uint64_t n) {
    stats_add(stats_sheet(r->stats, 0), id, n);
}

static void be_active(struct rig *r, uint64_t i) {
    const struct id id = nth_id(i);
    stats_active(stats_sheet(r->stats, 0), ACTIVITY_MSG, &id);
}

static uint64_t now_counted(struct rig *r, enum stat_id id) {
    struct stats_report report;
    stats_job_report(r->job, &report);
    return report.counter[id];
}

static unsigned n_lines(struct rig *r) {
    unsigned n = 0;
    const uint8_t *text = faultfs_data(r->fs, DAILY);
    for (size_t i = 0; text != NULL && i < faultfs_size(r->fs, DAILY); i++) n += text[i] == '\n';
    return n;
}

/* Line i of the CSV file begins so. */
static void assert_line(struct rig *r, unsigned i, const char *text) {
    const char *p = (const char *)faultfs_data(r->fs, DAILY);
    const char *end = p + faultfs_size(r->fs, DAILY);
    assert_non_null(p);
    for (; i != 0; i--) {
        p = memchr(p, '\n', (size_t)(end - p));
        assert_non_null(p);
        p++;
    }
    if ((size_t)(end - p) < strlen(text) || memcmp(p, text, strlen(text)) != 0) {
        fail_msg("%.40s is not %s", p, text);
    }
}

static void put_sample_state(struct rig *r) {
    struct blob b = sample_load(SAMPLE_STATE);
    faultfs_put(r->fs, STATE, blob_bytes(&b));
    blob_freep(&b);
}

/* ---- days ---- */

static void day_ends_at_midnight_and_counting_begins_anew(void **state) {
    struct rig *r = *state;
    put_sample_state(r);
    boot(r);
    count(r, STAT_MSG_SENT, 2);
    tick_at(r, MONDAY_S - 1);
    assert_int_equal(n_lines(r), 0);
    tick_at(r, MONDAY_S);
    assert_int_equal(n_lines(r), 1);
    assert_line(r, 0, "2026-11-22,6,3,1,135,1,4,4,,2,1,1,1,,5,132,");
    assert_int_equal(now_counted(r, STAT_MSG_SENT), 0);
    count(r, STAT_MSG_SENT, 7);
    for (int i = 0; i < 100; i++) tick_at(r, MONDAY_S + i);
    assert_int_equal(n_lines(r), 1);
    shut(r);

    boot(r); /* killed: the end of the day was saved, what came then was not */
    assert_int_equal(now_counted(r, STAT_MSG_SENT), 0);
    tick_at(r, MONDAY_S + DAY_S);
    assert_line(r, 1, "2026-11-23,0,0,0,0,0,0,,,");
}

static void weeks_end_on_mondays_and_months_on_the_first(void **state) {
    struct rig *r = *state;
    boot(r);
    for (unsigned day = 0; day < 15; day++) {
        be_active(r, day);
        be_active(r, 1000);
        tick_at(r, MONDAY_S + day * (int64_t)DAY_S);
    }
    assert_int_equal(n_lines(r), 15);
    assert_line(r, 0, "2026-11-22,0,0,0,0,0,2,2,,");
    assert_line(r, 1, "2026-11-23,0,0,0,0,0,2,,,");
    assert_line(r, 7, "2026-11-29,0,0,0,0,0,2,8,,");
    assert_line(r, 8, "2026-11-30,0,0,0,0,0,2,,10,"); /* 1 December, a Tuesday */
    assert_line(r, 14, "2026-12-06,0,0,0,0,0,2,8,,");
}

static void summer_time_plays_no_part(void **state) {
    struct rig *r = *state;
    assert_int_equal(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
    tzset();
    r->c.now_s = 1805932800 - 10; /* 2027-03-25 */
    boot(r);
    for (int64_t hour = 0; hour < 6 * 24; hour++) tick_at(r, 1805932800 + hour * 3600);
    assert_int_equal(unsetenv("TZ"), 0);
    tzset();
    assert_int_equal(n_lines(r), 6);
    assert_line(r, 3, "2027-03-27,");
    assert_line(r, 4, "2027-03-28,"); /* had 23 hours */
    assert_line(r, 5, "2027-03-29,");
}

static void clock_that_goes_back_ends_no_day_twice(void **state) {
    struct rig *r = *state;
    boot(r);
    tick_at(r, MONDAY_S + 5);
    tick_at(r, MONDAY_S - 3600);
    tick_at(r, MONDAY_S + 1);
    assert_int_equal(n_lines(r), 1);
    tick_at(r, MONDAY_S + DAY_S);
    assert_int_equal(n_lines(r), 2);
    tick_at(r, MONDAY_S - 20 * (int64_t)DAY_S); /* by weeks: from now on that is the time */
    tick_at(r, MONDAY_S - 19 * (int64_t)DAY_S);
    assert_int_equal(n_lines(r), 3);
}

static void clock_that_goes_ahead_ends_one_day(void **state) {
    struct rig *r = *state;
    boot(r);
    tick_at(r, MONDAY_S + 3 * (int64_t)DAY_S + 100);
    assert_int_equal(n_lines(r), 1);
    tick_at(r, MONDAY_S + 4 * (int64_t)DAY_S);
    assert_int_equal(n_lines(r), 2);
    assert_line(r, 1, "2026-11-26,");
}

static void missed_midnight_is_passed_over(void **state) {
    struct rig *r = *state;
    put_sample_state(r);
    r->c.now_s = MONDAY_S + 3600;
    boot(r);
    tick_at(r, MONDAY_S + 3601);
    assert_int_equal(n_lines(r), 0);
    assert_int_equal(now_counted(r, STAT_MSG_SENT), 133);
    tick_at(r, MONDAY_S + DAY_S);
    assert_line(r, 0, "2026-11-22,6,3,1,133,1,4,,,");
}

static void without_log_stats_there_are_no_files(void **state) {
    struct rig *r = *state;
    struct stats_report report;
    r->no_log = true;
    boot(r);
    be_active(r, 1);
    count(r, STAT_MSG_SENT, 5);
    tick_at(r, MONDAY_S);
    assert_int_equal(stats_job_save(r->job), OK);
    assert_int_equal(faultfs_n_files(r->fs), 0);
    stats_job_report(r->job, &report);
    assert_int_equal(report.gauges.value[GAUGE_DAY_MSG_QUEUES], 0);
    assert_int_equal(report.counter[STAT_MSG_SENT], 5);
}

/* ---- state ---- */

static void state_is_saved_every_five_minutes(void **state) {
    struct rig *r = *state;
    boot(r);
    count(r, STAT_MSG_SENT, 5);
    tick_at(r, SUNDAY_S + 299);
    assert_int_equal(faultfs_n_files(r->fs), 0);
    tick_at(r, SUNDAY_S + 300);
    shut(r);
    faultfs_power_cycle(r->fs);
    boot(r);
    assert_int_equal(now_counted(r, STAT_MSG_SENT), 5);
}

static void thread_saves_at_the_stop(void **state) {
    struct rig *r = *state;
    put_sample_state(r);
    boot(r);
    assert_int_equal(stats_job_start(r->job), OK);
    count(r, STAT_MSG_SENT, 5);
    stats_job_stop(r->job);
    shut(r);
    boot(r);
    assert_int_equal(now_counted(r, STAT_MSG_SENT), 138);
    stats_job_stop(NULL);
    stats_job_free(NULL);
}

static void damaged_state_is_kept_aside(void **state) {
    static const char DAMAGED[] = "fromTime=2026-11-22T06:08:15Z\nqCrea";
    struct rig *r = *state;
    faultfs_put(r->fs, STATE, bytes_str(DAMAGED));
    boot(r);
    assert_null(faultfs_data(r->fs, STATE));
    const char *aside = STATE ".damaged-1795327695";
    assert_true(faultfs_contains(r->fs, aside, bytes_str(DAMAGED)));
    assert_int_equal(now_counted(r, STAT_MSG_SENT), 0);
}

static void state_that_cannot_be_read_stops_the_start(void **state) {
    struct rig *r = *state;
    struct problem p = {""};
    put_sample_state(r);
    faultfs_fail_at(r->fs, 1, EIO, true);
    assert_int_equal(try_boot(r, &p), E_SYS);
    assert_non_null(strstr(p.text, STATE));
    assert_null(r->job);
}

/* At whatever change the power goes, the state is the old one or the new one. */
static void power_loss_leaves_a_whole_state(void **state) {
    struct rig *r = *state;
    for (uint64_t n = 1;; n++) {
        put_sample_state(r);
        boot(r);
        count(r, STAT_MSG_SENT, 1);
        const uint64_t before = faultfs_n_changes(r->fs);
        faultfs_lose_power_at(r->fs, n);
        const enum err e = stats_job_save(r->job);
        const bool is_over = e == OK && faultfs_n_changes(r->fs) - before < n;
        shut(r);
        faultfs_power_cycle(r->fs);
        boot(r);
        const uint64_t sent = now_counted(r, STAT_MSG_SENT);
        assert_true(sent == 134 || (sent == 133 && e != OK));
        shut(r);
        if (is_over) return;
    }
}

static uint64_t active_in(struct rig *r, enum stat_gauge g) {
    struct stats_report report;
    stats_job_report(r->job, &report);
    return report.gauges.value[g];
}

static bool knows_hash(struct rig *r, uint64_t i) {
    const struct id id = nth_id(i);
    char number[32];
    const int n = snprintf(number, sizeof number, "%" PRId64, (int64_t)active_hash(id_bytes(&id)));
    return faultfs_contains(r->fs, STATE, bytes_of(number, (size_t)n));
}

static void reboot(struct rig *r) {
    assert_int_equal(stats_job_save(r->job), OK);
    shut(r);
    faultfs_power_cycle(r->fs);
    boot(r);
}

/* Counted again after a restart with the keys, the queue counts once; without them twice. */
static void keys_are_beside_the_state(void **state) {
    struct rig *r = *state;
    boot(r);
    be_active(r, 5);
    reboot(r);
    be_active(r, 5);
    assert_int_equal(active_in(r, GAUGE_MONTH_MSG_QUEUES), 1);
    assert_false(knows_hash(r, 5));
    faultfs_remove(r->fs, KEY);
    reboot(r); /* saving brings them back */
    be_active(r, 5);
    assert_int_equal(active_in(r, GAUGE_MONTH_MSG_QUEUES), 1);
    faultfs_remove(r->fs, KEY);
    shut(r);
    boot(r);
    be_active(r, 5);
    assert_int_equal(active_in(r, GAUGE_MONTH_MSG_QUEUES), 2);
    reboot(r);
    assert_int_equal(active_in(r, GAUGE_MONTH_MSG_QUEUES), 2);
}

/* What the reference has written meanwhile is known by its sum: no hash of its stays. */
static void hashes_of_the_reference_are_keyed(void **state) {
    struct rig *r = *state;
    char text[512];
    const struct id id = nth_id(5);
    boot(r);
    be_active(r, 6);
    assert_int_equal(stats_job_save(r->job), OK);
    shut(r);
    (void)snprintf(text, sizeof text,
                   "fromTime=2026-11-22T06:08:15Z\nqCreated=7\nqSecured=6\nmsgSent=4\n"
                   "msgRecv=3\nactiveQueues:\ndayHashes=\nweekHashes=\nmonthHashes=%" PRId64 "\n",
                   (int64_t)active_hash(id_bytes(&id)));
    faultfs_put(r->fs, STATE, bytes_str(text));
    assert_true(knows_hash(r, 5));
    boot(r);
    be_active(r, 5);
    assert_int_equal(active_in(r, GAUGE_MONTH_MSG_QUEUES), 1);
    reboot(r);
    assert_false(knows_hash(r, 5));
    be_active(r, 5);
    assert_int_equal(active_in(r, GAUGE_MONTH_MSG_QUEUES), 1);
}

/* The file that held them too. */
static void keys_of_a_day_that_is_over_are_erased(void **state) {
    struct rig *r = *state;
    uint8_t key[SIPHASH_KEY_LEN];
    boot(r);
    be_active(r, 5);
    assert_int_equal(stats_job_save(r->job), OK);
    const uint8_t *file = faultfs_data(r->fs, KEY);
    assert_int_equal(faultfs_size(r->fs, KEY), STATS_KEY_FILE_LEN);
    memcpy(key, file + 16, sizeof key);
    faultfs_link(r->fs, KEY, "/stolen");
    tick_at(r, MONDAY_S);
    assert_false(faultfs_contains(r->fs, KEY, bytes_of(key, sizeof key)));
    assert_false(faultfs_contains(r->fs, "/stolen", bytes_of(key, sizeof key)));
    assert_int_equal(faultfs_size(r->fs, "/stolen"), STATS_KEY_FILE_LEN);
}

/* ---- failures ---- */

static void day_that_cannot_be_written_is_tried_again(void **state) {
    struct rig *r = *state;
    boot(r);
    count(r, STAT_Q_CREATED, 3);
    faultfs_fail_at(r->fs, 1, ENOSPC, true);
    tick_at(r, MONDAY_S);
    tick_at(r, MONDAY_S + 10);
    tick_at(r, MONDAY_S + 61);
    assert_int_equal(n_lines(r), 0);
    faultfs_fail_at(r->fs, 0, 0, false);
    tick_at(r, MONDAY_S + 122);
    tick_at(r, MONDAY_S + 400);
    assert_int_equal(n_lines(r), 1);
    assert_line(r, 0, "2026-11-22,3,");
}

static void many_days_that_cannot_be_written_do_not_grow(void **state) {
    struct rig *r = *state;
    boot(r);
    faultfs_fail_at(r->fs, 1, ENOSPC, true);
    for (int64_t day = 0; day < 400; day++) tick_at(r, MONDAY_S + day * DAY_S);
    faultfs_fail_at(r->fs, 0, 0, false);
    tick_at(r, MONDAY_S + 400 * (int64_t)DAY_S);
    assert_in_range(n_lines(r), 15, 399); /* the newest ones */
}

static void line_that_was_cut_off_is_left_alone(void **state) {
    struct rig *r = *state;
    faultfs_put(r->fs, DAILY, bytes_str("2026-11-21,1"));
    boot(r);
    tick_at(r, MONDAY_S);
    assert_int_equal(n_lines(r), 2);
    assert_line(r, 0, "2026-11-21,1\n");
    assert_line(r, 1, "2026-11-22,0,");
}

static void append_that_fails_leaves_nothing(void **state) {
    struct rig *r = *state;
    for (uint64_t n = 1; n <= 6; n++) { /* open, size, read, write, sync and one more */
        faultfs_put(r->fs, DAILY, bytes_str("old\n"));
        boot(r);
        faultfs_fail_at(r->fs, n, EIO, false);
        r->c.now_s = SUNDAY_S;
        tick_at(r, MONDAY_S);
        faultfs_fail_at(r->fs, 0, 0, false);
        tick_at(r, MONDAY_S + 120);
        assert_int_equal(n_lines(r), 2);
        assert_line(r, 0, "old\n2026-11-22,");
        shut(r);
        r->c.now_s = SUNDAY_S;
        faultfs_remove(r->fs, STATE);
    }
}

/* ---- metrics ---- */

static void metrics_are_written_at_their_interval(void **state) {
    struct rig *r = *state;
    r->metrics_interval_s = 60;
    boot(r);
    tick_at(r, SUNDAY_S + 59);
    assert_null(faultfs_data(r->fs, METRICS));
    count(r, STAT_Q_CREATED, 3);
    tick_at(r, SUNDAY_S + 60);
    assert_true(faultfs_contains(r->fs, METRICS,
                                 bytes_str("\nsimplex_smp_queues_created 3 1795327755000\n")));
    count(r, STAT_Q_CREATED, 1);
    tick_at(r, SUNDAY_S + 119);
    assert_false(faultfs_contains(r->fs, METRICS, bytes_str("\nsimplex_smp_queues_created 4 ")));
    tick_at(r, SUNDAY_S + 120);
    assert_true(faultfs_contains(r->fs, METRICS, bytes_str("\nsimplex_smp_queues_created 4 ")));
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static int group_setup(void **state) {
    (void)state;
    return crypto_init() == OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ROW(day_ends_at_midnight_and_counting_begins_anew),
        ROW(weeks_end_on_mondays_and_months_on_the_first),
        ROW(summer_time_plays_no_part),
        ROW(clock_that_goes_back_ends_no_day_twice),
        ROW(clock_that_goes_ahead_ends_one_day),
        ROW(missed_midnight_is_passed_over),
        ROW(without_log_stats_there_are_no_files),
        ROW(state_is_saved_every_five_minutes),
        ROW(thread_saves_at_the_stop),
        ROW(damaged_state_is_kept_aside),
        ROW(state_that_cannot_be_read_stops_the_start),
        ROW(power_loss_leaves_a_whole_state),
        ROW(keys_are_beside_the_state),
        ROW(hashes_of_the_reference_are_keyed),
        ROW(keys_of_a_day_that_is_over_are_erased),
        ROW(day_that_cannot_be_written_is_tried_again),
        ROW(many_days_that_cannot_be_written_do_not_grow),
        ROW(line_that_was_cut_off_is_left_alone),
        ROW(append_that_fails_leaves_nothing),
        ROW(metrics_are_written_at_their_interval),
    };
    return cmocka_run_group_tests_name("stats_job", tests, group_setup, NULL);
}
