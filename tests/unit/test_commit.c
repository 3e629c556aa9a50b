/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The commit thread with sinks that count, wait and fail as told. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "stats/stats.h"
#include "store/disk/commit.h"

struct fake_sink {
    /* guarded by the commit mutex */
    lsn_t first, last; /* collected; first 0: nothing */
    lsn_t max_group;   /* 0: no limit */
    /* commit thread only, or while it is idle */
    lsn_t taken_first, taken_last;
    _Atomic unsigned n_groups, n_writes, n_syncs, n_undone, n_dropped, n_ok, n_not_ok, n_retries;
    _Atomic lsn_t done_lsn;
    /* atomic: set by the test */
    _Atomic int write_errno, sync_errno, undo_errno, retry_errno;
    _Atomic bool hold; /* write() waits while it is set */
    _Atomic bool in_write;
};

static lsn_t fake_limit(void *sink, lsn_t upto) {
    const struct fake_sink *s = sink;
    if (s->max_group == 0 || s->first == 0 || upto < s->first + s->max_group) return upto;
    return s->first + s->max_group - 1;
}

static bool fake_take(void *sink, lsn_t upto) {
    struct fake_sink *s = sink;
    if (s->first == 0 || s->first > upto) return false;
    s->taken_first = s->first;
    s->taken_last = s->last < upto ? s->last : upto;
    s->first = s->last > upto ? upto + 1 : 0;
    s->n_groups++;
    return true;
}

static enum err result_of(_Atomic int *error) {
    if (*error == 0) return OK;
    errno = *error;
    return E_SYS;
}

static enum err fake_write(void *sink) {
    struct fake_sink *s = sink;
    s->n_writes++;
    s->in_write = true;
    while (s->hold) usleep(50);
    s->in_write = false;
    return result_of(&s->write_errno);
}

static enum err fake_sync(void *sink) {
    struct fake_sink *s = sink;
    s->n_syncs++;
    return result_of(&s->sync_errno);
}

static enum err fake_undo(void *sink) {
    struct fake_sink *s = sink;
    s->n_undone++;
    return result_of(&s->undo_errno);
}

static void fake_drop(void *sink) {
    struct fake_sink *s = sink;
    s->n_dropped++;
    s->first = 0;
}

static void fake_done(void *sink, bool ok) {
    struct fake_sink *s = sink;
    if (ok) {
        s->n_ok++;
        if (s->taken_last != 0) s->done_lsn = s->taken_last;
    } else {
        s->n_not_ok++;
    }
    s->taken_first = s->taken_last = 0;
}

static enum err fake_retry(void *sink) {
    struct fake_sink *s = sink;
    s->n_retries++;
    return result_of(&s->retry_errno);
}

static struct commit_sink sink_of(struct fake_sink *s) {
    return (struct commit_sink){fake_limit, fake_take, fake_write, fake_sync, fake_undo,
                                fake_drop,  fake_done, fake_retry, false,     s};
}

static _Atomic int64_t clock_ms;
static int64_t fake_now_s(void *ctx) {
    (void)ctx;
    return clock_ms / 1000;
}
static int64_t fake_mono_us(void *ctx) {
    (void)ctx;
    return clock_ms * 1000;
}
static const struct env FAKE_ENV = {fake_now_s, fake_mono_us, NULL, NULL};

struct fixture {
    struct fake_sink a, b;
    struct commit *commit;
    struct stats *stats;
    _Atomic unsigned n_notified;
};

static void on_durable(void *ctx) {
    struct fixture *f = ctx;
    f->n_notified++;
}

static struct fixture *start(unsigned interval_ms, const struct env *env) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(stats_new(&ENV_SYSTEM, 1, &f->stats), OK);
    const struct commit_opts o = {.env = env,
                                  .interval_ms = interval_ms,
                                  .on_durable = on_durable,
                                  .ctx = f,
                                  .stats = stats_sheet(f->stats, 0)};
    assert_int_equal(commit_new(&o, &f->commit), OK);
    const struct commit_sink a = sink_of(&f->a), b = sink_of(&f->b);
    commit_add_sink(f->commit, &a);
    commit_add_sink(f->commit, &b);
    assert_int_equal(commit_start(f->commit), OK);
    return f;
}

