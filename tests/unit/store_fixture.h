/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_fixture.h -- a store of each backend and mode in a folder of its own, and the tests of
 * store.h run on every one of them. */
#pragma once

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/vfs.h"
#include "crypto/crypto.h"
#include "pg_fixture.h"
#include "store/db/db_store.h"
#include "store/files.h"
#include "store/nothing.h"
#include "store/records.h"

enum { QUOTA = 4, DAY = 20000, NOW_S = 1700000000 };

/* Nothing on disk; store log and messages log; store log and journal; a database, of which all that
 * was touched is in RAM, or next to nothing. */
struct mode {
    const char *name;
    bool has_log, has_messages_log, has_journal; /* the notifications log is there with the first */
    size_t db_cache;                             /* bytes; 0: no database */
    unsigned hold_ms;                            /* 0: nothing is held */
};

static const struct mode MODES[] = {
    {"off", false, false, false, 0, 0},
    {"memory", true, true, false, 0, 0},
    {"journal", true, false, true, 0, 0},
    {"database", false, false, false, 64 << 20, 0},
    {"database-evicts", false, false, false, 1, 0},
    {"journal-holds", true, false, true, 0, 20},
};

struct fixture {
    const struct mode *mode;
    char dir[64], log[96], messages[96], ntfs[96], journal[96], schema[32];
    struct store *store;
    struct store_expiry expiry;
    unsigned patience_ms;          /* of a database; 0: long */
    void (*taken_over)(void *ctx); /* likewise */
    unsigned n_ids;                /* for ids that differ */
    pthread_mutex_t mtx;
    pthread_cond_t cond;
};

/* ---- opening and closing ---- */

static inline void on_durable(void *ctx) {
    struct fixture *f = ctx;
    pthread_mutex_lock(&f->mtx);
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->mtx);
}

static inline enum err open_database(struct fixture *f, const struct store_opts *o,
                                     struct store_problem *ret_problem) {
    const struct db_store_opts d = {
        .db = {.connection = pg_connection(), .schema = f->schema},
        .cache_bytes = f->mode->db_cache,
        .patience_ms = f->patience_ms != 0 ? f->patience_ms : 60000,
        .taken_over = f->taken_over,
        .stop_ms = 60000,
        .deleted_ttl_s = -1,
        .ntfs_log = f->ntfs,
        .vfs = &VFS_SYSTEM,
    };
    return db_store_open(o, &d, &f->store, ret_problem);
}

static inline enum err open_backend(struct fixture *f, struct store_problem *ret_problem) {
    const struct store_opts o = {.env = &ENV_SYSTEM,
                                 .quota = QUOTA,
                                 .on_durable = on_durable,
                                 .ctx = f,
                                 .expiry = f->expiry};
    const struct files_opts files = {
        .vfs = &VFS_SYSTEM,
        .store_log = f->log,
        .messages_log = f->mode->has_messages_log ? f->messages : NULL,
        .ntfs_log = f->ntfs,
        .journal_dir = f->journal,
        .hold_ms = f->mode->hold_ms,
        .restore_messages = true,
    };
    if (f->mode->db_cache != 0) return open_database(f, &o, ret_problem);
    if (!f->mode->has_log) return nothing_open(&o, &f->store);
    return f->mode->has_journal ? files_open_journal(&o, &files, &f->store, ret_problem)
                                : files_open_memory(&o, &files, &f->store, ret_problem);
}

static inline void open_store(struct fixture *f) {
    struct store_problem problem = {0};
    const enum err e = open_backend(f, &problem);
    if (e != OK) fail_msg("%s: %s", err_name(e), problem.text);
    assert_int_equal(store_start(f->store), OK);
}

static inline void close_store(struct fixture *f) {
    struct store_problem problem = {0};
    const enum err e = store_stop(f->store, &problem);
    if (e != OK) fail_msg("%s: %s", err_name(e), problem.text);
    store_close(f->store);
    f->store = NULL;
}

static inline bool survives_stop(const struct fixture *f) {
    return f->mode->has_log || f->mode->db_cache != 0;
}

/* False, and nothing is done, when nothing survives a stop in this mode. */
static inline bool reopen(struct fixture *f) {
    if (!survives_stop(f)) return false;
    close_store(f);
    open_store(f);
    return true;
}

/* An empty schema with its tables, which is new for each fixture. */
static inline void make_schema(struct fixture *f) {
    static unsigned n_schemas;
    char sql[64];
    struct db *db;
    struct store_problem problem;
    (void)snprintf(f->schema, sizeof f->schema, "smp_%u", ++n_schemas);
    (void)snprintf(sql, sizeof sql, "CREATE SCHEMA %s", f->schema);
    pg_sql(sql);
    const struct db_opts o = {.connection = pg_connection(), .schema = f->schema};
    assert_int_equal(db_open(&o, &db, &problem), OK);
    assert_int_equal(db_migrate(db, &problem), OK);
    db_close(db);
}

