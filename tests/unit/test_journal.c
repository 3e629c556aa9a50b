/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The journal against power losses, failures and damage at every step of a random load. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/wr.h"
#include "journal_rig.h"
#include "store/disk/journal_format.h"

static unsigned n_seeds(void) {
    const char *s = getenv("SMP_TEST_SEEDS");
    return s != NULL ? (unsigned)strtoul(s, NULL, 10) : 2;
}

static struct rig *rig_new(uint64_t seed) {
    struct rig *r = malloc(sizeof *r);
    if (r == NULL) abort();
    rig_init(r, seed);
    return r;
}

static void rig_free(struct rig *r) {
    rig_done(r);
    free(r);
}

static void must(const char *wrong, uint64_t seed, uint64_t n, uint64_t m) {
    if (wrong == NULL) return;
    printf("# seed %llu, step %llu.%llu: %s\n", (unsigned long long)seed, (unsigned long long)n,
           (unsigned long long)m, wrong);
    fail();
}

static void must_open(struct rig *r, uint64_t seed, uint64_t n, uint64_t m) {
    const enum err e = rig_open(r);
    if (e == OK) return;
    printf("# open: %s: %s\n", err_name(e), r->problem.text);
    must("cannot be opened", seed, n, m);
}

/* ---- format ---- */

static void test_format_round_trip(void **state) {
    (void)state;
    struct record_head h = {.len = record_len(13),
                            .type = JREC_MSG,
                            .flags = RECORD_FLAG_NOTIFICATION,
                            .body_len = 13,
                            .n = 77,
                            .durable_n = 76,
                            .order = 77,
                            .ts_s = -5,
                            .queue = rig_msg_id(1),
                            .msg = rig_msg_id(2),
                            .body_crc = 0xdeadbeef};
    const struct record_place at = {0x1122334455667788, {9, 512}};
    uint8_t buf[RECORD_HEAD_LEN + 16] = {0};
    record_head_encode(&h, &at, buf);
    struct record_head got;
    assert_int_equal(record_head_decode(bytes_of(buf, sizeof buf), &at, &got), OK);
    assert_int_equal(got.n, 77);
    assert_int_equal(got.ts_s, -5);
    assert_true(id_equal(&got.msg, &h.msg) && id_equal(&got.queue, &h.queue));
    for (size_t n = 0; n < sizeof buf; n++) {
        assert_int_equal(record_head_decode(bytes_of(buf, n), &at, &got), E_SYNTAX);
    }
    for (size_t bit = 0; bit < RECORD_HEAD_LEN * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(record_head_decode(bytes_of(buf, sizeof buf), &at, &got), E_SYNTAX);
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    const struct record_place elsewhere[] = {{0x1122334455667789, {9, 512}},
                                             {0x1122334455667788, {8, 512}},
                                             {0x1122334455667788, {9, 513}}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(record_head_decode(bytes_of(buf, sizeof buf), &elsewhere[i], &got),
                         E_SYNTAX);
    }
}

static void test_segment_head_round_trip(void **state) {
    (void)state;
    const struct segment_head h = {.number = 7,
                                   .len = 8 << 20,
                                   .salt = 1,
                                   .first_n = 2,
                                   .durable_n = 1,
                                   .created_s = 1700000000};
    uint8_t buf[SEGMENT_HEAD_LEN];
    segment_head_encode(&h, buf);
    struct segment_head got;
    assert_int_equal(segment_head_decode(bytes_of(buf, sizeof buf), &got), OK);
    assert_int_equal(got.version, JOURNAL_VERSION);
    assert_int_equal(got.created_s, h.created_s);
    uint8_t again[SEGMENT_HEAD_LEN];
    segment_head_encode(&got, again);
    assert_memory_equal(again, buf, sizeof buf);
    assert_int_equal(segment_head_decode(bytes_of(buf, sizeof buf - 1), &got), E_SYNTAX);
    for (size_t i = 0; i < 56; i++) {
        buf[i] ^= 4;
        assert_int_not_equal(segment_head_decode(bytes_of(buf, sizeof buf), &got), OK);
        buf[i] ^= 4;
    }
}

/* ---- power losses ---- */

/* Ends a group: always synced, or with an interval mostly only written. */
static enum err end_group(struct rig *r) {
    if (r->interval_ms == 0 || rig_chance(r, 4) == 0) return rig_flush(r);
    while (commit_durable_lsn(r->commit) < commit_last_lsn(r->commit)) {
        if (commit_state(r->commit) != COMMIT_OK) return E_STORE;
        usleep(20);
    }
    return OK;
}

/* A load with deletions, compaction, erasing and an orderly restart; ends early when the power
 * goes. */
static void scenario(struct rig *r) {
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned group = 0; group < 5; group++) {
            if (rig_changes(r, 1 + rig_chance(r, 10)) != OK || end_group(r) != OK) return;
        }
        journal_housekeep(r->journal);
        if (end_group(r) != OK) return;
        if (round == 3) {
            rig_close(r);
            if (rig_open(r) != OK) return;
            must(rig_check_recovered(r), 0, 0, 0);
        }
    }
}

