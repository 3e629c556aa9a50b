/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The journal on a disk that fails, damages what is on it, or loses a part of it. */
#include "journal_fixture.h"

#include <errno.h>

#include "base/crc32c.h"
#include "base/wr.h"
#include "store/disk/journal_format.h"

/* ---- failures ---- */

static void test_failure_at_every_op(void **state) {
    (void)state;
    struct rig *dry = rig_new(55);
    must_open(dry, 55, 0, 0);
    const uint64_t before = faultfs_n_ops(dry->fs);
    scenario(dry);
    const uint64_t total = faultfs_n_ops(dry->fs) - before;
    rig_close(dry);
    rig_free(dry);
    for (uint64_t n = 1; n <= total; n += stride()) {
        struct rig *r = rig_new(55);
        must_open(r, 55, n, 0);
        faultfs_fail_at(r->fs, n, EIO, n % 2 != 0);
        scenario(r);
        if (r->commit != NULL) rig_close(r);
        faultfs_fail_at(r->fs, 0, 0, false);
        faultfs_power_cycle(r->fs);
        check_after_crash(r, 55, n, 0);
        rig_free(r);
    }
}

/* A clock that the test moves. */
static _Atomic int64_t fake_ms;
static int64_t fake_now_s(void *ctx) {
    (void)ctx;
    return 1700000000 + fake_ms / 1000;
}
static int64_t fake_mono_us(void *ctx) {
    (void)ctx;
    return fake_ms * 1000;
}
static void fake_random(void *ctx, void *buf, size_t n) {
    (void)ctx;
    ENV_SYSTEM.random(NULL, buf, n);
}
static const struct env FAKE_ENV = {fake_now_s, fake_mono_us, fake_random, NULL};

static void wait_for_state(struct rig *r, enum commit_state want) {
    for (int i = 0; i < 100000 && commit_state(r->commit) != want; i++) {
        fake_ms += 1000;
        (void)!commit_flush(r->commit);
        usleep(50);
    }
    assert_int_equal(commit_state(r->commit), want);
}

/* Nothing of a message that was taken back is left in the files. */
static void check_lost_are_gone(struct rig *r) {
    for (size_t i = 0; i < r->n_messages; i++) {
        uint8_t body[RIG_MAX_BODY];
        const struct rig_msg *x = &r->messages[i];
        if (x->state != RIG_LOST || x->body_len < 64) continue;
        rig_fill_body(i, body, x->body_len);
        assert_false(faultfs_contains(r->fs, NULL, bytes_of(body, 32)));
    }
}

/* From each operation on something is short, until it is there again: all goes on by itself.
 * Returns how often storage stood still. */
static unsigned starve_at_every_op(int error, uint64_t last) {
    unsigned n_full = 0;
    for (uint64_t n = 1; n <= last; n++) {
        struct rig *r = rig_new(56 + n);
        r->env = &FAKE_ENV;
        must_open(r, 56, n, 0);
        faultfs_fail_at(r->fs, n, error, true);
        for (unsigned i = 0; i < 25 && rig_changes(r, 10) == OK && rig_flush(r) == OK; i++) {
            if (i % 8 == 7) journal_housekeep(r->journal);
        }
        (void)!rig_flush(r);
        const bool is_full = commit_state(r->commit) == COMMIT_FULL;
        if (is_full) {
            fake_ms += 5000; /* an attempt in vain */
            (void)!rig_flush(r);
            usleep(200);
        }
        faultfs_fail_at(r->fs, 0, 0, false);
        assert_int_not_equal(commit_state(r->commit), COMMIT_FAILED);
        if (is_full) {
            n_full++;
            wait_for_state(r, COMMIT_OK);
            journal_housekeep(r->journal); /* stocks spares: there is room again */
            check_lost_are_gone(r);
            assert_int_equal(rig_changes(r, 30), OK);
            assert_int_equal(rig_flush(r), OK);
            journal_housekeep(r->journal);
            assert_int_equal(journal_stats(r->journal).n_live, rig_n_live(r));
            assert_int_equal(journal_start(r->journal), OK);
            must(rig_check_bodies(r), 56, n, 1);
        }
        rig_close(r);
        faultfs_power_cycle(r->fs);
        check_after_crash(r, 56, n, 2);
        rig_free(r);
    }
    return n_full;
}

static void test_full_disk_at_every_op(void **state) {
    (void)state;
    assert_true(starve_at_every_op(ENOSPC, 150) > 20);
}

