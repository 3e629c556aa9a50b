/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The store log's file: reading, appending, compaction, and what power losses and full disks do to
 * them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "faultfs.h"
#include "store/disk/store_log.h"

static const char *const PATH = "/d/log";

static const struct store_log_of ANY = {NULL, false, NULL};

/* ---- a clock of ours ---- */

static _Atomic int64_t now_s;
static int64_t fake_now_s(void *ctx) {
    (void)ctx;
    return now_s;
}
static int64_t fake_mono_us(void *ctx) {
    (void)ctx;
    return now_s * 1000000;
}
static const struct env FAKE_ENV = {fake_now_s, fake_mono_us, NULL, NULL};

static struct store_log_opts opts_of(struct faultfs *fs) {
    return (struct store_log_opts){.env = &FAKE_ENV, .vfs = faultfs_vfs(fs), .path = PATH};
}

/* ---- reading into one string ---- */

struct lines {
    char text[1 << 16];
    size_t n;
    const char *bad; /* a line that begins so cannot be used */
};

static enum err take_line(void *ctx, struct bytes text) {
    struct lines *l = ctx;
    if (l->bad != NULL && text.n >= strlen(l->bad) && memcmp(text.p, l->bad, strlen(l->bad)) == 0)
        return E_SYNTAX;
    if (l->n + text.n + 1 >= sizeof l->text) abort();
    if (text.n != 0) memcpy(l->text + l->n, text.p, text.n);
    l->n += text.n;
    l->text[l->n++] = '|';
    l->text[l->n] = '\0';
    return OK;
}

struct result {
    enum err err;
    struct lines lines;
    struct store_log_stats stats;
    struct store_log_problem problem;
};

static struct result *read_with(const struct store_log_opts *o, const char *bad) {
    static struct result r;
    r = (struct result){.lines = {.bad = bad}};
    r.err = store_log_read(o, take_line, &r.lines, &r.stats, &r.problem);
    return &r;
}

static struct result *read_log(struct faultfs *fs) {
    const struct store_log_opts o = opts_of(fs);
    return read_with(&o, "BAD");
}

static void put(struct faultfs *fs, const char *text) {
    faultfs_put(fs, PATH, bytes_str(text));
}

static void test_read(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    assert_int_equal(read_log(fs)->err, OK); /* no file */
    put(fs, "one\ntwo\n\nfour\n");
    const struct result *r = read_log(fs);
    assert_int_equal(r->err, OK);
    assert_string_equal(r->lines.text, "one|two||four|");
    assert_int_equal(r->stats.n_lines, 4);
    assert_int_equal(r->stats.torn_bytes, 0);
    assert_int_equal(r->stats.len_bytes, 14);
    faultfs_free(fs);
}

static void test_bad_line_says_where(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    put(fs, "one\ntwo\nBAD x\nfour\n");
    const struct result *r = read_log(fs);
    assert_int_equal(r->err, E_STORE);
    assert_non_null(strstr(r->problem.text, "/d/log, line 3 (offset 8)"));
    struct store_log_opts o = opts_of(fs);
    o.skip_warnings = true;
    r = read_with(&o, "BAD");
    assert_int_equal(r->err, OK);
    assert_string_equal(r->lines.text, "one|two|four|");
    assert_int_equal(r->stats.n_bad, 1);
    assert_true(faultfs_contains(fs, "/d/log.bad", bytes_str("BAD x\n")));
    faultfs_free(fs);
}

static void test_unfinished_line_is_dropped(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    put(fs, "one\ntwo\nTIME x 17000");
    const struct result *r = read_log(fs);
    assert_int_equal(r->err, OK);
    assert_string_equal(r->lines.text, "one|two|");
    assert_int_equal(r->stats.torn_bytes, 12);
    faultfs_free(fs);
}

/* A power loss may leave sectors of zeros within the last group, and what comes after them. */
static void test_torn_group_with_holes(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    faultfs_put(fs, PATH, bytes_of("one\ntw\0\0\0\n\0\0BAD\nfour\nBAD y\nfive\n", 33));
    const struct result *r = read_log(fs);
    assert_int_equal(r->err, OK);
    assert_string_equal(r->lines.text, "one|four|five|");
    assert_true(r->stats.torn_bytes != 0);
    faultfs_free(fs);
}

