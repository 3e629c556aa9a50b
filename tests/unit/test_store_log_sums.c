/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The checksums beside the store log: what a disk changes is noticed, what people and the reference
 * change is taken as it is, and no crash of ours looks like either. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/crc32c.h"
#include "faultfs.h"
#include "store/disk/store_log.h"

static const char *const PATH = "/d/log", *const SUMS = "/d/log.sums";
static const struct store_log_of ANY = {NULL, false, NULL};

static int64_t fake_now_s(void *ctx) {
    (void)ctx;
    return 1795356000; /* 2026-11-22T14:00:00Z */
}
static int64_t fake_mono_us(void *ctx) {
    (void)ctx;
    return 1;
}
static const struct env FAKE_ENV = {fake_now_s, fake_mono_us, NULL, NULL};

/* A line of each kind, in words that a flipped bit does not make unusable. */
static const char *const KINDS[] = {
    "CREATE rid=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz rk=MCowBQYDK2Vw rdh=abc sid=def sk= queue_mode=M",
    "LINK MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz bGluaw== ZGF0YQ== ZGF0YQ==",
    "LDELETE MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
    "SECURE MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz MCowBQYDK2Vw",
    "KEYS MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz MCowBQYDK2Vw,MCowBQYDK2Vw",
    "NOTIFIER MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz abc def ghi",
    "NDELETE MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
    "SUSPEND MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
    "BLOCK MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz reason=spam",
    "UNBLOCK MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
    "TIME MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz 1795305600",
    "NEW_SERVICE service_id=abc role=N cert=x cert_hash=y created_at=1795305600",
    "QUEUE_SERVICE MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz N abc",
    "DELETE MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
};
enum { N_KINDS = sizeof KINDS / sizeof *KINDS };

static struct store_log_problem problem;
static struct store_log_stats stats; /* of what was read last */

/* ---- a log in use ---- */

struct rig {
    struct faultfs *fs;
    struct store_log_opts o;
    struct commit *commit;
    struct store_log *log;
};

static struct rig rig_of(struct faultfs *fs) {
    return (struct rig){.fs = fs,
                        .o = {.env = &FAKE_ENV,
                              .vfs = faultfs_vfs(fs),
                              .path = PATH,
                              .has_sums = true}};
}

/* Any of it may fail: then log is NULL. */
static void rig_open(struct rig *r, unsigned interval_ms) {
    const struct commit_opts co = {.env = &FAKE_ENV, .interval_ms = interval_ms};
    assert_int_equal(commit_new(&co, &r->commit), OK);
    r->o.sums = stats.sums;
    if (store_log_open(&r->o, r->commit, &r->log) != OK) r->log = NULL;
    if (r->log != NULL) store_log_start(r->log);
    assert_int_equal(commit_start(r->commit), OK);
}

static void rig_close(struct rig *r) {
    (void)!commit_stop(r->commit);
    store_log_close(r->log);
    commit_free(r->commit);
}

static enum err append(struct rig *r, const char *text) {
    lsn_t lsn;
    enum err e = commit_begin(r->commit, &lsn);
    if (e != OK) return e;
    e = store_log_append(r->log, bytes_str(text), &ANY);
    commit_end(r->commit);
    return e == OK ? commit_flush(r->commit) : e;
}

static struct faultfs *fs_with_all(uint64_t seed) {
    struct faultfs *fs = faultfs_new(seed);
    struct rig r = rig_of(fs);
    rig_open(&r, 0);
    for (size_t i = 0; i < N_KINDS; i++) assert_int_equal(append(&r, KINDS[i]), OK);
    rig_close(&r);
    return fs;
}

/* ---- reading ---- */

static enum err no_line(void *ctx, struct bytes text) {
    (void)ctx;
    (void)text;
    return OK;
}

static enum err read_with(struct faultfs *fs, bool skip_warnings) {
    struct store_log_opts o = rig_of(fs).o;
    o.skip_warnings = skip_warnings;
    return store_log_read(&o, no_line, NULL, &stats, &problem);
}

static enum err read_log(struct faultfs *fs) {
    return read_with(fs, false);
}

static void put(struct faultfs *fs, const char *text) {
    faultfs_put(fs, PATH, bytes_str(text));
}