static void test_too_many_files_at_every_op(void **state) {
    (void)state;
    assert_true(starve_at_every_op(EMFILE, 150) > 20);
    assert_true(starve_at_every_op(ENFILE, 20) > 5);
    assert_true(starve_at_every_op(ENOMEM, 20) > 5);
}

static void test_full_disk_accepts_deletions(void **state) {
    (void)state;
    struct rig *r = rig_new(57);
    r->env = &FAKE_ENV;
    must_open(r, 57, 0, 0);
    assert_int_equal(rig_append(r, 0, 1000), OK);
    assert_int_equal(rig_flush(r), OK);
    journal_housekeep(r->journal); /* two spares */
    faultfs_fail_at(r->fs, 1, ENOSPC, true);
    enum err e = OK;
    while (e == OK) {
        e = rig_append(r, 0, 2000);
        if (e == OK) e = rig_flush(r);
        journal_housekeep(r->journal);
    }
    assert_true(journal_stats(r->journal).low_space);
    assert_int_equal(e, E_STORE);
    assert_int_equal(commit_state(r->commit), COMMIT_OK);
    const size_t n = r->n_messages;
    for (size_t i = 0; i < n; i++) rig_delete(r, i);
    assert_int_equal(rig_flush(r), OK);
    assert_int_equal(rig_n_live(r), 0);
    journal_housekeep(r->journal);
    assert_false(journal_stats(r->journal).low_space);
    assert_int_equal(rig_append(r, 0, 2000), OK);
    rig_close(r);
    faultfs_fail_at(r->fs, 0, 0, false); /* what checks it writes more than there is room for */
    check_after_crash(r, 57, 0, 0);
    rig_free(r);
}

/* ---- damage ---- */

static struct rig *synced_journal(uint64_t seed) {
    struct rig *r = rig_new(seed);
    must_open(r, seed, 0, 0);
    for (unsigned i = 0; i < 30; i++) {
        assert_int_equal(rig_changes(r, 6), OK);
        assert_int_equal(rig_flush(r), OK);
    }
    rig_close(r);
    return r;
}

/* With skip_warnings all starts work, deliver nothing wrong, and leave a history without damage. */
static void check_skipping(struct rig *r, const char *path, uint64_t n) {
    r->skip_warnings = true;
    must_open(r, 60, n, 1);
    const char *wrong = rig_check_recovered(r);
    if (wrong != NULL && strcmp(wrong, "a message is lost") != 0 &&
        strcmp(wrong, "a deleted message is back") != 0)
        must(wrong, 60, n, 1);
    assert_int_equal(journal_start(r->journal), OK);
    must(rig_check_bodies(r), 60, n, 1);
    rig_close(r);
    char aside[200];
    (void)snprintf(aside, sizeof aside, "%s.damaged", path);
    assert_true(faultfs_size(r->fs, aside) != 0);
    r->skip_warnings = false;
    check_after_crash(r, 60, n, 2);
}

static void check_damaged(struct rig *r, const char *path, uint64_t n, unsigned *n_found) {
    const enum err e = rig_open(r);
    if (e == OK) {
        must(rig_check_recovered(r), 60, n, 0);
        assert_int_equal(journal_start(r->journal), OK);
        must(rig_check_bodies(r), 60, n, 0);
        rig_close(r);
        return;
    }
    assert_int_equal(e, E_STORE);
    assert_non_null(strstr(r->problem.text, "/j/00000"));
    assert_non_null(strstr(r->problem.text, "offset"));
    (*n_found)++;
    check_skipping(r, path, n);
}

static void test_damage_is_found_or_harmless(void **state) {
    (void)state;
    struct rig *r = synced_journal(60);
    unsigned n_found = 0;
    for (size_t i = 0; i < faultfs_n_files(r->fs); i++) {
        char path[200];
        (void)snprintf(path, sizeof path, "%s", faultfs_name(r->fs, i));
        if (strstr(path, ".journal") == NULL) continue;
        for (size_t at = i % 7; at < faultfs_size(r->fs, path);
             at += (at < 80 ? 1 : 127) * stride()) {
            struct rig *c = rig_copy(r, at + 1);
            faultfs_data(c->fs, path)[at] ^= (uint8_t)(1 << at % 8);
            check_damaged(c, path, at, &n_found);
            rig_free(c);
        }
    }
    assert_true(n_found > 100 / stride());
    rig_free(r);
}