static void stop(struct fixture *f, enum err want) {
    assert_int_equal(commit_stop(f->commit), want);
    commit_free(f->commit);
    stats_free(f->stats);
    free(f);
}

static enum err begin_append(struct fixture *f, struct fake_sink *s, lsn_t *ret) {
    const enum err e = commit_begin(f->commit, ret);
    if (e != OK) return e;
    assert_int_equal(commit_current_lsn(f->commit), *ret);
    if (s->first == 0) s->first = *ret;
    s->last = *ret;
    return OK;
}

static enum err append(struct fixture *f, struct fake_sink *s, lsn_t *ret) {
    const enum err e = begin_append(f, s, ret);
    if (e == OK) commit_end(f->commit);
    return e;
}

static lsn_t append_at_leisure(struct fixture *f) {
    lsn_t lsn;
    assert_int_equal(begin_append(f, &f->a, &lsn), OK);
    commit_end_at_leisure(f->commit);
    return lsn;
}

static void wait_durable(struct fixture *f, lsn_t lsn) {
    for (int i = 0; i < 100000 && commit_durable_lsn(f->commit) < lsn; i++) usleep(50);
    assert_true(commit_durable_lsn(f->commit) >= lsn);
}

static void wait_state(struct fixture *f, enum commit_state want) {
    for (int i = 0; i < 100000 && commit_state(f->commit) != want; i++) usleep(50);
    assert_int_equal(commit_state(f->commit), want);
}

static void test_publishes_in_order(void **state) {
    (void)state;
    struct fixture *f = start(0, &ENV_SYSTEM);
    for (lsn_t i = 1; i <= 100; i++) {
        lsn_t lsn;
        assert_int_equal(append(f, i % 2 != 0 ? &f->a : &f->b, &lsn), OK);
        assert_int_equal(lsn, i);
        if (i % 10 == 0) {
            assert_int_equal(commit_flush(f->commit), OK);
            assert_int_equal(commit_durable_lsn(f->commit), i);
            assert_int_equal(commit_synced_lsn(f->commit), i);
            assert_int_equal(f->a.done_lsn, i - 1);
        }
    }
    assert_true(f->n_notified >= 10);
    assert_false(commit_is_lost(f->commit, 50));
    stop(f, OK);
}

static uint64_t n_latencies(const struct fixture *f) {
    const struct stats_sheet *sheet = stats_sheet(f->stats, 0);
    uint64_t n = 0;
    for (unsigned i = 0; i < STATS_BUCKETS; i++)
        n += atomic_load(&sheet->histogram[HISTOGRAM_COMMIT_US].bucket[i]);
    return n;
}

/* What comes in during a write is the next group: one write for all. */
static void test_groups_adapt(void **state) {
    (void)state;
    struct fixture *f = start(0, &ENV_SYSTEM);
    lsn_t lsn;
    f->a.hold = true;
    assert_int_equal(append(f, &f->a, &lsn), OK);
    while (!f->a.in_write) usleep(50);
    for (int i = 0; i < 1000; i++) assert_int_equal(append(f, &f->a, &lsn), OK);
    f->a.hold = false;
    assert_int_equal(commit_flush(f->commit), OK);
    assert_int_equal(f->a.n_writes, 2);
    assert_int_equal(f->a.n_groups, 2);
    assert_int_equal(n_latencies(f), 2);
    stop(f, OK);
}