/* Opens what a crash has left, checks it, uses it, restarts, checks again. */
static void check_after_crash(struct rig *r, uint64_t seed, uint64_t n, uint64_t m) {
    must_open(r, seed, n, m);
    must(rig_check_recovered(r), seed, n, m);
    assert_int_equal(journal_start(r->journal), OK);
    must(rig_check_bodies(r), seed, n, m);
    assert_int_equal(rig_changes(r, 5), OK);
    rig_close(r);
    must_open(r, seed, n, m);
    must(rig_check_recovered(r), seed, n, m);
    assert_int_equal(journal_start(r->journal), OK);
    must(rig_check_bodies(r), seed, n, m);
    rig_close(r);
}

static uint64_t n_moved; /* in all dry runs: there must be compaction */

static uint64_t count_changes(uint64_t seed) {
    struct rig *r = rig_new(seed);
    must_open(r, seed, 0, 0);
    const uint64_t before = faultfs_n_changes(r->fs);
    scenario(r);
    const uint64_t n = faultfs_n_changes(r->fs) - before;
    n_moved += r->n_moved;
    rig_close(r);
    rig_free(r);
    return n;
}

static void run_until(struct rig *r, uint64_t seed, uint64_t n) {
    must_open(r, seed, n, 0);
    faultfs_lose_power_at(r->fs, n);
    scenario(r);
    rig_close(r);
}

static void test_power_loss_at_every_change(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= n_seeds(); seed++) {
        const uint64_t total = count_changes(seed);
        for (uint64_t n = 1; n <= total; n++) {
            struct rig *r = rig_new(seed);
            run_until(r, seed, n);
            faultfs_power_cycle(r->fs);
            check_after_crash(r, seed, n, 0);
            rig_free(r);
        }
    }
    assert_true(n_moved > 0);
}

static void test_kill_at_every_change(void **state) {
    (void)state;
    const uint64_t total = count_changes(77);
    for (uint64_t n = 1; n <= total; n++) {
        struct rig *r = rig_new(77);
        run_until(r, 77, n);
        faultfs_kill(r->fs); /* all that was written is there, synced or not */
        must_open(r, 77, n, 1);
        must(rig_check_recovered(r), 77, n, 1);
        /* What was found is on stable storage now: a power loss at once changes nothing. */
        faultfs_lose_power_at(r->fs, 1);
        rig_close(r);
        faultfs_power_cycle(r->fs);
        check_after_crash(r, 77, n, 2);
        rig_free(r);
    }
}