static void check_noticed(struct faultfs *fs, const char *what) {
    assert_int_equal(read_log(fs), E_STORE);
    assert_non_null(strstr(problem.text, what));
    assert_non_null(strstr(problem.text, SUMS));
    assert_int_equal(read_log(fs), E_STORE); /* again */
}

/* Taken as it is, and from then on it is the one that the checksums are for. */
static void check_goes_on(struct faultfs *fs) {
    struct rig r = rig_of(fs);
    rig_open(&r, 0);
    assert_int_equal(append(&r, "SUSPEND one more"), OK);
    rig_close(&r);
    assert_int_equal(read_log(fs), OK);
    const size_t n = faultfs_size(fs, PATH);
    faultfs_data(fs, PATH)[n / 2] ^= 1;
    check_noticed(fs, "is damaged: 1 lines");
}

static void check_taken(struct faultfs *fs) {
    assert_int_equal(read_log(fs), OK);
    check_goes_on(fs);
}

/* ---- what a disk does ---- */

static void test_each_flipped_bit_is_noticed(void **state) {
    (void)state;
    struct faultfs *fs = fs_with_all(1);
    const size_t n = faultfs_size(fs, PATH);
    uint8_t *log = faultfs_data(fs, PATH);
    size_t line = 1;
    for (size_t i = 0; i < n; i++) {
        char where[40];
        (void)snprintf(where, sizeof where, "first is line %zu (", line);
        for (int bit = 0; bit < 8; bit++) {
            log[i] ^= (uint8_t)(1 << bit);
            assert_int_equal(read_log(fs), E_STORE);
            /* a zero byte may be what a power loss leaves: not here, it was on stable storage */
            assert_non_null(strstr(problem.text, where));
            log[i] ^= (uint8_t)(1 << bit);
        }
        if (log[i] == '\n') line++;
    }
    assert_int_equal(line, N_KINDS + 1);
    assert_int_equal(read_log(fs), OK);
    faultfs_free(fs);
}

static void test_several_bytes_in_one_place_are_noticed(void **state) {
    (void)state;
    struct faultfs *fs = fs_with_all(1);
    const size_t n = faultfs_size(fs, PATH);
    for (size_t i = 0; i + 40 < n; i++) {
        uint8_t saved[40], *log = faultfs_data(fs, PATH);
        memcpy(saved, log + i, sizeof saved);
        memset(log + i, 'x', sizeof saved);
        check_noticed(fs, "is damaged");
        memcpy(log + i, saved, sizeof saved);
    }
    faultfs_free(fs);
}

static void test_each_cut_is_noticed(void **state) {
    (void)state;
    struct faultfs *fs = fs_with_all(1);
    const size_t n = faultfs_size(fs, PATH);
    uint8_t *whole = malloc(n);
    assert_non_null(whole);
    memcpy(whole, faultfs_data(fs, PATH), n);
    for (size_t i = 0; i < n; i++) {
        faultfs_put(fs, PATH, bytes_of(whole, i));
        check_noticed(fs, "cut or emptied");
    }
    faultfs_remove(fs, PATH);
    check_noticed(fs, "has 0 bytes");
    free(whole);
    faultfs_free(fs);
}

static void test_skip_warnings_takes_it(void **state) {
    (void)state;
    struct faultfs *fs = fs_with_all(1);
    faultfs_data(fs, PATH)[20] ^= 4;
    assert_int_equal(read_with(fs, true), OK);
    assert_int_equal(stats.n_lines, N_KINDS);
    assert_int_equal(stats.n_bad, 1);
    check_goes_on(fs);
    faultfs_free(fs);
}

/* The checksums are on the same disk. */
static void test_damaged_sums_are_no_damage(void **state) {
    (void)state;
    struct faultfs *fs = fs_with_all(1);
    const size_t n = faultfs_size(fs, SUMS);
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            faultfs_data(fs, SUMS)[i] ^= (uint8_t)(1 << bit);
            assert_int_equal(read_log(fs), OK);
            faultfs_data(fs, SUMS)[i] ^= (uint8_t)(1 << bit);
        }
    }
    faultfs_put(fs, SUMS, bytes_of(faultfs_data(fs, SUMS), n / 2));
    check_taken(fs);
    faultfs_free(fs);
}

