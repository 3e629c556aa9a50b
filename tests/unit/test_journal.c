/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The journal under a random load: its format, power losses at every step, erasing, reading. */
#include "journal_fixture.h"

#include <pthread.h>

#include "base/crc32c.h"
#include "base/wr.h"
#include "store/disk/journal_format.h"

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
        for (uint64_t n = 1; n <= total; n += stride()) {
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
    for (uint64_t n = 1; n <= total; n += stride()) {
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

static void test_power_loss_while_recovering(void **state) {
    (void)state;
    for (uint64_t seed = 101; seed < 101 + n_seeds(); seed++) {
        const uint64_t total = count_changes(seed);
        for (uint64_t n = 1 + seed % 5; n <= total; n += 5 * stride()) {
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

/* ---- erasing, compaction, syncing ---- */

/* Nothing of them but a number and a length. */
static void assert_erased(struct rig *r) {
    for (size_t i = 0; i < r->n_messages; i++) {
        uint8_t body[RIG_MAX_BODY];
        const struct rig_msg *x = &r->messages[i];
        const bool lives = x->state == RIG_LIVE;
        const struct id id = rig_msg_id(i);
        rig_fill_body(i, body, x->body_len);
        assert_int_equal(faultfs_contains(r->fs, NULL, id_bytes(&id)), lives);
        for (size_t at = 0; at + 16 <= x->body_len; at += 16)
            assert_int_equal(faultfs_contains(r->fs, NULL, bytes_of(body + at, 16)), lives);
    }
}

static void test_what_is_deleted_is_erased(void **state) {
    (void)state;
    struct rig *r = rig_new(70);
    must_open(r, 70, 0, 0);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(rig_append(r, i % RIG_N_QUEUES, (uint16_t)(100 + i * 50)), OK);
    assert_int_equal(rig_flush(r), OK);
    for (size_t i = 0; i < 40; i++) {
        if (i % 3 == 0) rig_delete(r, i);
    }
    const struct id queue = rig_queue_id(5, r->generations[5]);
    assert_true(faultfs_contains(r->fs, NULL, id_bytes(&queue)));
    rig_delete_queue(r, 5);
    assert_int_equal(rig_flush(r), OK);
    journal_housekeep(r->journal);
    assert_int_equal(journal_stats(r->journal).n_to_erase, 0);
    assert_erased(r);
    assert_false(faultfs_contains(r->fs, NULL, id_bytes(&queue)));
    rig_close(r);
    check_after_crash(r, 70, 0, 0);
    rig_free(r);
}

/* What a crash has kept from being erased is erased after the restart. */
static void test_erased_after_restart(void **state) {
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
    assert_erased(r);
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
        const size_t n_noted = faultfs_size(r->fs, "/j/erasing");
        assert_true(faultfs_n_bytes(r->fs) - n_noted <= s.disk_bytes);
        assert_true(faultfs_n_bytes(r->fs) - n_noted <= 2 * s.live_bytes + 5 * RIG_SEGMENT_LEN);
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
    for (uint64_t n = 1; n <= 600; n += stride()) {
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
        cmocka_unit_test(test_what_is_deleted_is_erased),
        cmocka_unit_test(test_erased_after_restart),
        cmocka_unit_test(test_disk_use_is_bounded),
        cmocka_unit_test(test_segment_waits_for_deletions),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_power_loss_with_interval),
        cmocka_unit_test(test_reads_wait_for_no_housekeeping),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