/* The model of a rig, on a copy of its disk. */
static struct rig *rig_copy(const struct rig *r, uint64_t seed) {
    struct rig *c = malloc(sizeof *c);
    if (c == NULL) abort();
    *c = *r;
    pthread_mutex_init(&c->mtx, NULL);
    c->fs = faultfs_clone(r->fs, seed);
    return c;
}

static void test_power_loss_while_recovering(void **state) {
    (void)state;
    for (uint64_t seed = 101; seed < 101 + n_seeds(); seed++) {
        const uint64_t total = count_changes(seed);
        for (uint64_t n = 1 + seed % 5; n <= total; n += 5) {
            struct rig *r = rig_new(seed);
            run_until(r, seed, n);
            faultfs_power_cycle(r->fs);
            for (uint64_t m = 1;; m++) {
                struct rig *c = rig_copy(r, seed * 1000 + n + m);
                faultfs_lose_power_at(c->fs, m);
                const enum err e = rig_open(c);
                const lsn_t safe_lsn = c->safe_lsn;
                if (c->commit != NULL) rig_close(c);
                c->safe_lsn = safe_lsn;
                faultfs_power_cycle(c->fs);
                memcpy(c->messages, r->messages, sizeof c->messages);
                check_after_crash(c, seed, n, m);
                rig_free(c);
                if (e == OK) break; /* recovery took fewer changes than m */
            }
            rig_free(r);
        }
    }
}

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
    for (uint64_t n = 1; n <= total; n++) {
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
        for (size_t at = i % 7; at < faultfs_size(r->fs, path); at += at < 80 ? 1 : 61) {
            struct rig *c = rig_copy(r, at + 1);
            faultfs_data(c->fs, path)[at] ^= (uint8_t)(1 << at % 8);
            check_damaged(c, path, at, &n_found);
            rig_free(c);
        }
    }
    assert_true(n_found > 100);
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
    must_notice(c, "is missing");
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

/* ---- erasing, compaction, syncing ---- */

static void test_bodies_are_erased(void **state) {
    (void)state;
    struct rig *r = rig_new(70);
    must_open(r, 70, 0, 0);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(rig_append(r, i % RIG_N_QUEUES, (uint16_t)(100 + i * 50)), OK);
    assert_int_equal(rig_flush(r), OK);
    for (size_t i = 0; i < 40; i++) {
        if (i % 3 == 0) rig_delete(r, i);
    }
    rig_delete_queue(r, 5);
    assert_int_equal(rig_flush(r), OK);
    journal_housekeep(r->journal);
    assert_int_equal(journal_stats(r->journal).n_to_erase, 0);
    for (size_t i = 0; i < 40; i++) {
        uint8_t body[RIG_MAX_BODY];
        const struct rig_msg *x = &r->messages[i];
        rig_fill_body(i, body, x->body_len);
        for (size_t at = 0; at + 16 <= x->body_len; at += 16) {
            assert_int_equal(faultfs_contains(r->fs, NULL, bytes_of(body + at, 16)),
                             x->state == RIG_LIVE);
        }
    }
    rig_close(r);
    check_after_crash(r, 70, 0, 0);
    rig_free(r);
}

/* What a crash has kept from being erased is erased after the restart. */
static void test_bodies_are_erased_after_restart(void **state) {
    (void)state;
    struct rig *r = rig_new(71);
    must_open(r, 71, 0, 0);
    for (unsigned i = 0; i < 10; i++) assert_int_equal(rig_append(r, 0, 500), OK);
    for (size_t i = 0; i < 9; i++) rig_delete(r, i);
    assert_int_equal(rig_flush(r), OK);
    rig_close(r);
    must_open(r, 71, 0, 0);
    must(rig_check_recovered(r), 71, 0, 0);
    assert_int_equal(journal_stats(r->journal).n_to_erase, 9);
    journal_housekeep(r->journal);
    uint8_t body[500];
    for (size_t i = 0; i < 10; i++) {
        rig_fill_body(i, body, sizeof body);
        assert_int_equal(faultfs_contains(r->fs, NULL, bytes_of(body + 100, 32)), i == 9);
    }
    rig_close(r);
    rig_free(r);
}

