/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_store.c -- opening, starting, stopping; what the backend answers. The parts are listed in
 * db_store_priv.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/db/db_store_priv.h"
#include "store/ntf_log.h"

static enum err connect_to(const struct db_store *m, unsigned silence_ms,
                           const struct db_statement *statements, unsigned n, struct db **ret,
                           struct store_problem *ret_problem) {
    struct db *db = NULL;
    enum err e = db_open(&m->o.db, &db, ret_problem);
    if (e != OK) return e;
    db->abandon = &m->abandon;
    db->patience_ms = silence_ms;
    e = db_pipe_open(db, statements, n);
    if (e == OK) {
        *ret = db;
    } else {
        db_close(db);
    }
    return e;
}

enum err db_store_connect(const struct db_store *m, const struct db_statement *statements,
                          unsigned n, struct db **ret, struct store_problem *ret_problem) {
    return connect_to(m, 0, statements, n, ret, ret_problem);
}

enum err db_store_connect_for_clients(const struct db_store *m,
                                      const struct db_statement *statements, unsigned n,
                                      struct db **ret, struct store_problem *ret_problem) {
    const unsigned ms = m->o.patience_ms;
    return connect_to(m, ms > DB_SILENCE_MIN_MS ? ms : DB_SILENCE_MIN_MS, statements, n, ret,
                      ret_problem);
}

/* ---- what it answers ---- */

/* What the database refused it has not got, though its group was committed. What waits for a
 * database that is away for long is not known, and nobody should wait for it any longer. */
static enum err db_fate(const struct store *s, lsn_t lsn) {
    const struct db_store *m = db_of_const(s);
    const enum err e = commit_fate(m->commit, lsn);
    if (e == E_PENDING && db_outage_lasts(&m->lane.outage, m->shared.env, m->o.patience_ms))
        return E_CLOSED;
    /* What could not be written is not known to be refused: the session ends, and asks again. */
    if (e == E_STORE) return E_CLOSED;
    const enum err refused = e == OK ? db_lane_fate(&m->lane, lsn) : E_PENDING;
    return refused != E_PENDING ? refused : e;
}

static unsigned db_state(const struct store *s) {
    return commit_state(db_of_const(s)->commit);
}

/* Changes are known to wait for the lane; that there is a database at all the beat knows, also
 * while nobody changes anything. */
static bool db_admits(const struct store *s) {
    const struct db_store *m = db_of_const(s);
    return !db_outage_lasts(&m->lane.outage, m->shared.env, m->o.patience_ms) &&
           !db_beat_is_silent(m, m->o.patience_ms + 2 * DB_BEAT_MS);
}

/* By a hash of the kind and the id, with the key that all nodes on this schema have. */
static uint8_t db_shard_of(const struct store *s, enum queue_id_kind kind, const struct id *id) {
    static const uint8_t letters[] = {[ID_SENDER] = 'S', [ID_LINK] = 'L', [ID_NOTIFIER] = 'N'};
    uint8_t text[1 + ID_LEN] = {letters[kind]};
    memcpy(text + 1, id->b, ID_LEN);
    return (uint8_t)crypto_siphash(db_of_const(s)->ids_key, bytes_of(text, sizeof text));
}

static void on_durable(void *ctx) {
    const struct db_store *m = ctx;
    if (m->shared.on_durable != NULL) m->shared.on_durable(m->shared.ctx);
}

/* ---- start and stop ---- */

static enum err start_threads(struct db_store *m) {
    const enum err e = commit_start(m->commit);
    if (e != OK) return e;
    m->started = true;
    const enum err readers = db_readers_start(m);
    return readers == OK ? db_beat_start(m) : readers;
}

static enum err db_start(struct store *s) {
    struct db_store *m = db_of(s);
    struct store_problem problem = {0};
    enum err e = db_lane_start(&m->lane, &problem);
    if (e == OK) e = db_log_open(m, &problem);
    if (e == OK) e = db_services_forget(m, &problem);
    if (e == OK) e = db_count_start(m, &problem);
    if (e == OK) e = start_threads(m);
    if (e == OK) e = db_ntfs_restore(m, &problem);
    m->was_started = e == OK;
    if (e != OK)
        log_line(LOG_ERROR, "database", "database=\"%s\" schema=%s reason=\"%s\"", m->shown,
                 m->o.db.schema, problem.text[0] != '\0' ? problem.text : err_reason(e));
    return e;
}

/* What is not written as it happens. */
static enum err db_save(struct store *s, struct store_problem *ret_problem) {
    const struct db_store *m = db_of(s);
    if (!m->was_started || m->o.ntfs_log == NULL) return OK;
    return ntf_log_save(s, m->shared.env, m->o.vfs, m->o.ntfs_log, ret_problem);
}

/* Gives up waiting for a database that is not there, in time. */
struct giver_up {
    struct db_store *store;
    struct thread thread;
    struct lock mtx;
    struct lock_cond cond;
    bool is_over; /* guarded by mtx */
};

static void give_up(void *ctx) {
    struct giver_up *g = ctx;
    const struct env *env = g->store->shared.env;
    const int64_t until_ms = env_mono_ms(env) + g->store->o.stop_ms;
    lock_take(&g->mtx);
    while (!g->is_over && lock_wait_ms(&g->cond, &g->mtx, until_ms - env_mono_ms(env))) continue;
    if (!g->is_over) atomic_store_explicit(&g->store->abandon, true, memory_order_relaxed);
    lock_give(&g->mtx);
}

/* Answers who looks up, and writes what waits; E_STORE when it could not be written. *ret_is_gone:
 * the database was waited for in vain. */