/* A group of which only the length of the file has reached the disk, or little more. */
static void test_torn_group_of_zeros(void **state) {
    (void)state;
    const size_t n = STORE_LOG_TORN_WINDOW / 2;
    char *text = calloc(1, n);
    assert_non_null(text);
    for (int variant = 0; variant < 3; variant++) {
        struct faultfs *fs = faultfs_new(1);
        memcpy(text, "one\ntw", 6);
        if (variant > 0) memcpy(text + n / 2, "half a line\nfive\n", 17);
        if (variant > 1) memcpy(text + n - 6, "\nsix\n", 5);
        faultfs_put(fs, PATH, bytes_of(text, n));
        const struct result *r = read_log(fs);
        assert_int_equal(r->err, OK);
        assert_string_equal(r->lines.text, variant == 0   ? "one|"
                                           : variant == 1 ? "one|five|"
                                                          : "one|five|six|");
        assert_true(r->stats.torn_bytes != 0);
        faultfs_free(fs);
    }
    free(text);
}

static void test_holes_far_from_the_end_are_damage(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    const size_t n = 2 * STORE_LOG_TORN_WINDOW;
    char *text = malloc(n);
    assert_non_null(text);
    memset(text, '\n', n);
    memset(text + 100, 0, 50);
    faultfs_put(fs, PATH, bytes_of(text, n));
    struct store_log_opts o = opts_of(fs);
    static struct store_log_stats stats;
    struct store_log_problem problem;
    static struct lines lines;
    assert_int_equal(store_log_read(&o, take_line, &lines, &stats, &problem), E_STORE);
    assert_non_null(strstr(problem.text, "zero bytes"));
    free(text);
    faultfs_free(fs);
}

static enum err count_line(void *ctx, struct bytes text) {
    uint64_t *sum = ctx;
    sum[0]++;
    sum[1] += text.n;
    return OK;
}

/* Lines of all lengths up to the longest, so that they end everywhere in the chunks. */
static void test_lines_span_chunks(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    char *text = malloc(12 << 20);
    assert_non_null(text);
    size_t at = 0;
    uint64_t n_lines = 0, n_bytes = 0;
    for (size_t n = 0; at + n + 1 < 12 << 20; n = (n * 7 + 13) % (STORE_LOG_LINE_LEN - 1)) {
        memset(text + at, 'a' + (int)(n % 26), n);
        at += n;
        text[at++] = '\n';
        n_lines++;
        n_bytes += n;
    }
    faultfs_put(fs, PATH, bytes_of(text, at));
    free(text);
    const struct store_log_opts o = opts_of(fs);
    struct store_log_stats stats;
    struct store_log_problem problem;
    uint64_t sum[2] = {0, 0};
    assert_int_equal(store_log_read(&o, count_line, sum, &stats, &problem), OK);
    assert_int_equal(sum[0], n_lines);
    assert_int_equal(sum[1], n_bytes);
    faultfs_free(fs);
}

static void test_line_too_long(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    const size_t n = 3 << 20;
    char *text = malloc(n);
    assert_non_null(text);
    memset(text, 'x', n);
    text[n - 3] = '\n';
    text[n - 2] = 'y';
    text[n - 1] = '\n';
    faultfs_put(fs, PATH, bytes_of(text, n));
    free(text);
    struct store_log_opts o = opts_of(fs);
    struct store_log_stats stats;
    struct store_log_problem problem;
    uint64_t sum[2] = {0, 0};
    assert_int_equal(store_log_read(&o, count_line, sum, &stats, &problem), E_STORE);
    assert_non_null(strstr(problem.text, "too long"));
    o.skip_warnings = true;
    assert_int_equal(store_log_read(&o, count_line, sum, &stats, &problem), OK);
    assert_int_equal(sum[0], 1);
    faultfs_free(fs);
}

/* ---- leftovers of a compaction ---- */

static void test_start_is_the_true_state(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    put(fs, "half of the ne");
    faultfs_put(fs, "/d/log.start", bytes_str("true\n"));
    const struct store_log_opts o = opts_of(fs);
    struct commit *commit;
    const struct commit_opts co = {.env = &FAKE_ENV};
    struct store_log *log;
    assert_int_equal(commit_new(&co, &commit), OK);
    assert_int_equal(store_log_open(&o, commit, &log),
                     E_EXISTS); /* would append to the wrong one */
    assert_string_equal(read_log(fs)->lines.text, "true|");
    assert_int_equal(faultfs_size(fs, "/d/log.start"), 0);
    assert_true(faultfs_contains(fs, "/d/log.bak", bytes_str("half of the ne")));
    assert_int_equal(store_log_open(&o, commit, &log), OK);
    store_log_close(log);
    commit_free(commit);
    faultfs_free(fs);
}

/* ---- compaction ---- */

static enum err write_new_state(void *ctx, struct store_log_writer *w) {
    const char *const *lines = ctx;
    for (; *lines != NULL; lines++) {
        const enum err e = store_log_put(w, bytes_str(*lines));
        if (e != OK) return e;
    }
    return OK;
}