static void test_disk_use_is_bounded(void **state) {
    (void)state;
    struct rig *r = rig_new(72);
    must_open(r, 72, 0, 0);
    for (unsigned i = 0; i < 400; i++) {
        assert_int_equal(rig_changes(r, 9), OK);
        assert_int_equal(rig_flush(r), OK);
        if (i % 3 != 0) continue;
        journal_housekeep(r->journal);
        assert_int_equal(rig_flush(r), OK);
        const struct journal_stats s = journal_stats(r->journal);
        assert_true(faultfs_n_bytes(r->fs) <= s.disk_bytes);
        assert_true(faultfs_n_bytes(r->fs) <= 2 * s.live_bytes + 5 * RIG_SEGMENT_LEN);
    }
    assert_true(r->n_moved > 100);
    rig_close(r);
    check_after_crash(r, 72, 0, 0);
    rig_free(r);
}

/* A segment is not freed on the word of deletions that a power loss may take back. */
static void test_segment_waits_for_deletions(void **state) {
    (void)state;
    struct rig *r = rig_new(75);
    r->interval_ms = 10000;
    must_open(r, 75, 0, 0);
    for (unsigned i = 0; i < 12; i++) assert_int_equal(rig_append(r, 0, 1500), OK);
    assert_int_equal(rig_flush(r), OK);
    const uint64_t n_segments = journal_stats(r->journal).n_segments;
    assert_int_equal(n_segments, 2); /* few enough not to be compacted */
    for (size_t i = 0; i < 12; i++) rig_delete(r, i);
    journal_housekeep(r->journal);
    assert_int_equal(journal_stats(r->journal).n_live, 0);
    assert_int_equal(journal_stats(r->journal).n_segments, n_segments);
    assert_int_equal(rig_flush(r), OK);
    journal_housekeep(r->journal);
    assert_int_equal(journal_stats(r->journal).n_segments, 1);
    rig_close(r);
    check_after_crash(r, 75, 0, 0);
    rig_free(r);
}

static void test_interval(void **state) {
    (void)state;
    struct rig *r = rig_new(73);
    r->interval_ms = 100;
    must_open(r, 73, 0, 0);
    assert_int_equal(rig_append(r, 0, 100), OK);
    for (int i = 0; i < 10000 && commit_durable_lsn(r->commit) < 1; i++) usleep(100);
    assert_int_equal(commit_durable_lsn(r->commit), 1);
    for (int i = 0; i < 10000 && commit_synced_lsn(r->commit) < 1; i++) usleep(1000);
    assert_int_equal(commit_synced_lsn(r->commit), 1);
    rig_close(r);
    check_after_crash(r, 73, 0, 0);
    rig_free(r);
}

static void test_power_loss_with_interval(void **state) {
    (void)state;
    for (uint64_t n = 1; n <= 600; n++) {
        struct rig *r = rig_new(n % 8 + 1);
        r->interval_ms = 10000;
        run_until(r, 74, n / 2 + 1);
        faultfs_power_cycle(r->fs);
        check_after_crash(r, 74, n, 0);
        rig_free(r);
    }
}

/* ---- reading ---- */