static inline struct fixture *setup(const struct mode *mode) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->mode = mode;
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/test_store.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->log, sizeof f->log, "%s/store.log", f->dir);
    (void)snprintf(f->messages, sizeof f->messages, "%s/messages.log", f->dir);
    (void)snprintf(f->ntfs, sizeof f->ntfs, "%s/ntfs.log", f->dir);
    (void)snprintf(f->journal, sizeof f->journal, "%s/journal", f->dir);
    pthread_mutex_init(&f->mtx, NULL);
    pthread_cond_init(&f->cond, NULL);
    if (mode->db_cache != 0) make_schema(f);
    open_store(f);
    return f;
}

/* Removes the files of a folder, and counts them. */
static inline unsigned clear_dir(const char *path) {
    unsigned n = 0;
    DIR *d = opendir(path);
    if (d == NULL) return 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        char file[512];
        if (e->d_name[0] == '.' && (e->d_name[1] == '\0' || e->d_name[1] == '.')) continue;
        (void)snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        n++;
        (void)unlink(file);
    }
    (void)closedir(d);
    return n;
}

static inline void teardown(struct fixture *f) {
    if (f->store != NULL) close_store(f);
    (void)clear_dir(f->journal);
    (void)rmdir(f->journal);
    (void)clear_dir(f->dir);
    (void)rmdir(f->dir);
    pthread_mutex_destroy(&f->mtx);
    pthread_cond_destroy(&f->cond);
    free(f);
}

/* Every change must become durable by itself, and be told. */
static inline void wait_durable(struct fixture *f, lsn_t lsn) {
    pthread_mutex_lock(&f->mtx);
    while (store_fate(f->store, lsn) != OK) pthread_cond_wait(&f->cond, &f->mtx);
    pthread_mutex_unlock(&f->mtx);
}

/* ---- things to store ---- */

static inline struct id new_id(struct fixture *f) {
    struct id id = {{0}};
    f->n_ids++;
    memcpy(id.b, &f->n_ids, sizeof f->n_ids);
    id.b[ID_LEN - 1] = 0x5a;
    return id;
}

static inline struct queue *find(struct fixture *f, enum queue_id_kind kind, struct id id) {
    struct store_lookup l = {.kind = kind, .id = id};
    store_load_wait(f->store, &l, 1);
    assert_int_equal(l.ret_err, l.ret_queue != NULL ? OK : E_AUTH);
    struct queue *q = l.ret_queue != NULL ? queue_ref(l.ret_queue) : NULL;
    store_lookup_done(&l);
    return q;
}

static inline struct queue_view view(struct fixture *f, struct queue *q, enum queue_want want) {
    struct queue_view v = {0};
    assert_int_equal(store_queue_view(f->store, q, want, &v), OK);
    assert_true(queue_view_is_current(q, &v));
    return v;
}

static inline unsigned count_messages(struct fixture *f, struct queue *q) {
    struct queue_view v = view(f, q, WANT_MESSAGES);
    queue_view_done(&v);
    return v.n_messages;
}

/* ---- every test with every mode ---- */

struct scenario {
    const char *name;
    void (*run)(struct fixture *f);
};

#define SCENARIO(fn)                                                                               \
    { #fn, fn }
/* A scenario in a mode: one test. */
struct run {
    const struct scenario *scenario;
    const struct mode *mode;
    char name[96];
};

static inline void run_scenario(void **state) {
    const struct run *r = *state;
    struct fixture *f = setup(r->mode);
    r->scenario->run(f);
    teardown(f);
}

static inline int begin_database(void **state) {
    (void)state;
    pg_begin();
    return 0;
}

static inline int end_database(void **state) {
    (void)state;
    pg_end();
    return 0;
}

/* Fills n * ARRAY_LEN(MODES) runs and tests, which must outlive the tests. */
static inline void in_every_mode(const struct scenario *scenarios, size_t n, struct run *ret_runs,
                                 struct CMUnitTest *ret_tests) {
    for (size_t i = 0; i < n * ARRAY_LEN(MODES); i++) {
        struct run *r = &ret_runs[i];
        r->scenario = &scenarios[i / ARRAY_LEN(MODES)];
        r->mode = &MODES[i % ARRAY_LEN(MODES)];
        (void)snprintf(r->name, sizeof r->name, "%s[%s]", r->scenario->name, r->mode->name);
        ret_tests[i] =
            (struct CMUnitTest){.name = r->name, .test_func = run_scenario, .initial_state = r};
    }
}
