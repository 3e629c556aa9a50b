/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_fixture.h -- what the tests of the journal do with a journal_rig: a load, and checks of
 * what a crash has left of it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "journal_rig.h"

static inline unsigned n_seeds(void) {
    const char *s = getenv("SMP_TEST_SEEDS");
    return s != NULL ? (unsigned)strtoul(s, NULL, 10) : 2;
}

/* Of the longest rows of cases every how many-th is tried: more than 1 where a thread costs much,
 * as with an emulator of processors that keeps some of each thread (tests/packaging/arm64/run). */
static inline uint64_t stride(void) {
    const char *s = getenv("SMP_TEST_STRIDE");
    const uint64_t n = s != NULL ? strtoull(s, NULL, 10) : 1;
    return n != 0 ? n : 1;
}

static inline struct rig *rig_new(uint64_t seed) {
    struct rig *r = malloc(sizeof *r);
    if (r == NULL) abort();
    rig_init(r, seed);
    return r;
}

/* The model of a rig, on a copy of its disk. */
static inline struct rig *rig_copy(const struct rig *r, uint64_t seed) {
    struct rig *c = malloc(sizeof *c);
    if (c == NULL) abort();
    *c = *r;
    pthread_mutex_init(&c->mtx, NULL);
    c->fs = faultfs_clone(r->fs, seed);
    return c;
}

static inline void rig_free(struct rig *r) {
    rig_done(r);
    free(r);
}

static inline void must(const char *wrong, uint64_t seed, uint64_t n, uint64_t m) {
    if (wrong == NULL) return;
    printf("# seed %llu, step %llu.%llu: %s\n", (unsigned long long)seed, (unsigned long long)n,
           (unsigned long long)m, wrong);
    fail();
}

static inline void must_open(struct rig *r, uint64_t seed, uint64_t n, uint64_t m) {
    const enum err e = rig_open(r);
    if (e == OK) return;
    printf("# open: %s: %s\n", err_name(e), r->problem.text);
    must("cannot be opened", seed, n, m);
}

/* Ends a group: always synced, or with an interval mostly only written. */
static inline enum err end_group(struct rig *r) {
    if (r->interval_ms == 0 || rig_chance(r, 4) == 0) return rig_flush(r);
    while (commit_durable_lsn(r->commit) < commit_last_lsn(r->commit)) {
        if (commit_state(r->commit) != COMMIT_OK) return E_STORE;
        usleep(20);
    }
    return OK;
}

/* A load with deletions, compaction, erasing and an orderly restart; ends early when the power
 * goes. */
static inline void scenario(struct rig *r) {
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
static inline void check_after_crash(struct rig *r, uint64_t seed, uint64_t n, uint64_t m) {
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