/* A disk on which no sync ends while the gate is shut. */
static struct {
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    bool shut, waits;
    const struct vfs *under;
} gate = {.mtx = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static enum err gate_sync(void *ctx, int fd) {
    pthread_mutex_lock(&gate.mtx);
    gate.waits = gate.waits || gate.shut;
    pthread_cond_broadcast(&gate.cond);
    while (gate.shut) pthread_cond_wait(&gate.cond, &gate.mtx);
    pthread_mutex_unlock(&gate.mtx);
    return gate.under->sync(ctx, fd);
}

static void gate_set(bool shut) {
    pthread_mutex_lock(&gate.mtx);
    gate.shut = shut;
    gate.waits = false;
    pthread_cond_broadcast(&gate.cond);
    pthread_mutex_unlock(&gate.mtx);
}

static void gate_wait_for_somebody(void) {
    pthread_mutex_lock(&gate.mtx);
    while (!gate.waits) pthread_cond_wait(&gate.cond, &gate.mtx);
    pthread_mutex_unlock(&gate.mtx);
}

/* While the worker zeroes its first spare, or is stuck in any other of its syncs, bodies are read.
 */
static void test_reads_wait_for_no_housekeeping(void **state) {
    (void)state;
    struct rig *r = rig_new(90);
    struct vfs gated = *faultfs_vfs(r->fs);
    gate.under = faultfs_vfs(r->fs);
    gated.sync = gate_sync;
    r->vfs = &gated;
    must_open(r, 90, 0, 0);
    for (unsigned i = 0; i < 20; i++) assert_int_equal(rig_append(r, i % RIG_N_QUEUES, 500), OK);
    assert_int_equal(rig_flush(r), OK);
    rig_close(r);
    must_open(r, 90, 1, 0);
    must(rig_check_recovered(r), 90, 1, 0);
    gate_set(true);
    assert_int_equal(journal_start(r->journal), OK);
    gate_wait_for_somebody();
    must(rig_check_bodies(r), 90, 2, 0); /* would wait for ever */
    gate_set(false);
    rig_close(r);
    rig_free(r);
}

/* ---- threads, on a real file system ---- */

enum { N_THREADS = 4, N_PER_THREAD = 400 };

static void *load_thread(void *arg) {
    struct rig *r = arg;
    for (unsigned i = 0; i < N_PER_THREAD; i++) {
        (void)!rig_append(r, i % RIG_N_QUEUES, (uint16_t)(i * 7 % RIG_MAX_BODY));
        pthread_mutex_lock(&r->mtx);
        const size_t k = i % 3 != 0 && r->n_messages > 3 ? r->n_messages - 3 : SIZE_MAX;
        pthread_mutex_unlock(&r->mtx);
        if (k != SIZE_MAX) rig_delete(r, k);
        if (i % 64 == 63) assert_int_equal(rig_flush(r), OK);
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    char dir[] = "/tmp/test-journal-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct rig *r = rig_new(80);
    r->vfs = &VFS_SYSTEM;
    r->dir = dir;
    must_open(r, 80, 0, 0);
    assert_int_equal(journal_start(r->journal), OK);
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load_thread, r), 0);
    for (uint64_t i = 0; i < 20; i++) must(rig_check_bodies(r), 80, 0, i);
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(rig_flush(r), OK);
    must(rig_check_bodies(r), 80, 1, 0);
    rig_close(r);
    must_open(r, 80, 2, 0);
    must(rig_check_recovered(r), 80, 2, 0);
    assert_int_equal(journal_start(r->journal), OK);
    must(rig_check_bodies(r), 80, 3, 0);
    rig_close(r);
    char command[100];
    (void)snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
    rig_free(r);
}

int main(void) {
    log_set_level(LOG_ERROR);
    (void)!freopen("/dev/null", "w", stderr); /* failures are logged, thousands of them */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_round_trip),
        cmocka_unit_test(test_segment_head_round_trip),
        cmocka_unit_test(test_power_loss_at_every_change),
        cmocka_unit_test(test_kill_at_every_change),
        cmocka_unit_test(test_power_loss_while_recovering),
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
        cmocka_unit_test(test_bodies_are_erased),
        cmocka_unit_test(test_bodies_are_erased_after_restart),
        cmocka_unit_test(test_disk_use_is_bounded),
        cmocka_unit_test(test_segment_waits_for_deletions),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_power_loss_with_interval),
        cmocka_unit_test(test_reads_wait_for_no_housekeeping),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