/* ---- what others do ---- */

static void test_edits_are_taken(void **state) {
    (void)state;
    static const char *const EDITED[] = {
        "one\nthree\nfour\nfive\nsix\n",             /* a line is gone */
        "two\nthree\nfour\nfive\nsix\n",             /* the first */
        "one\ntwo\nthree\nfour\nmore\nfive\nsix\n",  /* one is new */
        "one\ntwoo\nthree\nfour\nfive\nsix\n",       /* one is longer */
        "one\ntwo\nthree\nfour\nfive\nsix\nseven\n", /* added at the end */
        "one\ntwo\nthree\nfour\nfive\nsixty\n",
        "six\nfive\nfour\nthree\ntwo\none\n", /* in another order */
    };
    for (size_t i = 0; i < sizeof EDITED / sizeof *EDITED; i++) {
        struct faultfs *fs = faultfs_new(1);
        put(fs, "one\ntwo\nthree\nfour\nfive\nsix\n");
        struct rig r = rig_of(fs);
        rig_open(&r, 0);
        rig_close(&r);
        put(fs, EDITED[i]);
        check_taken(fs);
        faultfs_free(fs);
    }
}

/* Its compaction of CREATE A, CREATE B, DELETE B leaves CREATE A: as a cut would. */
static void test_the_reference_compacts(void **state) {
    (void)state;
    static const char *const BACKUPS[] = {"/d/log.2026-11-22T15:00:00Z",
                                          "/d/log.2026-11-22T14:00:00.5Z",
                                          "/d/log.2026-11-22T13:59:59.123456789Z"};
    for (size_t i = 0; i < 3; i++) {
        struct faultfs *fs = faultfs_new(1);
        faultfs_put(fs, "/d/log.2026-11-22T13:00:00Z", bytes_str("older\n"));
        put(fs, "CREATE A\nCREATE B\nDELETE B\n");
        struct rig r = rig_of(fs);
        rig_open(&r, 0);
        rig_close(&r);
        put(fs, "CREATE A\n");
        check_noticed(fs, "cut or emptied, from line 2 on");
        faultfs_put(fs, BACKUPS[i], bytes_str("CREATE A\nCREATE B\nDELETE B\n"));
        check_taken(fs);
        faultfs_free(fs);
    }
}

static void test_without_sums_nothing_is_known(void **state) {
    (void)state;
    struct faultfs *fs = fs_with_all(1);
    faultfs_remove(fs, SUMS);
    put(fs, "one\n");
    check_taken(fs);
    faultfs_free(fs);
}

/* ---- what we do ourselves ---- */

static const char *NEW_STATE[] = {"new one", "new two", "new three", NULL};
static enum err write_new_state(void *ctx, struct store_log_writer *w) {
    const char *const *lines = ctx;
    enum err e = OK;
    for (; *lines != NULL && e == OK; lines++) e = store_log_put(w, bytes_str(*lines));
    return e;
}

static void rewrite(struct rig *r, bool keep_backup) {
    size_t n;
    enum err e = store_log_rewrite_begin(r->log);
    if (e != OK) return;
    for (size_t i = 0; NEW_STATE[i] != NULL && e == OK; i++)
        e = store_log_rewrite_put_first(r->log, bytes_str(NEW_STATE[i]));
    if (e == OK) e = append(r, "while it is written");
    if (e == OK) e = store_log_rewrite_flush(r->log, &n);
    if (e == OK) {
        e = store_log_rewrite_end(r->log, keep_backup);
    } else {
        store_log_rewrite_abort(r->log);
    }
}

/* A start, all that a log goes through, a stop. */
static void live(struct rig *r, unsigned interval_ms) {
    if (store_log_compact(&r->o, write_new_state, NEW_STATE) == E_STORE) return;
    rig_open(r, interval_ms);
    if (r->log != NULL) {
        for (size_t i = 0; i < 3; i++) (void)!append(r, KINDS[i]);
        rewrite(r, true);
        (void)!append(r, KINDS[3]);
        rewrite(r, false);
        for (size_t i = 4; i < 7; i++) (void)!append(r, KINDS[i]);
    }
    rig_close(r);
}