/* What is at leisure begins no group, and goes with the next one. */
static void test_leisure(void **state) {
    (void)state;
    struct fixture *f = start(0, &FAKE_ENV);
    lsn_t lsn;
    assert_int_equal(append_at_leisure(f), 1);
    assert_int_equal(append(f, &f->b, &lsn), OK);
    wait_durable(f, lsn);
    assert_int_equal(f->a.n_groups, 1);
    assert_int_equal(f->b.n_groups, 1);
    assert_int_equal(f->a.n_syncs, 1);
    lsn = append_at_leisure(f);
    commit_hurry(f->commit, lsn, false);
    wait_durable(f, lsn);
    for (int i = 0; i < 4; i++) lsn = append_at_leisure(f); /* so many are a group */
    wait_durable(f, lsn);
    (void)append_at_leisure(f);
    assert_int_equal(commit_flush(f->commit), OK);
    (void)append_at_leisure(f);
    stop(f, OK);
}

/* Changes that are 3 ms apart: as often as that there is company. */
static void make_load(struct fixture *f, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        lsn_t lsn;
        clock_ms += 3;
        assert_int_equal(append(f, &f->a, &lsn), OK);
        assert_int_equal(commit_flush(f->commit), OK);
    }
}

static void test_leisure_is_for_load(void **state) {
    (void)state;
    struct fixture *f = start(0, &FAKE_ENV);
    assert_int_equal(commit_leisure_ms(f->commit), 0);
    make_load(f, 50);
    assert_in_range(commit_leisure_ms(f->commit), 6, 8);
    clock_ms += 100; /* the load is over */
    assert_int_equal(commit_leisure_ms(f->commit), 0);
    make_load(f, 50);
    assert_in_range(commit_leisure_ms(f->commit), 6, 8);
    commit_hurry(f->commit, append_at_leisure(f), false);
    assert_in_range(commit_leisure_ms(f->commit), 6, 8);
    commit_hurry(f->commit, append_at_leisure(f), true); /* nobody came: not so soon again */
    make_load(f, 10);
    assert_int_equal(commit_leisure_ms(f->commit), 0);
    make_load(f, 10);
    assert_in_range(commit_leisure_ms(f->commit), 6, 8);
    commit_hurry(f->commit, append_at_leisure(f), true);
    make_load(f, 30);
    assert_int_equal(commit_leisure_ms(f->commit), 0);
    make_load(f, 10);
    assert_in_range(commit_leisure_ms(f->commit), 6, 8);
    stop(f, OK);
}

static void test_group_limit(void **state) {
    (void)state;
    struct fixture *f = start(0, &ENV_SYSTEM);
    lsn_t lsn;
    f->a.max_group = 100;
    f->a.hold = true;
    assert_int_equal(append(f, &f->a, &lsn), OK);
    while (!f->a.in_write) usleep(50);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(append(f, i % 2 != 0 ? &f->a : &f->b, &lsn), OK);
    f->a.hold = false;
    assert_int_equal(commit_flush(f->commit), OK);
    assert_true(f->a.n_writes >= 11);
    assert_int_equal(f->b.n_groups, f->a.n_groups - 1); /* both are cut at the same lsn */
    stop(f, OK);
}