static const char *NEW_STATE[] = {"new one", "new two", NULL};

static void test_compact(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    now_s = 1795356000; /* 2026-11-22T14:00:00Z */
    const struct store_log_opts o = opts_of(fs);
    assert_int_equal(store_log_compact(&o, write_new_state, NEW_STATE), OK); /* the first one */
    assert_string_equal(read_log(fs)->lines.text, "new one|new two|");
    assert_int_equal(faultfs_n_files(fs), 1);
    put(fs, "old\n");
    assert_int_equal(store_log_compact(&o, write_new_state, NEW_STATE), OK);
    assert_string_equal(read_log(fs)->lines.text, "new one|new two|");
    assert_true(faultfs_contains(fs, "/d/log.2026-11-22T14:00:00Z", bytes_str("old\n")));
    put(fs, "older\n");
    assert_int_equal(store_log_compact(&o, write_new_state, NEW_STATE),
                     OK); /* in the same second */
    assert_true(faultfs_contains(fs, "/d/log.2026-11-22T14:00:00.1Z", bytes_str("older\n")));
    assert_true(faultfs_contains(fs, "/d/log.2026-11-22T14:00:00Z", bytes_str("old\n")));
    faultfs_free(fs);
}

static void test_backups_are_kept_for_a_time(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    struct store_log_opts o = opts_of(fs);
    o.copies_ttl_s = 86400;
    faultfs_put(fs, "/d/log.2026-11-20T14:00:00Z", bytes_str("old\n"));
    faultfs_put(fs, "/d/log.2026-11-20T13:00:00.12Z", bytes_str("older\n"));
    faultfs_put(fs, "/d/log.2020-notatime", bytes_str("x"));
    put(fs, "state\n");
    now_s = 1795183200 + 86400; /* 2026-11-21T14:00:00Z */
    assert_int_equal(store_log_compact(&o, write_new_state, NEW_STATE), OK);
    assert_false(faultfs_contains(fs, NULL, bytes_str("older\n")));
    assert_true(faultfs_contains(fs, "/d/log.2026-11-20T14:00:00Z", bytes_str("old\n")));
    assert_int_equal(faultfs_n_files(fs), 4);
    now_s += 2;
    assert_int_equal(store_log_compact(&o, write_new_state, NEW_STATE), OK);
    assert_false(faultfs_contains(fs, NULL, bytes_str("old\n")));
    assert_int_equal(faultfs_n_files(fs), 4);
    faultfs_free(fs);
}

static void test_backups_as_the_reference_keeps_them(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    const struct store_log_opts o = opts_of(fs);
    const int64_t today = 1795356000;
    /* one a day for 40 days, as the reference names them, with fractions */
    for (int day = 1; day <= 40; day++) {
        const time_t t = today - day * 86400 - 60;
        struct tm tm;
        char name[80], date[40];
        assert_non_null(gmtime_r(&t, &tm));
        assert_true(strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm) != 0);
        (void)snprintf(name, sizeof name, "/d/log.%s.123456789Z", date);
        faultfs_put(fs, name, bytes_str("x\n"));
    }
    faultfs_put(fs, "/d/log.bak", bytes_str("x"));
    faultfs_put(fs, "/d/log.2020-notatime", bytes_str("x"));
    put(fs, "old\n");
    now_s = today;
    assert_int_equal(store_log_compact(&o, write_new_state, NEW_STATE), OK);
    assert_int_equal(faultfs_n_files(fs),
                     20 + 1 + 2 +
                         1); /* 20 days old at most, the new backup, two foreign, the log */
    now_s = today + 400 * 86400;
    assert_int_equal(store_log_compact(&o, write_new_state, NEW_STATE), OK);
    assert_int_equal(faultfs_n_files(fs), 3 + 1 + 2 + 1);
    faultfs_free(fs);
}

/* Old or new, whole, whatever happens; and never a start that would append to the wrong one. */
static void check_old_or_new(struct faultfs *fs, enum err e) {
    const struct result *r = read_log(fs);
    assert_int_equal(r->err, OK);
    const bool is_new = strcmp(r->lines.text, "new one|new two|") == 0;
    if (!is_new) assert_string_equal(r->lines.text, "old|");
    if (e == OK) assert_true(is_new);
    if (e == E_SYS) assert_false(is_new);
}