static enum err stop_threads(struct db_store *m, bool *ret_is_gone) {
    struct giver_up g = {.store = m};
    lock_init(&g.mtx, LOCK_STORE_WAIT);
    lock_cond_init(&g.cond);
    if (thread_start(&g.thread, "db-stop", give_up, &g) != OK)
        atomic_store_explicit(&m->abandon, true, memory_order_relaxed);
    db_readers_stop(m);
    const enum err e = commit_stop(m->commit);
    *ret_is_gone = atomic_load_explicit(&m->abandon, memory_order_relaxed);
    lock_take(&g.mtx);
    g.is_over = true;
    lock_wake(&g.cond);
    lock_give(&g.mtx);
    thread_join(&g.thread);
    lock_cond_done(&g.cond);
    lock_done(&g.mtx);
    return e;
}

static enum err end_threads(struct db_store *m) {
    if (!m->started) return OK;
    bool is_gone = false;
    m->started = false;
    const enum err e = stop_threads(m, &is_gone);
    db_log_close(m);
    atomic_store_explicit(&m->abandon, true, memory_order_relaxed);
    thread_join(&m->counter);
    atomic_store_explicit(&m->abandon, is_gone || e != OK || atomic_load(&m->is_lost),
                          memory_order_relaxed);
    db_close(STEAL(m->chores));
    return e;
}

/* Who waits to take over does not live by the counters, and would wait for them. */
static enum err finish(struct db_store *m, struct store_problem *ret_problem) {
    const bool is_awaited = atomic_load_explicit(&m->n_standbys, memory_order_relaxed) != 0;
    if (m->was_started && !is_awaited) db_counters_set(m);
    const enum err e = db_save(&m->base, ret_problem);
    db_beat_stop(m);
    return e;
}

static enum err db_stop(struct store *s, struct store_problem *ret_problem) {
    struct db_store *m = db_of(s);
    const enum err e = end_threads(m);
    const bool is_lost = atomic_load(&m->is_lost);
    if (e == OK && !is_lost) return finish(m, ret_problem);
    db_beat_stop(m);
    (void)snprintf(ret_problem->text, sizeof ret_problem->text,
                   is_lost ? "the database %s, schema %s, is another server's now: what was not "
                             "acknowledged here is lost"
                           : "not everything could be written to the database %s, schema %s: what "
                             "was not acknowledged is lost",
                   m->shown, m->o.db.schema);
    return is_lost ? E_CLOSED : e;
}

static void db_store_close(struct store *s) {
    struct db_store *m = db_of(s);
    if (end_threads(m) != OK) m->started = false; /* an unorderly end: nobody was promised more */
    db_beat_stop(m);
    db_beat_done(m);
    db_log_close(m);
    body_cache_done(&m->bodies);
    db_lane_done(&m->lane);
    db_readers_done(m);
    db_cache_done(&m->cache);
    commit_free(m->commit);
    idmap_done(&m->deleted);
    lock_done(&m->deleted_mtx);
    store__done(&m->base);
    crypto_wipe(m->ids_key, sizeof m->ids_key);
    free(m);
}

static const struct store_ops DB_OPS = {
    .start = db_start,
    .stop = db_stop,
    .save = db_save,
    .close = db_store_close,
    .record = db_record,
    .service = db_service,
    .message = db_message,
    .forget = db_forget,
    .fate = db_fate,
    .load = db_load,
    .msg_next = db_msg_next,
    .service_open = store__service_open_at_once,
    .service_scan = db_service_scan,
    .state = db_state,
    .admits = db_admits,
    .counts = db_counts,
    .old_queues = db_old_queues,
    .shard_of = db_shard_of,
};

/* ---- opening ---- */

static enum err open_database(struct db_store *m, struct store_problem *ret_problem) {
    struct db *db = NULL;
    const struct commit_opts co = {.env = m->shared.env,
                                   .on_durable = on_durable,
                                   .ctx = m,
                                   .stats = m->o.stats};
    struct wr w = wr_init(m->shown, sizeof m->shown - 1);
    db_show_connection(m->o.db.connection, &w);
    enum err e = db_open(&m->o.db, &db, ret_problem);
    if (e == OK) e = db_check_schema(db, &m->o.db, ret_problem);
    if (e == OK) e = db_services_read(m, db);
    db_close(db);
    if (e == OK) e = db_group_new(&m->lane.group);
    if (e == OK) e = commit_new(&co, &m->commit);
    if (e != OK) return e;
    const struct commit_sink sink = db_lane_sink(&m->lane);
    commit_add_sink(m->commit, &sink);
    return OK;
}

enum err db_store_open(const struct store_opts *o, const struct db_store_opts *d,
                       struct store **ret, struct store_problem *ret_problem) {
    struct db_store *m = calloc(1, sizeof *m);
    uint64_t seed[3];
    if (m == NULL) return E_NO_MEMORY;
    m->shared = *o;
    m->o = *d;
    m->log.fd = -1;
    env_random(o->env, seed, sizeof seed);
    idmap_init(&m->deleted, seed);
    lock_init(&m->deleted_mtx, LOCK_DB_DELETED);
    body_cache_init(&m->bodies);
    db_cache_init(&m->cache);
    db_lane_init(m);
    db_readers_init(m);
    db_beat_init(m);
    enum err e = store__init(&m->base, &DB_OPS, o);
    m->bodies.table = m->base.table;
    if (e == OK) e = open_database(m, ret_problem);
    if (e == OK) {
        *ret = &m->base;
        return OK;
    }
    if (ret_problem->text[0] == '\0')
        (void)snprintf(ret_problem->text, sizeof ret_problem->text,
                       "the database cannot be opened: %s", err_reason(e));
    db_store_close(&m->base);
    return e;
}