static void test_full_undoes_both_and_recovers(void **state) {
    (void)state;
    struct fixture *f = start(0, &FAKE_ENV);
    lsn_t ok, lost, more;
    assert_int_equal(append(f, &f->a, &ok), OK);
    assert_int_equal(commit_flush(f->commit), OK);
    f->b.write_errno = ENOSPC;
    f->b.retry_errno = ENOSPC;
    f->a.hold = true;
    assert_int_equal(append(f, &f->a, &lost), OK);
    while (!f->a.in_write) usleep(50);
    assert_int_equal(append(f, &f->b, &lost), OK); /* the next group, which fails */
    assert_int_equal(append(f, &f->a, &lost), OK);
    f->a.hold = false;
    wait_state(f, COMMIT_FULL);
    assert_int_equal(append(f, &f->a, &more), E_STORE);
    assert_int_equal(commit_flush(f->commit), E_STORE);
    for (int i = 0; i < 100000 && commit_n_failures(f->commit) == 0; i++) usleep(50);
    assert_int_equal(f->a.n_undone, 1);
    assert_int_equal(f->b.n_undone, 1);
    assert_int_equal(f->a.n_dropped, 1);
    assert_int_equal(f->b.n_not_ok, 1);
    assert_false(commit_is_lost(f->commit, ok));
    assert_false(commit_is_lost(f->commit, lost - 2));
    assert_true(commit_is_lost(f->commit, lost - 1));
    assert_true(commit_is_lost(f->commit, lost));
    assert_false(commit_is_lost(f->commit, lost + 1));
    clock_ms += 5000; /* tried again, in vain */
    (void)!commit_flush(f->commit);
    for (int i = 0; i < 100000 && f->b.n_retries == 0; i++) usleep(50);
    assert_int_equal(commit_state(f->commit), COMMIT_FULL);
    f->b.write_errno = 0;
    f->b.retry_errno = 0;
    for (int i = 0; i < 1000 && commit_state(f->commit) != COMMIT_OK; i++) {
        clock_ms += 5000;
        (void)!commit_flush(f->commit);
        usleep(50);
    }
    wait_state(f, COMMIT_OK);
    assert_int_equal(append(f, &f->a, &more), OK);
    assert_int_equal(more, lost + 1);
    assert_int_equal(commit_flush(f->commit), OK);
    assert_true(commit_is_lost(f->commit, lost)); /* passed over, and still lost */
    assert_int_equal(commit_fate(f->commit, lost), E_STORE);
    assert_int_equal(commit_fate(f->commit, more), OK);
    assert_int_equal(commit_fate(f->commit, more + 1), E_PENDING);
    assert_false(commit_is_lost(f->commit, more));
    assert_int_equal(commit_durable_lsn(f->commit), more);
    stop(f, OK);
}

static void fails_for_good(_Atomic int *error, struct fixture *f) {
    lsn_t first, lsn;
    assert_int_equal(append(f, &f->a, &first), OK);
    assert_int_equal(append(f, &f->b, &lsn), OK);
    assert_int_equal(commit_flush(f->commit), OK);
    *error = EIO;
    assert_int_equal(append(f, &f->a, &lsn), OK);
    assert_int_equal(commit_flush(f->commit), E_STORE);
    wait_state(f, COMMIT_FAILED);
    *error = 0; /* a later success means nothing */
    clock_ms += 100000;
    assert_int_equal(append(f, &f->a, &first), E_STORE);
    assert_int_equal(commit_durable_lsn(f->commit), 2);
    assert_true(commit_is_lost(f->commit, 3));
    assert_true(commit_is_lost(f->commit, 1000000));
    assert_false(commit_is_lost(f->commit, 2));
    assert_int_equal(f->a.n_retries, 0);
    stop(f, E_STORE);
}

static void test_failed_write_is_final(void **state) {
    (void)state;
    struct fixture *f = start(0, &FAKE_ENV);
    fails_for_good(&f->a.write_errno, f);
}

static void test_failed_sync_is_final(void **state) {
    (void)state;
    struct fixture *f = start(0, &FAKE_ENV);
    fails_for_good(&f->b.sync_errno, f);
}

static void test_full_that_cannot_be_undone_is_final(void **state) {
    (void)state;
    struct fixture *f = start(0, &FAKE_ENV);
    f->a.undo_errno = EIO;
    lsn_t lsn;
    f->a.write_errno = ENOSPC;
    assert_int_equal(append(f, &f->a, &lsn), OK);
    wait_state(f, COMMIT_FAILED);
    stop(f, E_STORE);
}

/* A sync that says "no space" has lost data all the same. */
static void test_no_space_in_sync_is_final(void **state) {
    (void)state;
    struct fixture *f = start(0, &FAKE_ENV);
    lsn_t lsn;
    f->a.sync_errno = ENOSPC;
    assert_int_equal(append(f, &f->a, &lsn), OK);
    wait_state(f, COMMIT_FAILED);
    assert_int_equal(f->a.n_undone, 0);
    stop(f, E_STORE);
}