static void test_power_loss_in_compaction(void **state) {
    (void)state;
    for (uint64_t n = 1; n <= 10; n++) {
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct faultfs *fs = faultfs_new(seed);
            const struct store_log_opts o = opts_of(fs);
            put(fs, "old\n");
            faultfs_lose_power_at(fs, n);
            const enum err e = store_log_compact(&o, write_new_state, NEW_STATE);
            faultfs_power_cycle(fs);
            check_old_or_new(fs, e == OK ? OK : E_STORE);
            /* and again while the leftovers are put right */
            faultfs_lose_power_at(fs, seed % 4 + 1);
            (void)read_log(fs);
            faultfs_power_cycle(fs);
            check_old_or_new(fs, E_STORE);
            faultfs_free(fs);
        }
    }
}

static void test_failure_in_compaction(void **state) {
    (void)state;
    for (int forever = 0; forever < 2; forever++) {
        for (uint64_t n = 1; n <= 20; n++) {
            struct faultfs *fs = faultfs_new(n);
            const struct store_log_opts o = opts_of(fs);
            put(fs, "old\n");
            faultfs_fail_at(fs, n, EIO, forever != 0);
            const enum err e = store_log_compact(&o, write_new_state, NEW_STATE);
            faultfs_fail_at(fs, 0, 0, false);
            /* Whatever it says, appending is either refused or goes to what the next start reads.
             */
            struct commit *commit;
            const struct commit_opts co = {.env = &FAKE_ENV};
            assert_int_equal(commit_new(&co, &commit), OK);
            struct store_log *log = NULL;
            const enum err opened = store_log_open(&o, commit, &log);
            if (opened == OK) {
                lsn_t lsn;
                assert_int_equal(commit_start(commit), OK);
                assert_int_equal(commit_begin(commit, &lsn), OK);
                assert_int_equal(store_log_append(log, bytes_str("added"), &ANY), OK);
                commit_end(commit);
                assert_int_equal(commit_stop(commit), OK);
            } else {
                assert_int_equal(e, E_STORE);
            }
            store_log_close(log);
            commit_free(commit);
            faultfs_power_cycle(fs);
            const char *got = read_log(fs)->lines.text;
            if (opened == OK) {
                assert_non_null(strstr(got, "added|"));
            } else {
                check_old_or_new(fs, E_STORE);
            }
            faultfs_free(fs);
        }
    }
}

/* ---- appending ---- */

struct appender {
    struct faultfs *fs;
    struct commit *commit;
    struct store_log *log;
};

static struct appender appender_open(struct faultfs *fs, unsigned interval_ms) {
    struct appender a = {.fs = fs};
    const struct commit_opts co = {.env = &FAKE_ENV, .interval_ms = interval_ms};
    const struct store_log_opts o = opts_of(fs);
    assert_int_equal(commit_new(&co, &a.commit), OK);
    assert_int_equal(store_log_open(&o, a.commit, &a.log), OK);
    assert_int_equal(commit_start(a.commit), OK);
    return a;
}

static lsn_t appender_close(struct appender *a) {
    (void)!commit_stop(a->commit);
    const lsn_t synced = commit_synced_lsn(a->commit);
    store_log_close(a->log);
    commit_free(a->commit);
    return synced;
}

/* "n:xxx...|": its number, and as many letters as it says, so that a line that is not whole shows.
 */
static size_t make_line(unsigned n, char *ret) {
    const unsigned len = n * 37 % 700;
    const int at = snprintf(ret, 32, "%u:", n);
    memset(ret + at, 'a' + (int)(n % 26), len);
    return (size_t)at + len;
}

static enum err append(struct appender *a, unsigned n) {
    char text[800];
    const size_t len = make_line(n, text);
    lsn_t lsn;
    enum err e = commit_begin(a->commit, &lsn);
    if (e != OK) return e;
    e = store_log_append(a->log, bytes_of(text, len), &ANY);
    commit_end(a->commit);
    return e;
}

struct checker {
    unsigned next, n_wrong;
    uint64_t seen; /* highest number */
    bool strict;   /* no gaps */
    bool have[2000];
};

static enum err check_line(void *ctx, struct bytes text) {
    struct checker *c = ctx;
    char want[800], head[32];
    if (text.n == 0 || text.n >= sizeof want) return E_SYNTAX;
    const size_t k = text.n < sizeof head - 1 ? text.n : sizeof head - 1;
    memcpy(head, text.p, k);
    head[k] = '\0';
    char *end;
    const unsigned long n = strtoul(head, &end, 10);
    if (end == head || *end != ':' || n >= 2000) return E_SYNTAX;
    const size_t len = make_line((unsigned)n, want);
    if (len != text.n || memcmp(want, text.p, len) != 0) return E_SYNTAX;
    if (n < c->next) c->n_wrong++; /* out of order, or twice */
    c->next = (unsigned)n + 1;
    c->have[n] = true;
    return OK;
}