/* A sector of zeros, as a disk gives that has lost one. */
static void test_lost_sector(void **state) {
    (void)state;
    struct rig *r = synced_journal(61);
    unsigned n_found = 0;
    for (size_t i = 0; i < faultfs_n_files(r->fs); i++) {
        char path[200];
        (void)snprintf(path, sizeof path, "%s", faultfs_name(r->fs, i));
        if (strstr(path, ".journal") == NULL) continue;
        for (size_t at = 0; at < faultfs_size(r->fs, path); at += 512) {
            struct rig *c = rig_copy(r, at + 1);
            /* The sector in which the history ends holds the last record and its proof: that loss
             * cannot be told from a torn group. */
            const size_t rest = faultfs_size(r->fs, path) - at - 512;
            const uint8_t *data = faultfs_data(r->fs, path) + at;
            if (!bytes_are_zero(bytes_of(data, 512)) &&
                bytes_are_zero(bytes_of(data + 512, rest)) && rest >= 512) {
                rig_free(c);
                continue;
            }
            memset(faultfs_data(c->fs, path) + at, 0, 512);
            check_damaged(c, path, at, &n_found);
            rig_free(c);
        }
    }
    assert_true(n_found > 20);
    rig_free(r);
}

/* ---- what an orderly stop has left ---- */

/* The start is refused and names `word`; with skip_warnings it is not, and the next one neither. */
static void must_notice(struct rig *c, const char *word) {
    assert_int_equal(rig_open(c), E_STORE);
    if (strstr(c->problem.text, word) == NULL) printf("# %s\n", c->problem.text);
    assert_non_null(strstr(c->problem.text, word));
    assert_non_null(strstr(c->problem.text, "--skip-warnings"));
    assert_int_equal(rig_open(c), E_STORE); /* refusing has changed nothing */
    c->skip_warnings = true;
    must_open(c, 63, 0, 1);
    rig_close(c);
    c->skip_warnings = false;
    must_open(c, 63, 0, 2);
    rig_close(c);
    rig_free(c);
}

static void segment_path(uint32_t number, char ret[64]) {
    (void)snprintf(ret, 64, "/j/%010u.journal", number);
}

static void test_loss_after_an_orderly_stop(void **state) {
    (void)state;
    struct rig *r = synced_journal(63);
    uint32_t first = 1, last;
    char path[64];
    for (segment_path(first, path); faultfs_size(r->fs, path) == 0;) segment_path(++first, path);
    for (last = first; faultfs_size(r->fs, path) != 0;) segment_path(++last, path);
    last--;
    assert_true(last >= first + 3);
    struct rig *c = rig_copy(r, 1);
    segment_path(first, path);
    faultfs_remove(c->fs, path);
    must_notice(c, path);
    c = rig_copy(r, 2);
    segment_path(last, path);
    faultfs_remove(c->fs, path);
    must_notice(c, path);
    c = rig_copy(r, 3);
    for (uint32_t i = first; i <= last; i++) {
        segment_path(i, path);
        faultfs_remove(c->fs, path);
    }
    must_notice(c, "files with messages are missing");
    segment_path(last, path);
    for (size_t at = RIG_SEGMENT_LEN; at >= SEGMENT_HEAD_LEN; at -= 1024) {
        bool was_used = false;
        c = rig_copy(r, at);
        uint8_t *data = faultfs_data(c->fs, path);
        for (size_t i = at; i < RIG_SEGMENT_LEN; i++) was_used = was_used || data[i] != 0;
        memset(data + at, 0, RIG_SEGMENT_LEN - at);
        if (was_used) {
            must_notice(c, path);
        } else {
            must_open(c, 63, at, 0);
            rig_close(c);
            rig_free(c);
        }
    }
    rig_free(r);
}

/* The journal went on after the mark: nothing is said about it. */
static void test_mark_is_for_one_start(void **state) {
    (void)state;
    struct rig *r = synced_journal(64);
    assert_true(faultfs_size(r->fs, RIG_MARK) != 0);
    char mark[512];
    const size_t n = faultfs_size(r->fs, RIG_MARK);
    memcpy(mark, faultfs_data(r->fs, RIG_MARK), n);
    faultfs_data(r->fs, RIG_MARK)[n / 2] ^= 1; /* a damaged one is no reason to stop */
    must_open(r, 64, 0, 0);
    assert_int_equal(faultfs_size(r->fs, RIG_MARK), 0);
    assert_int_equal(rig_changes(r, 40), OK);
    assert_int_equal(rig_flush(r), OK);
    rig_close(r);
    faultfs_put(r->fs, RIG_MARK, bytes_of(mark, n)); /* of before: from a backup, say */
    check_after_crash(r, 64, 1, 0);
    rig_free(r);
}