static void test_interval(void **state) {
    (void)state;
    struct fixture *f = start(1000, &ENV_SYSTEM);
    lsn_t lsn;
    assert_int_equal(append(f, &f->a, &lsn), OK);
    for (int i = 0; i < 10000 && commit_durable_lsn(f->commit) != 1; i++) usleep(100);
    assert_int_equal(commit_durable_lsn(f->commit), 1);
    assert_int_equal(commit_synced_lsn(f->commit), 0);
    for (int i = 0; i < 3000 && commit_synced_lsn(f->commit) != 1; i++) usleep(1000);
    assert_int_equal(commit_synced_lsn(f->commit), 1);
    assert_int_equal(append(f, &f->a, &lsn), OK);
    assert_int_equal(commit_flush(f->commit), OK); /* does not wait for the interval */
    assert_int_equal(commit_synced_lsn(f->commit), 2);
    assert_int_equal(append(f, &f->a, &lsn), OK);
    stop(f, OK); /* nor does stopping */
}

static void test_stop_writes_what_is_left(void **state) {
    (void)state;
    struct fixture *f = start(0, &ENV_SYSTEM);
    lsn_t lsn = 0;
    for (int i = 0; i < 50; i++) assert_int_equal(append(f, &f->a, &lsn), OK);
    assert_int_equal(commit_stop(f->commit), OK);
    assert_int_equal(commit_synced_lsn(f->commit), lsn);
    assert_int_equal(f->a.done_lsn, lsn);
    commit_free(f->commit);
    stats_free(f->stats);
    free(f);
}

static void test_lost_ranges_are_bounded(void **state) {
    (void)state;
    struct fixture *f = start(0, &FAKE_ENV);
    lsn_t lost[200] = {0}, fine = 0;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(append(f, &f->a, &fine), OK);
        assert_int_equal(commit_flush(f->commit), OK);
        f->a.write_errno = ENOSPC;
        assert_int_equal(append(f, &f->a, &lost[i]), OK);
        wait_state(f, COMMIT_FULL);
        f->a.write_errno = 0;
        while (commit_state(f->commit) != COMMIT_OK) {
            clock_ms += 5000;
            (void)!commit_flush(f->commit);
            usleep(20);
        }
    }
    for (int i = 0; i < 200; i++) assert_true(commit_is_lost(f->commit, lost[i]));
    assert_false(commit_is_lost(f->commit, fine)); /* between two recent ones */
    stop(f, OK);
}

static void *appender(void *arg) {
    struct fixture *f = arg;
    lsn_t lsn;
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(append(f, i % 3 != 0 ? &f->a : &f->b, &lsn), OK);
        if (i % 500 == 0) assert_int_equal(commit_flush(f->commit), OK);
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    struct fixture *f = start(0, &ENV_SYSTEM);
    pthread_t t[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&t[i], NULL, appender, f), 0);
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    assert_int_equal(commit_flush(f->commit), OK);
    assert_int_equal(commit_durable_lsn(f->commit), 20000);
    stop(f, OK);
}

int main(void) {
    (void)!freopen("/dev/null", "w", stderr); /* failures are logged */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publishes_in_order),
        cmocka_unit_test(test_groups_adapt),
        cmocka_unit_test(test_leisure),
        cmocka_unit_test(test_leisure_is_for_load),
        cmocka_unit_test(test_group_limit),
        cmocka_unit_test(test_full_undoes_both_and_recovers),
        cmocka_unit_test(test_failed_write_is_final),
        cmocka_unit_test(test_failed_sync_is_final),
        cmocka_unit_test(test_full_that_cannot_be_undone_is_final),
        cmocka_unit_test(test_no_space_in_sync_is_final),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_stop_writes_what_is_left),
        cmocka_unit_test(test_lost_ranges_are_bounded),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