static void check_lines(struct faultfs *fs, lsn_t n_synced) {
    const struct store_log_opts o = opts_of(fs);
    struct store_log_stats stats;
    struct store_log_problem problem;
    static struct checker c;
    c = (struct checker){.next = 1};
    assert_int_equal(store_log_read(&o, check_line, &c, &stats, &problem), OK);
    assert_int_equal(c.n_wrong, 0);
    for (lsn_t i = 1; i <= n_synced; i++) assert_true(c.have[i]);
}

/* Line n is lsn n. */
static void append_many(struct appender *a) {
    for (unsigned n = 1; n <= 120; n++) {
        if (append(a, n) != OK) return;
        if (n % 7 == 0 && commit_flush(a->commit) != OK) return;
    }
}

static void test_power_loss_while_appending(void **state) {
    (void)state;
    for (unsigned interval_ms = 0; interval_ms < 2000; interval_ms += 1000) {
        for (uint64_t n = 1; n <= 50; n++) {
            for (uint64_t seed = 1; seed <= 8; seed++) {
                struct faultfs *fs = faultfs_new(seed);
                struct appender a = appender_open(fs, interval_ms);
                faultfs_lose_power_at(fs, n);
                append_many(&a);
                const lsn_t synced = appender_close(&a);
                faultfs_power_cycle(fs);
                check_lines(fs, synced);
                faultfs_free(fs);
            }
        }
    }
}

static void test_torn_tail_is_cut_before_appending(void **state) {
    (void)state;
    struct faultfs *fs = faultfs_new(1);
    put(fs, "one\ntorn");
    struct appender a = appender_open(fs, 0);
    assert_int_equal(append(&a, 3), OK);
    assert_int_equal(commit_flush(a.commit), OK);
    (void)appender_close(&a);
    assert_true(faultfs_contains(fs, PATH, bytes_str("one\n3:")));
    faultfs_free(fs);
}

/* Nothing is lost by a full disk: what was appended waits, in order, and goes in when there is
 * room. */
static void test_full_disk(void **state) {
    (void)state;
    unsigned n_full = 0;
    for (uint64_t n = 1; n <= 60; n++) {
        struct faultfs *fs = faultfs_new(n);
        struct appender a = appender_open(fs, 0);
        faultfs_fail_at(fs, n, ENOSPC, true);
        unsigned k = 1;
        while (k <= 100 && append(&a, k) == OK) {
            k++;
            if (k % 5 == 0 && commit_flush(a.commit) != OK) break;
        }
        (void)!commit_flush(a.commit);
        for (int i = 0; i < 2000 && commit_state(a.commit) == COMMIT_OK && k <= 100; i++)
            usleep(50);
        if (commit_state(a.commit) == COMMIT_FULL) n_full++;
        /* The file ends with a whole line all the time. */
        const size_t size = faultfs_size(fs, PATH);
        if (size != 0 && commit_state(a.commit) == COMMIT_FULL &&
            commit_n_failures(a.commit) != 0) {
            assert_int_equal(faultfs_data(fs, PATH)[size - 1], '\n');
        }
        faultfs_fail_at(fs, 0, 0, false);
        while (commit_state(a.commit) == COMMIT_FULL) {
            now_s += 5;
            (void)!commit_flush(a.commit);
            usleep(20);
        }
        assert_int_equal(append(&a, k), OK);
        assert_int_equal(commit_flush(a.commit), OK);
        (void)appender_close(&a);
        faultfs_power_cycle(fs);
        check_lines(fs, k);
        faultfs_free(fs);
    }
    assert_true(n_full > 10);
}

int main(void) {
    (void)!freopen("/dev/null", "w", stderr); /* failures are logged */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_bad_line_says_where),
        cmocka_unit_test(test_unfinished_line_is_dropped),
        cmocka_unit_test(test_torn_group_with_holes),
        cmocka_unit_test(test_torn_group_of_zeros),
        cmocka_unit_test(test_holes_far_from_the_end_are_damage),
        cmocka_unit_test(test_lines_span_chunks),
        cmocka_unit_test(test_line_too_long),
        cmocka_unit_test(test_start_is_the_true_state),
        cmocka_unit_test(test_compact),
        cmocka_unit_test(test_backups_are_kept_for_a_time),
        cmocka_unit_test(test_backups_as_the_reference_keeps_them),
        cmocka_unit_test(test_power_loss_in_compaction),
        cmocka_unit_test(test_failure_in_compaction),
        cmocka_unit_test(test_power_loss_while_appending),
        cmocka_unit_test(test_torn_tail_is_cut_before_appending),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