static void test_lost_queues(void **state) {
    (void)state;
    struct rig *r = synced_journal(65);
    uint32_t queue = 0;
    for (size_t i = 0; i < r->n_messages; i++) {
        if (r->messages[i].state == RIG_LIVE) queue = r->messages[i].queue;
    }
    struct rig *c = rig_copy(r, 1);
    c->queue_delete_lsn[queue] = RIG_GONE;
    must_notice(c, "store log");
    c = rig_copy(r, 2);
    for (size_t i = 0; i < RIG_MAX_MESSAGES; i++) c->queue_delete_lsn[i] = RIG_GONE;
    must_notice(c, "store log");
    rig_free(r);
}

/* As the versions before PURGE have written it. */
static void make_version_1(struct rig *r) {
    for (size_t i = 0; i < faultfs_n_files(r->fs); i++) {
        const char *path = faultfs_name(r->fs, i);
        if (strstr(path, ".journal") == NULL) continue;
        uint8_t *head = faultfs_data(r->fs, path);
        head[11] = 1;
        struct wr w = wr_init(head + 52, 4);
        wr_u32(&w, crc32c(0, head, 52));
    }
}

/* There is no mark after a crash: the records alone tell. */
static void test_lost_queues_after_a_crash(void **state) {
    (void)state;
    struct rig *r = synced_journal(66);
    uint32_t queue = 0;
    for (size_t i = 0; i < r->n_messages; i++) {
        if (r->messages[i].state == RIG_LIVE) queue = r->messages[i].queue;
    }
    faultfs_remove(r->fs, RIG_MARK);
    struct rig *c = rig_copy(r, 1);
    c->queue_delete_lsn[queue] = RIG_GONE;
    must_notice(c, ".journal, offset ");
    c = rig_copy(r, 2);
    for (size_t i = 0; i < RIG_MAX_MESSAGES; i++) c->queue_delete_lsn[i] = RIG_GONE;
    must_notice(c, "store log has lost");
    c = rig_copy(r, 3); /* there a deleted queue has left no record */
    make_version_1(c);
    c->queue_delete_lsn[queue] = RIG_GONE;
    must_open(c, 66, 3, 0);
    rig_close(c);
    rig_free(c);
    rig_free(r);
}

static void test_missing_and_foreign_files(void **state) {
    (void)state;
    struct rig *r = synced_journal(62);
    faultfs_put(r->fs, "/j/README", bytes_str("not ours"));
    struct rig *c = rig_copy(r, 1);
    check_after_crash(c, 62, 0, 0); /* left alone */
    assert_true(faultfs_contains(c->fs, "/j/README", bytes_str("not ours")));
    rig_free(c);
    c = rig_copy(r, 2);
    assert_true(faultfs_size(c->fs, "/j/0000000002.journal") != 0);
    faultfs_remove(c->fs, "/j/0000000002.journal");
    assert_int_equal(rig_open(c), E_STORE);
    assert_non_null(strstr(c->problem.text, "/j/0000000002.journal"));
    assert_non_null(strstr(c->problem.text, "missing"));
    c->skip_warnings = true;
    must_open(c, 62, 0, 1);
    rig_close(c);
    c->skip_warnings = false;
    must_open(c, 62, 0, 2);
    rig_close(c);
    rig_free(c);
    rig_free(r);
}

int main(void) {
    log_set_level(LOG_ERROR);
    (void)!freopen("/dev/null", "w", stderr); /* failures are logged, thousands of them */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_at_every_op),
        cmocka_unit_test(test_full_disk_at_every_op),
        cmocka_unit_test(test_too_many_files_at_every_op),
        cmocka_unit_test(test_full_disk_accepts_deletions),
        cmocka_unit_test(test_damage_is_found_or_harmless),
        cmocka_unit_test(test_lost_sector),
        cmocka_unit_test(test_missing_and_foreign_files),
        cmocka_unit_test(test_loss_after_an_orderly_stop),
        cmocka_unit_test(test_mark_is_for_one_start),
        cmocka_unit_test(test_lost_queues),
        cmocka_unit_test(test_lost_queues_after_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