static void test_all_lines_are_covered(void **state) {
    (void)state;
    for (unsigned interval_ms = 0; interval_ms < 2000; interval_ms += 1000) {
        struct faultfs *fs = faultfs_new(1);
        put(fs, "old\n");
        struct rig r = rig_of(fs);
        live(&r, interval_ms);
        assert_int_equal(read_log(fs), OK);
        const size_t n = faultfs_size(fs, PATH);
        for (size_t i = 0; i < n; i++) {
            faultfs_data(fs, PATH)[i] ^= 1;
            check_noticed(fs, "is damaged: 1 lines");
            faultfs_data(fs, PATH)[i] ^= 1;
        }
        faultfs_free(fs);
    }
}

/* Each is a start that accepts what it finds, and then notices damage. */
static unsigned n_crashes(bool is_power, unsigned interval_ms) {
    unsigned n = 0;
    for (bool ended = false; !ended; n++) {
        for (uint64_t seed = 1; seed <= 6; seed++) {
            struct faultfs *fs = faultfs_new(seed * 1000 + n);
            put(fs, "old\nolder\n");
            faultfs_put(fs, "/d/log.2026-11-22T13:00:00Z", bytes_str("older\n"));
            struct rig r = rig_of(fs);
            rig_open(&r, interval_ms);
            if (r.log != NULL) (void)!append(&r, "first");
            rig_close(&r);
            faultfs_lose_power_at(fs, n + 1);
            const uint64_t before = faultfs_n_changes(fs);
            live(&r, interval_ms);
            ended = faultfs_n_changes(fs) - before <= n;
            if (is_power) {
                faultfs_power_cycle(fs);
            } else {
                faultfs_kill(fs);
            }
            assert_int_equal(read_log(fs), OK);
            check_taken(fs);
            faultfs_free(fs);
        }
    }
    return n;
}

static void test_power_loss_at_each_change(void **state) {
    (void)state;
    assert_true(n_crashes(true, 0) > 50);
    assert_true(n_crashes(true, 1000) > 40);
}

static void test_death_at_each_change(void **state) {
    (void)state;
    assert_true(n_crashes(false, 0) > 50);
}

/* Sums that cannot be written are no reason to refuse anything, nor to say that the log is damaged.
 */
static void test_failures(void **state) {
    (void)state;
    static const int ERRORS[] = {EIO, ENOSPC, EMFILE};
    for (size_t k = 0; k < 3; k++) {
        for (uint64_t n = 1; n <= 120; n++) {
            struct faultfs *fs = faultfs_new(n);
            put(fs, "old\n");
            struct rig r = rig_of(fs);
            faultfs_fail_at(fs, n, ERRORS[k], false);
            live(&r, 0);
            faultfs_kill(fs);
            assert_int_equal(read_log(fs), OK);
            check_taken(fs);
            faultfs_free(fs);
        }
    }
}

static void test_one_bit(void **state) {
    (void)state;
    uint8_t text[100];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)(i * 7);
    const uint32_t whole = crc32c(0, text, sizeof text);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] ^= 16;
        const uint32_t difference = crc32c(0, text, sizeof text) ^ whole;
        assert_true(crc32c_is_one_bit(difference, sizeof text));
        assert_int_equal(crc32c_is_one_bit(difference, sizeof text - i - 1), false);
        text[i] ^= 16;
    }
    text[3] ^= 3;
    assert_false(crc32c_is_one_bit(crc32c(0, text, sizeof text) ^ whole, sizeof text));
}

int main(void) {
    (void)!freopen("/dev/null", "w", stderr); /* failures are logged */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_bit),
        cmocka_unit_test(test_each_flipped_bit_is_noticed),
        cmocka_unit_test(test_several_bytes_in_one_place_are_noticed),
        cmocka_unit_test(test_each_cut_is_noticed),
        cmocka_unit_test(test_skip_warnings_takes_it),
        cmocka_unit_test(test_damaged_sums_are_no_damage),
        cmocka_unit_test(test_edits_are_taken),
        cmocka_unit_test(test_the_reference_compacts),
        cmocka_unit_test(test_without_sums_nothing_is_known),
        cmocka_unit_test(test_all_lines_are_covered),
        cmocka_unit_test(test_power_loss_at_each_change),
        cmocka_unit_test(test_death_at_each_change),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
